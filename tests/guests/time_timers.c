/* setitimer, alarm and timer_create: expiries, intervals, overruns, signal contents; over fork and exec. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define MS 1000000ll

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static volatile sig_atomic_t count;
static siginfo_t last;
static volatile pid_t last_tid;

static void handler(int signo, siginfo_t *info, void *ctx)
{
	count++;
	last = *info;
	last_tid = syscall(SYS_gettid);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void pause_ms(int ms)
{
	int64_t end = now() + ms * MS;

	while (now() < end)
		usleep(1000);
}

static void burn_ms(int ms)
{
	int64_t end = now() + ms * MS;

	while (now() < end)
		;
}

static void catch(int signo)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	CHECK(sigaction(signo, &sa, NULL) == 0);
}

static void mask(int how, int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static struct itimerspec spec(int64_t value, int64_t interval)
{
	return (struct itimerspec){ .it_value = { value / 1000000000, value % 1000000000 },
				    .it_interval = { interval / 1000000000, interval % 1000000000 } };
}

static void itimer_real(void)
{
	struct itimerval it = { { 0, 20000 }, { 0, 20000 } }, old, off = { 0 };
	int64_t start = now();

	catch(SIGALRM);
	count = 0;
	CHECK(setitimer(ITIMER_REAL, &it, &old) == 0);
	CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
	pause_ms(210);
	CHECK(getitimer(ITIMER_REAL, &old) == 0);
	CHECK(old.it_interval.tv_usec == 20000 && old.it_value.tv_usec <= 20000);
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
	/* Late on a busy machine, and merged then; never more than the time allows. */
	CHECK(count >= 1 && count <= (now() - start) / (20 * MS));
	CHECK(last.si_signo == SIGALRM && last.si_code == SI_KERNEL);
	count = 0;
	pause_ms(50);
	CHECK(count == 0);

	it.it_value.tv_usec = 1000000;
	CHECK_ERRNO(setitimer(ITIMER_REAL, &it, NULL), EINVAL);
	CHECK_ERRNO(setitimer(7, &off, NULL), EINVAL);
	CHECK_ERRNO(getitimer(7, &old), EINVAL);
}

static void itimer_cpu(int which, int signo)
{
	struct itimerval it = { { 0, 20000 }, { 0, 20000 } }, off = { 0 };

	catch(signo);
	count = 0;
	CHECK(setitimer(which, &it, NULL) == 0);
	/* Long enough in total for a machine that is busy with something else. */
	for (int i = 0; i < 40 && count < 2; i++)
		burn_ms(50);
	CHECK(setitimer(which, &off, NULL) == 0);
	CHECK(count >= 2);
	CHECK(last.si_signo == signo);
}

static void alarms(void)
{
	int status;
	pid_t pid;

	catch(SIGALRM);
	count = 0;
	CHECK(alarm(100) == 0);
	CHECK(alarm(1) == 100);
	pid = fork();
	if (!pid)
		_exit(alarm(0));	/* not inherited */
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	for (int i = 0; i < 400 && !count; i++)
		usleep(10000);
	CHECK(count == 1);
	CHECK(alarm(0) == 0);
}

static timer_t make_timer(clockid_t clock, int notify, int signo, pid_t tid)
{
	struct sigevent sev = { .sigev_notify = notify, .sigev_signo = signo, .sigev_value.sival_int = 4711 };
	timer_t id;

	sev.sigev_notify_thread_id = tid;
	CHECK(timer_create(clock, &sev, &id) == 0);
	return id;
}

static void posix_once(void)
{
	static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI };
	struct itimerspec it = spec(20 * MS, 0), cur;

	catch(SIGRTMIN);
	for (int i = 0; i < 4; i++) {
		timer_t id = make_timer(clocks[i], SIGEV_SIGNAL, SIGRTMIN, 0);

		count = 0;
		CHECK(timer_gettime(id, &cur) == 0 && cur.it_value.tv_sec == 0 && cur.it_value.tv_nsec == 0);
		CHECK(timer_settime(id, 0, &it, &cur) == 0);
		CHECK(timer_gettime(id, &cur) == 0 && (cur.it_value.tv_nsec > 0 || count));
		for (int n = 0; n < 100 && !count; n++)
			usleep(10000);
		CHECK(count == 1);
		CHECK(last.si_code == SI_TIMER && last.si_value.sival_int == 4711 && last.si_overrun == 0);
		CHECK(timer_getoverrun(id) == 0);
		CHECK(timer_gettime(id, &cur) == 0 && cur.it_value.tv_sec == 0 && cur.it_value.tv_nsec == 0);
		CHECK(timer_delete(id) == 0);
		CHECK_ERRNO(timer_delete(id), EINVAL);
	}
}

static void posix_overrun(void)
{
	timer_t id = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0);
	struct itimerspec it = spec(10 * MS, 10 * MS), off = spec(0, 0), old;
	struct timespec ts;
	int64_t at;

	mask(SIG_BLOCK, SIGRTMIN);
	count = 0;
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	pause_ms(105);
	mask(SIG_UNBLOCK, SIGRTMIN);
	CHECK(count >= 1);
	CHECK(timer_settime(id, 0, &off, &old) == 0);
	CHECK(old.it_interval.tv_nsec == 10 * MS);

	/* One signal for many expiries, and the overrun says how many. */
	mask(SIG_BLOCK, SIGRTMIN);
	count = 0;
	it = spec(10 * MS, 10 * MS);
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	pause_ms(105);
	mask(SIG_UNBLOCK, SIGRTMIN);
	CHECK(count >= 1);
	CHECK(timer_settime(id, 0, &off, NULL) == 0);

	/* Absolute and in the past: expires at once. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	at = ts.tv_sec * 1000000000ll + ts.tv_nsec - 100 * MS;
	it = spec(at, 30 * MS);
	count = 0;
	CHECK(timer_settime(id, TIMER_ABSTIME, &it, NULL) == 0);
	for (int n = 0; n < 100 && !count; n++)
		usleep(1000);
	CHECK(count >= 1);
	CHECK(last.si_overrun >= 0);
	CHECK(timer_delete(id) == 0);
}

static void overrun_count(void)
{
	timer_t id = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1, 0);
	struct itimerspec it = spec(10 * MS, 10 * MS);
	struct timespec wait = { 1, 0 };
	int64_t start = now();
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	mask(SIG_BLOCK, SIGRTMIN + 1);
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	pause_ms(205);
	CHECK(sigtimedwait(&set, &info, &wait) == SIGRTMIN + 1);
	CHECK(info.si_code == SI_TIMER);
	CHECK(info.si_overrun >= 18 && info.si_overrun < (now() - start) / (10 * MS));
	CHECK(timer_getoverrun(id) == info.si_overrun);
	CHECK(sigtimedwait(&set, &info, &wait) == SIGRTMIN + 1);
	CHECK(info.si_overrun < (now() - start) / (10 * MS) - 18);
	CHECK(timer_delete(id) == 0);
	while (sigtimedwait(&set, &info, &(struct timespec){ 0, 0 }) > 0)
		;
	mask(SIG_UNBLOCK, SIGRTMIN + 1);
}

/* While a signal is ignored the timer goes on, and is heard again once it is caught. */
static void ignored(void)
{
	timer_t id = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR2, 0);
	struct itimerspec it = spec(5 * MS, 5 * MS);

	signal(SIGUSR2, SIG_IGN);
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	pause_ms(30);
	count = 0;
	catch(SIGUSR2);
	for (int n = 0; n < 200 && !count; n++)
		usleep(5000);
	CHECK(count > 0);
	CHECK(timer_delete(id) == 0);
}

static void *thread_target(void *arg)
{
	*(volatile pid_t *)arg = syscall(SYS_gettid);
	for (int i = 0; i < 300 && last_tid != *(volatile pid_t *)arg; i++)
		usleep(10000);
	return NULL;
}

static void to_thread(void)
{
	struct itimerspec it = spec(30 * MS, 0);
	volatile pid_t tid = 0;
	pthread_t thread;
	timer_t id;

	catch(SIGRTMIN);
	last_tid = 0;
	CHECK(pthread_create(&thread, NULL, thread_target, (void *)&tid) == 0);
	while (!tid)
		usleep(1000);
	id = make_timer(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN, tid);
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(last_tid == tid);
	CHECK(timer_delete(id) == 0);
}

static void silent(void)
{
	timer_t id = make_timer(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
	struct itimerspec it = spec(20 * MS, 0), cur;

	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	CHECK(timer_gettime(id, &cur) == 0 && cur.it_value.tv_nsec > 0);
	pause_ms(30);
	CHECK(timer_gettime(id, &cur) == 0 && cur.it_value.tv_nsec == 0);
	it = spec(20 * MS, 20 * MS);
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	pause_ms(50);
	CHECK(timer_gettime(id, &cur) == 0 && cur.it_value.tv_nsec > 0 && cur.it_value.tv_nsec <= 20 * MS);
	CHECK(timer_delete(id) == 0);
}

static void cpu_timer(void)
{
	timer_t id = make_timer(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN, 0);
	struct itimerspec it = spec(30 * MS, 0);

	count = 0;
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	for (int i = 0; i < 40 && !count; i++)
		burn_ms(50);
	CHECK(count == 1);
	CHECK(timer_delete(id) == 0);
}

static void errors(void)
{
	struct sigevent sev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65 };
	struct itimerspec bad = { .it_value = { 0, 1000000000 } };
	int raw = 0;
	timer_t id;

	CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, &sev, &raw), EINVAL);
	sev.sigev_notify = 99;
	CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, &sev, &raw), EINVAL);
	CHECK_ERRNO(syscall(SYS_timer_create, 77, NULL, &raw), EINVAL);
	CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC_COARSE, NULL, &raw), EOPNOTSUPP);
	CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, 8), EFAULT);
	CHECK_ERRNO(syscall(SYS_timer_settime, 12345, 0, &bad, NULL), EINVAL);
	CHECK_ERRNO(syscall(SYS_timer_getoverrun, 12345), EINVAL);
	id = make_timer(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
	CHECK_ERRNO(timer_settime(id, 0, &bad, NULL), EINVAL);
	CHECK(timer_delete(id) == 0);
}

/* exec keeps setitimer's timers and deletes timer_create's. */
static void over_exec(const char *self)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		struct itimerspec it = spec(300 * MS, 0);
		struct itimerval itv = { .it_value = { 60, 0 } };
		timer_t id = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGKILL, 0);

		timer_settime(id, 0, &it, NULL);
		setitimer(ITIMER_REAL, &itv, NULL);
		execl(self, self, "after", NULL);
		_exit(99);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
}

static int after_exec(void)
{
	struct itimerval it;

	usleep(500000);
	CHECK(getitimer(ITIMER_REAL, &it) == 0 && it.it_value.tv_sec >= 55);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return after_exec();
	itimer_real();
	itimer_cpu(ITIMER_VIRTUAL, SIGVTALRM);
	itimer_cpu(ITIMER_PROF, SIGPROF);
	alarms();
	posix_once();
	posix_overrun();
	overrun_count();
	ignored();
	to_thread();
	silent();
	cpu_timer();
	errors();
	over_exec("/proc/self/exe");
	puts("timers fine");
	return 0;
}
