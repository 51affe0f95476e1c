/*
 * Copy on write: after fork, and for private file mappings.
 *
 * A page that nobody else refers to any more is taken over in place, along with its neighbours in the same state:
 * that costs no copy. What is really shared is copied a little at a time, more while the writes come in sequence.
 */
#include "mm/internal.h"

/*
 * The window to copy. Of a file, blocks counted from the start of its mapping: the data segment of a library is one
 * or two of them, and nearly all of it is written to by the time the program runs. Otherwise an aligned window, which
 * doubles while the writes come in sequence.
 */
static void copy_window(struct fault *f)
{
	struct vma *v = f->v;
	u64 around = (u64)knob_cow_around_kb << 10, max = (u64)MAX(knob_fault_around_kb, knob_cow_around_kb) << 10;

	if (v->cache) {
		u64 block = knob_cow_file_kb << 10;
		gva_t base = align_down(f->addr, PT_LEAF_SIZE), lo = v->start + align_down(f->addr - v->start, block);

		f->lo = (MAX(lo, base) - base) >> PAGE_SHIFT;
		f->hi = (MIN(MIN(lo + block, v->end), base + PT_LEAF_SIZE) - base) >> PAGE_SHIFT;
		return;
	}
	if (f->addr == v->cow_next)
		around = MIN(2 * ((u64)v->cow_run << PAGE_SHIFT), max);
	fault_window(f, around);
	v->cow_run = around >> PAGE_SHIFT;
}

static bool shared_cow(u64 e) { return (e & PTE_COW) && memory_refs(pte_offset(e)) > 1; }
static bool own_cow(u64 e) { return (e & PTE_COW) && memory_refs(pte_offset(e)) == 1; }

/*
 * Nobody can add a reference to a page of ours but fork and uaccess, which need mm->lock, and a page cache, which
 * then holds one itself: so a count of one stays one while we look.
 */
static int take_over(struct fault *f)
{
	u32 from = f->index, to = f->index;
	u64 *e = f->leaf->e;
	bool all_shown = true;
	int err;

	fault_window(f, (u64)knob_takeover_kb << 10);
	while (from > f->lo && own_cow(e[from - 1]))
		from--;
	while (to < f->hi && own_cow(e[to]))
		to++;
	for (u32 i = from; i < to; i++) {
		e[i] = (e[i] & ~(u64)PTE_COW) | PTE_ANON;
		all_shown &= (e[i] & PTE_SHOWN) != 0;
	}
	if (!all_shown)
		return fault_show(f, from, to, AS_MAP_POPULATE);
	err = platform->as_protect(f->mm->as, fault_addr(f, from), (u64)(to - from) << PAGE_SHIFT,
				   pte_access(f->v, e[f->index]));
	for (u32 i = from; i < to && !err; i++)
		e[i] = (e[i] & ~(u64)PTE_VIEW) | pte_view(pte_access(f->v, e[i]));
	if (err)
		mm_hide(f->mm, fault_addr(f, from), fault_addr(f, to));	/* some may have got the access */
	return err;
}

/*
 * Replace entries [from, from + n) by copies in one run of the memory file; fewer if there is no such run, but the
 * faulting page is among them.
 */
static int copy_entries(struct fault *f, u32 from, u32 n)
{
	u64 offset, got, old[PT_LEAF_PAGES];
	u64 *e = f->leaf->e;
	int err = memory_alloc_upto(n, false, &offset, &got);

	if (err)
		return err;
	if (got < n) {
		n = MIN(got, from + n - f->index);
		from = f->index;
		memory_put(offset + n * PAGE_SIZE, got - n);
	}
	memory_enter(offset, n);
	for (u32 k = 0; k < n; k++) {
		old[k] = e[from + k];
		guest_copy(memory_ptr(offset + k * PAGE_SIZE), memory_ptr(pte_offset(old[k])), PAGE_SIZE);
		e[from + k] = (offset + k * PAGE_SIZE) | PTE_PRESENT | PTE_ANON | (old[k] & PTE_VIEW);
	}
	err = fault_show(f, from, from + n, true);
	if (!err) {
		for (u32 k = 0; k < n; k++)
			memory_put(pte_offset(old[k]), 1);
		return 0;
	}
	/* The platform may show either page of each: hide both before one goes; if even that fails, lose the copies. */
	if (!platform->as_unmap(f->mm->as, fault_addr(f, from), (u64)n << PAGE_SHIFT)) {
		memory_put(offset, n);
		for (u32 k = 0; k < n; k++)
			old[k] &= ~(u64)PTE_VIEW;
	}
	memcpy(&e[from], old, n * sizeof(*e));
	return err;
}

/* Shared, or our own and not pinned by uaccess, which may be writing to it. */
static bool may_move(u64 e)
{
	return (e & PTE_COW) || ((e & PTE_ANON) && memory_refs(pte_offset(e)) == 1);
}

/*
 * A platform shows each run by one mapping, and the host gives a process no more than 65,530. When an mm has become
 * so scattered that this is near, whole stretches are copied to one place, whether they are shared or not. Those that
 * are our own may be written by a sibling at this moment, so all are hidden first.
 */
static int copy_stretch(struct fault *f)
{
	u32 from = f->index, to = f->index + 1;
	u64 *e = f->leaf->e;
	int err;

	fault_window(f, SCATTERED_WINDOW);
	while (from > f->lo && may_move(e[from - 1]))
		from--;
	while (to < f->hi && may_move(e[to]))
		to++;
	err = mm_hide(f->mm, fault_addr(f, from), fault_addr(f, to));
	if (err)
		return err;
	for (u32 i = from; i < to; i++)
		/* Should only a part find a place, the rest is taken over when it is touched. */
		e[i] |= PTE_COW;
	return copy_entries(f, from, to - from);
}

int fault_cow(struct fault *f)
{
	u64 *e = f->leaf->e;
	u32 from = f->index, to = f->index + 1;

	if (own_cow(e[from])) {
		fork_note_write(f->mm, fault_addr(f, from), 1);
		return take_over(f);
	}
	f->mm->scatter += 2;
	if (mm_scattered(f->mm))
		return copy_stretch(f);
	copy_window(f);
	while (from > f->lo && shared_cow(e[from - 1]))
		from--;
	while (to < f->hi && shared_cow(e[to]))
		to++;
	f->v->cow_next = fault_addr(f, to);
	fork_note_write(f->mm, fault_addr(f, from), to - from);
	return copy_entries(f, from, to - from);
}

/* Pages of a private file mapping that were never shown: copy straight from the page cache. */
int fault_copy_file(struct fault *f)
{
	u64 at = vma_file_offset(f->v, f->addr) >> PAGE_SHIFT, first, offset, got, src[PT_LEAF_PAGES];
	u32 from = f->index, to = f->index + 1, skip = 0;
	int have, err;

	copy_window(f);
	while (from > f->lo && !f->leaf->e[from - 1])
		from--;
	while (to < f->hi && !f->leaf->e[to])
		to++;
	have = page_cache_grab(f->v->cache, at, at - (f->index - from), at + (to - f->index), false, &first, src);
	if (have < 0)
		return have;
	err = memory_alloc_upto(have, false, &offset, &got);
	if (err)
		goto out;
	if (got < (u64)have) {
		skip = at - first;		/* the faulting page at least */
		if (got > (u64)have - skip)
			memory_put(offset + (have - skip) * PAGE_SIZE, got - (have - skip));
		got = MIN(got, (u64)have - skip);
	}
	from = f->index - (at - first) + skip;
	memory_enter(offset, got);
	for (u64 k = 0; k < got; k++) {
		guest_copy(memory_ptr(offset + k * PAGE_SIZE), memory_ptr(src[skip + k]), PAGE_SIZE);
		pt_set(f->leaf, from + k, (offset + k * PAGE_SIZE) | PTE_PRESENT | PTE_ANON);
	}
	mm_count_rss(f->mm, got);
	err = fault_show(f, from, from + got, AS_MAP_POPULATE | AS_MAP_FRESH);
out:
	for (int k = 0; k < have; k++)
		memory_put(src[k], 1);
	return err;
}
