/*
 * A one-to-one mailbox between two processes: one cache line a writer. A request is a new number in `ask`, its answer
 * the same number in `reply`. Waiting is spinning, or a futex on the word.
 */
#ifndef WORKLOADS_MAILBOX_H
#define WORKLOADS_MAILBOX_H

#include <linux/futex.h>

#include "floor.h"

struct mailbox {
	u32 ask __attribute__((aligned(128)));	/* 128: adjacent lines are prefetched in pairs */
	u32 reply __attribute__((aligned(128)));
};

_Static_assert(sizeof(struct mailbox) == 256, "one writer a pair of lines");

static inline void mailbox_spin(const u32 *word, u32 until)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != until)
		__builtin_ia32_pause();
}

static inline void mailbox_post(u32 *word, u32 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Shared futexes: the two sides are two processes, as a sentry and its stub are. */
static inline void mailbox_wake(u32 *word, u32 value)
{
	mailbox_post(word, value);
	bare4(__NR_futex, word, FUTEX_WAKE, 1, 0);
}

static inline void mailbox_sleep(u32 *word, u32 until)
{
	u32 seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != until)
		bare4(__NR_futex, word, FUTEX_WAIT, seen, 0);
}

#endif
