/*
 * TASKS threads of one process, each calling getpid: does a sandbox serve them side by side? A batch ends when the last one
 * is done; one operation is one call of each thread, so that perfect scaling keeps its time until the CPUs are used up.
 */
#include <linux/futex.h>

#include "crew.h"

#define CLONE_THREAD_FLAGS	0x00050f00	/* VM, FS, FILES, SIGHAND, THREAD, SYSVSEM */
#define STACK			16384

static char stacks[CREW_MAX][STACK] __attribute__((aligned(16)));
static struct crew crew;

static long member(void *arg)
{
	crew_work(&crew, (u64)arg);
	return 0;
}

static void setup(void)
{
	u64 i;

	crew_init(&crew, workload_param);
	for (i = 1; i < crew.size; i++)
		CHECK(thread_clone(member, (void *)i, stacks[i] + STACK, CLONE_THREAD_FLAGS));
}

static u64 batch(u64 n)
{
	return crew_batch(&crew, n);
}

static const u64 sizes[] = { 1, 2, 4, 8, 16, 0 };

const struct workload workload = {
	.name = "scale-tasks", .help = "one getpid in each of so many threads",
	.class = CLASS_TASK, .placements = PLACE_FREE, .traps = 1,
	.param_name = "tasks", .levels = sizes, .param = 2,
	.setup = setup, .batch = batch,
};
