/* Map SIZE_KIB, touch each page, unmap: what faults cost as mappings grow. One operation is all of that. */
#include "memory.h"

static u64 batch(u64 n)
{
	const u64 pages = workload_param * 1024 / PAGE;
	u64 right = 0, zero, i, j;
	volatile char *base;

	for (i = 0; i < n; i++) {
		base = (volatile char *)trap6(__NR_mmap, 0, pages * PAGE, PROT_RW, MAP_ANON_PRIVATE, -1, 0);
		for (j = zero = 0; j < pages && !IS_TWIN; j++) {
			zero += base[j * PAGE] == 0;
			base[j * PAGE] = 1;
		}
		right += good(trap2(__NR_munmap, base, pages * PAGE) == 0 && zero == pages);
	}
	return right;
}

static const u64 sizes[] = { 4, 16, 64, 256, 1024, 4096, 16384, 65536, 0 };

const struct workload workload = {
	.name = "fault-size", .help = "map so many KiB, touch each page, unmap",
	.class = CLASS_FAULT, .placements = PLACE_SAME, .traps = 2, .exact = true,
	.param_name = "size_kib", .levels = sizes, .param = 64,
	.batch = batch,
};
