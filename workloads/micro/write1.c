/* write of one byte to /dev/null: as read0 with a byte of guest memory to look at. */
#include "workload.h"

static long fd;

static void setup(void)
{
	fd = CHECK(sys3(__NR_open, "/dev/null", 1, 0));
}

static u64 batch(u64 n)
{
	u64 right = 0, i;
	char byte = 'x';

	for (i = 0; i < n; i++)
		right += good(trap3(__NR_write, fd, &byte, 1) == 1);
	return right;
}

const struct workload workload = {
	.name = "write1", .help = "one write of 1 byte to /dev/null",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 1, .exact = true,
	.setup = setup, .batch = batch,
};
