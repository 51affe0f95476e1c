/*
 * Fork of an mm: the child gets the parent's VMAs and pages, private ones shared copy-on-write.
 *
 * The parent loses its write access range by range in place before the child can run; the child is shown at once what
 * the parent had shown, in runs as long as they come, so that neither faults again for what was resident.
 *
 * A program that forks writes to much the same few pages after each fork (stack, allocator, counters), and so does its
 * child: two faults a page. Where earlier forks had such faults, the child gets its copy at once and the parent keeps
 * its access. Only if the parent has no other thread, which could be writing to them meanwhile.
 */
#include <stdlib.h>

#include "mm/internal.h"

/* Room for all of them, or the oldest is forgotten. */
void fork_note_write(struct mm *mm, gva_t start, u64 pages)
{
	u64 kept = pages;

	for (int i = 0; i < FORK_HOT; i++)
		if (mm->hot[i].start <= start && start + pages * PAGE_SIZE <= mm->hot[i].start + mm->hot[i].pages * PAGE_SIZE)
			return;
	mm->hot[mm->hot_next].pages = 0;
	for (int i = 0; i < FORK_HOT; i++)
		kept += mm->hot[i].pages;
	if (kept * PAGE_SIZE > (u64)knob_fork_copy_kb << 10)
		return;
	mm->hot[mm->hot_next].start = start;
	mm->hot[mm->hot_next].pages = pages;
	mm->hot_next = (mm->hot_next + 1) % FORK_HOT;
}

static bool any_hot(const struct mm *mm, const struct vma *v)
{
	for (int i = 0; i < FORK_HOT; i++)
		if (mm->hot[i].pages && mm->hot[i].start >= v->start && mm->hot[i].start < v->end)
			return true;
	return false;
}

static bool hot(const struct mm *mm, gva_t addr)
{
	for (int i = 0; i < FORK_HOT; i++)
		if (addr - mm->hot[i].start < mm->hot[i].pages * PAGE_SIZE)
			return true;
	return false;
}

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
static int mark_parent(struct mm *parent, struct vma *v, bool copy_hot)
{
	gva_t first = 0, last = 0, pos;
	struct pt_run run;
	int err;

	for (pos = v->start; pt_next_run(parent->pt, &pos, v->end, &run);) {
		u64 *e = &run.leaf->e[run.index];

		for (u64 i = 0; i < run.n && !(run.pte & PTE_COW); i++)
			if (memory_refs(pte_offset(e[i])) == 1 && !(copy_hot && hot(parent, run.addr + i * PAGE_SIZE)))
				e[i] |= PTE_COW;
	}
	/* What is not shared keeps its access, so that there may be several ranges. */
	for (pos = v->start; pt_next_run(parent->pt, &pos, v->end, &run);) {
		if (!(run.pte & PTE_W))
			continue;
		if (run.pte & PTE_COW) {
			first = first ? first : run.addr;
			last = pos;
			continue;
		}
		err = protect_parent(parent, v, first, last);
		if (err)
			return err;
		first = last = 0;
	}
	return protect_parent(parent, v, first, last);
}

/* The child's own copy of one run of the parent's, shown if that was. */
static int copy_now(struct mm *child, struct vma *v, const struct pt_run *run)
{
	struct pt_leaf *leaf = pt_leaf_get(child->pt, run->addr);
	u64 offset, got;
	int err = leaf ? 0 : -ENOMEM;

	for (u64 i = 0; !err && i < run->n; i += got) {
		struct pt_run mine = { run->addr + i * PAGE_SIZE, 0, 0, leaf, run->index + i };

		err = memory_alloc_upto(run->n - i, false, &offset, &got);
		if (err)
			break;
		mine.n = got;
		mine.pte = offset | PTE_PRESENT | PTE_ANON;
		memory_enter(offset, got);
		guest_copy(memory_ptr(offset), memory_ptr(pte_offset(run->pte) + i * PAGE_SIZE), got * PAGE_SIZE);
		for (u64 k = 0; k < got; k++)
			pt_set(leaf, mine.index + k, mine.pte + k * PAGE_SIZE);
		mm_count_rss(child, got);
		if (knob_fork_eager && (run->pte & PTE_SHOWN))
			err = mm_show(child, v, &mine, AS_MAP_FRESH | AS_MAP_POPULATE);
	}
	return err;
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
	int err = private ? mark_parent(parent, from, atomic_load(&parent->refs) == 1 && any_hot(parent, from)) : 0;

	for (gva_t pos = from->start; !err && pt_next_run(parent->pt, &pos, from->end, &run);)
		err = private && !(run.pte & PTE_COW) ? copy_now(child, to, &run) : copy_run(child, to, &run);
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
	memcpy(child->hot, parent->hot, sizeof(child->hot));
	child->hot_next = parent->hot_next;
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
