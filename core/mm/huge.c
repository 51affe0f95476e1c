/*
 * Private anonymous memory 2 MiB at a time: a block, which is what a leaf of the page table covers.
 *
 * A block in one aligned run of the memory file is one huge page of the host, and one entry in the page tables of a
 * platform that writes them: touching the rest of it costs nothing more. Memory that a guest never touches is the
 * price, so a block is filled when it is a quarter full, or when a mapping is touched in order.
 */
#include "mm/internal.h"

enum { DENSE = PT_LEAF_PAGES / 4, SEQUENCE = 32 };	/* pages */

/* Nobody else refers to the page, nor reads a file into it, nor will. */
static bool ours(u64 e) { return (e & (PTE_ANON | PTE_COW)) == PTE_ANON && memory_refs(pte_offset(e)) == 1; }

static bool worth_it(const struct fault *f)
{
	const struct vma *v = f->v;
	gva_t block = align_down(f->addr, PT_LEAF_SIZE);

	if (!memory_huge() || knob_fault_max_kb < (long)(PT_LEAF_SIZE >> 10) || block < v->start ||
	    block + PT_LEAF_SIZE > v->end || memory_used() > memory_limit() / 2)
		return false;
	if (f->leaf->used >= DENSE)
		return true;
	return f->addr == v->fault_next && v->fault_run >= SEQUENCE;
}

/* In place of what the block had, `offset`: what was written goes over, hidden meanwhile from siblings that write. */
static int move_in(struct fault *f, u64 offset)
{
	gva_t block = align_down(f->addr, PT_LEAF_SIZE);
	u64 *e = f->leaf->e, old[PT_LEAF_PAGES];
	int err = f->leaf->used ? mm_hide(f->mm, block, block + PT_LEAF_SIZE) : 0;

	if (err)
		return err;
	memcpy(old, e, sizeof(old));
	mm_count_rss(f->mm, PT_LEAF_PAGES - f->leaf->used);
	for (u32 i = 0; i < PT_LEAF_PAGES; i++) {
		if (old[i])
			guest_copy(memory_ptr(offset + i * PAGE_SIZE), memory_ptr(pte_offset(old[i])), PAGE_SIZE);
		pt_set(f->leaf, i, (offset + i * PAGE_SIZE) | PTE_PRESENT | PTE_ANON);
	}
	for (u32 i = 0; i < PT_LEAF_PAGES; i++)
		if (old[i])
			memory_put(pte_offset(old[i]), 1);
	return 0;
}

bool fault_huge(struct fault *f, int *err)
{
	u64 offset;

	if (!worth_it(f))
		return false;
	for (u32 i = 0; f->leaf->used && i < PT_LEAF_PAGES; i++)
		if (f->leaf->e[i] && !ours(f->leaf->e[i]))
			return false;
	if (memory_alloc_whole(PT_LEAF_PAGES, &offset))
		return false;
	*err = move_in(f, offset);
	if (*err) {
		memory_put(offset, PT_LEAF_PAGES);
		return true;
	}
	f->mm->scatter++;
	f->v->fault_next = fault_addr(f, PT_LEAF_PAGES);
	f->v->fault_run = PT_LEAF_PAGES;
	*err = fault_show(f, 0, PT_LEAF_PAGES, AS_MAP_POPULATE | AS_MAP_FRESH);
	return true;
}
