/* A byte through a pipe that epoll watches: write, epoll_wait, read. */
#include <linux/eventpoll.h>

#include "workload.h"

static int ends[2];
static long epfd;

static void setup(void)
{
	struct epoll_event ev = { .events = 1 };	/* EPOLLIN */

	CHECK(sys1(__NR_pipe, ends));
	epfd = CHECK(sys1(__NR_epoll_create1, 0));
	CHECK(sys4(__NR_epoll_ctl, epfd, 1, ends[0], &ev));
}

static u64 batch(u64 n)
{
	struct epoll_event ev;
	u64 right = 0, i;
	char byte = 'x';

	for (i = 0; i < n; i++) {
		trap3(__NR_write, ends[1], &byte, 1);
		right += good(trap4(__NR_epoll_wait, epfd, &ev, 1, -1) == 1);
		trap3(__NR_read, ends[0], &byte, 1);
	}
	return right;
}

const struct workload workload = {
	.name = "epoll-pipe", .help = "write of a byte to a pipe, epoll_wait, read",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 3, .exact = true,
	.setup = setup, .batch = batch,
};
