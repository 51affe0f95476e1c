/* Futex buckets, for futex.c and futex_inside.c. Rules and locks: futex.c. */
#ifndef TG_TASK_FUTEX_BUCKET_H
#define TG_TASK_FUTEX_BUCKET_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "mm/mm.h"

#define BUCKET_BITS	8

struct task;

struct futex_waiter {
	TAILQ_ENTRY(futex_waiter) link;	/* locked by the bucket */
	_Atomic(struct futex_bucket *) bucket;	/* NULL: not queued. Changed under the locks of old and new */
	struct futex_key key;		/* likewise */
	u32 bitset;			/* 0: waits for a PI futex, which only its own calls wake */
	u32 owner;			/* PI: who held it when this one queued; tid. Locked by the bucket */
	bool orphaned;			/* PI: woken because the owner died, not because it handed over */
	struct task *task;
	struct futex_waiter *next;	/* of a list of those to be woken */
	atomic_bool woken;
};

struct futex_bucket {
	pthread_mutex_t lock;
	TAILQ_HEAD(futex_waiter_waiters_head, futex_waiter) waiters;
};

extern struct futex_bucket futex_buckets[1 << BUCKET_BITS];

static inline struct futex_bucket *futex_hash(const struct futex_key *key)
{
	u64 h = ((u64)(uintptr_t)key->object ^ key->offset >> 2) * 0x9e3779b97f4a7c15ull;

	return &futex_buckets[h >> (64 - BUCKET_BITS)];
}

static inline bool same_key(const struct futex_key *a, const struct futex_key *b)
{
	return a->object == b->object && a->offset == b->offset;
}

#endif
