/* A turn to another process and back by futex, on one CPU or across two. */
#include "mailbox.h"

static struct mailbox *box;
static pid_t partner;

static void answer(void)
{
	u32 round;

	for (round = 1;; round++) {
		mailbox_sleep(&box->ask, round);
		mailbox_wake(&box->reply, round);
	}
}

static void setup(void)
{
	box = floor_shared(sizeof(*box));
	partner = floor_partner(floor_cpu(1), answer);
	floor_pin(floor_cpu(0));
}

static u64 batch(u64 n)
{
	static u32 round;
	u64 i;

	for (i = 0; i < n; i++) {
		mailbox_wake(&box->ask, ++round);
		mailbox_sleep(&box->reply, round);
	}
	return n;
}

static void finish(void)
{
	floor_reap(partner);
}

const struct workload workload = {
	.name = "floor-futex", .help = "hand-over to another process by futex and back",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = batch, .finish = finish,
};
