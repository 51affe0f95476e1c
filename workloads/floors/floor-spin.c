/* Two cache lines between two spinning processes on two CPUs: the fastest hand-over there is. */
#include "mailbox.h"

static struct mailbox *box;
static pid_t partner;

static void answer(void)
{
	u32 round;

	for (round = 1;; round++) {
		mailbox_spin(&box->ask, round);
		mailbox_post(&box->reply, round);
	}
}

static void setup(void)
{
	if (floor_cpu(0) == floor_cpu(1))
		workload_unsupported(ENODEV, __LINE__);
	box = floor_shared(sizeof(*box));
	partner = floor_partner(floor_cpu(1), answer);
	floor_pin(floor_cpu(0));
}

static u64 batch(u64 n)
{
	static u32 round;
	u64 i;

	for (i = 0; i < n; i++) {
		mailbox_post(&box->ask, ++round);
		mailbox_spin(&box->reply, round);
	}
	return n;
}

static void finish(void)
{
	floor_reap(partner);
}

const struct workload workload = {
	.name = "floor-spin", .help = "two cache lines, two CPUs, round trip",
	.class = CLASS_FLOOR, .placements = PLACE_FREE,
	.setup = setup, .batch = batch, .finish = finish,
};
