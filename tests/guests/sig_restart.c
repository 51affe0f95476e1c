/* What a signal does to a call that sleeps: EINTR, restart, and the masks of sigsuspend and its kin. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static volatile int count, blocked_in_handler;
static int fds[2];
static pthread_t main_thread;

static void handler(int signo)
{
	sigset_t s;

	count++;
	sigprocmask(SIG_BLOCK, NULL, &s);
	blocked_in_handler = sigismember(&s, SIGUSR2);
}

static void set(int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	count = 0;
}

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts))
		;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Another thread: a signal after 50 ms, a byte after 100 ms. */
static void *disturb(void *arg)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	nap(50);
	pthread_kill(main_thread, SIGUSR1);
	nap(50);
	if (arg)
		CHECK(write(fds[1], "x", 1) == 1);
	return NULL;
}

static void start(pthread_t *t, int with_byte)
{
	CHECK(pthread_create(t, NULL, disturb, with_byte ? fds : NULL) == 0);
}

static void reads(void)
{
	pthread_t t;
	char c;

	set(SA_RESTART);
	start(&t, 1);
	CHECK(read(fds[0], &c, 1) == 1 && count == 1);
	pthread_join(t, NULL);
	set(0);
	start(&t, 0);
	CHECK_ERRNO(read(fds[0], &c, 1), EINTR);
	CHECK(count == 1);
	pthread_join(t, NULL);
}

/* These end with EINTR even if the handler asks for a restart. */
static void never_restarted(void)
{
	struct pollfd p = { .fd = fds[0], .events = POLLIN };
	struct timespec ts = { 5, 0 }, left = { 0, 0 };
	struct epoll_event ev = { .events = EPOLLIN };
	pthread_t t;
	double from;
	fd_set r;
	int ep = epoll_create1(0);

	set(SA_RESTART);
	start(&t, 0);
	CHECK_ERRNO(poll(&p, 1, 5000), EINTR);
	pthread_join(t, NULL);
	start(&t, 0);
	FD_ZERO(&r);
	FD_SET(fds[0], &r);
	CHECK_ERRNO(select(fds[0] + 1, &r, NULL, NULL, NULL), EINTR);
	pthread_join(t, NULL);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &ev) == 0);
	start(&t, 0);
	CHECK_ERRNO(epoll_wait(ep, &ev, 1, 5000), EINTR);
	pthread_join(t, NULL);
	close(ep);
	from = now();
	start(&t, 0);
	CHECK_ERRNO(nanosleep(&ts, &left), EINTR);
	CHECK(now() - from < 3);
	CHECK(left.tv_sec == 4 && left.tv_nsec > 0);
	pthread_join(t, NULL);
	start(&t, 0);
	CHECK_ERRNO(pause(), EINTR);
	pthread_join(t, NULL);
	CHECK(count == 5);
}

static void suspend(void)
{
	sigset_t usr1, usr2, now_blocked;
	struct timespec ts = { 5, 0 };
	pthread_t t;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	set(SA_RESTART);
	sigprocmask(SIG_SETMASK, &usr1, NULL);
	raise(SIGUSR1);
	CHECK(count == 0);
	/* The pending signal is taken under the temporary mask; afterwards the old one is back. */
	CHECK_ERRNO(sigsuspend(&usr2), EINTR);
	CHECK(count == 1 && blocked_in_handler);
	sigprocmask(SIG_BLOCK, NULL, &now_blocked);
	CHECK(sigismember(&now_blocked, SIGUSR1) && !sigismember(&now_blocked, SIGUSR2));
	start(&t, 0);
	CHECK_ERRNO(ppoll(NULL, 0, &ts, &usr2), EINTR);
	CHECK(count == 2 && blocked_in_handler);
	sigprocmask(SIG_BLOCK, NULL, &now_blocked);
	CHECK(sigismember(&now_blocked, SIGUSR1) && !sigismember(&now_blocked, SIGUSR2));
	pthread_join(t, NULL);
	ts = (struct timespec){ 0, 1000000 };
	CHECK(pselect(0, NULL, NULL, NULL, &ts, &usr2) == 0);
	sigprocmask(SIG_BLOCK, NULL, &now_blocked);
	CHECK(sigismember(&now_blocked, SIGUSR1) && !sigismember(&now_blocked, SIGUSR2));
	sigemptyset(&now_blocked);
	sigprocmask(SIG_SETMASK, &now_blocked, NULL);
	CHECK(count == 2);
}

/* An ignored signal and a stop with SIGCONT are not noticed by a sleeping call. */
static void unnoticed(void)
{
	struct timespec ts = { 0, 300000000 };
	pid_t child, me = getpid();
	struct pollfd p = { .fd = fds[0], .events = POLLIN };
	double from = now();
	int status;
	char c;

	signal(SIGUSR2, SIG_IGN);
	child = fork();
	if (!child) {
		nap(50);
		kill(me, SIGUSR2);
		kill(me, SIGWINCH);
		kill(me, SIGCONT);
		_exit(0);
	}
	CHECK(nanosleep(&ts, NULL) == 0);
	CHECK(now() - from >= 0.3);
	CHECK(waitpid(child, &status, 0) == child && status == 0);

	child = fork();
	if (!child) {
		CHECK(read(fds[0], &c, 1) == 1 && c == 'y');
		CHECK(poll(&p, 1, 200) == 0);
		CHECK(nanosleep(&ts, NULL) == 0);
		_exit(7);
	}
	for (int i = 0; i < 3; i++) {
		nap(50);
		kill(child, SIGSTOP);
		CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
		kill(child, SIGCONT);
		CHECK(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
		if (i == 0)
			CHECK(write(fds[1], "y", 1) == 1);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* A call site that has run often (a platform may have rewritten it) restarts as well as any other. */
static void hot_site(void)
{
	struct itimerval it = { { 0, 1000 }, { 0, 1000 } }, off = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	int in[2], status;
	pid_t child;
	char c;

	CHECK(pipe(in) == 0);
	sigaction(SIGALRM, &sa, NULL);
	child = fork();
	if (!child) {
		for (int i = 0; i < 1000; i++)
			CHECK(write(in[1], "ab", 2) == 2);
		for (int i = 0; i < 40; i++) {
			nap(3);
			CHECK(write(in[1], "ab", 2) == 2);
		}
		_exit(0);
	}
	count = 0;
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	for (int i = 0; i < 2 * 1040; i++) {
		c = 0;
		if (syscall(SYS_read, in[0], &c, 1) != 1 || c != (i % 2 ? 'b' : 'a'))
			CHECK(!"read");
	}
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
	CHECK(count > 10);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
	main_thread = pthread_self();
	CHECK(pipe(fds) == 0);
	reads();
	never_restarted();
	suspend();
	unnoticed();
	hot_site();
	puts("ok");
	return 0;
}
