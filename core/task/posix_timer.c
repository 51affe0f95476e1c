/*
 * timer_create's timers and setitimer's.
 *
 * A POSIX timer has at most one signal queued. While it is, expiries only count as overrun, and the next interval is
 * armed when the signal is taken (posix_timer_delivered): a guest that blocks the signal costs nothing, however
 * short the interval. A signal that was dropped because the guest ignores it is never taken; then the timer goes on
 * from fire(), slowly.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "task/alarm.h"
#include "task/posix_timer.h"

#define TIMERS_MAX	8192		/* of a group: each may have a signal queued that is searched for */
#define TIMERS_GROW	64
#define IDLE_STEP	1000000ull	/* ns: a timer nobody hears fires no more often than this, */
#define IDLE_STEP_MAX	64000000ull	/* and after a while than this */
#define ITIMER_STEP	50000ull	/* ns: likewise setitimer's, whose signals merge */

struct posix_timer {
	struct alarm alarm;
	struct posix_timers *all;
	int id;
	struct timer_event event;
	struct task *target;		/* SIGEV_THREAD_ID; a reference */
	bool queued;			/* its signal waits to be taken */
	u64 idle_step;			/* while its signals are dropped */
	u64 passed;			/* expiries since the last signal was taken, the one that sent it included */
	int overrun;			/* as of that one */
};

struct itimer {
	struct alarm alarm;
	struct posix_timers *all;
	int signo;
};

struct posix_timers {
	pthread_mutex_t lock;		/* guards all here */
	struct thread_group *tg;	/* immutable; outlives us */
	struct posix_timer **slot;	/* by id; NULL: free */
	int room, next_id;
	u64 count;
	struct itimer itimer[3];
};

static void itimer_fire(struct timer *tm);
static void posix_timer_fire(struct timer *tm);

/* ---- a group's set ---- */

static struct posix_timers *timers_new(struct thread_group *tg)
{
	static const int signo[3] = { SIGALRM, SIGVTALRM, SIGPROF };
	struct posix_timers *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	pthread_mutex_init(&all->lock, NULL);
	all->tg = tg;
	for (int i = 0; i < 3; i++) {
		all->itimer[i].all = all;
		all->itimer[i].signo = signo[i];
		all->itimer[i].alarm.timer.fire = itimer_fire;
		all->itimer[i].alarm.clock = CLOCK_MONOTONIC;
	}
	return all;
}

/* tg->timers, made if `make`. It stays until the group's last thread is gone, so the caller needs no reference. */
static struct posix_timers *timers_of(struct thread_group *tg, bool make)
{
	struct posix_timers *all;

	pthread_mutex_lock(&tg->lock);
	if (!tg->timers && make)
		tg->timers = timers_new(tg);
	all = tg->timers;
	pthread_mutex_unlock(&tg->lock);
	return all;
}

static struct posix_timer *timer_find(struct posix_timers *all, int id)
{
	return id >= 0 && id < all->room ? all->slot[id] : NULL;
}

/* all->lock held. */
static void timer_unlink(struct posix_timer *pt)
{
	pt->all->slot[pt->id] = NULL;
	pt->all->count--;
}

/* Unlinked already; no lock held, since fire() may be waiting for it. */
static void timer_destroy(struct posix_timer *pt)
{
	timer_disarm(&pt->alarm.timer);
	cpu_clock_put(&pt->alarm.cpu);
	if (pt->target)
		task_put(pt->target);
	free(pt);
}

static void delete_all(struct posix_timers *all)
{
	struct posix_timer *pt;

	pthread_mutex_lock(&all->lock);
	for (int id = 0; id < all->room; id++) {
		pt = all->slot[id];
		if (!pt)
			continue;
		timer_unlink(pt);
		pthread_mutex_unlock(&all->lock);
		timer_destroy(pt);
		pthread_mutex_lock(&all->lock);
	}
	pthread_mutex_unlock(&all->lock);
}

void posix_timers_exec(struct thread_group *tg)
{
	struct posix_timers *all = timers_of(tg, false);

	if (all)
		delete_all(all);
}

void posix_timers_exit(struct thread_group *tg)
{
	struct posix_timers *all = timers_of(tg, false);

	if (!all)
		return;
	delete_all(all);
	for (int i = 0; i < 3; i++) {
		timer_disarm(&all->itimer[i].alarm.timer);
		cpu_clock_put(&all->itimer[i].alarm.cpu);
	}
	pthread_mutex_lock(&tg->lock);
	tg->timers = NULL;
	pthread_mutex_unlock(&tg->lock);
	pthread_mutex_destroy(&all->lock);
	free(all->slot);
	free(all);
}

/* ---- firing and delivery ---- */

static bool queue_names(struct sigpending *p, int signo, int id)
{
	struct queued_signal *q;

	if (!(p->set & SIGBIT(signo)))
		return false;
	TAILQ_FOREACH(q, &p->queue, link)
		if (q->info.si.si_signo == signo && q->info.si.si_code == SI_TIMER && q->info.si.si_timerid == id)
			return true;
	return false;
}

/* False: the signal went nowhere (ignored, merged, no room, or taken in this moment). */
static bool still_queued(struct posix_timer *pt)
{
	struct thread_group *tg = pt->all->tg;
	bool found;

	pthread_mutex_lock(&tg->lock);
	found = queue_names(pt->target ? &pt->target->pending : &tg->pending, pt->event.signo, pt->id);
	pthread_mutex_unlock(&tg->lock);
	return found;
}

static void send(struct posix_timer *pt)
{
	union guest_siginfo info;

	memset(&info, 0, sizeof(info));
	info.si.si_signo = pt->event.signo;
	info.si.si_code = SI_TIMER;
	info.si.si_timerid = pt->id;
	info.si.si_value.sival_ptr = (void *)(pt->event.value_is_id ? (u64)pt->id : pt->event.value);
	if (pt->target)
		signal_send_task(pt->target, &info);
	else
		signal_send_group(pt->all->tg, &info);
}

/* The expiries up to now are on the account; arm the next, no sooner than `step` from now. */
static void go_on(struct posix_timer *pt, u64 step)
{
	pt->passed += alarm_advance(&pt->alarm);
	if (pt->alarm.expiry && pt->alarm.interval < step) {
		u64 skip = step / pt->alarm.interval;

		pt->alarm.expiry += skip * pt->alarm.interval;
		pt->passed += skip;
	}
	alarm_arm(&pt->alarm);
}

static void posix_timer_fire(struct timer *tm)
{
	struct posix_timer *pt = CONTAINER_OF(tm, struct posix_timer, alarm.timer);

	pthread_mutex_lock(&pt->all->lock);
	if (!alarm_expired(&pt->alarm, true))
		goto out;
	if (!pt->queued) {
		pt->queued = true;
		pt->passed = 0;
		send(pt);
	}
	if (!pt->alarm.interval) {
		pt->passed += alarm_advance(&pt->alarm);
	} else if (!still_queued(pt)) {
		pt->queued = false;
		pt->idle_step = MIN(MAX(pt->idle_step * 2, IDLE_STEP), IDLE_STEP_MAX);
		go_on(pt, pt->idle_step);
	}
out:
	pthread_mutex_unlock(&pt->all->lock);
}

void posix_timer_delivered(struct task *t, union guest_siginfo *info)
{
	struct posix_timers *all = timers_of(t->tg, false);
	struct posix_timer *pt;

	if (!all)
		return;
	pthread_mutex_lock(&all->lock);
	pt = timer_find(all, info->si.si_timerid);
	if (pt && pt->queued) {
		pt->queued = false;
		pt->idle_step = 0;
		if (pt->alarm.interval && alarm_expired(&pt->alarm, false))
			go_on(pt, 0);
		pt->overrun = MIN(pt->passed ? pt->passed - 1 : 0, (u64)INT_MAX);
	}
	if (pt)
		info->si.si_overrun = pt->overrun;
	pthread_mutex_unlock(&all->lock);
}

/* ---- timer_create and kin ---- */

static int check_event(struct task *t, const struct timer_event *ev, struct task **target)
{
	*target = NULL;
	if (ev->notify == SIGEV_NONE)
		return 0;
	if (ev->notify & ~(SIGEV_THREAD | SIGEV_THREAD_ID) || ev->signo < 1 || ev->signo > NSIG_GUEST ||
	    ev->notify == (SIGEV_THREAD | SIGEV_THREAD_ID))
		return -EINVAL;
	if (ev->notify & SIGEV_THREAD_ID) {
		*target = task_get(ev->tid);
		if (*target && (*target)->tg != t->tg) {
			task_put(*target);
			*target = NULL;
		}
		return *target ? 0 : -EINVAL;
	}
	return 0;
}

static int set_clock(struct task *t, struct alarm *a, s32 clock)
{
	switch (clock) {
	case CLOCK_REALTIME: case CLOCK_MONOTONIC: case CLOCK_BOOTTIME: case CLOCK_TAI:
		a->clock = clock;
		return 0;
	case CLOCK_MONOTONIC_RAW: case CLOCK_REALTIME_COARSE: case CLOCK_MONOTONIC_COARSE:
		return -EOPNOTSUPP;
	default:
		return cpu_clock_get(t, clock, false, &a->cpu);
	}
}

static int grow(struct posix_timers *all)
{
	int room = all->room + TIMERS_GROW;
	struct posix_timer **slot = realloc(all->slot, room * sizeof(*slot));

	if (!slot)
		return -EAGAIN;
	memset(slot + all->room, 0, TIMERS_GROW * sizeof(*slot));
	all->slot = slot;
	all->room = room;
	return 0;
}

/* all->lock held. Ids go up before they are used again, so that a stale one is not soon somebody else's. */
static int add(struct posix_timers *all, struct posix_timer *pt, u64 limit)
{
	if (all->count >= MIN(limit, (u64)TIMERS_MAX))
		return -EAGAIN;
	if (all->next_id >= all->room && all->room < TIMERS_MAX && grow(all))
		return -EAGAIN;
	while (all->next_id >= all->room || all->slot[all->next_id])
		all->next_id = all->next_id + 1 >= all->room ? 0 : all->next_id + 1;
	pt->id = all->next_id++;
	all->slot[pt->id] = pt;
	all->count++;
	return 0;
}

long posix_timer_create(struct task *t, s32 clock, const struct timer_event *ev)
{
	struct posix_timers *all = timers_of(t->tg, true);
	struct posix_timer *pt = calloc(1, sizeof(*pt));
	long ret;

	if (!all || !pt) {
		free(pt);
		return -EAGAIN;
	}
	pt->all = all;
	pt->event = *ev;
	pt->alarm.timer.fire = posix_timer_fire;
	ret = set_clock(t, &pt->alarm, clock);
	if (!ret)
		ret = check_event(t, ev, &pt->target);
	if (!ret) {
		pthread_mutex_lock(&all->lock);
		ret = add(all, pt, task_rlimit(t, RLIMIT_SIGPENDING));
		if (!ret)
			ret = pt->id;
		pthread_mutex_unlock(&all->lock);
	}
	if (ret < 0)
		timer_destroy(pt);
	return ret;
}

/* With all->lock held on success. */
static struct posix_timer *timer_lock(struct task *t, int id)
{
	struct posix_timers *all = timers_of(t->tg, false);
	struct posix_timer *pt;

	if (!all)
		return NULL;
	pthread_mutex_lock(&all->lock);
	pt = timer_find(all, id);
	if (!pt)
		pthread_mutex_unlock(&all->lock);
	return pt;
}

static void read_value(const struct alarm *a, bool silent, struct timer_value *out)
{
	out->interval = a->interval;
	out->value = alarm_left(a);
	/* A timer without a signal is never told that it has expired. */
	if (silent && !a->interval && a->expiry && alarm_now(a) >= a->expiry)
		out->value = 0;
}

int posix_timer_set(struct task *t, int id, bool absolute, const struct timer_value *new, struct timer_value *old)
{
	struct posix_timer *pt = timer_lock(t, id);

	if (!pt)
		return -EINVAL;
	read_value(&pt->alarm, pt->event.notify == SIGEV_NONE, old);
	pt->queued = false;
	pt->overrun = 0;
	pt->passed = 0;
	alarm_set(&pt->alarm, new->value, new->interval, absolute);
	if (pt->event.notify != SIGEV_NONE)
		alarm_arm(&pt->alarm);
	pthread_mutex_unlock(&pt->all->lock);
	return 0;
}

int posix_timer_get(struct task *t, int id, struct timer_value *out)
{
	struct posix_timer *pt = timer_lock(t, id);

	if (!pt)
		return -EINVAL;
	read_value(&pt->alarm, pt->event.notify == SIGEV_NONE, out);
	pthread_mutex_unlock(&pt->all->lock);
	return 0;
}

int posix_timer_overrun(struct task *t, int id)
{
	struct posix_timer *pt = timer_lock(t, id);
	int overrun;

	if (!pt)
		return -EINVAL;
	overrun = pt->overrun;
	pthread_mutex_unlock(&pt->all->lock);
	return overrun;
}

int posix_timer_delete(struct task *t, int id)
{
	struct posix_timer *pt = timer_lock(t, id);

	if (!pt)
		return -EINVAL;
	timer_unlink(pt);
	pthread_mutex_unlock(&pt->all->lock);
	timer_destroy(pt);
	return 0;
}

/* ---- setitimer ---- */

static void itimer_fire(struct timer *tm)
{
	struct itimer *it = CONTAINER_OF(tm, struct itimer, alarm.timer);
	union guest_siginfo info;

	pthread_mutex_lock(&it->all->lock);
	if (alarm_expired(&it->alarm, true)) {
		signal_info(&info, it->signo, SI_KERNEL, NULL);
		signal_send_group(it->all->tg, &info);
		alarm_advance(&it->alarm);
		if (it->alarm.expiry && it->alarm.interval < ITIMER_STEP)
			it->alarm.expiry += ITIMER_STEP / it->alarm.interval * it->alarm.interval;
		alarm_arm(&it->alarm);
	}
	pthread_mutex_unlock(&it->all->lock);
}

int itimer_set(struct task *t, int which, const struct timer_value *new, struct timer_value *old)
{
	struct posix_timers *all = timers_of(t->tg, new != NULL);
	struct alarm *a;

	*old = (struct timer_value){ 0 };
	if (!all)
		return new ? -ENOMEM : 0;
	a = &all->itimer[which].alarm;
	pthread_mutex_lock(&all->lock);
	if (which != ITIMER_REAL && !a->cpu.group) {
		cpu_clock_get(t, CLOCK_PROCESS_CPUTIME_ID, true, &a->cpu);
		a->cpu.which = which == ITIMER_VIRTUAL ? CPU_VIRT : CPU_PROF;
	}
	read_value(a, false, old);
	if (new) {
		alarm_set(a, new->value, new->interval, false);
		alarm_arm(a);
	}
	pthread_mutex_unlock(&all->lock);
	return 0;
}
