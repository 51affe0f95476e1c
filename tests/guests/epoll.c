/* epoll: level, edge, one-shot, exclusive, nesting, and files that close under it. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

static struct epoll_event ev[64];

static int add(int ep, int fd, unsigned int events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static int mod(int ep, int fd, unsigned int events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	return epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}

static void errors(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC), p[2], file = open("/proc/self/exe", O_RDONLY);

	CHECK(ep >= 0 && pipe(p) == 0);
	CHECK_ERRNO(epoll_create1(1), EINVAL);
	CHECK_ERRNO(epoll_create(0), EINVAL);
	CHECK_ERRNO(add(ep, 999, EPOLLIN), EBADF);
	CHECK_ERRNO(add(999, p[0], EPOLLIN), EBADF);
	CHECK_ERRNO(add(p[0], p[1], EPOLLIN), EINVAL);
	CHECK_ERRNO(add(ep, ep, EPOLLIN), EINVAL);
	CHECK_ERRNO(add(ep, file, EPOLLIN), EPERM);
	CHECK_ERRNO(mod(ep, p[0], EPOLLIN), ENOENT);
	CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), ENOENT);
	CHECK(add(ep, p[0], EPOLLIN) == 0);
	CHECK_ERRNO(add(ep, p[0], EPOLLIN), EEXIST);
	CHECK_ERRNO(epoll_ctl(ep, 77, p[0], &e), EINVAL);
	CHECK_ERRNO(epoll_wait(ep, ev, 0, 0), EINVAL);
	CHECK_ERRNO(epoll_wait(p[0], ev, 1, 0), EINVAL);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL) == 0);
	CHECK_ERRNO(read(ep, ev, 8), EINVAL);
	close(ep);
	close(p[0]);
	close(p[1]);
	close(file);
}

static void level_edge(void)
{
	int ep = epoll_create1(0), p[2];
	char buf[8];

	CHECK(pipe(p) == 0);
	CHECK(add(ep, p[0], EPOLLIN) == 0);
	CHECK(epoll_wait(ep, ev, 64, 0) == 0);
	CHECK(write(p[1], "abc", 3) == 3);
	CHECK(epoll_wait(ep, ev, 64, -1) == 1 && ev[0].events == EPOLLIN && ev[0].data.fd == p[0]);
	CHECK(epoll_wait(ep, ev, 64, 0) == 1);
	CHECK(mod(ep, p[0], EPOLLIN | EPOLLET) == 0);
	CHECK(epoll_wait(ep, ev, 64, 0) == 1);
	CHECK(epoll_wait(ep, ev, 64, 0) == 0);
	CHECK(read(p[0], buf, 1) == 1);
	CHECK(epoll_wait(ep, ev, 64, 0) == 0);
	CHECK(write(p[1], "d", 1) == 1);
	CHECK(epoll_wait(ep, ev, 64, 0) == 1);
	CHECK(epoll_wait(ep, ev, 64, 0) == 0);
	CHECK(mod(ep, p[0], EPOLLIN | EPOLLONESHOT) == 0);
	CHECK(epoll_wait(ep, ev, 64, 0) == 1);
	CHECK(write(p[1], "e", 1) == 1);
	CHECK(epoll_wait(ep, ev, 64, 0) == 0);
	CHECK(mod(ep, p[0], EPOLLIN | EPOLLONESHOT) == 0);
	CHECK(epoll_wait(ep, ev, 64, 0) == 1);
	CHECK(mod(ep, p[0], EPOLLIN) == 0);
	close(p[1]);
	CHECK(epoll_wait(ep, ev, 64, 0) == 1 && ev[0].events == (EPOLLIN | EPOLLHUP));
	/* The last close takes the item away; a duplicate keeps it. */
	int dup_fd = dup(p[0]);
	close(p[0]);
	CHECK(epoll_wait(ep, ev, 64, 0) == 1);
	close(dup_fd);
	CHECK(epoll_wait(ep, ev, 64, 0) == 0);
	close(ep);
}

static void nesting(void)
{
	int e[7], fd = eventfd(0, 0);

	for (int i = 0; i < 7; i++)
		e[i] = epoll_create1(0);
	CHECK(add(e[0], e[1], EPOLLIN) == 0);
	CHECK(add(e[1], fd, EPOLLIN) == 0);
	CHECK_ERRNO(add(e[1], e[0], EPOLLIN), ELOOP);
	CHECK(epoll_wait(e[0], ev, 64, 0) == 0);
	eventfd_write(fd, 1);
	CHECK(epoll_wait(e[0], ev, 64, 0) == 1 && ev[0].data.fd == e[1]);
	eventfd_t v;
	eventfd_read(fd, &v);
	CHECK(epoll_wait(e[0], ev, 64, 0) == 0);
	for (int i = 0; i < 7; i++)
		close(e[i]);
	close(fd);
}

static void *write_later(void *arg)
{
	usleep(50000);
	eventfd_write(*(int *)arg, 1);
	return NULL;
}

static void on_alarm(int sig) { }

static void waiting(void)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	int ep = epoll_create1(0), fd = eventfd(0, 0);
	struct timespec ts = { 0, 20000000 }, a, b;
	sigset_t set;
	pthread_t t;

	CHECK(add(ep, fd, EPOLLIN) == 0);
	CHECK(pthread_create(&t, NULL, write_later, &fd) == 0);
	CHECK(epoll_wait(ep, ev, 64, 5000) == 1);
	pthread_join(t, NULL);
	CHECK(mod(ep, fd, 0) == 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	CHECK(epoll_wait(ep, ev, 64, 30) == 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	CHECK((b.tv_sec - a.tv_sec) * 1000000000l + b.tv_nsec - a.tv_nsec >= 30000000);
#ifdef SYS_epoll_pwait2
	CHECK(syscall(SYS_epoll_pwait2, ep, ev, 64, &ts, NULL, 8) == 0);
#endif
	/* Never restarted, and the mask is in force only meanwhile. */
	sigaction(SIGALRM, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGALRM);
	CHECK(epoll_wait(ep, ev, 64, 10) == 0);
	sigemptyset(&set);
	CHECK_ERRNO(epoll_pwait(ep, ev, 64, 5000, &set), EINTR);
	sigprocmask(SIG_SETMASK, NULL, &set);
	CHECK(sigismember(&set, SIGALRM));
	close(ep);
	close(fd);
}

static int shared_ep;
static int woken;

static void *one_of_many(void *arg)
{
	struct epoll_event e;

	while (epoll_wait(shared_ep, &e, 1, 2000) == 1 && e.data.u32 != 7777) {
		eventfd_t v;

		if (!eventfd_read(e.data.fd, &v))
			__atomic_add_fetch(&woken, v, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Several threads on one epoll lose nothing. */
static void crowd(void)
{
	struct epoll_event stop = { .events = EPOLLIN, .data.u32 = 7777 };
	int fd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE), end = eventfd(0, 0);
	pthread_t t[4];

	shared_ep = epoll_create1(0);
	CHECK(add(shared_ep, fd, EPOLLIN) == 0);
	CHECK(epoll_ctl(shared_ep, EPOLL_CTL_ADD, end, &stop) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, one_of_many, NULL) == 0);
	for (int i = 0; i < 200; i++)
		eventfd_write(fd, 1);
	while (__atomic_load_n(&woken, __ATOMIC_SEQ_CST) < 200)
		usleep(1000);
	eventfd_write(end, 1);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CHECK(woken == 200);
	close(shared_ep);
	close(fd);
	close(end);
}

static void many(void)
{
	struct rlimit r;
	int ep = epoll_create1(0), n = 2000, fd[2000];

	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	if (r.rlim_cur < 2100)
		n = r.rlim_cur - 50;
	for (int i = 0; i < n; i++)
		CHECK((fd[i] = eventfd(0, 0)) >= 0 && add(ep, fd[i], EPOLLIN) == 0);
	for (int i = 0; i < n; i += 100)
		eventfd_write(fd[i], 1);
	CHECK(epoll_wait(ep, ev, 64, 0) == (n + 99) / 100);
	for (int i = 0; i < n; i++)
		close(fd[i]);
	CHECK(epoll_wait(ep, ev, 64, 0) == 0);
	close(ep);
}

int main(void)
{
	errors();
	level_edge();
	nesting();
	waiting();
	crowd();
	many();
	puts("ok");
	return 0;
}
