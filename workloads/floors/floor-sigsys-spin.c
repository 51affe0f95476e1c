/* SIGSYS whose handler asks a process that spins on another CPU: the floor of a signal-based platform with two CPUs. */
#include <ucontext.h>

#include "mailbox.h"
#include "sigsys.h"

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

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	static u32 round;

	(void)signo;
	(void)info;
	mailbox_post(&box->ask, ++round);
	mailbox_spin(&box->reply, round);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 42;
}

static void setup(void)
{
	if (floor_cpu(0) == floor_cpu(1))
		workload_unsupported(ENODEV, __LINE__);
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
	.name = "floor-sigsys-spin", .help = "seccomp SIGSYS, hand-over to a spinning process on another CPU and back",
	.class = CLASS_FLOOR, .placements = PLACE_FREE,
	.setup = setup, .batch = batch, .finish = finish,
};
