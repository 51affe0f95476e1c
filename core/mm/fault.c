/*
 * Page faults: from "the guest touched this" to pages that the platform shows.
 *
 * One fault costs far more than one page, so each maps an aligned window around the address, cut at the edges of the
 * vma and of the page-table leaf, from one contiguous run of the memory file where it can, populated in the same call.
 */
#include "mm/internal.h"

#define AHEAD_RUNS	64		/* stretches of the cache looked at */

static bool access_ok(const struct vma *v, enum access want)
{
	/* On x86 whatever is accessible at all can be read. */
	return want == ACCESS_READ ? (v->prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) != 0 : (v->prot & want) != 0;
}

void fault_window(struct fault *f, u64 bytes)
{
	gva_t base = align_down(f->addr, PT_LEAF_SIZE), lo = align_down(f->addr, bytes), hi = lo + bytes;

	lo = MAX(MAX(lo, base), f->v->start);
	hi = MIN(MIN(hi, base + PT_LEAF_SIZE), f->v->end);
	f->lo = (lo - base) >> PAGE_SHIFT;
	f->hi = (hi - base) >> PAGE_SHIFT;
}

/* ---- the stack ---- */

/* What a stack keeps clear of above `below`; nothing above inaccessible memory or another stack. */
static u64 guard_below(const struct vma *below)
{
	return below->prot && !(below->flags & MAP_GROWSDOWN) ? STACK_GUARD_GAP : 0;
}

/*
 * Extend the GROWSDOWN vma above `addr` down to it. It grows by whole windows where it may, so that the next faults
 * find it grown. NULL if there is none, or the limit or the guard gap forbids it.
 */
static struct vma *grow_stack(struct mm *mm, gva_t addr)
{
	struct vma *v = vma_next(mm, addr), *below;
	gva_t lowest, page = page_down(addr), start;

	if (!v || !(v->flags & MAP_GROWSDOWN))
		return NULL;
	below = vma_before(mm, v);
	lowest = MAX(v->end - MIN(v->end, page_down(mm->stack_limit)), GUEST_MIN);
	if (below)
		lowest = MAX(lowest, below->end + guard_below(below));
	if (page < lowest)
		return NULL;
	start = MAX(align_down(page, (u64)knob_fault_around_kb << 10), lowest);
	vma_set_start(mm, v, start);
	return v;
}

/* ---- showing ---- */

/* Entries alike but for what is shown of them. */
static u64 plain(u64 e) { return e & ~(u64)PTE_VIEW; }

int fault_show(struct fault *f, u32 from, u32 to, u32 how)
{
	u64 *e = f->leaf->e;

	while (from < to) {
		struct pt_run run = { fault_addr(f, from), 1, e[from], f->leaf, from };
		int err;

		while (from + run.n < to && plain(e[from + run.n]) == plain(e[from]) + run.n * PAGE_SIZE)
			run.n++;
		err = mm_show(f->mm, f->v, &run, how);
		if (err)
			return err;
		from += run.n;
	}
	return 0;
}

/*
 * The page is there but the platform does not show it so: never shown, dropped by the backend, or a sibling was
 * faster. Showing it again is harmless, so these need no telling apart.
 */
static int fault_again(struct fault *f)
{
	u32 from = f->index, to = f->index + 1;
	u64 *e = f->leaf->e;

	while (from > f->lo && plain(e[from - 1]) == plain(e[from]) - PAGE_SIZE)
		from--;
	while (to < f->hi && plain(e[to]) == plain(e[to - 1]) + PAGE_SIZE)
		to++;
	return fault_show(f, from, to, AS_MAP_POPULATE);
}

/* ---- how scattered the mm is ---- */

/*
 * `scatter` is an upper estimate of the mappings that the platform needs; it is only counted when it seems too large.
 */
bool mm_scattered(struct mm *mm)
{
	struct pt_run run;
	u64 next = 0, n = 0;

	if (mm->scatter < SCATTERED)
		return false;
	if (mm->scatter - mm->scatter_counted < SCATTERED / 8)
		return mm->scatter_counted >= SCATTERED * 3 / 4;
	for (gva_t pos = 0; pt_next_run(mm->pt, &pos, GUEST_END, &run);) {
		n += run.pte != next;
		next = run.pte + run.n * PAGE_SIZE;
	}
	mm->scatter = mm->scatter_counted = n;
	return n >= SCATTERED * 3 / 4;
}

/* ---- private anonymous memory ---- */

/* Widen the window while a vma is touched in sequence. */
static u64 anon_window(struct fault *f)
{
	u64 around = (u64)knob_fault_around_kb << 10, max = (u64)knob_fault_max_kb << 10;
	u64 run = (u64)f->v->fault_run << PAGE_SHIFT;

	f->mm->scatter += f->addr != f->v->fault_next;
	if (mm_scattered(f->mm))
		return MAX(around, SCATTERED_WINDOW);
	if (f->addr != f->v->fault_next || !run)
		return around;
	return MAX(around, MIN(run * 2, max));
}

static int fault_anon(struct fault *f)
{
	u64 window = anon_window(f), offset, got;
	u64 *e = f->leaf->e;
	u32 from = f->index, to = f->index + 1;
	int err;

	if (fault_huge(f, &err))
		return err;
	fault_window(f, window);
	while (from > f->lo && !e[from - 1])
		from--;
	while (to < f->hi && !e[to])
		to++;
	err = memory_alloc_upto(to - from, true, &offset, &got);
	if (err)
		return err;
	if (got < to - from) {
		from = MAX(from, f->index - MIN(f->index, got - 1));
		to = from + got;
	}
	for (u32 i = 0; i < got; i++)
		pt_set(f->leaf, from + i, (offset + i * PAGE_SIZE) | PTE_PRESENT | PTE_ANON);
	mm_count_rss(f->mm, got);
	f->v->fault_next = fault_addr(f, to);
	f->v->fault_run = window >> PAGE_SHIFT;
	return fault_show(f, from, to, AS_MAP_POPULATE | AS_MAP_FRESH);
}

/* ---- files and shared memory ---- */

static int fault_file(struct fault *f)
{
	u64 at = vma_file_offset(f->v, f->addr) >> PAGE_SHIFT, offsets[PT_LEAF_PAGES], first;
	bool write = f->want == ACCESS_WRITE && vma_shared(f->v);
	u64 flags = PTE_PRESENT, n_new = 0;
	u32 from;
	int n;

	n = page_cache_grab(f->v->cache, at, at - (f->index - f->lo), at + (f->hi - f->index), write, &first, offsets);
	if (n < 0)
		return n;
	if (!vma_shared(f->v))
		flags |= PTE_COW;
	else if (cache_tracked(f->v->cache) && !write)
		flags |= PTE_CLEAN;
	from = f->index - (at - first);
	for (int i = 0; i < n; i++) {
		if (f->leaf->e[from + i]) {
			memory_put(offsets[i], 1);
			continue;
		}
		pt_set(f->leaf, from + i, offsets[i] | flags);
		n_new++;
	}
	mm_count_rss(f->mm, n_new);
	return fault_show(f, from, from + n, AS_MAP_POPULATE | (n_new == (u64)n ? AS_MAP_FRESH : 0));
}

/* Small and writable: what is read first is written soon after, and a copy now saves the second fault. */
static bool is_data_segment(const struct vma *v)
{
	return (v->prot & PROT_WRITE) && v->end - v->start <= (u64)knob_cow_file_kb << 10;
}

/*
 * Show pages of a new file mapping that the page cache has already, before anyone asks: the libraries that every
 * program maps then cost no faults. They are not entered into the guest's page tables; the host does that around what
 * is touched.
 */
void fault_ahead(struct mm *mm, struct vma *v)
{
	u64 lo = v->offset >> PAGE_SHIFT, hi = lo + MIN(vma_pages(v), (u64)knob_map_ahead_kb >> 2), first = lo;
	u64 flags = PTE_PRESENT, offsets[PT_LEAF_PAGES];

	if (!v->prot || (!vma_shared(v) && v->prot & PROT_WRITE))
		return;
	if (!vma_shared(v))
		flags |= PTE_COW;
	else if (cache_tracked(v->cache))
		flags |= PTE_CLEAN;
	for (int runs = 0; runs < AHEAD_RUNS; runs++) {
		u64 n = page_cache_peek(v->cache, &first, hi, offsets);
		struct fault f = { .mm = mm, .v = v, .addr = v->start + ((first - lo) << PAGE_SHIFT) };
		u32 from = pt_index(f.addr), part = MIN(n, (u64)PT_LEAF_PAGES - from);

		f.leaf = n ? pt_leaf_get(mm->pt, f.addr) : NULL;
		for (u32 i = 0; f.leaf && i < part; i++)
			pt_set(f.leaf, from + i, offsets[i] | flags);
		for (u64 i = f.leaf ? part : 0; i < n; i++)
			memory_put(offsets[i], 1);
		if (!f.leaf)
			return;
		mm_count_rss(mm, part);
		if (fault_show(&f, from, from + part, AS_MAP_FRESH))
			return;
		first += part;
	}
}

/* First write to a page of a shared file mapping whose store must hear of it. */
static int fault_dirty(struct fault *f)
{
	u64 at = vma_file_offset(f->v, f->addr) >> PAGE_SHIFT, offset, first;
	int n = page_cache_grab(f->v->cache, at, at, at + 1, true, &first, &offset);

	if (n < 0)
		return n;
	memory_put(offset, 1);
	f->leaf->e[f->index] &= ~(u64)PTE_CLEAN;
	return fault_show(f, f->index, f->index + 1, AS_MAP_POPULATE);
}

/* ---- the fault ---- */

static int resolve(struct fault *f)
{
	u64 e = f->leaf->e[f->index];

	if (!e && !f->v->cache)
		return fault_anon(f);
	if (!e && !vma_shared(f->v) && (f->want == ACCESS_WRITE || is_data_segment(f->v)))
		return fault_copy_file(f);
	if (!e)
		return fault_file(f);
	if (f->want == ACCESS_WRITE && (e & PTE_COW))
		return fault_cow(f);
	if (f->want == ACCESS_WRITE && (e & PTE_CLEAN))
		return fault_dirty(f);
	return fault_again(f);
}

int fault_locked(struct mm *mm, gva_t addr, enum access want)
{
	struct fault f = { .mm = mm, .addr = page_down(addr), .want = want, .index = pt_index(addr) };

	if (addr >= GUEST_END)
		return -EFAULT;
	f.v = vma_find(mm, addr);
	if (!f.v)
		f.v = grow_stack(mm, addr);
	if (!f.v)
		return -EFAULT;
	if (!access_ok(f.v, want))
		return -EACCES;
	f.leaf = pt_leaf_get(mm->pt, addr);
	if (!f.leaf)
		return -ENOMEM;
	fault_window(&f, (u64)knob_fault_around_kb << 10);
	return resolve(&f);
}

int mm_fault(struct mm *mm, gva_t addr, enum access want, u64 stack_limit)
{
	int err;

	pthread_mutex_lock(&mm->lock);
	mm->stack_limit = stack_limit;
	err = fault_locked(mm, addr, want);
	pthread_mutex_unlock(&mm->lock);
	return err;
}
