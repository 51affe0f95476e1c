/*
 * madvise. Advice that only helps the kernel choose is accepted and does nothing.
 */
#include "mm/internal.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static int change_flags(struct mm *mm, struct vma *v, gva_t start, gva_t end, u32 clear, u32 set,
			struct graveyard *dead)
{
	u32 flags = (v->flags & ~clear) | set;
	int err;

	if (flags == v->flags)
		return 0;
	err = vma_isolate(mm, v, start, end, &v);
	if (err)
		return err == -ENOMEM && mm->nvmas >= MAX_VMAS ? -EAGAIN : err;
	vma_set_flags(mm, v, v->prot, flags);
	vma_merge(mm, v, dead);
	return 0;
}

static int dont_need(struct mm *mm, struct vma *v, gva_t start, gva_t end, int advice)
{
	if ((v->flags & VMA_LOCKED && advice != MADV_DONTNEED_LOCKED) || v->flags & VMA_SPECIAL)
		return -EINVAL;
	if (advice == MADV_FREE) {
		if (v->cache)
			return -EINVAL;
		/* "Some time later, if memory is short": the guest's data may stay, and that is the cheapest. */
		if (memory_used() < memory_limit() / 2)
			return 0;
	}
	return mm_zap(mm, start, end);
}

static int advise_one(struct mm *mm, struct vma *v, gva_t start, gva_t end, int advice, struct graveyard *dead)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
		return dont_need(mm, v, start, end, advice);
	case MADV_DONTFORK:
		return change_flags(mm, v, start, end, 0, VMA_DONTFORK, dead);
	case MADV_DOFORK:
		return v->flags & VMA_SPECIAL ? -EINVAL : change_flags(mm, v, start, end, VMA_DONTFORK, 0, dead);
	case MADV_WIPEONFORK:
		return v->cache || v->file ? -EINVAL : change_flags(mm, v, start, end, 0, VMA_WIPEONFORK, dead);
	case MADV_KEEPONFORK:
		return change_flags(mm, v, start, end, VMA_WIPEONFORK, 0, dead);
	case MADV_COLD:
	case MADV_PAGEOUT:
		return v->flags & (VMA_LOCKED | VMA_SPECIAL) ? -EINVAL : 0;
	default:
		return 0;
	}
}

static bool known(int advice)
{
	static const u8 list[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE, MADV_REMOVE,
		MADV_DONTFORK, MADV_DOFORK, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_DONTNEED_LOCKED, MADV_COLLAPSE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		if (list[i] == advice)
			return true;
	return false;
}

/* ---- advice that needs mm->lock dropped or taken in pieces ---- */

static int populate_error(int err)
{
	switch (err) {
	case -EACCES:
		return -EINVAL;
	case -ENXIO:
	case -EIO:
		return -EFAULT;
	case -EFAULT:
		return -ENOMEM;
	default:
		return err;
	}
}

static int populate(struct mm *mm, gva_t start, gva_t end, enum access want)
{
	int err = 0;

	for (gva_t addr = start; addr < end && !err; addr += PAGE_SIZE) {
		pthread_mutex_lock(&mm->lock);
		if (!(pt_get(mm->pt, addr) & ((u64)want << 4)))
			err = fault_locked(mm, addr, want);
		pthread_mutex_unlock(&mm->lock);
	}
	return populate_error(err);
}

/* One vma's part of MADV_REMOVE; *next moves behind it. The file is punched without mm->lock: that takes other mms'. */
static int remove_one(struct mm *mm, gva_t start, gva_t end, gva_t *next)
{
	struct vma *v, *hold = NULL;
	int err = 0;

	pthread_mutex_lock(&mm->lock);
	v = vma_find(mm, start);
	if (!v)
		err = -ENOMEM;
	else if (!vma_shared(v) || !v->cache || v->flags & VMA_LOCKED)
		err = -EINVAL;
	else if (!(v->prot & PROT_WRITE))
		err = -EACCES;
	else if (!(hold = vma_dup(v)))
		err = -ENOMEM;
	pthread_mutex_unlock(&mm->lock);
	if (err)
		return err;
	*next = MIN(end, hold->end);
	if (hold->file && hold->file->ops->fallocate)
		err = hold->file->ops->fallocate(hold->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						 vma_file_offset(hold, start), *next - start);
	else
		err = page_cache_punch(hold->cache, vma_file_offset(hold, start), *next - start);
	vma_free(hold);
	return err;
}

static int advise_range(struct mm *mm, gva_t start, gva_t end, int advice)
{
	struct graveyard dead = { NULL };
	bool hole = false;
	int err = 0;

	pthread_mutex_lock(&mm->lock);
	while (start < end && !err) {
		struct vma *v = vma_next(mm, start);
		gva_t to;

		hole |= !v || v->start > start;
		if (!v || v->start >= end)
			break;
		start = MAX(start, v->start);
		to = MIN(end, v->end);
		err = advise_one(mm, v, start, to, advice, &dead);
		start = to;
	}
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	return err ? err : hole ? -ENOMEM : 0;
}

int mm_advise(struct mm *mm, gva_t addr, u64 len, int advice)
{
	u64 rounded = page_up(len);
	int err = 0;

	if (!known(advice) || addr & ~PAGE_MASK || (len && !rounded) || addr + rounded < addr)
		return -EINVAL;
	if (!rounded)
		return 0;
	if (!guest_range_ok(addr, rounded))
		return -ENOMEM;
	switch (advice) {
	case MADV_REMOVE:
		for (gva_t at = addr; at < addr + rounded && !err;)
			err = remove_one(mm, at, addr + rounded, &at);
		return err;
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		return populate(mm, addr, addr + rounded, advice == MADV_POPULATE_READ ? ACCESS_READ : ACCESS_WRITE);
	default:
		return advise_range(mm, addr, addr + rounded, advice);
	}
}
