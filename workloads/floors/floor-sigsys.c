/* A system call turned into SIGSYS by seccomp, its handler, and the return from it: no sentry anywhere. */
#include <ucontext.h>

#include "sigsys.h"

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 42;
}

static void setup(void)
{
	sigsys_install(on_sigsys);
}

static u64 batch(u64 n)
{
	return sigsys_loop(n, 42);
}

const struct workload workload = {
	.name = "floor-sigsys", .help = "seccomp SIGSYS, handler, sigreturn",
	.class = CLASS_FLOOR, .placements = PLACE_SAME,
	.setup = setup, .batch = batch,
};
