/*
 * RLIMIT_CPU: SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one.
 *
 * A group with a limit has a timer that samples its CPU time, at the earliest moment at which all its threads together
 * can have used up what is left. tg->lock guards the timer's arming; cpu_limit_end() shuts it for good before the
 * group can go away.
 */
#include "task/clock.h"
#include "task/internal.h"

#define SAMPLE_MIN	10000000ull	/* ns */

static u64 seconds(rlim_t limit)
{
	return limit > TIME_FOREVER / NSEC_PER_SEC - 1 ? TIME_FOREVER : limit * NSEC_PER_SEC;
}

static bool limited(const struct thread_group *tg)
{
	const struct rlimit *r = &tg->rlim[RLIMIT_CPU];

	return !tg->cpu_limit_shut && (r->rlim_cur != RLIM_INFINITY || r->rlim_max != RLIM_INFINITY);
}

/* tg->lock held. */
static void sample_after(struct thread_group *tg, u64 left)
{
	timer_arm(&tg->cpu_limit, deadline_after(MAX(left / MAX(tg->nthreads, 1), SAMPLE_MIN)));
}

/* tg->lock held. The signal that is due, or 0. */
static int check(struct thread_group *tg, u64 used)
{
	struct rlimit *r = &tg->rlim[RLIMIT_CPU];
	u64 soft = seconds(MAX(r->rlim_cur, 1)), hard = seconds(MAX(r->rlim_max, 1));
	int signo = 0;

	if (used >= hard)
		return SIGKILL;
	if (used >= soft) {
		signo = SIGXCPU;
		soft = used / NSEC_PER_SEC * NSEC_PER_SEC + NSEC_PER_SEC;
		__atomic_store_n(&r->rlim_cur, soft / NSEC_PER_SEC, __ATOMIC_RELAXED);	/* as the kernel does */
	}
	sample_after(tg, MIN(soft, hard) - used);
	return signo;
}

static void sample(struct timer *tm)
{
	struct thread_group *tg = CONTAINER_OF(tm, struct thread_group, cpu_limit);
	union guest_siginfo info;
	struct rusage_sum sum;
	int signo = 0;

	thread_group_usage(tg, &sum);
	pthread_mutex_lock(&tg->lock);
	if (limited(tg))
		signo = check(tg, sum.utime_ns + sum.stime_ns);
	pthread_mutex_unlock(&tg->lock);
	if (!signo)
		return;
	signal_info(&info, signo, SI_KERNEL, NULL);
	signal_send_group(tg, &info);
}

void cpu_limit_changed(struct thread_group *tg)
{
	if (!limited(tg))
		return;
	tg->cpu_limit.fire = sample;
	sample_after(tg, 0);
}

void cpu_limit_end(struct thread_group *tg)
{
	pthread_mutex_lock(&tg->lock);
	tg->cpu_limit_shut = true;
	pthread_mutex_unlock(&tg->lock);
	if (tg->cpu_limit.fire)
		timer_disarm(&tg->cpu_limit);
}
