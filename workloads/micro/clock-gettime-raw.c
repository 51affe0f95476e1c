/* clock_gettime by system call: what the vDSO saves. */
#include "workload.h"

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long ts[2];

	for (i = 0; i < n; i++)
		right += good(trap2(__NR_clock_gettime, 1, ts) == 0);
	return right;
}

const struct workload workload = {
	.name = "clock-gettime-raw", .help = "one clock_gettime(CLOCK_MONOTONIC) by system call",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 1, .exact = true,
	.batch = batch,
};
