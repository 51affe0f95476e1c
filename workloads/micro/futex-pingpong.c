/*
 * Two threads hand a turn back and forth by futex: wake the other, wait for one's own turn.
 *
 * A wait whose turn has already come makes no call, so that only the two wakes of an operation are certain.
 */
#include <linux/futex.h>

#include "workload.h"

#define CLONE_THREAD_FLAGS	0x00050f00	/* VM, FS, FILES, SIGHAND, THREAD, SYSVSEM */

static u32 turn[2] __attribute__((aligned(64)));	/* of the main thread, of its partner: rounds so far */
static char stack[16384] __attribute__((aligned(16)));

static void give(int side, u32 round)
{
	__atomic_store_n(&turn[side], round, __ATOMIC_RELEASE);
	trap4(__NR_futex, &turn[side], FUTEX_WAKE_PRIVATE, 1, 0);
}

static void await(int side, u32 round)
{
	u32 seen;

	while (!IS_TWIN && (seen = __atomic_load_n(&turn[side], __ATOMIC_ACQUIRE)) != round)
		trap4(__NR_futex, &turn[side], FUTEX_WAIT_PRIVATE, seen, 0);
}

static long partner(void *arg)
{
	u32 round;

	(void)arg;
	for (round = 1;; round++) {
		await(1, round);
		give(0, round);
	}
	return 0;
}

static void setup(void)
{
	if (!IS_TWIN)
		CHECK(thread_clone(partner, 0, stack + sizeof(stack), CLONE_THREAD_FLAGS));
}

static u64 batch(u64 n)
{
	static u32 round;
	u64 right = 0, i;

	for (i = 0; i < n; i++) {
		round++;
		give(1, round);
		await(0, round);
		right += good(turn[0] == round);
	}
	return right;
}

const struct workload workload = {
	.name = "futex-pingpong", .help = "a turn to another thread and back by futex",
	.class = CLASS_TASK, .placements = PLACE_SAME | PLACE_FREE, .traps = 2,
	.setup = setup, .batch = batch,
};
