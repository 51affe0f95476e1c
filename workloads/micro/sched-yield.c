/* sched_yield with nobody to yield to. */
#include "workload.h"

static u64 batch(u64 n)
{
	u64 right = 0, i;

	for (i = 0; i < n; i++)
		right += good(trap0(__NR_sched_yield) == 0);
	return right;
}

const struct workload workload = {
	.name = "sched-yield", .help = "one sched_yield with nothing else to run",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 1, .exact = true,
	.batch = batch,
};
