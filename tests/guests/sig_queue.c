/* Real-time queues, sigtimedwait, rt_sigqueueinfo, signalfd. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static int got[16], ngot;

static void handler(int signo, siginfo_t *si, void *uc)
{
	if (ngot < 16)
		got[ngot++] = signo * 100 + si->si_value.sival_int;
}

static void block_all(int on)
{
	sigset_t s;

	if (on)
		sigfillset(&s);
	else
		sigemptyset(&s);
	sigprocmask(SIG_SETMASK, &s, NULL);
}

static int rt_sigqueueinfo(pid_t pid, int signo, siginfo_t *si)
{
	return syscall(SYS_rt_sigqueueinfo, pid, signo, si);
}

static void order(void)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigfillset(&sa.sa_mask);
	for (int i = 0; i < 3; i++)
		sigaction(SIGRTMIN + i, &sa, NULL);
	block_all(1);
	for (int v = 1; v <= 3; v++)
		CHECK(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = v }) == 0);
	for (int v = 1; v <= 2; v++)
		CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = v }) == 0);
	block_all(0);
	CHECK(ngot == 5);
	/* Frames are pushed lowest signal first, but each handler blocks the rest: so they run in order. */
	CHECK(got[0] == SIGRTMIN * 100 + 1 && got[1] == SIGRTMIN * 100 + 2);
	CHECK(got[2] == (SIGRTMIN + 2) * 100 + 1 && got[4] == (SIGRTMIN + 2) * 100 + 3);
}

static void timedwait(void)
{
	struct timespec zero = { 0, 0 }, some = { 0, 50000000 }, bad = { 0, 1000000000 };
	siginfo_t si;
	sigset_t s;
	pid_t child;

	block_all(1);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGRTMIN + 5);
	CHECK_ERRNO(sigtimedwait(&s, &si, &zero), EAGAIN);
	CHECK_ERRNO(sigtimedwait(&s, &si, &some), EAGAIN);
	CHECK_ERRNO(sigtimedwait(&s, &si, &bad), EINVAL);
	sigqueue(getpid(), SIGRTMIN + 5, (union sigval){ .sival_int = 9 });
	raise(SIGUSR1);
	/* libc shows SI_TKILL as SI_USER here. */
	CHECK(sigtimedwait(&s, &si, &zero) == SIGUSR1 && si.si_code == SI_USER);
	CHECK(sigwaitinfo(&s, &si) == SIGRTMIN + 5 && si.si_code == SI_QUEUE && si.si_value.sival_int == 9);
	CHECK(si.si_pid == getpid() && si.si_uid == getuid());
	child = fork();
	if (!child) {
		struct timespec ts = { 0, 50000000 };

		nanosleep(&ts, NULL);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	CHECK(sigwaitinfo(&s, &si) == SIGUSR1 && si.si_code == SI_USER && si.si_pid == child);
	CHECK(waitpid(child, NULL, 0) == child);
	/* A blocked signal that is ignored by default still wakes a waiter. */
	sigaddset(&s, SIGCHLD);
	CHECK(sigtimedwait(&s, &si, &zero) == SIGCHLD && si.si_code == CLD_EXITED && si.si_pid == child);
	block_all(0);
}

static void queueinfo(void)
{
	siginfo_t si;
	pid_t child;
	sigset_t s;
	int status;

	block_all(1);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	memset(&si, 0, sizeof(si));
	si.si_code = -7;
	si.si_value.sival_int = 5;
	CHECK(rt_sigqueueinfo(getpid(), SIGUSR1, &si) == 0);
	CHECK(sigwaitinfo(&s, &si) == SIGUSR1 && si.si_code == -7 && si.si_value.sival_int == 5);
	si.si_code = SI_USER;
	CHECK(rt_sigqueueinfo(getpid(), SIGUSR1, &si) == 0);
	CHECK(sigwaitinfo(&s, &si) == SIGUSR1);
	child = fork();
	if (!child) {
		/* Only to oneself may one pretend to be kill(2). */
		si.si_code = SI_USER;
		CHECK_ERRNO(rt_sigqueueinfo(getppid(), SIGUSR1, &si), EPERM);
		si.si_code = SI_TKILL;
		CHECK_ERRNO(rt_sigqueueinfo(getppid(), SIGUSR1, &si), EPERM);
		si.si_code = SI_QUEUE;
		CHECK(rt_sigqueueinfo(getppid(), 0, &si) == 0);
		CHECK_ERRNO(rt_sigqueueinfo(getppid(), 65, &si), EINVAL);
		CHECK_ERRNO(rt_sigqueueinfo(0, SIGUSR1, &si), ESRCH);
		CHECK_ERRNO(syscall(SYS_rt_tgsigqueueinfo, 0, 1, SIGUSR1, &si), EINVAL);
		CHECK_ERRNO(rt_sigqueueinfo(getppid(), SIGUSR1, (void *)8), EFAULT);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	block_all(0);
}

static void limit(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct rlimit none = { 0, 0 };

		block_all(1);
		CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
		CHECK_ERRNO(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 1 }), EAGAIN);
		CHECK(kill(getpid(), SIGRTMIN) == 0);
		CHECK(kill(getpid(), SIGUSR1) == 0);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void *send_later(void *arg)
{
	struct timespec ts = { 0, 50000000 };

	nanosleep(&ts, NULL);
	kill(getpid(), SIGUSR2);
	return NULL;
}

static void fd(void)
{
	struct signalfd_siginfo out[4];
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd p;
	pthread_t t;
	sigset_t s;
	int f, ep;

	block_all(1);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	f = signalfd(-1, &s, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(f >= 0);
	CHECK(fcntl(f, F_GETFD) == FD_CLOEXEC);
	CHECK_ERRNO(read(f, out, sizeof(out)), EAGAIN);
	CHECK_ERRNO(read(f, out, 127), EINVAL);
	p = (struct pollfd){ .fd = f, .events = POLLIN };
	CHECK(poll(&p, 1, 0) == 0);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN);
	CHECK(read(f, out, sizeof(out)) == sizeof(out[0]));
	CHECK(out[0].ssi_signo == SIGUSR1 && out[0].ssi_code == SI_USER && out[0].ssi_pid == (unsigned)getpid());
	sigaddset(&s, SIGUSR2);
	CHECK(signalfd(f, &s, 0) == f);
	CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 3 }) == 0);
	CHECK(read(f, out, sizeof(out)) == 2 * sizeof(out[0]));
	CHECK(out[0].ssi_signo == SIGUSR1 && out[0].ssi_int == 3 && out[1].ssi_signo == SIGUSR2);
	CHECK_ERRNO(signalfd(0, &s, 0), EINVAL);
	CHECK_ERRNO(signalfd(-1, &s, 1), EINVAL);
	CHECK_ERRNO(signalfd(999, &s, 0), EBADF);

	ep = epoll_create1(0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, f, &ev) == 0);
	pthread_create(&t, NULL, send_later, NULL);
	CHECK(epoll_wait(ep, &ev, 1, 5000) == 1 && ev.events == EPOLLIN);
	CHECK(read(f, out, sizeof(out)) == sizeof(out[0]) && out[0].ssi_signo == SIGUSR2);
	pthread_join(t, NULL);
	CHECK(fcntl(f, F_SETFL, 0) == 0);
	pthread_create(&t, NULL, send_later, NULL);
	CHECK(read(f, out, sizeof(out)) == sizeof(out[0]) && out[0].ssi_signo == SIGUSR2);
	pthread_join(t, NULL);
	close(f);
	close(ep);
	block_all(0);
}

int main(void)
{
	order();
	timedwait();
	queueinfo();
	limit();
	fd();
	puts("ok");
	return 0;
}
