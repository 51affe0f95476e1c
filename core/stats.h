/*
 * Counters for --stats. A task counts its calls in an array of its own, without atomics' cost across CPUs; the array is
 * added to the sandbox's sums when the task ends.
 */
#ifndef TG_STATS_H
#define TG_STATS_H

#include "task/task.h"

void stats_task_start(struct task *t);		/* gives t->syscall_counts; before its first call */
void stats_task_end(struct task *t);		/* adds to the sums and frees it; t's own thread, or t never ran */
int stats_write(const char *path);		/* JSON; after the last task has ended. -errno; never leaves half a file */
void stats_enable(void);			/* --stats was given: before the first task */

static inline void stats_count_call(struct task *t, u32 nr)
{
	if (t->syscall_counts)
		t->syscall_counts[nr]++;
}

#endif
