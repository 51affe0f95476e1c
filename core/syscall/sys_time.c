/* Reading clocks and sleeping by them. */
#include <string.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/times.h>

#include "syscall/syscall.h"
#include "task/clock.h"
#include "task/cpu_clock.h"

#define NSEC_PER_TICK	(NSEC_PER_SEC / 100)	/* times() counts in AT_CLKTCK */

int clock_get(struct task *t, s32 clock, u64 *ns)
{
	struct cpu_clock cpu;
	int err;

	if (clock_is_system(clock)) {
		*ns = clock_now(clock);
		return 0;
	}
	err = cpu_clock_get(t, clock, true, &cpu);
	if (!err) {
		*ns = cpu_clock_now(&cpu);
		cpu_clock_put(&cpu);
	}
	return err;
}

long sys_clock_gettime(struct task *t, const u64 *arg)
{
	u64 ns;
	int err = clock_get(t, arg[0], &ns);

	return err ? err : copy_out_timespec(t->mm, arg[1], ns);
}

long sys_clock_getres(struct task *t, const u64 *arg)
{
	s32 clock = arg[0];
	u64 ns = 1, unused;

	if (clock_is_system(clock))
		ns = clock_resolution(clock);
	else if (clock_get(t, clock, &unused))
		return -EINVAL;
	else if (clock < 0 && (clock & 3) != CPU_SCHED)
		ns = NSEC_PER_TICK;
	return arg[1] ? copy_out_timespec(t->mm, arg[1], ns) : 0;
}

/* The sandbox has no right to the host's clock, whoever its user is. */
long sys_clock_settime(struct task *t, const u64 *arg)
{
	s32 clock = arg[0];
	u64 ns;
	int err;

	/* CPU time of other processes and threads gets as far as EPERM; one's own has no such call. */
	if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
		return -EINVAL;
	if (clock != CLOCK_REALTIME && clock_is_system(clock))
		return -EINVAL;
	if (clock != CLOCK_REALTIME && clock_get(t, clock, &ns))
		return -EINVAL;
	err = copy_in_timespec(t->mm, arg[1], &ns);
	return err ? err : -EPERM;
}

long sys_gettimeofday(struct task *t, const u64 *arg)
{
	struct timezone tz = { 0 };
	struct timeval tv;
	u64 ns;

	if (arg[0]) {
		ns = clock_now(CLOCK_REALTIME);
		tv.tv_sec = ns / NSEC_PER_SEC;
		tv.tv_usec = ns % NSEC_PER_SEC / 1000;
		if (put_user(t->mm, arg[0], &tv))
			return -EFAULT;
	}
	if (arg[1] && put_user(t->mm, arg[1], &tz))
		return -EFAULT;
	return 0;
}

long sys_settimeofday(struct task *t, const u64 *arg)
{
	struct timezone tz;
	struct timeval tv;

	if (arg[0]) {
		if (get_user(t->mm, &tv, arg[0]))
			return -EFAULT;
		if (tv.tv_sec < 0 || tv.tv_usec < 0 || tv.tv_usec > 1000000)
			return -EINVAL;
	}
	if (arg[1] && get_user(t->mm, &tz, arg[1]))
		return -EFAULT;
	return -EPERM;
}

long sys_time(struct task *t, const u64 *arg)
{
	s64 now = clock_now(CLOCK_REALTIME) / NSEC_PER_SEC;

	if (arg[0] && put_user(t->mm, arg[0], &now))
		return -EFAULT;
	return now;
}

long sys_times(struct task *t, const u64 *arg)
{
	struct rusage_sum own, children;
	struct tms tms;

	if (arg[0]) {
		thread_group_usage(t->tg, &own);
		pthread_mutex_lock(&t->tg->lock);
		children = t->tg->children_usage;
		pthread_mutex_unlock(&t->tg->lock);
		tms.tms_utime = own.utime_ns / NSEC_PER_TICK;
		tms.tms_stime = own.stime_ns / NSEC_PER_TICK;
		tms.tms_cutime = children.utime_ns / NSEC_PER_TICK;
		tms.tms_cstime = children.stime_ns / NSEC_PER_TICK;
		if (put_user(t->mm, arg[0], &tms))
			return -EFAULT;
	}
	return clock_now(CLOCK_BOOTTIME) / NSEC_PER_TICK;
}

/* What the host's clock discipline reports may be read; changing it is refused. */
static long adjtime_common(struct task *t, gva_t buf)
{
	struct timex tx;
	int state;

	if (get_user(t->mm, &tx, buf))
		return -EFAULT;
	if (tx.modes && tx.modes != ADJ_OFFSET_SS_READ)
		return -EPERM;
	memset(&tx, 0, sizeof(tx));
	state = adjtimex(&tx);
	if (state < 0)
		return -errno;
	return put_user(t->mm, buf, &tx) ? -EFAULT : state;
}

long sys_adjtimex(struct task *t, const u64 *arg)
{
	return adjtime_common(t, arg[0]);
}

long sys_clock_adjtime(struct task *t, const u64 *arg)
{
	s32 clock = arg[0];
	u64 unused;

	if (clock != CLOCK_REALTIME)
		return clock_get(t, clock, &unused) ? -EINVAL : -EOPNOTSUPP;
	return adjtime_common(t, arg[1]);
}

/* ---- sleeping ---- */

static int sleep_until(struct task *t, s32 clock, u64 target)
{
	int err = 0;

	/* A clock that was set back has us sleep on; the guest's may also be a few ns behind the host's. */
	while (clock_now(clock) < target) {
		err = task_block(t, deadline_at(clock, target));
		if (err == -EINTR)
			break;
		err = 0;
	}
	return err;
}

static int sleep_until_cpu(struct task *t, const struct cpu_clock *cpu, u64 target)
{
	u64 last = 0;

	while (cpu_clock_now(cpu) < target)
		if (task_block(t, cpu_clock_deadline(cpu, target, &last)) == -EINTR)
			return -EINTR;
	return 0;
}

/* Sleep on `clock` until it shows `target`; clock was checked. */
static int sleep_clock(struct task *t, s32 clock, u64 target)
{
	struct cpu_clock cpu;
	int err;

	if (clock_is_system(clock))
		return sleep_until(t, clock, target);
	err = cpu_clock_get(t, clock, false, &cpu);
	if (!err) {
		err = sleep_until_cpu(t, &cpu, target);
		cpu_clock_put(&cpu);
	}
	return err;
}

/* restart_data: clock, target, where to write what is left (or 0). */
static long sleep_restart(struct task *t)
{
	s32 clock = t->restart_data[0];
	u64 target = t->restart_data[1], now = 0;
	gva_t left = t->restart_data[2];
	int err = sleep_clock(t, clock, target);

	if (err != -EINTR)
		return err;
	clock_get(t, clock, &now);
	if (now >= target)
		return 0;
	if (left && copy_out_timespec(t->mm, left, target - now))
		return -EFAULT;
	return -ERESTART_RESTARTBLOCK;
}

static long sleep_relative(struct task *t, s32 clock, u64 ns, gva_t left)
{
	u64 now = 0;
	int err;

	/* Relative to a settable clock means: that long, whatever happens to the clock. */
	if (clock == CLOCK_REALTIME || clock == CLOCK_TAI)
		clock = CLOCK_MONOTONIC;
	err = clock_get(t, clock, &now);
	if (err)
		return err;
	t->restart_fn = sleep_restart;
	t->restart_data[0] = clock;
	t->restart_data[1] = __builtin_add_overflow(now, ns, &now) ? TIME_FOREVER : now;
	t->restart_data[2] = left;
	return sleep_restart(t);
}

long sys_nanosleep(struct task *t, const u64 *arg)
{
	u64 ns;
	int err = copy_in_timespec(t->mm, arg[0], &ns);

	return err ? err : sleep_relative(t, CLOCK_MONOTONIC, ns, arg[1]);
}

static int check_sleep_clock(struct task *t, s32 clock)
{
	u64 unused;

	switch (clock) {
	case CLOCK_REALTIME: case CLOCK_MONOTONIC: case CLOCK_BOOTTIME: case CLOCK_TAI:
		return 0;
	case CLOCK_MONOTONIC_RAW: case CLOCK_REALTIME_COARSE: case CLOCK_MONOTONIC_COARSE:
	case CLOCK_THREAD_CPUTIME_ID:
		return -EOPNOTSUPP;
	}
	/* A thread cannot wait for its own CPU time to pass. */
	if (clock < 0 && (clock & 4) && (~(clock >> 3) == 0 || ~(clock >> 3) == t->tid))
		return -EINVAL;
	return clock_get(t, clock, &unused);
}

long sys_clock_nanosleep(struct task *t, const u64 *arg)
{
	s32 clock = arg[0];
	u64 ns;
	int err = check_sleep_clock(t, clock);

	if (!err)
		err = copy_in_timespec(t->mm, arg[2], &ns);
	if (err)
		return err;
	if (!(arg[1] & TIMER_ABSTIME))
		return sleep_relative(t, clock, ns, arg[3]);
	err = sleep_clock(t, clock, ns);
	return err == -EINTR ? -ERESTARTNOHAND : err;
}
