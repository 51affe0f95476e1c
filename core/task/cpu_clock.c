/* CPU clocks of threads and processes, and when to look at them again: they are sampled, nothing counts them down. */
#include <errno.h>

#include "task/clock.h"
#include "task/cpu_clock.h"

#define SAMPLE_MIN	200000ull		/* ns */
#define SAMPLE_IDLE	50000000ull		/* how often a group that uses no CPU is looked at */

static struct task *find_thread(struct task *t, int tid)
{
	struct task *found = task_get(tid ? tid : t->tid);

	if (found && found->tg != t->tg) {
		task_put(found);
		found = NULL;
	}
	return found;
}

static struct thread_group *find_group(struct task *t, int tgid, bool read_only)
{
	/* clock_gettime takes the caller's own tid for its process. */
	if (!tgid || (read_only && tgid == t->tid))
		tgid = t->tg->tgid;
	return thread_group_get(tgid);
}

int cpu_clock_get(struct task *t, s32 id, bool read_only, struct cpu_clock *out)
{
	bool thread = id & 4;
	int pid = ~(id >> 3);

	*out = (struct cpu_clock){ .which = id & 3 };
	if (id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID) {
		thread = id == CLOCK_THREAD_CPUTIME_ID;
		out->which = CPU_SCHED;
		pid = 0;
	} else if (id >= 0 || out->which > CPU_SCHED) {
		return -EINVAL;
	}

	if (thread)
		out->task = find_thread(t, pid);
	else
		out->group = find_group(t, pid, read_only);
	return out->task || out->group ? 0 : -EINVAL;
}

void cpu_clock_put(struct cpu_clock *c)
{
	if (c->task)
		task_put(c->task);
	if (c->group)
		thread_group_put(c->group);
	*c = (struct cpu_clock){ 0 };
}

u64 cpu_clock_now(const struct cpu_clock *c)
{
	struct rusage_sum sum;

	if (c->task)
		task_usage(c->task, &sum);
	else
		thread_group_usage(c->group, &sum);
	return sum.utime_ns + (c->which == CPU_VIRT ? 0 : sum.stime_ns);
}

static u64 threads_of(const struct cpu_clock *c)
{
	u64 n = 1;

	if (c->group) {
		pthread_mutex_lock(&c->group->lock);
		n = MAX(c->group->nthreads, 1);
		pthread_mutex_unlock(&c->group->lock);
	}
	return n;
}

u64 cpu_clock_deadline(const struct cpu_clock *c, u64 target, u64 *last)
{
	u64 now = cpu_clock_now(c), wait = SAMPLE_IDLE;

	if (now >= target)
		return deadline_after(0);
	if (now != *last)
		wait = (target - now) / threads_of(c);
	*last = now;
	return deadline_after(MAX(wait, SAMPLE_MIN));
}
