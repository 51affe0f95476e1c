/* stat of this program's own file: path walk and attributes. */
#include "workload.h"

static u64 batch(u64 n)
{
	u64 right = 0, i;
	char buf[256];

	for (i = 0; i < n; i++)
		right += good(trap2(__NR_stat, workload_argv[0], buf) == 0);
	return right;
}

const struct workload workload = {
	.name = "stat", .help = "one stat of the program's own file",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 1, .exact = true,
	.batch = batch,
};
