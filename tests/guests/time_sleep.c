/* Sleeping: how long, what is left when a signal comes, and that stopping and continuing does not end a sleep. */
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define MS 1000000ll

static volatile sig_atomic_t signals;

static void handler(int signo)
{
	signals++;
}

static int64_t now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static struct timespec in_ns(int64_t ns)
{
	return (struct timespec){ ns / 1000000000, ns % 1000000000 };
}

static void alarm_in(int ms)
{
	struct itimerval it = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
}

static void set_handler(int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
}

static void plain(void)
{
	static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	struct timespec ts = in_ns(30 * MS);
	int64_t start = now(CLOCK_MONOTONIC), took;

	CHECK(nanosleep(&ts, NULL) == 0);
	took = now(CLOCK_MONOTONIC) - start;
	CHECK(took >= 30 * MS);
	CHECK(took < 20000 * MS);
	for (int i = 0; i < 3; i++) {
		start = now(clocks[i]);
		CHECK(clock_nanosleep(clocks[i], 0, &ts, NULL) == 0);
		CHECK(now(clocks[i]) - start >= 30 * MS);
		ts = in_ns(now(clocks[i]) + 20 * MS);
		CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &ts, NULL) == 0);
		CHECK(now(clocks[i]) >= ts.tv_sec * 1000000000ll + ts.tv_nsec);
		ts = in_ns(5);
		CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &ts, NULL) == 0);
		ts = in_ns(30 * MS);
	}
	ts = in_ns(0);
	CHECK(nanosleep(&ts, NULL) == 0);
}

static void errors(void)
{
	struct timespec bad = { 0, 1000000000 }, negative = { -1, 0 }, ts = { 0, 1 };

	CHECK_ERRNO(syscall(SYS_nanosleep, &bad, NULL), EINVAL);
	CHECK_ERRNO(syscall(SYS_nanosleep, &negative, NULL), EINVAL);
	CHECK_ERRNO(syscall(SYS_nanosleep, 8, NULL), EFAULT);
	CHECK_ERRNO(syscall(SYS_clock_nanosleep, 99, 0, &ts, NULL), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &ts, NULL), EOPNOTSUPP);
	CHECK_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &ts, NULL), EOPNOTSUPP);
	CHECK_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL), EOPNOTSUPP);
}

/* A handler ends a relative sleep and leaves the rest, whatever SA_RESTART says. */
static void interrupted(int flags)
{
	struct timespec ts = in_ns(50000 * MS), left = { 0 };

	set_handler(flags);
	signals = 0;
	alarm_in(50);
	CHECK_ERRNO(nanosleep(&ts, &left), EINTR);
	CHECK(signals == 1);
	CHECK(left.tv_sec >= 20 && left.tv_sec < 50 && left.tv_nsec >= 0);
	alarm_in(50);
	ts = in_ns(now(CLOCK_MONOTONIC) + 50000 * MS);
	left = in_ns(0);
	CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, &left) == EINTR);
	CHECK(left.tv_sec == 0 && left.tv_nsec == 0);
	CHECK(signals == 2);
}

static void stopped(void)
{
	int64_t start = now(CLOCK_MONOTONIC), took;
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		struct timespec ts = in_ns(400 * MS);

		_exit(syscall(SYS_nanosleep, &ts, NULL) == 0 ? 0 : errno);
	}
	usleep(100000);
	CHECK(kill(pid, SIGSTOP) == 0);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	usleep(50000);
	CHECK(kill(pid, SIGCONT) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
	took = now(CLOCK_MONOTONIC) - start;
	CHECK(took >= 400 * MS);
	CHECK(took < 20000 * MS);
}

static void cpu_clock(void)
{
	struct timespec ts = in_ns(now(CLOCK_PROCESS_CPUTIME_ID) / 2);

	CHECK(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &ts, NULL) == 0);
}

int main(void)
{
	plain();
	errors();
	interrupted(0);
	interrupted(SA_RESTART);
	stopped();
	cpu_clock();
	puts("sleep fine");
	return 0;
}
