/*
 * An alarm: one expiry, maybe with an interval, on any clock that a guest can name. What setitimer, timer_create and
 * timerfd have in common. Times are on the alarm's own clock; the owner's lock guards it.
 */
#ifndef TG_ALARM_H
#define TG_ALARM_H

#include "task/clock.h"
#include "task/cpu_clock.h"

struct alarm {
	struct timer timer;		/* first: fire() gets the owner by CONTAINER_OF */
	s32 clock;			/* a system clock; otherwise `cpu` counts */
	struct cpu_clock cpu;
	u64 expiry, interval;		/* ns; expiry 0: not set */
	u64 last;			/* cpu_clock_deadline()'s */
};

u64 alarm_now(const struct alarm *a);
void alarm_arm(struct alarm *a);			/* or disarm, as `expiry` says; does not wait for fire() */
void alarm_set(struct alarm *a, u64 value, u64 interval, bool absolute);	/* value 0: off. Does not arm */
/* fire() was called, or someone looks: has it expired? False also means: too early, armed again if `rearm`. */
bool alarm_expired(struct alarm *a, bool rearm);
/* It has expired: steps to the first expiry that lies ahead, or turns it off. Returns the expiries passed, >= 1. */
u64 alarm_advance(struct alarm *a);
/* As timer_gettime and the like report it: what is left, at least 1 while it is set, 0 when off. */
u64 alarm_left(const struct alarm *a);

#endif
