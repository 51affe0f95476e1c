/*
 * mlock and friends, mincore and msync. Guest memory never leaves the memory file, so locking is only a promise to
 * populate, and the accounting of RLIMIT_MEMLOCK.
 */
#include "mm/internal.h"

static int lock_one(struct mm *mm, struct vma *v, gva_t start, gva_t end, u32 lock, struct graveyard *dead)
{
	u32 flags = (v->flags & ~(VMA_LOCKED | VMA_ONFAULT)) | lock;
	int err;

	if (flags == v->flags || v->flags & VMA_SPECIAL)
		return 0;
	err = vma_isolate(mm, v, start, end, &v);
	if (err)
		return err;
	vma_set_flags(mm, v, v->prot, flags);
	vma_merge(mm, v, dead);
	return 0;
}

static u64 unlocked_pages(struct mm *mm, gva_t start, gva_t end)
{
	u64 n = 0;

	for (struct vma *v = vma_next(mm, start); v && v->start < end; v = vma_after(mm, v))
		if (!(v->flags & VMA_LOCKED))
			n += (MIN(end, v->end) - MAX(start, v->start)) >> PAGE_SHIFT;
	return n;
}

int mm_lock(struct mm *mm, gva_t addr, u64 len, u32 lock, u64 limit)
{
	struct graveyard dead = { NULL };
	gva_t start = page_down(addr), end = page_up(addr + len), at = start;
	int err = 0;

	if (addr + len < addr || end < start)
		return -EINVAL;
	if (!guest_range_ok(start, end - start))
		return -ENOMEM;
	pthread_mutex_lock(&mm->lock);
	if (lock && mm_may_lock(mm, unlocked_pages(mm, start, end), limit))
		err = -ENOMEM;
	while (at < end && !err) {
		struct vma *v = vma_find(mm, at);
		gva_t to = v ? MIN(end, v->end) : at;

		err = v ? lock_one(mm, v, at, to, lock, &dead) : -ENOMEM;
		at = to;
	}
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	if (!err && lock == VMA_LOCKED)
		mm_populate(mm, start, end - start);
	return err;
}

int mm_lock_all(struct mm *mm, u32 current, u32 future, u64 limit)
{
	struct graveyard dead = { NULL };
	struct vma *v;
	int err = 0;

	pthread_mutex_lock(&mm->lock);
	if (current && limit && mm->total_pages > limit >> PAGE_SHIFT)
		err = -ENOMEM;
	if (!err) {
		mm->lock_future = future;
		/* current 0: munlockall, or only the future; the caller tells them apart by `future`. */
		for (v = RB_MIN(vma_tree, &mm->vmas); v && (current || !future); v = vma_after(mm, v))
			if (!(v->flags & VMA_SPECIAL))
				vma_set_flags(mm, v, v->prot, (v->flags & ~(VMA_LOCKED | VMA_ONFAULT)) | current);
	}
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	if (!err && current == VMA_LOCKED)
		mm_populate(mm, GUEST_MIN, GUEST_END - GUEST_MIN);
	return err;
}

int mm_incore(struct mm *mm, gva_t addr, u64 n, u8 *vec)
{
	int err = 0;

	pthread_mutex_lock(&mm->lock);
	for (u64 i = 0; i < n && !err; i++) {
		gva_t at = addr + i * PAGE_SIZE;
		struct vma *v = vma_find(mm, at);

		if (!v)
			err = -ENOMEM;
		else if (pt_get(mm->pt, at))
			vec[i] = 1;
		else
			vec[i] = v->cache && page_cache_has(v->cache, vma_file_offset(v, at) >> PAGE_SHIFT);
	}
	pthread_mutex_unlock(&mm->lock);
	return err;
}

/* ---- msync ---- */

/* The vma at `at` is copied with references, because writing back must not hold up the mm. */
static int sync_one(struct mm *mm, gva_t *at, gva_t end, int flags, bool *hole)
{
	struct vma *v, *hold = NULL;
	int err = 0;

	pthread_mutex_lock(&mm->lock);
	v = vma_next(mm, *at);
	*hole |= !v || v->start > *at;
	if (!v || v->start >= end) {
		*at = end;
	} else {
		*at = v->end;
		if ((flags & MS_INVALIDATE) && (v->flags & VMA_LOCKED))
			err = -EBUSY;
		else if ((flags & MS_SYNC) && v->file && v->cache && vma_shared(v))
			hold = vma_dup(v);
	}
	pthread_mutex_unlock(&mm->lock);
	if (!hold)
		return err;
	err = page_cache_sync(hold->cache);
	vma_free(hold);
	return err;
}

int mm_sync(struct mm *mm, gva_t addr, u64 len, int flags)
{
	gva_t end = addr + page_up(len);
	bool hole = false;
	int err = 0;

	if (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || addr & ~PAGE_MASK ||
	    (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return -EINVAL;
	if (end < addr || (len && !page_up(len)))
		return -ENOMEM;
	while (addr < end && !err)
		err = sync_one(mm, &addr, end, flags, &hole);
	return err ? err : hole ? -ENOMEM : 0;
}
