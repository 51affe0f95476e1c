/* Copying 1 MiB pieces around 32 MiB of resident memory, more than a core's own caches: must cost nothing extra. */
#include "memory.h"

#define HALF	4096ul				/* pages */
#define PIECE	(1024 * 1024ul)

static volatile char *from, *to;

static void setup(void)
{
	from = map_pages(HALF, PROT_RW, MAP_ANON_PRIVATE, -1);
	to = map_pages(HALF, PROT_RW, MAP_ANON_PRIVATE, -1);
	touch_pages(from, HALF);
	touch_pages(to, HALF);
	from[HALF * PAGE - 1] = 42;
}

static u64 batch(u64 n)
{
	static u64 at;
	u64 i;

	for (i = 0; i < n; i++) {
		const u64 *src = (const u64 *)(from + at);
		u64 *dst = (u64 *)(to + at);
		u64 j;

		for (j = 0; j < PIECE / sizeof(u64); j += 4) {
			dst[j] = src[j];
			dst[j + 1] = src[j + 1];
			dst[j + 2] = src[j + 2];
			dst[j + 3] = src[j + 3];
			__asm__ volatile("" : : : "memory");
		}
		at = (at + PIECE) % (HALF * PAGE);
	}
	return to[0] == 1 ? n : 0;
}

const struct workload workload = {
	.name = "memory-bandwidth", .help = "copy of 1 MiB within 32 MiB of resident memory",
	.class = CLASS_CPU, .placements = PLACE_SAME | PLACE_FREE, .exact = true,
	.setup = setup, .batch = batch,
};
