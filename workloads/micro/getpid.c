/* getpid with its number in `mov $imm, %eax` right before `syscall`: the pattern that call-site patching knows best. */
#include "workload.h"

static long pid;

static void setup(void)
{
	pid = sys0(__NR_getpid);
}

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long ret;

	for (i = 0; i < n; i++) {
		__asm__ volatile("mov $39, %%eax\n\t" TRAP_INSN : "=a"(ret) : : "rcx", "r11", "memory");
		right += good(ret == pid);
	}
	return right;
}

const struct workload workload = {
	.name = "getpid", .help = "one getpid; number in mov $imm,%eax right before syscall",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME | PLACE_FREE, .traps = 1, .exact = true,
	.setup = setup, .batch = batch,
};
