/* read of zero bytes: descriptor lookup and return. */
#include "workload.h"

static long fd;

static void setup(void)
{
	fd = CHECK(sys3(__NR_open, "/dev/null", 0, 0));
}

static u64 batch(u64 n)
{
	u64 right = 0, i;
	char byte;

	for (i = 0; i < n; i++)
		right += good(trap3(__NR_read, fd, &byte, 0) == 0);
	return right;
}

const struct workload workload = {
	.name = "read0", .help = "one read of 0 bytes from /dev/null",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 1, .exact = true,
	.setup = setup, .batch = batch,
};
