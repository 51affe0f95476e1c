/*
 * Truncating a page cache and punching holes: the file's side first, then every mm that maps the pages.
 *
 * mm->lock comes before pc->lock, so the mms are collected with references under pc->lock and visited after it is
 * released. A page-in that comes in between sees the new size; one that was already under way holds its mm's lock
 * until its page is in, and is found there. A fork may hand pages that are still there to a child that was not
 * collected: so there are more rounds until one finds nothing left; not without end, as guests may map new pages all
 * the time. Whoever keeps an old page after that has its own reference: that is stale, not unsafe.
 */
#include <stdlib.h>

#include "mm/cache.h"

#define ROUNDS	6

/* The mms with a VMA on pc->maps, once each; *n, or NULL when out of memory or none. */
static struct mm **collect(struct page_cache *pc, size_t *n)
{
	struct mm **mms = NULL, *last = NULL;
	size_t room = 0;
	struct vma *v;

	*n = 0;
	pthread_mutex_lock(&pc->lock);
	LIST_FOREACH(v, &pc->maps, cache_link)
		room++;
	if (room)
		mms = calloc(room, sizeof(*mms));
	if (mms) {
		LIST_FOREACH(v, &pc->maps, cache_link) {
			int refs = atomic_load(&v->mm->refs);

			if (v->mm == last)
				continue;
			while (refs && !atomic_compare_exchange_weak(&v->mm->refs, &refs, refs + 1))
				;
			if (refs)
				mms[(*n)++] = v->mm;
			last = v->mm;
		}
	}
	pthread_mutex_unlock(&pc->lock);
	return mms;
}

static void zap_everywhere(struct page_cache *pc, u64 first, u64 last, bool anon)
{
	bool again = true;

	for (int round = 0; again && round < ROUNDS; round++) {
		size_t n;
		struct mm **mms = collect(pc, &n);

		again = false;
		for (size_t i = 0; i < n; i++) {
			again |= mm_zap_cache(mms[i], pc, first, last, anon);
			mm_put(mms[i]);
		}
		free(mms);
	}
}

/* Zeros in [from, to), which lies in one page; nothing to do where there is none. */
static int zero_part(struct page_cache *pc, u64 from, u64 to)
{
	u64 entry = cache_get(pc, from >> PAGE_SHIFT);

	if (entry && to > from)
		guest_zero(memory_ptr(pte_offset(entry)) + (from & ~PAGE_MASK), to - from);
	return 0;
}

int page_cache_truncate(struct page_cache *pc, u64 size)
{
	u64 first = (size + PAGE_SIZE - 1) >> PAGE_SHIFT, old;
	bool mapped;

	if ((s64)size < 0)
		return -EFBIG;
	pthread_mutex_lock(&pc->lock);
	old = pc->size;
	pc->size = size;
	if (size < old) {
		cache_drop(pc, first, UINT64_MAX);
		zero_part(pc, size, page_up(size));
	} else if (old & ~PAGE_MASK) {
		/* What was written behind the end through a mapping must not appear in the file. */
		zero_part(pc, old, MIN(size, page_up(old)));
	}
	mapped = !LIST_EMPTY(&pc->maps);
	pthread_mutex_unlock(&pc->lock);
	if (size < old && mapped)
		zap_everywhere(pc, first, UINT64_MAX, true);
	return 0;
}

int page_cache_punch(struct page_cache *pc, u64 pos, u64 len)
{
	u64 end = pos + len, first = (pos + PAGE_SIZE - 1) >> PAGE_SHIFT, last;
	bool mapped;

	if (!len || end < pos)
		return -EINVAL;
	last = end >> PAGE_SHIFT;
	pthread_mutex_lock(&pc->lock);
	if (pos & ~PAGE_MASK)
		zero_part(pc, pos, MIN(end, page_up(pos)));
	if (end & ~PAGE_MASK && last >= first)
		zero_part(pc, page_down(end), end);
	if (last > first)
		cache_drop(pc, first, last - 1);
	mapped = !LIST_EMPTY(&pc->maps);
	pthread_mutex_unlock(&pc->lock);
	if (mapped && last > first)
		zap_everywhere(pc, first, last - 1, false);
	return 0;
}

s64 page_cache_seek(struct page_cache *pc, u64 pos, bool data)
{
	u64 index = pos >> PAGE_SHIFT, found = index, entry;
	s64 ret = -ENXIO;

	pthread_mutex_lock(&pc->lock);
	if (pos >= pc->size)
		goto out;
	if (data) {
		bool any = pc->pages && radix_next(pc->pages, &found, &entry);

		if (any && found << PAGE_SHIFT < pc->size)
			ret = found == index ? pos : found << PAGE_SHIFT;
		goto out;
	}
	while (cache_get(pc, found) && found << PAGE_SHIFT < pc->size)
		found++;
	ret = found == index ? pos : MIN(found << PAGE_SHIFT, (u64)pc->size);
out:
	pthread_mutex_unlock(&pc->lock);
	return ret;
}
