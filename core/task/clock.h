/*
 * Clocks: what time the guest sees. The syscalls and the vDSO evaluate the same function over the same parameters
 * (loader/vdso/vvar.h), so they never disagree and never go backwards.
 *
 * Times are u64 nanoseconds; TIME_FOREVER is "never". Deadlines of task_block() and timers are CLOCK_MONOTONIC.
 */
#ifndef TG_CLOCK_H
#define TG_CLOCK_H

#include <time.h>

#include "lib/types.h"
#include "task/task.h"

#define NSEC_PER_SEC	1000000000ull

/* A system-wide clock (CLOCK_REALTIME, _MONOTONIC, _MONOTONIC_RAW, *_COARSE, _BOOTTIME, _TAI); any thread. */
u64 clock_now(s32 clock);
bool clock_is_system(s32 clock);
void clock_begin(void);				/* before confinement: looks at what the host says of its clocks */
u64 clock_resolution(s32 clock);		/* of a system clock, ns */
u64 clock_real_offset(void);			/* CLOCK_REALTIME - CLOCK_MONOTONIC; changes when the host's clock is set */

/* Any clock a guest can name, CPU clocks of processes and threads included. 0 or -EINVAL. */
int clock_get(struct task *t, s32 clock, u64 *ns);

/*
 * The vvar page: `page` is the sentry's pointer to it, in the memory file; filled from now on. Called once, by the
 * loader, before the first guest can see the page. Until then, and while the TSC is of no use, vDSO calls are syscalls.
 */
struct vvar;
void clock_publish(struct vvar *page);

/* CLOCK_MONOTONIC deadlines, saturating at TIME_FOREVER. */
u64 deadline_after(u64 ns);
u64 deadline_at(s32 clock, u64 ns);		/* when system clock `clock` shows `ns` */

/* timespecs. ns of a valid one saturates at TIME_FOREVER - 1. */
static inline bool timespec_valid(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < (long)NSEC_PER_SEC;
}

static inline u64 timespec_to_ns(const struct timespec *ts)
{
	u64 ns;

	if (__builtin_mul_overflow((u64)ts->tv_sec, NSEC_PER_SEC, &ns) || __builtin_add_overflow(ns, ts->tv_nsec, &ns))
		return TIME_FOREVER - 1;
	return MIN(ns, TIME_FOREVER - 1);
}

static inline struct timespec timespec_from_ns(u64 ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };
}

int copy_in_timespec(struct mm *mm, gva_t src, u64 *ns);	/* -EFAULT, -EINVAL */
int copy_out_timespec(struct mm *mm, gva_t dst, u64 ns);

/* What vvar_read() takes, for code that runs inside: where it gives no time, the host's clock_now() does. */
extern const struct vvar *const clock_line;

#endif
