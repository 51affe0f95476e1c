/*
 * The A/A floor while a run is under way: how far native and its twin are apart, so that somebody at the screen sees early
 * that the machine is too noisy. The verdict, and the gate, are analysis/'s.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The largest k with 2 P(Binomial(n, 1/2) < k) <= 5 %: the sign test's interval runs from the k-th to the k-th last. */
static unsigned int sign_rank(unsigned int n)
{
	double term = pow(0.5, n), tail = 0;
	unsigned int k;

	for (k = 0; k <= n / 2; k++) {
		tail += term;
		if (2 * tail > 0.05)
			return k;
		term *= (double)(n - k) / (k + 1);
	}
	return k;
}

/* Half-width of the interval of log(twin/native) in one group, or 0. */
static double group_noise(const struct cell *native, const struct cell *twin, unsigned int block)
{
	double *logs = calloc(block + 1, sizeof(*logs)), low, high, half = 0;
	unsigned int i, k, n = 0;

	for (i = 1; logs && i <= block; i++)
		if (native->times[i] > 0 && twin->times[i] > 0)
			logs[n++] = log(twin->times[i] / native->times[i]);
	k = logs ? sign_rank(n) : 0;
	if (k) {
		qsort(logs, n, sizeof(*logs), by_number);
		low = logs[k - 1];
		high = logs[n - k];
		half = fmax(fmax(-low, high), 0);
	}
	free(logs);
	return half;
}

double noise_now(const struct plan *plan, unsigned int block)
{
	double *halves = calloc(plan->ngroups, sizeof(*halves)), middle;
	size_t g, i, n = 0;

	for (g = 0; halves && g < plan->ngroups; g++) {
		const struct cell *c = &plan->cells[plan->groups[g].first];

		for (i = 1; i < plan->groups[g].count && !c->twin; i++)
			if (!strcmp(c[i].variant->platform, "native-aa"))
				halves[n++] = group_noise(c, &c[i], block);
	}
	if (halves && n)
		qsort(halves, n, sizeof(*halves), by_number);
	middle = halves && n ? halves[n / 2] : 0;
	free(halves);
	return middle > 0 ? exp(middle) : 0;
}
