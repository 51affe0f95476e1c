/* mmap and munmap of 64 KiB that nobody touches. */
#include "memory.h"

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long addr;

	for (i = 0; i < n; i++) {
		addr = trap6(__NR_mmap, 0, 16 * PAGE, PROT_RW, MAP_ANON_PRIVATE, -1, 0);
		right += good(trap2(__NR_munmap, addr, 16 * PAGE) == 0);
	}
	return right;
}

const struct workload workload = {
	.name = "mmap-munmap", .help = "mmap and munmap of 64 KiB of anonymous memory, untouched",
	.class = CLASS_FAULT, .placements = PLACE_SAME, .traps = 2, .exact = true,
	.batch = batch,
};
