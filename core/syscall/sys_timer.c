/* Timers: setitimer, alarm, timer_create and kin, timerfd. */
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "fs/fs.h"
#include "fs/timerfd.h"
#include "syscall/syscall.h"
#include "task/clock.h"
#include "task/posix_timer.h"

#ifndef TFD_TIMER_CANCEL_ON_SET
#define TFD_TIMER_CANCEL_ON_SET	2
#endif

#define CAP_WAKE_ALARM	35

/* ---- itimerspec and itimerval ---- */

static int copy_in_spec(struct mm *mm, gva_t src, struct timer_value *v)
{
	struct itimerspec s;

	if (get_user(mm, &s, src))
		return -EFAULT;
	if (!timespec_valid(&s.it_value) || !timespec_valid(&s.it_interval))
		return -EINVAL;
	v->value = timespec_to_ns(&s.it_value);
	v->interval = timespec_to_ns(&s.it_interval);
	return 0;
}

static int copy_out_spec(struct mm *mm, gva_t dst, const struct timer_value *v)
{
	struct itimerspec s = { .it_value = timespec_from_ns(v->value), .it_interval = timespec_from_ns(v->interval) };

	return put_user(mm, dst, &s) ? -EFAULT : 0;
}

static bool timeval_to_ns(const struct timeval *tv, u64 *ns)
{
	if (tv->tv_usec < 0 || tv->tv_usec >= 1000000 || tv->tv_sec < 0)
		return false;
	*ns = timespec_to_ns(&(struct timespec){ tv->tv_sec, tv->tv_usec * 1000 });
	return true;
}

static struct timeval timeval_from_ns(u64 ns)
{
	return (struct timeval){ .tv_sec = ns / NSEC_PER_SEC, .tv_usec = ns % NSEC_PER_SEC / 1000 };
}

static int copy_out_val(struct mm *mm, gva_t dst, const struct timer_value *v)
{
	/* A timer that still runs never reads as zero, which would say that it is off. */
	u64 value = v->value && v->value < 1000 ? 1000 : v->value;
	struct itimerval s = { .it_value = timeval_from_ns(value), .it_interval = timeval_from_ns(v->interval) };

	return put_user(mm, dst, &s) ? -EFAULT : 0;
}

/* ---- setitimer ---- */

long sys_getitimer(struct task *t, const u64 *arg)
{
	struct timer_value old;
	s32 which = arg[0];

	if (which < 0 || which > ITIMER_PROF)
		return -EINVAL;
	itimer_set(t, which, NULL, &old);
	return copy_out_val(t->mm, arg[1], &old);
}

long sys_setitimer(struct task *t, const u64 *arg)
{
	struct timer_value new = { 0 }, old;
	struct itimerval val;
	s32 which = arg[0];
	int err;

	if (arg[1]) {
		if (get_user(t->mm, &val, arg[1]))
			return -EFAULT;
		if (!timeval_to_ns(&val.it_value, &new.value) || !timeval_to_ns(&val.it_interval, &new.interval))
			return -EINVAL;
	}
	if (which < 0 || which > ITIMER_PROF)
		return -EINVAL;
	err = itimer_set(t, which, &new, &old);
	if (!err && arg[2])
		err = copy_out_val(t->mm, arg[2], &old);
	return err;
}

long sys_alarm(struct task *t, const u64 *arg)
{
	struct timer_value new = { .value = (u64)(u32)arg[0] * NSEC_PER_SEC }, old;
	u64 seconds;
	int err = itimer_set(t, ITIMER_REAL, &new, &old);

	if (err)
		return err;
	/* Rounded, but never down to "there was none". */
	seconds = (old.value + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
	return old.value && !seconds ? 1 : seconds;
}

/* ---- timer_create ---- */

struct guest_sigevent {
	u64 value;
	s32 signo, notify, tid;
	s32 pad[11];
};
_Static_assert(sizeof(struct guest_sigevent) == 64, "struct sigevent");

long sys_timer_create(struct task *t, const u64 *arg)
{
	struct timer_event ev = { .notify = SIGEV_SIGNAL, .signo = SIGALRM, .value_is_id = true };
	struct guest_sigevent sev;
	long id;
	s32 out;

	if (arg[1]) {
		if (get_user(t->mm, &sev, arg[1]))
			return -EFAULT;
		ev = (struct timer_event){ .notify = sev.notify, .signo = sev.signo, .tid = sev.tid, .value = sev.value };
	}
	id = posix_timer_create(t, arg[0], &ev);
	if (id < 0)
		return id;
	out = id;
	if (put_user(t->mm, arg[2], &out)) {
		posix_timer_delete(t, id);
		return -EFAULT;
	}
	return 0;
}

long sys_timer_settime(struct task *t, const u64 *arg)
{
	struct timer_value new, old;
	int err;

	if (!arg[2])
		return -EINVAL;
	err = copy_in_spec(t->mm, arg[2], &new);
	if (!err)
		err = posix_timer_set(t, arg[0], arg[1] & TIMER_ABSTIME, &new, &old);
	if (!err && arg[3])
		err = copy_out_spec(t->mm, arg[3], &old);
	return err;
}

long sys_timer_gettime(struct task *t, const u64 *arg)
{
	struct timer_value now;
	int err = posix_timer_get(t, arg[0], &now);

	return err ? err : copy_out_spec(t->mm, arg[1], &now);
}

long sys_timer_getoverrun(struct task *t, const u64 *arg)
{
	return posix_timer_overrun(t, arg[0]);
}

long sys_timer_delete(struct task *t, const u64 *arg)
{
	return posix_timer_delete(t, arg[0]);
}

/* ---- timerfd ---- */

long sys_timerfd_create(struct task *t, const u64 *arg)
{
	s32 clock = arg[0], flags = arg[1];
	struct file *f;
	int err;

	if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK))
		return -EINVAL;
	switch (clock) {
	case CLOCK_REALTIME: case CLOCK_MONOTONIC: case CLOCK_BOOTTIME:
		break;
	case CLOCK_REALTIME_ALARM: case CLOCK_BOOTTIME_ALARM:
		/* Nothing here can wake the host from sleep: with the right to it, a timer like any other. */
		if (!cred_capable(t->cred, CAP_WAKE_ALARM))
			return -EPERM;
		clock = clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : CLOCK_BOOTTIME;
		break;
	default:
		return -EINVAL;
	}
	err = timerfd_create_file(clock, flags & TFD_NONBLOCK ? O_NONBLOCK : 0, &f);
	return err ? err : fd_install(t, f, 0, flags & TFD_CLOEXEC);
}

static int timerfd_find(struct task *t, s32 fd, struct file **out)
{
	struct file *f = fd_get_io(t->files, fd);

	if (!f)
		return -EBADF;
	if (!file_is_timerfd(f)) {
		file_put(f);
		return -EINVAL;
	}
	*out = f;
	return 0;
}

long sys_timerfd_settime(struct task *t, const u64 *arg)
{
	struct timer_value new, old;
	s32 flags = arg[1];
	struct file *f;
	int err = copy_in_spec(t->mm, arg[2], &new);

	if (err)
		return err;
	if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
		return -EINVAL;
	err = timerfd_find(t, arg[0], &f);
	if (err)
		return err;
	err = timerfd_set(f, flags, &new, &old);
	if (!err && arg[3])
		err = copy_out_spec(t->mm, arg[3], &old);
	file_put(f);
	return err;
}

long sys_timerfd_gettime(struct task *t, const u64 *arg)
{
	struct timer_value now;
	struct file *f;
	int err = timerfd_find(t, arg[0], &f);

	if (err)
		return err;
	timerfd_get(f, &now);
	file_put(f);
	return copy_out_spec(t->mm, arg[1], &now);
}
