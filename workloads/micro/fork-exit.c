/* fork, the child exits at once, the parent reaps it. */
#include "workload.h"

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long pid;

	for (i = 0; i < n; i++) {
		int status = -1;

		pid = trap0(__NR_fork);
		if (!pid)
			sys1(__NR_exit_group, 7);
		right += good(trap4(__NR_wait4, pid, &status, 0, 0) == pid && status == 7 << 8);
	}
	return right;
}

const struct workload workload = {
	.name = "fork-exit", .help = "fork, exit of the child, wait4",
	.class = CLASS_TASK, .placements = PLACE_SAME, .traps = 3,
	.batch = batch,
};
