/* The floor of everything native: a system call that does next to nothing. */
#include "floor.h"

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
	.name = "floor-getpid", .help = "one native getpid",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = batch,
};
