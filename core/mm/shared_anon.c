/* Shared anonymous memory: a page cache of its own, without a name or a store, that lives as long as it is mapped. */
#include <stdlib.h>

#include "mm/internal.h"

struct shared_anon {
	struct page_cache cache;
	atomic_int refs;
};

struct page_cache *shared_anon_create(u64 size)
{
	struct shared_anon *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	page_cache_init(&s->cache, NULL, NULL, size);
	atomic_init(&s->refs, 1);
	return &s->cache;
}

void shared_anon_get(struct page_cache *pc)
{
	atomic_fetch_add_explicit(&CONTAINER_OF(pc, struct shared_anon, cache)->refs, 1, memory_order_relaxed);
}

void shared_anon_put(struct page_cache *pc)
{
	struct shared_anon *s = CONTAINER_OF(pc, struct shared_anon, cache);

	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	page_cache_destroy(pc);
	free(s);
}
