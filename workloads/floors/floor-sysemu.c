/*
 * The floor of ptrace: PTRACE_SYSEMU to a stop at a system call, waitpid, registers read and written, nothing else.
 * Placement free puts tracer and tracee on two CPUs.
 */
#include <sys/ptrace.h>
#include <sys/user.h>

#include "floor.h"

static pid_t tracee;

static void loop_forever(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	for (;;)
		__asm__ volatile("mov $39, %%eax\n\tsyscall" : : : "rax", "rcx", "r11", "memory");
}

static void setup(void)
{
	int status;

	tracee = floor_partner(floor_cpu(1), loop_forever);
	floor_pin(floor_cpu(0));
	CHECK_LIBC(waitpid(tracee, &status, 0));
	CHECK_LIBC(ptrace(PTRACE_SETOPTIONS, tracee, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
}

static u64 batch(u64 n)
{
	struct user_regs_struct regs;
	u64 right = 0, i;
	int status;

	for (i = 0; i < n; i++) {
		ptrace(PTRACE_SYSEMU, tracee, 0, 0);
		waitpid(tracee, &status, __WALL);
		ptrace(PTRACE_GETREGS, tracee, 0, &regs);
		right += status >> 8 == (SIGTRAP | 0x80) && regs.orig_rax == __NR_getpid;
		regs.rax = 42;
		ptrace(PTRACE_SETREGS, tracee, 0, &regs);
	}
	return right;
}

static void finish(void)
{
	floor_reap(tracee);
}

const struct workload workload = {
	.name = "floor-sysemu", .help = "PTRACE_SYSEMU, waitpid, GETREGS, SETREGS: one round trip",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = batch, .finish = finish,
};
