/*
 * First write to pages of fresh anonymous memory in random order, a quarter of the region in all: whoever maps more than
 * the page asked for does so in vain three times out of four.
 */
#include "memory.h"

#define REGION	8192ul				/* pages; a power of two */

static volatile char *base;

static void prepare(u64 n)
{
	(void)n;
	base = map_pages(REGION, PROT_RW, MAP_ANON_PRIVATE, -1);
	if (IS_TWIN)
		touch_pages(base, REGION);
}

static u64 batch(u64 n)
{
	u64 right = 0, i, at = 1;

	for (i = 0; i < n; i++) {
		at = (at * 5 + 2731) & (REGION - 1);	/* full period: no page twice */
		right += good(base[at * PAGE] == 0);
		base[at * PAGE] = 1;
	}
	return right;
}

static void cleanup(u64 n)
{
	(void)n;
	unmap_pages(base, REGION);
}

const struct workload workload = {
	.name = "fault-random", .help = "first touch of one page in random order, a quarter of a 32 MiB region",
	.class = CLASS_FAULT, .placements = PLACE_SAME, .exact = true, .fixed_inner = 2048,
	.prepare = prepare, .batch = batch, .cleanup = cleanup,
};
