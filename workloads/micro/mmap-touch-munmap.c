/* mmap of 64 KiB, a write to each of its 16 pages, munmap: what an allocator does for a large block. */
#include "memory.h"

static char twin_memory[16 * PAGE];

static u64 batch(u64 n)
{
	volatile char *base;
	u64 right = 0, i;
	int p;

	for (i = 0; i < n; i++) {
		base = (volatile char *)trap6(__NR_mmap, 0, 16 * PAGE, PROT_RW, MAP_ANON_PRIVATE, -1, 0);
		if (IS_TWIN)
			base = twin_memory;
		if ((u64)base > -4096ul)
			break;
		for (p = 0; p < 16; p++)
			base[p * PAGE] = 1;
		right += good(trap2(__NR_munmap, base, 16 * PAGE) == 0);
	}
	return right;
}

const struct workload workload = {
	.name = "mmap-touch-munmap", .help = "mmap of 64 KiB, a write to each of 16 pages, munmap",
	.class = CLASS_FAULT, .placements = PLACE_SAME, .traps = 2, .exact = true,
	.batch = batch,
};
