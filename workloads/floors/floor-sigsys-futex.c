/* SIGSYS whose handler wakes another process by futex and sleeps until the answer: the floor with one CPU. */
#include <ucontext.h>

#include "mailbox.h"
#include "sigsys.h"

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

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	static u32 round;

	(void)signo;
	(void)info;
	mailbox_wake(&box->ask, ++round);
	mailbox_sleep(&box->reply, round);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 42;
}

static void setup(void)
{
	box = floor_shared(sizeof(*box));
	partner = floor_partner(floor_cpu(1), answer);
	floor_pin(floor_cpu(0));
	sigsys_install(on_sigsys);
}

static u64 batch(u64 n)
{
	return sigsys_loop(n, 42);
}

static void finish(void)
{
	floor_reap(partner);
}

const struct workload workload = {
	.name = "floor-sigsys-futex", .help = "seccomp SIGSYS, hand-over to another process by futex and back",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = batch, .finish = finish,
};
