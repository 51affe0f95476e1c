/*
 * Where a mapping goes when the guest leaves it to us: the highest gap below mmap_top that is large enough.
 *
 * Gaps between gap_top and mmap_top that were seen to be too small are not looked at again until something there is
 * unmapped, so a program with thousands of mappings does not pay for all of them at each mmap.
 */
#include "mm/internal.h"

#define LOW_START	((gva_t)0x40000000)
#define LOW_END		((gva_t)0x80000000)

/* What a mapping below `v` must stay clear of. */
static gva_t floor_of(const struct vma *v)
{
	if (!(v->flags & MAP_GROWSDOWN))
		return v->start;
	return v->start > STACK_GUARD_GAP ? v->start - STACK_GUARD_GAP : 0;
}

static struct vma *last_below(struct mm *mm, gva_t addr)
{
	struct vma *v = RB_ROOT(&mm->vmas), *best = NULL;

	while (v) {
		if (v->start < addr)
			best = v;
		v = v->start < addr ? RB_RIGHT(v, node) : RB_LEFT(v, node);
	}
	return best;
}

/* The highest gap of `len` in [lo, hi), or -ENOMEM. *largest: of those that were too small. */
static s64 search(struct mm *mm, u64 len, gva_t lo, gva_t hi, u64 *largest)
{
	struct vma *v = last_below(mm, page_down(hi));
	struct vma *above = v ? vma_after(mm, v) : RB_MIN(vma_tree, &mm->vmas);
	gva_t top = above ? MIN(page_down(hi), floor_of(above)) : page_down(hi);

	for (;;) {
		gva_t bottom = v ? MAX(v->end, page_up(lo)) : page_up(lo);

		if (top > bottom) {
			if (top - bottom >= len)
				return top - len;
			*largest = MAX(*largest, top - bottom);
		}
		if (!v || v->start <= lo)
			return -ENOMEM;
		top = MIN(top, floor_of(v));
		v = vma_before(mm, v);
	}
}

s64 gap_between(struct mm *mm, u64 len, gva_t lo, gva_t hi)
{
	u64 unused = 0;

	return search(mm, len, lo, hi, &unused);
}

s64 gap_find(struct mm *mm, u64 len, bool low)
{
	u64 unused = 0;
	s64 addr;

	if (low)
		return search(mm, len, LOW_START, LOW_END, &unused);
	if (mm->gap_base != mm->mmap_top || len <= mm->gap_hole) {
		mm->gap_base = mm->gap_top = mm->mmap_top;
		mm->gap_hole = 0;
	}
	addr = search(mm, len, GUEST_MIN, mm->gap_top, &mm->gap_hole);
	if (addr > 0) {
		mm->gap_top = addr;
		return addr;
	}
	return search(mm, len, GUEST_MIN, GUEST_END, &unused);
}

s64 gap_find_block(struct mm *mm, u64 len)
{
	s64 addr = gap_find(mm, len + PT_LEAF_SIZE, false), start;

	if (addr < 0)
		return gap_find(mm, len, false);
	start = align_down(addr + PT_LEAF_SIZE, PT_LEAF_SIZE);
	if (mm->gap_top == (gva_t)addr) {
		mm->gap_hole = MAX(mm->gap_hole, addr + PT_LEAF_SIZE - start);
		mm->gap_top = start;
	}
	return start;
}

bool gap_fits(struct mm *mm, gva_t addr, u64 len)
{
	struct vma *v;

	if (addr < GUEST_MIN || !guest_range_ok(addr, len))
		return false;
	v = vma_next(mm, addr);
	return !v || floor_of(v) >= addr + len;
}

void gap_freed(struct mm *mm, gva_t addr)
{
	struct vma *v = vma_next(mm, addr);
	gva_t end = v ? v->start : GUEST_END;

	if (end > mm->gap_top)
		mm->gap_top = MIN(end, mm->mmap_top);
}
