/* open and close of this program's own file: path walk, descriptor allocation and release. */
#include "workload.h"

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long fd;

	for (i = 0; i < n; i++) {
		fd = trap3(__NR_open, workload_argv[0], 0, 0);
		right += good(trap1(__NR_close, fd) == 0);
	}
	return right;
}

const struct workload workload = {
	.name = "open-close", .help = "open for reading and close of the program's own file",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 2, .exact = true,
	.batch = batch,
};
