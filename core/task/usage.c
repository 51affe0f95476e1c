/*
 * CPU time and other usage of tasks and thread groups.
 *
 * A task's time is cut at the borders between guest and sentry with the TSC: what passes inside switch_to() is user
 * time, what passes outside is system time, less the time asleep in task_block(). It is elapsed time, not the host
 * scheduler's: a stub's CPU time would cost a host call a switch. So on a crowded machine it reads high, and a
 * context's hand-over counts as user time.
 */
#include <sys/resource.h>

#include "mm/mm.h"
#include "task/internal.h"

static u64 base_tick, base_ns;

static u64 host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void usage_init(void)
{
	base_ns = host_ns();
	base_tick = usage_tick();
}

/* The rate is what the two clocks did since start-up, so it needs no calibration and gets better with time. */
u64 usage_ticks_to_ns(u64 ticks)
{
	u64 dt = usage_tick() - base_tick, dns = host_ns() - base_ns;

	return dt ? (u64)((unsigned __int128)ticks * dns / dt) : 0;
}

void usage_add(struct rusage_sum *to, const struct rusage_sum *from)
{
	to->utime_ns += from->utime_ns;
	to->stime_ns += from->stime_ns;
	to->minflt += from->minflt;
	to->majflt += from->majflt;
	to->nvcsw += from->nvcsw;
	to->nivcsw += from->nivcsw;
	to->maxrss_kb = MAX(to->maxrss_kb, from->maxrss_kb);
}

/* Ticks of the switch under way, if there is one: a guest that never calls must still be seen to use time. */
static u64 current_slice(struct task *t)
{
	u64 entered = atomic_load_explicit(&t->entered, memory_order_relaxed);
	u64 now = usage_tick();

	return entered && now > entered ? now - entered : 0;
}

void task_usage(struct task *t, struct rusage_sum *sum)
{
	u64 user = atomic_load_explicit(&t->user_ticks, memory_order_relaxed) + current_slice(t);

	*sum = (struct rusage_sum){
		.utime_ns = usage_ticks_to_ns(user),
		.stime_ns = usage_ticks_to_ns(atomic_load_explicit(&t->sys_ticks, memory_order_relaxed)),
		.minflt = atomic_load_explicit(&t->faults, memory_order_relaxed),
		.nvcsw = atomic_load_explicit(&t->nvcsw, memory_order_relaxed),
	};
}

/* Takes tg->lock. */
void thread_group_usage(struct thread_group *tg, struct rusage_sum *sum)
{
	struct rusage_sum one;
	struct task *t;

	pthread_mutex_lock(&tg->lock);
	*sum = tg->dead_usage;
	TAILQ_FOREACH(t, &tg->threads, thread_link) {
		task_usage(t, &one);
		if (t->mm)
			one.maxrss_kb = t->mm->peak_rss_pages * (PAGE_SIZE / 1024);
		usage_add(sum, &one);
	}
	pthread_mutex_unlock(&tg->lock);
}
