/*
 * Reclaim: pages of files that have a store can be read again, so they are the first to go when memory is short, or
 * when they are more than mm.cache_mb. Only clean pages that nobody but their cache refers to are dropped.
 *
 * Runs in whoever needs memory, with an mm's and a cache's lock held perhaps: so caches are only tried, never waited
 * for.
 */
#include <stdlib.h>

#include "mm/cache.h"

TAILQ_HEAD(cache_list, page_cache);

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;	/* after pc->lock; guards `list` and the links */
static struct cache_list list = TAILQ_HEAD_INITIALIZER(list);
static _Atomic u64 cached;					/* pages of all caches on the list */

static bool refillable(struct page_cache *pc) { return pc->ops && pc->ops->fill; }

void cache_count(struct page_cache *pc, s64 pages)
{
	pc->npages += pages;
	if (refillable(pc))
		atomic_fetch_add_explicit(&cached, pages, memory_order_relaxed);
}

void reclaim_add(struct page_cache *pc)
{
	if (!refillable(pc))
		return;
	pthread_mutex_lock(&list_lock);
	TAILQ_INSERT_TAIL(&list, pc, link);
	pthread_mutex_unlock(&list_lock);
}

void reclaim_remove(struct page_cache *pc)
{
	if (!refillable(pc))
		return;
	pthread_mutex_lock(&list_lock);
	TAILQ_REMOVE(&list, pc, link);
	pthread_mutex_unlock(&list_lock);
}

static u64 shrink(struct page_cache *pc, u64 want)
{
	u64 index = 0, entry, n = 0;

	while (n < want && pc->pages && radix_next(pc->pages, &index, &entry)) {
		if (!(entry & (CACHE_DIRTY | CACHE_WMAPPED)) && memory_refs(pte_offset(entry)) == 1) {
			cache_drop(pc, index, index);
			n++;
		}
		index++;
	}
	return n;
}

u64 reclaim_own(struct page_cache *pc, u64 pages) { return refillable(pc) ? shrink(pc, pages) : 0; }

/* Oldest caches first; one that was looked at goes to the end, so that all get their turn. */
void page_cache_reclaim(u64 pages)
{
	struct page_cache *pc, *stop = NULL;

	pthread_mutex_lock(&list_lock);
	while (pages && (pc = TAILQ_FIRST(&list)) && pc != stop) {
		stop = stop ? stop : pc;
		TAILQ_REMOVE(&list, pc, link);
		TAILQ_INSERT_TAIL(&list, pc, link);
		if (pthread_mutex_trylock(&pc->lock))
			continue;
		pages -= MIN(pages, shrink(pc, pages));
		pthread_mutex_unlock(&pc->lock);
	}
	pthread_mutex_unlock(&list_lock);
}

void reclaim_excess(void)
{
	static _Atomic u64 next;	/* after a vain search: not again before there are so many */
	u64 keep = ((u64)knob_cache_mb << 20) >> PAGE_SHIFT, now = atomic_load_explicit(&cached, memory_order_relaxed);

	if (now <= MAX(keep, atomic_load_explicit(&next, memory_order_relaxed)))
		return;
	page_cache_reclaim(now - keep + keep / 16);
	now = atomic_load_explicit(&cached, memory_order_relaxed);
	atomic_store_explicit(&next, now > keep ? now + keep / 16 : 0, memory_order_relaxed);
}
