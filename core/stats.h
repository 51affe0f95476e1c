/*
 * Counters for --stats. A task counts its calls in an array of its own, without atomics' cost across CPUs; the array is
 * added to the sandbox's sums when the task ends.
 */
#ifndef TG_STATS_H
#define TG_STATS_H

#include <stdio.h>

#include "live.h"
#include "task/task.h"

void stats_task_start(struct task *t);		/* gives t->syscall_counts; before its first call */
void stats_task_end(struct task *t);		/* adds to the sums and frees it; t's own thread, or t never ran */
int stats_write(FILE *to);			/* JSON; after the last task has ended. 0 or -errno */
void stats_enable(void);			/* --stats was given: before the first task and confinement */
void stats_live_open(void);			/* task.live: before the first task, after the platform was chosen */
void stats_task_renamed(struct task *t);	/* its comm: t's own thread */

/* Before and after each switch, in t's own thread: what others may see of it. */
static inline void stats_live(struct task *t, u64 entered)
{
	struct live_task *l = t->live;

	if (!l)
		return;
	__atomic_store_n(&l->entered, entered, __ATOMIC_RELAXED);
	if (entered) {
		__atomic_store_n(&l->sentry_ticks, atomic_load_explicit(&t->sys_ticks, memory_order_relaxed), __ATOMIC_RELAXED);
		__atomic_store_n(&l->faults, atomic_load_explicit(&t->faults, memory_order_relaxed), __ATOMIC_RELAXED);
		return;
	}
	__atomic_store_n(&l->guest_ticks, atomic_load_explicit(&t->user_ticks, memory_order_relaxed), __ATOMIC_RELAXED);
	__atomic_store_n(&l->switches, atomic_load_explicit(&t->switches, memory_order_relaxed), __ATOMIC_RELAXED);
}

static inline void stats_count_call(struct task *t, u32 nr)
{
	if (t->syscall_counts)
		t->syscall_counts[nr]++;
}

#endif
