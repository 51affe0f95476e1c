/*
 * Where a switch's time goes: the workload's stamps on both sides of a trap, joined with the sentry's stamps of the switch
 * that lies between them. All are readings of one constant TSC; a switch that fits between no pair of stamps is left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* The sentry's, in the order of its file (core/lib/stamp.h). 0: that platform has no such stamp. */
enum { AT_STUB, AT_WOKEN, AT_EVENT, AT_DONE, AT_BACK, AT_RESUMED, AT_COUNT };

static const char *const names[] = { "trap", "hand_over", "dispatch", "handle", "hand_back", "resume" };

struct phase_samples {
	double ticks[COUNT(names)][SAMPLE_STAMPS];
	unsigned int n[COUNT(names)];
};

static void add(struct phase_samples *s, unsigned int phase, uint64_t from, uint64_t to)
{
	if (to >= from)
		s->ticks[phase][s->n[phase]++] = to - from;
}

/* Without a stub the way there and back has no landmark: trap then includes the hand-over, and resume the hand-back. */
static void add_switch(struct phase_samples *s, uint64_t before, const uint64_t *at, uint64_t after)
{
	bool stub = at[AT_STUB] >= before && at[AT_STUB] <= at[AT_WOKEN] && at[AT_RESUMED] >= at[AT_BACK] &&
		    at[AT_RESUMED] <= after;

	add(s, 0, before, stub ? at[AT_STUB] : at[AT_WOKEN]);
	if (stub)
		add(s, 1, at[AT_STUB], at[AT_WOKEN]);
	add(s, 2, at[AT_WOKEN], at[AT_EVENT]);
	add(s, 3, at[AT_EVENT], at[AT_DONE]);
	add(s, 4, at[AT_DONE], stub ? at[AT_RESUMED] : at[AT_BACK]);
	add(s, 5, stub ? at[AT_RESUMED] : at[AT_BACK], after);
}

static bool read_switch(FILE *f, uint64_t *at)
{
	char line[256], *text;
	unsigned long long n[AT_COUNT];
	int i;

	while (fgets(line, sizeof(line), f)) {
		text = strchr(line, ',');
		text = text ? strchr(text + 1, ',') : NULL;
		if (!text || sscanf(text, ",%llu,%llu,%llu,%llu,%llu,%llu", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]) != AT_COUNT)
			continue;
		for (i = 0; i < AT_COUNT; i++)
			at[i] = n[i];
		return true;
	}
	return false;
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void collect(const struct sample_page *page, FILE *f, struct phase_samples *s)
{
	uint64_t at[AT_COUNT], stamps = page->stamps < SAMPLE_STAMPS ? page->stamps : SAMPLE_STAMPS, i = 0;

	while (i < stamps && read_switch(f, at)) {
		while (i < stamps && page->stamp[i].after < at[AT_WOKEN])
			i++;
		if (i < stamps && page->stamp[i].before <= at[AT_WOKEN] && at[AT_BACK] && page->stamp[i].after >= at[AT_BACK])
			add_switch(s, page->stamp[i].before, at, page->stamp[i].after);
	}
}

/* The stamps of one launch as rows. Returns how many switches were joined. */
unsigned int phases_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block,
			const struct sample_page *page)
{
	struct phase_samples *s = calloc(1, sizeof(*s));
	double ns = 1e9 / plan->tsc_hz;
	FILE *f = fopen(plan->phases_path, "re");
	unsigned int joined, i, n;

	if (s && f)
		collect(page, f, s);
	for (i = 0; s && i < COUNT(names); i++) {
		n = s->n[i];
		if (!n)
			continue;
		qsort(s->ticks[i], n, sizeof(double), by_number);
		phase_add(rows, plan, cell, block, names[i], s->ticks[i][n / 2] * ns, s->ticks[i][n * 9 / 10] * ns, n);
	}
	joined = s ? s->n[2] : 0;
	if (f)
		fclose(f);
	free(s);
	return joined;
}
