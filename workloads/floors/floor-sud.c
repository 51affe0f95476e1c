/* A system call turned into SIGSYS by syscall user dispatch, its handler, and the return from it: floor-sigsys without seccomp. */
#include <sys/prctl.h>
#include <ucontext.h>

#include "floor.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH	59
#define PR_SYS_DISPATCH_ON		1
#endif

enum { ALLOW = 0, BLOCK = 1 };

static volatile char selector = ALLOW;

/* The return from a signal is a system call as well: the handler lets it through, the loop closes the gate again. */
static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	selector = ALLOW;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 42;
}

static void setup(void)
{
	struct sigaction act = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER };

	CHECK_LIBC(sigaction(SIGSYS, &act, NULL));
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector))
		workload_unsupported(errno, __LINE__);
}

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long ret;

	for (i = 0; i < n; i++) {
		selector = BLOCK;
		__asm__ volatile("mov $39, %%eax\n\t" TRAP_INSN : "=a"(ret) : : "rcx", "r11", "memory");
		right += good(ret == 42);
	}
	return right;
}

const struct workload workload = {
	.name = "floor-sud", .help = "syscall user dispatch, SIGSYS, handler, sigreturn",
	.class = CLASS_FLOOR, .placements = PLACE_SAME,
	.setup = setup, .batch = batch,
};
