/* getpid whose number comes from memory, as in syscall(2): the mov pattern cannot match. */
#include "workload.h"

static long pid;
static volatile long number = __NR_getpid;

static void setup(void)
{
	pid = sys0(number);
}

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long ret;

	for (i = 0; i < n; i++) {
		__asm__ volatile("mov %1, %%rax\n\t" TRAP_INSN : "=&a"(ret) : "m"(number) : "rcx", "r11", "memory");
		right += good(ret == pid);
	}
	return right;
}

const struct workload workload = {
	.name = "getpid-var", .help = "one getpid; number loaded from memory, so no mov pattern to patch",
	.class = CLASS_SYSCALL, .placements = PLACE_SAME | PLACE_FREE, .traps = 1, .exact = true,
	.setup = setup, .batch = batch,
};
