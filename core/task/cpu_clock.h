/*
 * CPU clocks: the time that a thread or a process has used, by clock id as in linux/posix-timers.h: a negative id
 * holds the inverted pid, a thread bit and which time is meant.
 */
#ifndef TG_CPU_CLOCK_H
#define TG_CPU_CLOCK_H

#include "task/task.h"

enum cpu_time { CPU_PROF, CPU_VIRT, CPU_SCHED };	/* user + system; user; what the scheduler counts: here as PROF */

struct cpu_clock {			/* one of the two is set, with a reference */
	struct task *task;
	struct thread_group *group;
	enum cpu_time which;
};

/* `id` as `t` may name it. -EINVAL: no CPU clock, or nobody's. `read_only`: for clock_gettime, which allows more. */
int cpu_clock_get(struct task *t, s32 id, bool read_only, struct cpu_clock *out);
void cpu_clock_put(struct cpu_clock *c);
u64 cpu_clock_now(const struct cpu_clock *c);

/* A CLOCK_MONOTONIC time at which the clock may have reached `target`; *last is the caller's, to see if it moves. */
u64 cpu_clock_deadline(const struct cpu_clock *c, u64 target, u64 *last);

#endif
