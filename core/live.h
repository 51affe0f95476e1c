/*
 * The page through which a running sandbox can be watched (`trapgate top PID`): a memory file that the sentry alone writes,
 * and that others of the same user find under /proc/PID/fd. The guest has no way to it.
 *
 * Readers see counters that only grow while they look, each written by one thread and read without locks: two of them need not
 * be of the same moment. `tid` is 0 while a place is free; whoever takes one clears it first.
 */
#ifndef TG_LIVE_H
#define TG_LIVE_H

#include "lib/types.h"

#define LIVE_NAME	"trapgate-live"
#define LIVE_MAGIC	0x4556494c47415254ull	/* "TRAGLIVE" */
enum { LIVE_VERSION = 1, LIVE_TASKS = 128, LIVE_CALLS = 512 };

struct live_task {
	u32 tid, tgid;
	char comm[16];
	u64 switches, faults;
	u64 guest_ticks, sentry_ticks;		/* TSC: inside a switch, hand-over and guest together; outside, less sleep */
	u64 entered;				/* TSC when the switch under way began; 0: the sentry runs, or sleeps */
	u64 pad[8];
	u64 calls[LIVE_CALLS];
};

struct live_page {
	u64 magic;
	u32 version, tasks;			/* places */
	char platform[32];
	u64 untracked;				/* tasks that found no place */
	u64 pad[57];
	struct live_task ended;			/* sums of those that are gone */
	struct live_task task[LIVE_TASKS];
};

_Static_assert(sizeof(struct live_task) == 4096 + 128, "cache lines of its own");
_Static_assert(__builtin_offsetof(struct live_page, ended) == 512, "readers of another build");

#endif
