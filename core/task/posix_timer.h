/*
 * A thread group's timers: timer_create's and the three of setitimer. They hang on tg->timers, made with the first
 * one. Fork inherits none.
 *
 * Lock order: posix_timers.lock, then tg->lock. Never wait for a timer to end (timer_disarm) with either held.
 */
#ifndef TG_POSIX_TIMER_H
#define TG_POSIX_TIMER_H

#include "task/task.h"

/*
 * A queued signal with si_code SI_TIMER is being taken off the queue by `t`: fills in its overrun and starts the next
 * interval. Call with no lock of the group held. Fine if the timer is gone.
 */
void posix_timer_delivered(struct task *t, union guest_siginfo *info);

void posix_timers_exec(struct thread_group *tg);	/* deletes timer_create's timers; setitimer's go on */
void posix_timers_exit(struct thread_group *tg);	/* last thread of the group ended: stops and frees all. No lock held */

/* timer_create(2) and kin with C values. `t` is the caller. */
struct timer_event {
	int notify, signo, tid;		/* SIGEV_* */
	u64 value;
	bool value_is_id;		/* no sigevent was given */
};
struct timer_value {
	u64 value, interval;		/* ns */
};
long posix_timer_create(struct task *t, s32 clock, const struct timer_event *ev);	/* the id */
int posix_timer_set(struct task *t, int id, bool absolute, const struct timer_value *new, struct timer_value *old);
int posix_timer_get(struct task *t, int id, struct timer_value *out);
int posix_timer_overrun(struct task *t, int id);
int posix_timer_delete(struct task *t, int id);

/* setitimer(2); which: ITIMER_*, checked by the caller. new NULL: only look. */
int itimer_set(struct task *t, int which, const struct timer_value *new, struct timer_value *old);

#endif
