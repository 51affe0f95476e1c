/* Arithmetic in registers: a sandbox must cost nothing here. One operation is a thousand dependent steps. */
#include "workload.h"

static u64 batch(u64 n)
{
	u64 i, j, x = 1;

	for (i = 0; i < n; i++)
		for (j = 0; j < 1000; j++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			__asm__ volatile("" : "+r"(x));
		}
	return x ? n : 0;
}

const struct workload workload = {
	.name = "spin", .help = "a thousand dependent multiplications in registers",
	.class = CLASS_CPU, .placements = PLACE_SAME | PLACE_FREE, .exact = true,
	.batch = batch,
};
