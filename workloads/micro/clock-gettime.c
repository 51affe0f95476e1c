/* clock_gettime through the vDSO: no trap natively, and none in a sandbox that brings a vDSO of its own. */
#include "vdso.h"

static int (*call)(int, long *);

static void setup(void)
{
	call = (int (*)(int, long *))vdso_find("__vdso_clock_gettime");
	if (!call)
		workload_unsupported(38, __LINE__);
}

static u64 batch(u64 n)
{
	long ts[2], before = 0;
	u64 right = 0, i;

	for (i = 0; i < n; i++) {
		ts[0] = 1;
		right += good((IS_TWIN || !call(1, ts)) && ts[0] >= before);
		before = ts[0];
		__asm__ volatile("" : : : "memory");	/* keeps the twin's loop a loop */
	}
	return right;
}

const struct workload workload = {
	.name = "clock-gettime", .help = "one clock_gettime(CLOCK_MONOTONIC) through the vDSO",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME, .traps = 0,
	.setup = setup, .batch = batch,
};
