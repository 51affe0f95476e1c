/* First write to each page of fresh anonymous memory, in order. One operation is one page. */
#include "memory.h"

static volatile char *base;

static void prepare(u64 n)
{
	base = map_pages(n, PROT_RW, MAP_ANON_PRIVATE, -1);
	if (IS_TWIN)
		touch_pages(base, n);
}

static u64 batch(u64 n)
{
	u64 right = 0, i;

	for (i = 0; i < n; i++) {
		right += good(base[i * PAGE] == 0);
		base[i * PAGE] = 1;
	}
	return right;
}

static void cleanup(u64 n)
{
	unmap_pages(base, n);
}

const struct workload workload = {
	.name = "fault-anon", .help = "first touch of one page of anonymous memory, in order",
	.class = CLASS_FAULT, .placements = PLACE_SAME | PLACE_FREE, .exact = true, .fixed_inner = 2048,
	.prepare = prepare, .batch = batch, .cleanup = cleanup,
};
