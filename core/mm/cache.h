/* What the page cache's own files share. Everything here wants pc->lock held, but for reclaim_*. */
#ifndef TG_MM_CACHE_H
#define TG_MM_CACHE_H

#include "mm/internal.h"
#include "mm/radix.h"

static inline u64 cache_get(struct page_cache *pc, u64 index) { return pc->pages ? radix_get(pc->pages, index) : 0; }
void cache_drop(struct page_cache *pc, u64 first, u64 last);	/* the cache's own references to pages [first, last] */
void cache_count(struct page_cache *pc, s64 pages);

void reclaim_add(struct page_cache *pc);
void reclaim_remove(struct page_cache *pc);		/* on return no reclaim looks at it */
u64 reclaim_own(struct page_cache *pc, u64 pages);	/* as page_cache_reclaim, from one cache whose lock is held */
void reclaim_excess(void);				/* keep to mm.cache_mb; the caller may hold a cache's lock */

#endif
