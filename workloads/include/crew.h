/*
 * Several tasks that do the same at the same time: the first gives the order, all do it, the first waits for the last.
 * Waiting is a futex, shared between processes, so that a crew larger than the machine does not spin it to death.
 */
#ifndef WORKLOADS_CREW_H
#define WORKLOADS_CREW_H

#include "workload.h"

#define CREW_MAX	16
#define CREW_END	(~0ull)			/* instead of a count: the others go home */

struct crew {
	u64 size, count;			/* tasks, the first among them; operations ordered */
	u32 order __attribute__((aligned(64)));	/* moves with each order */
	u32 busy __attribute__((aligned(64)));	/* tasks that are not done yet */
	u64 right __attribute__((aligned(64)));	/* operations with the right result, of this order */
};

static inline void crew_init(struct crew *c, u64 size)
{
	c->size = size > CREW_MAX ? CREW_MAX : size;
}

static inline u64 crew_calls(u64 n)
{
	long pid = sys0(__NR_getpid);
	u64 right = 0, i;

	for (i = 0; i < n; i++)
		right += good(trap0(__NR_getpid) == pid);
	return right;
}

static inline void crew_done(struct crew *c, u64 right)
{
	__atomic_fetch_add(&c->right, right, __ATOMIC_RELAXED);
	if (!__atomic_sub_fetch(&c->busy, 1, __ATOMIC_ACQ_REL))
		bare4(__NR_futex, &c->busy, FUTEX_WAKE, 1, 0);
}

/* The other tasks. Does not return. */
static inline void crew_work(struct crew *c, u64 number)
{
	u32 seen = 0, now;

	(void)number;
	for (;;) {
		while ((now = __atomic_load_n(&c->order, __ATOMIC_ACQUIRE)) == seen)
			bare4(__NR_futex, &c->order, FUTEX_WAIT, seen, 0);
		seen = now;
		if (c->count == CREW_END)
			sys1(__NR_exit, 0);
		crew_done(c, crew_calls(c->count));
	}
}

/* The first task. One operation is a call of every task; it was right if all were. */
static inline u64 crew_batch(struct crew *c, u64 n)
{
	u64 right;
	u32 busy;

	c->count = n;
	c->right = 0;
	__atomic_store_n(&c->busy, (u32)c->size, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->order, 1, __ATOMIC_ACQ_REL);
	bare4(__NR_futex, &c->order, FUTEX_WAKE, CREW_MAX, 0);
	if (n == CREW_END)
		return 0;
	right = crew_calls(n);
	crew_done(c, right);
	while ((busy = __atomic_load_n(&c->busy, __ATOMIC_ACQUIRE)))
		bare4(__NR_futex, &c->busy, FUTEX_WAIT, busy, 0);
	return c->right == n * c->size ? n : 0;
}

#endif
