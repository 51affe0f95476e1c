/* Alarms: see alarm.h. */
#include "task/alarm.h"

u64 alarm_now(const struct alarm *a)
{
	return a->cpu.task || a->cpu.group ? cpu_clock_now(&a->cpu) : clock_now(a->clock);
}

void alarm_arm(struct alarm *a)
{
	u64 when = TIME_FOREVER;

	if (a->expiry && a->expiry < TIME_FOREVER - 1)
		when = a->cpu.task || a->cpu.group ? cpu_clock_deadline(&a->cpu, a->expiry, &a->last) :
						     deadline_at(a->clock, a->expiry);
	timer_arm(&a->timer, when);
}

void alarm_set(struct alarm *a, u64 value, u64 interval, bool absolute)
{
	a->interval = interval;
	a->expiry = value;
	a->last = 0;
	if (value && !absolute && __builtin_add_overflow(value, alarm_now(a), &a->expiry))
		a->expiry = TIME_FOREVER - 1;
}

/*
 * The queue goes by the host's clock, which may be some nanoseconds ahead of the guest's, and a settable clock may have
 * been set back: then it is not yet time, whatever the queue says.
 */
bool alarm_expired(struct alarm *a, bool rearm)
{
	if (!a->expiry)
		return false;
	if (alarm_now(a) >= a->expiry)
		return true;
	if (rearm)
		alarm_arm(a);
	return false;
}

u64 alarm_advance(struct alarm *a)
{
	u64 passed = 1, now = alarm_now(a);

	if (!a->interval) {
		a->expiry = 0;
		return 1;
	}
	if (now > a->expiry)
		passed += (now - a->expiry) / a->interval;
	if (__builtin_add_overflow(a->expiry, passed * a->interval, &a->expiry))
		a->expiry = TIME_FOREVER - 1;
	return passed;
}

u64 alarm_left(const struct alarm *a)
{
	u64 now;

	if (!a->expiry)
		return 0;
	now = alarm_now(a);
	if (a->expiry > now)
		return a->expiry - now;
	return a->interval ? a->interval - (now - a->expiry) % a->interval : 1;
}
