/*
 * Copy on write: after fork, and for private file mappings.
 *
 * A page that nobody else refers to any more is taken over in place, along with its neighbours in the same state:
 * that costs no copy. What is really shared is copied a little at a time, more while the writes come in sequence.
 */
#include "mm/internal.h"

/* How many pages from here on to copy. */
static u32 copy_run(struct fault *f)
{
	struct vma *v = f->v;
	u32 around = knob_cow_around_kb >> 2, max = MAX(knob_fault_around_kb, knob_cow_around_kb) >> 2;

	if (f->addr == v->cow_next && v->cow_run)
		around = MAX(around, MIN(v->cow_run * 2, max));
	return MAX(around, 1);
}

static void copied(struct fault *f, u32 n)
{
	f->v->cow_next = f->addr + n * PAGE_SIZE;
	f->v->cow_run = n;
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
	err = platform->as_protect(f->mm->as, fault_addr(f, from), (u64)(to - from) << PAGE_SHIFT, pte_access(f->v, e[f->index]));
	for (u32 i = from; i < to && !err; i++)
		e[i] = (e[i] & ~(u64)PTE_VIEW) | pte_view(pte_access(f->v, e[i]));
	return err;
}

int fault_cow(struct fault *f)
{
	u64 offset, got, old[PT_LEAF_PAGES];
	u64 *e = f->leaf->e;
	u32 i = f->index, n = 1, want;
	int err;

	if (own_cow(e[i]))
		return take_over(f);
	want = copy_run(f);
	fault_window(f, (u64)MAX(knob_fault_around_kb, knob_cow_around_kb) << 10);
	while (n < want && i + n < f->hi && shared_cow(e[i + n]))
		n++;
	err = memory_alloc_upto(n, false, &offset, &got);
	if (err)
		return err;
	for (n = 0; n < got; n++) {
		old[n] = e[i + n];
		guest_copy(memory_ptr(offset + n * PAGE_SIZE), memory_ptr(pte_offset(old[n])), PAGE_SIZE);
		e[i + n] = (offset + n * PAGE_SIZE) | PTE_PRESENT | PTE_ANON | (e[i + n] & PTE_VIEW);
	}
	copied(f, n);
	err = fault_show(f, i, i + n, AS_MAP_POPULATE);
	if (err)
		goto undo;
	for (u32 k = 0; k < n; k++)
		memory_put(pte_offset(old[k]), 1);
	return 0;
undo:
	/* The platform may still show the old pages: they must stay ours. */
	for (u32 k = 0; k < n; k++)
		e[i + k] = old[k];
	memory_put(offset, n);
	return err;
}

/* A write to a page of a private file mapping that was never read through it: copy straight from the page cache. */
int fault_copy_file(struct fault *f)
{
	u64 at = vma_file_offset(f->v, f->addr) >> PAGE_SHIFT, first, offset, got, src[PT_LEAF_PAGES];
	u32 want = copy_run(f), n = 1, i = f->index;
	int have, err;

	while (n < want && i + n < f->hi && !f->leaf->e[i + n])
		n++;
	have = page_cache_grab(f->v->cache, at, at, at + n, false, &first, src);
	if (have < 0)
		return have;
	err = memory_alloc_upto(have, false, &offset, &got);
	if (err)
		goto out;
	for (n = 0; n < got; n++) {
		guest_copy(memory_ptr(offset + n * PAGE_SIZE), memory_ptr(src[n]), PAGE_SIZE);
		pt_set(f->leaf, i + n, (offset + n * PAGE_SIZE) | PTE_PRESENT | PTE_ANON);
	}
	mm_count_rss(f->mm, n);
	copied(f, n);
	err = fault_show(f, i, i + n, AS_MAP_POPULATE);
out:
	for (int k = 0; k < have; k++)
		memory_put(src[k], 1);
	return err;
}
