/*
 * A thread group's timers: timer_create's and the three of setitimer. They hang on tg->timers, made with the first
 * one. Fork inherits none.
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

#endif
