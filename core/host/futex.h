/* The host's futex call, for threads of the sentry only: words that the sentry owns, never guest memory. */
#ifndef TG_HOST_FUTEX_H
#define TG_HOST_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/types.h"

/*
 * Sleep while *word == seen, until `deadline` (CLOCK_MONOTONIC ns; UINT64_MAX: none). 0 after a wake-up or for no
 * reason, -EAGAIN if the word differed, -ETIMEDOUT. Host signals end it early as 0: the caller looks at its word
 * again anyway.
 */
static inline int host_futex_wait(atomic_uint *word, u32 seen, u64 deadline)
{
	struct timespec ts = { .tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000 };
	long r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen,
			 deadline == UINT64_MAX ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);

	if (!r || errno == EINTR)
		return 0;
	return -errno;
}

static inline void host_futex_wake(atomic_uint *word, int n)
{
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, NULL, NULL, 0);
}

#endif
