/*
 * A program that computes about WORK_NS between two system calls: at which rate of calls does a sandbox cost 1, 10 or 50 %?
 * The work is a number of steps, the same everywhere; how long it really takes is what native says. A step is a multiplication
 * and an addition that wait for each other: four cycles.
 */
#include "workload.h"

static long pid;

static void setup(void)
{
	pid = sys0(__NR_getpid);
}

static inline u64 compute(u64 steps)
{
	u64 i, x = 1;

	for (i = 0; i < steps; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		__asm__ volatile("" : "+r"(x));
	}
	return x;
}

static u64 batch(u64 n)
{
	const u64 steps = workload_param * 3 / 4;	/* at 3 GHz */
	u64 right = 0, i;

	for (i = 0; i < n; i++)
		right += good(compute(steps) && trap0(__NR_getpid) == pid);
	return right;
}

static const u64 gaps[] = { 100, 300, 1000, 3000, 10000, 30000, 100000, 300000, 1000000, 0 };

const struct workload workload = {
	.name = "call-rate", .help = "so many ns of arithmetic, then one getpid",
	.class = CLASS_CPU, .placements = PLACE_SAME | PLACE_FREE, .traps = 1, .exact = true,
	.param_name = "work_ns", .levels = gaps, .param = 10000,
	.setup = setup, .batch = batch,
};
