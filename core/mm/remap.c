/*
 * mremap: grow or shrink in place, or move. A move takes the page-table entries along; no page is copied.
 */
#include "mm/internal.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static int check_request(const struct remap_request *r)
{
	if (r->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
		return -EINVAL;
	if ((r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(r->flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((r->flags & MREMAP_DONTUNMAP) && page_up(r->len) != page_up(r->new_len))
		return -EINVAL;
	if (r->addr & ~PAGE_MASK || !page_up(r->new_len) || !guest_range_ok(0, page_up(r->new_len)))
		return -EINVAL;
	if (!(r->flags & MREMAP_FIXED))
		return 0;
	if (r->new_addr & ~PAGE_MASK || !guest_range_ok(r->new_addr, page_up(r->new_len)))
		return -EINVAL;
	if (r->new_addr < r->addr + page_up(r->len) && r->addr < r->new_addr + page_up(r->new_len))
		return -EINVAL;
	return r->new_addr < GUEST_MIN ? -EPERM : 0;
}

/* The vma that may be remapped for [addr, addr + len), with the limits checked for growth to new_len. */
static int check_vma(struct mm *mm, const struct remap_request *r, u64 len, u64 new_len, struct vma **out)
{
	struct vma *v = vma_find(mm, r->addr);
	u64 more = new_len > len ? (new_len - len) >> PAGE_SHIFT : 0;

	if (!v)
		return -EFAULT;
	if (!len && !vma_shared(v))
		return -EINVAL;
	if ((r->flags & MREMAP_DONTUNMAP) && (v->flags & VMA_SPECIAL))
		return -EINVAL;
	if (len > v->end - r->addr || (more && (v->flags & VMA_SPECIAL)))
		return -EFAULT;
	if (v->cache && (s64)(vma_file_offset(v, r->addr) + new_len) < 0)
		return -EINVAL;
	if (more && (v->flags & VMA_LOCKED) && mm_may_lock(mm, more, r->limit_memlock))
		return -EAGAIN;
	if (!mm_may_grow(mm, more, vma_is_data(v->prot, v->flags), r->limit_as, r->limit_data))
		return -ENOMEM;
	*out = v;
	return 0;
}

/* Leaves for the destination first, so that nothing can fail once the old range is hidden. */
static int move_pages(struct mm *mm, gva_t from, gva_t to, u64 len, struct vma *dst)
{
	struct pt_run run;
	int err;

	for (gva_t pos = from; pt_next_run(mm->pt, &pos, from + len, &run);)
		for (gva_t p = run.addr; p < pos + PT_LEAF_SIZE; p += PT_LEAF_SIZE)
			if (!pt_leaf_get(mm->pt, MIN(p, pos - PAGE_SIZE) - from + to))
				return -ENOMEM;
	err = mm_hide(mm, from, from + len);
	if (err)
		return err;
	/* The entry is set before the old one is cleared: a leaf that both are in must not be freed in between. */
	for (gva_t pos = from; pt_next_run(mm->pt, &pos, from + len, &run);) {
		for (u64 i = 0; i < run.n; i++) {
			gva_t at = run.addr - from + to + i * PAGE_SIZE;

			pt_set(pt_leaf_get(mm->pt, at), pt_index(at), run.pte + i * PAGE_SIZE);
		}
		pt_run_clear(mm->pt, &run);
	}
	/* What can't be shown now is shown by a fault. */
	for (gva_t pos = to; pt_next_run(mm->pt, &pos, to + len, &run);)
		if (mm_show(mm, dst, &run, AS_MAP_FRESH))
			break;
	return 0;
}

static s64 pick_target(struct mm *mm, const struct remap_request *r, u64 new_len, struct graveyard *dead)
{
	int err;

	if (!(r->flags & MREMAP_FIXED)) {
		if ((r->flags & MREMAP_DONTUNMAP) && r->new_addr && gap_fits(mm, page_up(r->new_addr), new_len))
			return page_up(r->new_addr);
		return gap_find(mm, new_len, false);
	}
	err = unmap_range(mm, r->new_addr, r->new_addr + new_len, dead);
	return err ? err : (s64)r->new_addr;
}

static s64 move_vma(struct mm *mm, const struct remap_request *r, u64 len, u64 new_len, struct graveyard *dead)
{
	s64 to = pick_target(mm, r, new_len, dead);
	struct vma *v, *copy;
	int err;

	if (to < 0)
		return to;
	if (mm->nvmas + 3 >= MAX_VMAS)
		return -ENOMEM;
	v = vma_find(mm, r->addr);	/* unmapping the target may have split it */
	copy = v ? vma_dup(v) : NULL;
	if (!copy)
		return v ? -ENOMEM : -EFAULT;
	if (copy->cache || copy->file)
		copy->offset = vma_file_offset(v, r->addr);
	copy->start = to;
	copy->end = to + new_len;
	vma_insert(mm, copy);
	err = len ? move_pages(mm, r->addr, to, len, copy) : 0;
	if (err) {
		vma_remove(mm, copy, dead);
		gap_freed(mm, to);
		return err;
	}
	if (len && !(r->flags & MREMAP_DONTUNMAP))
		unmap_range(mm, r->addr, r->addr + len, dead);
	else if (len && (v->flags & VMA_LOCKED))
		vma_set_flags(mm, v, v->prot, v->flags & ~(VMA_LOCKED | VMA_ONFAULT));
	vma_merge(mm, copy, dead);
	return to;
}

static bool grow_in_place(struct mm *mm, struct vma *v, gva_t addr, u64 len, u64 new_len, struct graveyard *dead)
{
	if (addr + len != v->end || !gap_fits(mm, v->end, new_len - len))
		return false;
	vma_set_end(mm, v, addr + new_len);
	vma_merge(mm, v, dead);
	return true;
}

static s64 remap_locked(struct mm *mm, const struct remap_request *r, struct graveyard *dead, bool *populate)
{
	u64 len = page_up(r->len), new_len = page_up(r->new_len);
	bool must_move = r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	struct vma *v;
	int err;

	if (len >= new_len && !must_move && len) {
		if (!guest_range_ok(r->addr, len) || !vma_find(mm, r->addr))
			return -EFAULT;
		err = len > new_len ? unmap_range(mm, r->addr + new_len, r->addr + len, dead) : 0;
		return err ? err : (s64)r->addr;
	}
	err = check_vma(mm, r, len, new_len, &v);
	if (err)
		return err;
	*populate = new_len > len && (v->flags & (VMA_LOCKED | VMA_ONFAULT)) == VMA_LOCKED;
	if (len > new_len) {
		err = unmap_range(mm, r->addr + new_len, r->addr + len, dead);
		if (err)
			return err;
		len = new_len;
	}
	if (!must_move && len && grow_in_place(mm, v, r->addr, len, new_len, dead))
		return r->addr;
	if (!(r->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	return move_vma(mm, r, len, new_len, dead);
}

s64 mm_remap(struct mm *mm, const struct remap_request *req)
{
	struct graveyard dead = { NULL };
	bool populate = false;
	s64 ret = check_request(req);

	if (ret)
		return ret;
	pthread_mutex_lock(&mm->lock);
	ret = remap_locked(mm, req, &dead, &populate);
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	if (ret > 0 && populate)
		mm_populate(mm, ret, page_up(req->new_len));
	return ret;
}
