/* poll, ppoll, select, pselect: readiness, time-outs, signals, what is written back. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int p[2];

static void *write_later(void *arg)
{
	usleep(30000);
	CHECK(write(p[1], "x", 1) == 1);
	return NULL;
}

static void polling(void)
{
	struct pollfd f[3] = { { .fd = p[0], .events = POLLIN }, { .fd = -1, .events = POLLIN, .revents = 99 }, { .fd = 500 } };
	struct pollfd w = { .fd = p[1], .events = POLLOUT | POLLWRNORM };
	long start = now_ms();
	pthread_t t;
	char c;

	CHECK(poll(f, 2, 40) == 0 && f[1].revents == 0);
	CHECK(now_ms() - start >= 40);
	CHECK(poll(f, 3, 1000) == 1 && f[2].revents == POLLNVAL);
	CHECK(poll(&w, 1, -1) == 1 && w.revents == (POLLOUT | POLLWRNORM));
	CHECK(pthread_create(&t, NULL, write_later, NULL) == 0);
	CHECK(poll(f, 1, -1) == 1 && f[0].revents == POLLIN);
	pthread_join(t, NULL);
	CHECK(read(p[0], &c, 1) == 1);
	CHECK_ERRNO(syscall(SYS_poll, f, 1 << 30, 0), EINVAL);
	CHECK(poll(NULL, 0, 1) == 0);
	CHECK_ERRNO(syscall(SYS_poll, 8, 1, 0), EFAULT);
	int file = open("/proc/self/exe", O_RDONLY);
	struct pollfd r = { .fd = file, .events = POLLIN | POLLOUT };
	CHECK(poll(&r, 1, 0) == 1 && r.revents == (POLLIN | POLLOUT));
	close(file);
}

static void selecting(void)
{
	struct timeval tv = { 0, 20000 };
	fd_set r, w;
	char c;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	CHECK(select(p[1] + 1, &r, NULL, NULL, &tv) == 0);
	CHECK(tv.tv_sec == 0 && tv.tv_usec == 0 && !FD_ISSET(p[0], &r));
	CHECK(write(p[1], "y", 1) == 1);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	tv = (struct timeval){ 10, 0 };
	CHECK(select(p[1] + 1, &r, &w, NULL, &tv) == 2 && FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w));
	CHECK(tv.tv_sec >= 9);
	CHECK(read(p[0], &c, 1) == 1);
	FD_ZERO(&r);
	FD_SET(60, &r);
	CHECK_ERRNO(select(61, &r, NULL, NULL, NULL), EBADF);
	CHECK_ERRNO(select(-1, NULL, NULL, NULL, NULL), EINVAL);
	tv = (struct timeval){ -1, 0 };
	CHECK_ERRNO(select(0, NULL, NULL, NULL, &tv), EINVAL);
}

static volatile int alarms;
static void on_alarm(int sig) { alarms++; }

static void signals(void)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct pollfd f = { .fd = p[0], .events = POLLIN };
	struct timespec ts = { 5, 0 };
	sigset_t set, none;
	fd_set r;

	sigaction(SIGALRM, &sa, NULL);
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGALRM);
	CHECK(poll(&f, 1, 5) == 0 && alarms == 0);
	CHECK_ERRNO(ppoll(&f, 1, &ts, &none), EINTR);
	CHECK(alarms == 1);
	raise(SIGALRM);
	FD_ZERO(&r);
	FD_SET(p[0], &r);
	CHECK_ERRNO(pselect(p[0] + 1, &r, NULL, NULL, &ts, &none), EINTR);
	CHECK(alarms == 2);
	sigprocmask(SIG_SETMASK, NULL, &set);
	CHECK(sigismember(&set, SIGALRM));
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* The kernel's ppoll writes the time left. */
	ts = (struct timespec){ 0, 10000000 };
	CHECK(syscall(SYS_ppoll, &f, 1, &ts, NULL, 8) == 0 && ts.tv_sec == 0 && ts.tv_nsec == 0);
	CHECK_ERRNO(syscall(SYS_ppoll, &f, 1, &(struct timespec){ 0, -1 }, NULL, 8), EINVAL);
	CHECK_ERRNO(syscall(SYS_ppoll, &f, 1, NULL, &none, 4), EINVAL);
}

/* A stop and continue does not end poll, and does not make it longer either. */
static void stopped(void)
{
	long start = now_ms();
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct pollfd f = { .fd = p[0], .events = POLLIN };

		_exit(poll(&f, 1, 300) == 0 ? 0 : 1);
	}
	usleep(50000);
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	usleep(50000);
	kill(pid, SIGCONT);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(now_ms() - start >= 300);
}

int main(void)
{
	CHECK(pipe(p) == 0);
	polling();
	selecting();
	signals();
	stopped();
	puts("ok");
	return 0;
}
