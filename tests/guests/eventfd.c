/* eventfd: counting, semaphores, the upper end, blocking. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include "check.h"

static void *add_later(void *arg)
{
	usleep(20000);
	eventfd_write(*(int *)arg, 5);
	return NULL;
}

static void *take_later(void *arg)
{
	eventfd_t v;

	usleep(20000);
	eventfd_read(*(int *)arg, &v);
	return NULL;
}

int main(void)
{
	int fd = eventfd(3, EFD_NONBLOCK), sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK), block = eventfd(0, EFD_CLOEXEC);
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	uint64_t v, top = UINT64_MAX - 1;
	pthread_t t;

	CHECK(fd >= 0 && sem >= 0 && block >= 0 && fcntl(block, F_GETFD) == FD_CLOEXEC);
	CHECK_ERRNO(eventfd(0, 1 << 20), EINVAL);
	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLOUT));
	CHECK_ERRNO(read(fd, &v, 4), EINVAL);
	CHECK(read(fd, &v, 8) == 8 && v == 3);
	CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
	v = 7;
	CHECK(write(fd, &v, 8) == 8 && write(fd, &v, 8) == 8);
	CHECK(read(fd, &v, 8) == 8 && v == 14);
	v = UINT64_MAX;
	CHECK_ERRNO(write(fd, &v, 8), EINVAL);
	CHECK(write(fd, &top, 8) == 8);
	v = 1;
	CHECK_ERRNO(write(fd, &v, 8), EAGAIN);
	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN);
	CHECK(read(fd, &v, 8) == 8 && v == top);
	CHECK(read(sem, &v, 8) == 8 && v == 1 && read(sem, &v, 8) == 8 && v == 1);
	CHECK_ERRNO(read(sem, &v, 8), EAGAIN);

	CHECK(pthread_create(&t, NULL, add_later, &block) == 0);
	CHECK(read(block, &v, 8) == 8 && v == 5);
	pthread_join(t, NULL);
	CHECK(write(block, &top, 8) == 8);
	CHECK(pthread_create(&t, NULL, take_later, &block) == 0);
	v = 9;
	CHECK(write(block, &v, 8) == 8);
	pthread_join(t, NULL);
	CHECK(read(block, &v, 8) == 8 && v == 9);
	puts("ok");
	return 0;
}
