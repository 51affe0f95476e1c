/*
 * The life of an mm, and the copy of its VMA list that /proc reads.
 */
#include <stdlib.h>

#include "mm/internal.h"

#define DEFAULT_GAP	((u64)128 << 20)	/* below GUEST_END, for the stack, until the loader says where it is */

int mm_create(struct mm **out)
{
	struct mm *mm = calloc(1, sizeof(*mm));
	int err = -ENOMEM;

	if (!mm)
		return -ENOMEM;
	mm->pt = pt_create();
	if (!mm->pt)
		goto fail;
	err = platform->as_create(&mm->as);
	if (err)
		goto fail;
	pthread_mutex_init(&mm->lock, NULL);
	atomic_init(&mm->refs, 1);
	RB_INIT(&mm->vmas);
	mm->mmap_top = GUEST_END - DEFAULT_GAP - STACK_GUARD_GAP;
	mm->stack_limit = (u64)8 << 20;
	mm->dumpable = 1;
	*out = mm;
	return 0;
fail:
	pt_destroy(mm->pt);
	free(mm);
	return err;
}

void mm_get(struct mm *mm) { atomic_fetch_add_explicit(&mm->refs, 1, memory_order_relaxed); }

/*
 * Nobody else can reach the mm now, but truncate, which looks at the VMAs on its cache's list until they are
 * unlinked.
 */
static void mm_destroy(struct mm *mm)
{
	struct graveyard dead = { NULL };
	struct vma *v;

	platform->as_destroy(mm->as);
	pthread_mutex_lock(&mm->lock);
	mm_drop(mm, 0, GUEST_END);
	while ((v = RB_ROOT(&mm->vmas)))
		vma_remove(mm, v, &dead);
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	pt_destroy(mm->pt);
	patch_state_free(mm);
	if (mm->exe)
		file_put(mm->exe);
	pthread_mutex_destroy(&mm->lock);
	free(mm);
}

void mm_put(struct mm *mm)
{
	if (mm && atomic_fetch_sub_explicit(&mm->refs, 1, memory_order_acq_rel) == 1)
		mm_destroy(mm);
}

/* ---- /proc ---- */

static void count_pages(struct mm *mm, struct vma_info *info)
{
	struct pt_run run;

	for (gva_t pos = info->start; pt_next_run(mm->pt, &pos, info->end, &run);) {
		info->rss += run.n;
		if (run.pte & PTE_ANON)
			info->anon += run.n;
		for (u64 i = 0; i < run.n; i++)
			info->shared += memory_refs(pte_offset(run.pte) + i * PAGE_SIZE) > 1;
	}
}

int mm_snapshot(struct mm *mm, bool count, struct vma_info **out, size_t *n)
{
	struct vma_info *info;
	struct vma *v;
	size_t i = 0;

	pthread_mutex_lock(&mm->lock);
	info = calloc(mm->nvmas ? mm->nvmas : 1, sizeof(*info));
	if (!info) {
		pthread_mutex_unlock(&mm->lock);
		return -ENOMEM;
	}
	RB_FOREACH(v, vma_tree, &mm->vmas) {
		info[i] = (struct vma_info){
			.start = v->start, .end = v->end, .prot = v->prot, .flags = v->flags,
			.file = v->file, .offset = v->offset, .name = v->name,
		};
		if (v->file)
			file_get(v->file);
		if (count)
			count_pages(mm, &info[i]);
		i++;
	}
	pthread_mutex_unlock(&mm->lock);
	*out = info;
	*n = i;
	return 0;
}

void mm_snapshot_free(struct vma_info *info, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (info[i].file)
			file_put(info[i].file);
	free(info);
}
