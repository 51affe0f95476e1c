/*
 * Fork of an mm: the child gets the parent's VMAs and pages, private ones shared copy-on-write.
 *
 * The parent loses its write access range by range in place before the child can run; the child is shown at once what
 * the parent had shown, in runs as long as they come, so that neither faults again for what was resident.
 */
#include <stdlib.h>

#include "mm/internal.h"

/* Write access in the parent goes for the range of `v` where it had any; all there want the same access afterwards. */
static int protect_parent(struct mm *parent, struct vma *v, gva_t first, gva_t last)
{
	struct pt_run run;
	gva_t pos = first;
	int err;

	if (first == last)
		return 0;
	err = platform->as_protect(parent->as, first, last - first, pte_access(v, PTE_COW));
	if (err)
		return err;
	while (pt_next_run(parent->pt, &pos, last, &run))
		if (run.pte & PTE_SHOWN)
			pt_run_flags(&run, PTE_W, 0);
	return 0;
}

/*
 * Mark what is to be shared copy-on-write. A page of our own with more than one reference is pinned: the sentry may
 * be reading a file into it. Were it shared, the parent's next write would copy it and lose what arrives later; so it
 * stays the parent's, and the child gets its copy now.
 */
static int mark_parent(struct mm *parent, struct vma *v)
{
	gva_t first = 0, last = 0, pos = v->start;
	struct pt_run run;

	while (pt_next_run(parent->pt, &pos, v->end, &run)) {
		u64 *e = &run.leaf->e[run.index];

		if (run.pte & PTE_W) {
			first = first ? first : run.addr;
			last = pos;
		}
		for (u64 i = 0; i < run.n && !(run.pte & PTE_COW); i++)
			if (memory_refs(pte_offset(e[i])) == 1)
				e[i] |= PTE_COW;
	}
	return protect_parent(parent, v, first, last);
}

static int copy_pinned(struct mm *child, struct vma *v, const struct pt_run *run)
{
	struct pt_leaf *leaf = pt_leaf_get(child->pt, run->addr);

	for (u64 i = 0; i < run->n; i++) {
		u64 offset;
		int err = leaf ? memory_alloc(1, false, &offset) : -ENOMEM;

		if (err)
			return err;
		guest_copy(memory_ptr(offset), memory_ptr(pte_offset(run->pte) + i * PAGE_SIZE), PAGE_SIZE);
		pt_set(leaf, run->index + i, offset | PTE_PRESENT | PTE_ANON);
		mm_count_rss(child, 1);
	}
	return 0;
}

/* The child's entries for one run of the parent's. */
static int copy_run(struct mm *child, struct vma *v, const struct pt_run *run)
{
	struct pt_leaf *leaf = pt_leaf_get(child->pt, run->addr);
	struct pt_run mine = { run->addr, run->n, run->pte & ~(u64)PTE_VIEW, leaf, run->index };

	if (!leaf)
		return -ENOMEM;
	memory_get(pte_offset(run->pte), run->n);
	for (u64 i = 0; i < run->n; i++)
		pt_set(leaf, run->index + i, mine.pte + i * PAGE_SIZE);
	mm_count_rss(child, run->n);
	if (!knob_fork_eager || !(run->pte & PTE_SHOWN))
		return 0;
	return mm_show(child, v, &mine, AS_MAP_FRESH | (knob_fork_populate ? AS_MAP_POPULATE : 0));
}

static int copy_pages(struct mm *parent, struct mm *child, struct vma *from, struct vma *to)
{
	struct pt_run run;
	bool private = !vma_shared(from);
	int err = private ? mark_parent(parent, from) : 0;

	for (gva_t pos = from->start; !err && pt_next_run(parent->pt, &pos, from->end, &run);)
		err = private && !(run.pte & PTE_COW) ? copy_pinned(child, to, &run) : copy_run(child, to, &run);
	return err;
}

static int copy_vma(struct mm *parent, struct mm *child, struct vma *v)
{
	struct vma *copy;

	if (v->flags & VMA_DONTFORK)
		return 0;
	copy = vma_dup(v);
	if (!copy)
		return -ENOMEM;
	copy->flags &= ~(VMA_LOCKED | VMA_ONFAULT);
	vma_insert(child, copy);
	return v->flags & VMA_WIPEONFORK ? 0 : copy_pages(parent, child, v, copy);
}

static void copy_fields(struct mm *parent, struct mm *child)
{
	child->mmap_top = parent->mmap_top;
	child->stack_limit = parent->stack_limit;
	child->scatter = parent->scatter;
	child->scatter_counted = parent->scatter_counted;
	child->brk_start = parent->brk_start;
	child->brk = parent->brk;
	child->stack_top = parent->stack_top;
	child->arg_start = parent->arg_start;
	child->arg_end = parent->arg_end;
	child->env_start = parent->env_start;
	child->env_end = parent->env_end;
	child->vdso = parent->vdso;
	child->code_start = parent->code_start;
	child->code_end = parent->code_end;
	child->data_start = parent->data_start;
	child->data_end = parent->data_end;
	child->dumpable = parent->dumpable;
	child->membarrier = parent->membarrier;
	memcpy(child->auxv, parent->auxv, sizeof(child->auxv));
	child->exe = parent->exe;
	if (child->exe)
		file_get(child->exe);
}

int mm_fork(struct mm *parent, struct mm **out)
{
	struct mm *child;
	struct vma *v;
	int err = mm_create(&child);

	if (err)
		return err;
	pthread_mutex_lock(&parent->lock);
	pthread_mutex_lock(&child->lock);	/* truncate can already see its VMAs */
	copy_fields(parent, child);
	RB_FOREACH(v, vma_tree, &parent->vmas) {
		err = copy_vma(parent, child, v);
		if (err)
			break;
	}
	pthread_mutex_unlock(&child->lock);
	pthread_mutex_unlock(&parent->lock);
	if (err) {
		mm_put(child);
		return err;
	}
	*out = child;
	return 0;
}
