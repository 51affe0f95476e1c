/*
 * The timer queue: a heap of deadlines and one host thread that sleeps until the first of them. The thread starts with
 * the first timer and wakes for nothing else.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "lib/log.h"
#include "lib/sigmask.h"
#include "task/clock.h"
#include "task/task.h"

#define HEAP_GROW	64
#define THREAD_STACK	(256ul << 10)

static struct {
	pthread_mutex_t lock;		/* guards all here, and deadline, slot and ending of every timer */
	pthread_cond_t changed;		/* the first deadline moved */
	pthread_cond_t fired;		/* `running` has returned */
	struct timer **heap;		/* [0] is the earliest */
	u32 count, room;
	bool started;
	pthread_t thread;
	struct timer *running;
} q = { .lock = PTHREAD_MUTEX_INITIALIZER, .fired = PTHREAD_COND_INITIALIZER };

/* ---- the heap ---- */

static void put(u32 slot, struct timer *tm)
{
	q.heap[slot] = tm;
	tm->slot = slot;
}

static void sift_up(u32 slot)
{
	struct timer *tm = q.heap[slot];

	while (slot && q.heap[(slot - 1) / 2]->deadline > tm->deadline) {
		put(slot, q.heap[(slot - 1) / 2]);
		slot = (slot - 1) / 2;
	}
	put(slot, tm);
}

static void sift_down(u32 slot)
{
	struct timer *tm = q.heap[slot];

	for (;;) {
		u32 child = slot * 2 + 1;

		if (child >= q.count)
			break;
		if (child + 1 < q.count && q.heap[child + 1]->deadline < q.heap[child]->deadline)
			child++;
		if (q.heap[child]->deadline >= tm->deadline)
			break;
		put(slot, q.heap[child]);
		slot = child;
	}
	put(slot, tm);
}

static void heap_remove(struct timer *tm)
{
	u32 slot = tm->slot;
	struct timer *last = q.heap[--q.count];

	tm->deadline = 0;
	if (last == tm)
		return;
	put(slot, last);
	sift_up(slot);
	sift_down(last->slot);
}

static void heap_insert(struct timer *tm)
{
	if (q.count == q.room) {
		u32 room = q.room + HEAP_GROW + q.room / 2;
		struct timer **heap = realloc(q.heap, room * sizeof(*heap));

		/* A timer is a few hundred bytes of its owner's already: a pointer more cannot be what fails. */
		if (!heap)
			die("out of memory for %u timers", room);
		q.heap = heap;
		q.room = room;
	}
	put(q.count++, tm);
	sift_up(tm->slot);
}

/* ---- the thread ---- */

static void run_first(u64 now)
{
	struct timer *tm = q.heap[0];

	if (tm->deadline > now) {
		struct timespec until = timespec_from_ns(tm->deadline);

		pthread_cond_timedwait(&q.changed, &q.lock, &until);
		return;
	}
	heap_remove(tm);
	q.running = tm;
	pthread_mutex_unlock(&q.lock);
	tm->fire(tm);
	pthread_mutex_lock(&q.lock);
	q.running = NULL;
	pthread_cond_broadcast(&q.fired);
}

static void *timer_main(void *unused)
{
	(void)unused;
	/* The default slack would make every timer 50 us late. */
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	pthread_setname_np(pthread_self(), "timers");

	pthread_mutex_lock(&q.lock);
	for (;;) {
		struct timespec ts;

		if (!q.count) {
			pthread_cond_wait(&q.changed, &q.lock);
			continue;
		}
		/* The host's clock, not clock_now(): the sleep above was by it. */
		clock_gettime(CLOCK_MONOTONIC, &ts);
		run_first(timespec_to_ns(&ts));
	}
	return NULL;
}

/* q.lock held. */
static void start_thread(void)
{
	pthread_condattr_t cond;
	pthread_attr_t attr;
	sigset_t all, old;
	int err;

	pthread_condattr_init(&cond);
	pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
	pthread_cond_init(&q.changed, &cond);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK);

	/* Signals to the sentry are for other threads. */
	sigmask_most(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&q.thread, &attr, timer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	pthread_condattr_destroy(&cond);
	if (err)
		die("can't start the timer thread: error %d", err);
	q.started = true;
}

/* ---- for the owners ---- */

void timer_arm(struct timer *tm, u64 deadline)
{
	pthread_mutex_lock(&q.lock);
	if (!q.started)
		start_thread();
	if (tm->deadline)
		heap_remove(tm);
	if (tm->ending)
		goto out;
	/* TIME_FOREVER is never; a deadline of 0 would say "not armed". */
	if (deadline != TIME_FOREVER) {
		tm->deadline = MAX(deadline, 1);
		heap_insert(tm);
		if (!tm->slot)
			pthread_cond_signal(&q.changed);
	}
out:
	pthread_mutex_unlock(&q.lock);
}

void timer_disarm(struct timer *tm)
{
	pthread_mutex_lock(&q.lock);
	if (tm->deadline)
		heap_remove(tm);
	/* What fire() arms while we wait for it would be run before we are back. */
	tm->ending = true;
	while (q.running == tm && !pthread_equal(q.thread, pthread_self()))
		pthread_cond_wait(&q.fired, &q.lock);
	tm->ending = false;
	pthread_mutex_unlock(&q.lock);
}
