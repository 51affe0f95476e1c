/* Clocks: the vDSO's and the kernel's readings are one time that never goes back, on any thread. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

#include "check.h"

static const clockid_t clocks[] = {
	CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI,
};

static int64_t ns(const struct timespec *ts)
{
	return ts->tv_sec * 1000000000ll + ts->tv_nsec;
}

static int64_t by_libc(clockid_t clock)
{
	struct timespec ts;

	CHECK(clock_gettime(clock, &ts) == 0 && ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
	return ns(&ts);
}

static int64_t by_syscall(clockid_t clock)
{
	struct timespec ts;

	CHECK(syscall(SYS_clock_gettime, clock, &ts) == 0 && ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
	return ns(&ts);
}

static _Atomic int64_t high_water;
static atomic_int stop, went_back;

static void *reader(void *arg)
{
	while (!stop) {
		int64_t seen = high_water, now = arg ? by_syscall(CLOCK_MONOTONIC) : by_libc(CLOCK_MONOTONIC);

		if (now < seen)
			went_back = 1;
		while (now > seen && !atomic_compare_exchange_weak(&high_water, &seen, now))
			;
	}
	return NULL;
}

static void check_errors(void)
{
	struct timespec ts = { 0 };

	CHECK_ERRNO(syscall(SYS_clock_gettime, 99, &ts), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_gettime, -1, &ts), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8), EFAULT);
	CHECK_ERRNO(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &ts), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_settime, 99, &ts), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_settime, CLOCK_PROCESS_CPUTIME_ID, &ts), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_settime, CLOCK_THREAD_CPUTIME_ID, &ts), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_getres, 99, NULL), EINVAL);
	CHECK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, NULL) == 0);
	CHECK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, &ts) == 0 && ns(&ts) == 1);
	CHECK(clock_getres(CLOCK_REALTIME, &ts) == 0 && ns(&ts) == 1);
	CHECK(clock_getres(CLOCK_PROCESS_CPUTIME_ID, &ts) == 0 && ns(&ts) == 1);
	CHECK(clock_getres(CLOCK_MONOTONIC_COARSE, &ts) == 0 && ns(&ts) >= 1000000 && ns(&ts) <= 10000000);
}

static void check_cpu_clocks(void)
{
	clockid_t thread, process;
	int64_t before, after;
	struct timespec ts;
	struct tms tms;

	before = by_libc(CLOCK_PROCESS_CPUTIME_ID);
	for (volatile int i = 0; i < 30000000; i++)
		;
	after = by_libc(CLOCK_PROCESS_CPUTIME_ID);
	CHECK(after - before > 5000000);
	CHECK(by_libc(CLOCK_THREAD_CPUTIME_ID) >= after - before);
	CHECK(pthread_getcpuclockid(pthread_self(), &thread) == 0 && by_libc(thread) > 0);
	CHECK(clock_getcpuclockid(getpid(), &process) == 0 && by_libc(process) >= after);
	CHECK(clock_getcpuclockid(0, &process) == 0 && by_libc(process) >= after);
	CHECK_ERRNO(clock_gettime((clockid_t)(~(1u << 22) << 3 | 2), &ts), EINVAL);
	CHECK(times(&tms) > 0 && tms.tms_utime + tms.tms_stime >= 0);
}

int main(void)
{
	pthread_t threads[4];
	struct timeval tv;
	int64_t a, b, c;
	time_t t;

	CHECK(getauxval(AT_SYSINFO_EHDR));
	for (int i = 0; i < 5; i++) {
		for (int n = 0; n < 300; n++) {
			a = by_libc(clocks[i]);
			b = by_syscall(clocks[i]);
			c = by_libc(clocks[i]);
			CHECK(a <= b);
			CHECK(b <= c);
		}
	}
	a = by_libc(CLOCK_MONOTONIC_COARSE);
	b = by_libc(CLOCK_MONOTONIC);
	CHECK(a <= b && b - a < 2000000000);
	a = by_libc(CLOCK_REALTIME);
	CHECK(gettimeofday(&tv, NULL) == 0);
	b = tv.tv_sec * 1000000000ll + tv.tv_usec * 1000;
	CHECK(b - a > -2000 && b - a < 10000000000);
	CHECK(time(&t) == t && t >= a / 1000000000 - 1 && t - tv.tv_sec <= 10);
	CHECK(by_libc(CLOCK_TAI) - by_libc(CLOCK_REALTIME) < 60 * 1000000000ll);
	CHECK(by_libc(CLOCK_BOOTTIME) - by_libc(CLOCK_MONOTONIC) > -1000000);

	for (long i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, reader, (void *)(i & 1)) == 0);
	usleep(1500000);
	stop = 1;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(!went_back);

	check_errors();
	check_cpu_clocks();
	puts("clocks fine");
	return 0;
}
