/* timerfd: reading, polling, intervals, absolute times, non-blocking, a signal while reading. */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

#include "check.h"

#define MS 1000000ll

static void handler(int signo)
{
}

static struct itimerspec spec(int64_t value, int64_t interval)
{
	return (struct itimerspec){ .it_value = { value / 1000000000, value % 1000000000 },
				    .it_interval = { interval / 1000000000, interval % 1000000000 } };
}

static int64_t now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void set(int fd, int flags, int64_t value, int64_t interval)
{
	struct itimerspec it = spec(value, interval);

	CHECK(timerfd_settime(fd, flags, &it, NULL) == 0);
}

static void once(clockid_t clock)
{
	int fd = timerfd_create(clock, TFD_CLOEXEC), epfd = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN };
	struct itimerspec cur;
	uint64_t ticks = 0;
	int64_t start = now(clock);

	CHECK(fd >= 0 && epfd >= 0);
	CHECK(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) == 0);
	CHECK(epoll_wait(epfd, &ev, 1, 0) == 0);
	set(fd, 0, 30 * MS, 0);
	CHECK(timerfd_gettime(fd, &cur) == 0);
	CHECK(epoll_wait(epfd, &ev, 1, 20000) == 1);
	CHECK(now(clock) - start >= 30 * MS);
	CHECK(read(fd, &ticks, 8) == 8 && ticks == 1);
	CHECK(epoll_wait(epfd, &ev, 1, 0) == 0);
	CHECK(timerfd_gettime(fd, &cur) == 0 && cur.it_value.tv_sec == 0 && cur.it_value.tv_nsec == 0);

	/* A blocking read; then one that an absolute time in the past ends at once. */
	start = now(clock);
	set(fd, 0, 30 * MS, 0);
	CHECK(read(fd, &ticks, 8) == 8 && ticks == 1 && now(clock) - start >= 30 * MS);
	set(fd, TFD_TIMER_ABSTIME, now(clock) - 50 * MS, 20 * MS);
	CHECK(read(fd, &ticks, 8) == 8 && ticks >= 3 && ticks < 10000);
	set(fd, TFD_TIMER_ABSTIME, now(clock) + 20 * MS, 0);
	CHECK(read(fd, &ticks, 8) == 8 && ticks == 1);
	close(fd);
	close(epfd);
}

static void interval(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct itimerspec cur, old, off = spec(0, 0);
	uint64_t ticks, sum = 0;
	int64_t start = now(CLOCK_MONOTONIC);

	CHECK_ERRNO(read(fd, &ticks, 8), EAGAIN);
	set(fd, 0, 10 * MS, 10 * MS);
	while (now(CLOCK_MONOTONIC) - start < 200 * MS) {
		CHECK(poll(&pfd, 1, 20000) == 1 && pfd.revents == POLLIN);
		CHECK(read(fd, &ticks, 8) == 8);
		sum += ticks;
	}
	CHECK(sum >= 18 && sum <= (uint64_t)(now(CLOCK_MONOTONIC) - start) / (10 * MS));
	CHECK(timerfd_gettime(fd, &cur) == 0 && cur.it_interval.tv_nsec == 10 * MS && cur.it_value.tv_nsec > 0);
	CHECK(timerfd_settime(fd, 0, &off, &old) == 0 && old.it_interval.tv_nsec == 10 * MS);
	usleep(30000);
	CHECK(poll(&pfd, 1, 0) == 0);
	close(fd);
}

static void interrupted(void)
{
	struct sigaction sa = { .sa_handler = handler };
	struct itimerval it = { .it_value = { 0, 30000 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t ticks;

	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	set(fd, 0, 60000 * MS, 0);
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	CHECK_ERRNO(read(fd, &ticks, 8), EINTR);

	/* With SA_RESTART the read goes on to its end. */
	sa.sa_flags = SA_RESTART;
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	set(fd, 0, 100 * MS, 0);
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	CHECK(read(fd, &ticks, 8) == 8 && ticks == 1);
	close(fd);
}

static void errors(void)
{
	struct itimerspec bad = { .it_value = { 0, -1 } }, it = spec(MS, 0);
	int fd = timerfd_create(CLOCK_MONOTONIC, 0), p[2];
	uint32_t small;

	CHECK(pipe(p) == 0);
	CHECK_ERRNO(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
	CHECK_ERRNO(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
	CHECK_ERRNO(timerfd_settime(fd, 0, &bad, NULL), EINVAL);
	CHECK_ERRNO(timerfd_settime(fd, 64, &it, NULL), EINVAL);
	CHECK_ERRNO(timerfd_settime(p[0], 0, &it, NULL), EINVAL);
	CHECK_ERRNO(timerfd_settime(999, 0, &it, NULL), EBADF);
	CHECK_ERRNO(timerfd_gettime(p[0], &it), EINVAL);
	CHECK_ERRNO(read(fd, &small, 4), EINVAL);
	CHECK_ERRNO(write(fd, "12345678", 8), EINVAL);
	CHECK(lseek(fd, 100, SEEK_SET) == 0);
	close(fd);
}

int main(void)
{
	once(CLOCK_MONOTONIC);
	once(CLOCK_REALTIME);
	once(CLOCK_BOOTTIME);
	interval();
	interrupted();
	errors();
	puts("timerfd fine");
	return 0;
}
