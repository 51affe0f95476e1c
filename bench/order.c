/*
 * The order of cells: seeded, shuffled, and balanced where it matters.
 *
 * Each block runs every cell once. The cells of a group (the variants of one workload and placement) stay together, in
 * the order of a row of a Williams square: over a full set of rows every variant stands at every position equally often
 * and follows every other variant equally often, so that neither drift nor what the predecessor left behind favours one.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"

/* splitmix64: small, seedable, good enough to shuffle. */
uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void shuffle(struct rng *rng, uint32_t *items, size_t count)
{
	size_t i, j;
	uint32_t tmp;

	for (i = count; i > 1; i--) {
		j = rng_next(rng) % i;
		tmp = items[j];
		items[j] = items[i - 1];
		items[i - 1] = tmp;
	}
}

/* An odd number of variants needs the mirrored square as well. */
size_t williams_rows(size_t k)
{
	return k % 2 ? 2 * k : k;
}

void williams_row(size_t k, size_t row, uint32_t *out)
{
	size_t j, step, shift = row % k;
	bool mirrored = row >= k;

	for (j = 0; j < k; j++) {
		step = j % 2 ? (j + 1) / 2 : (k - j / 2) % k;	/* 0, 1, k-1, 2, k-2, ... */
		out[mirrored ? k - 1 - j : j] = (step + shift) % k;
	}
}

static void identity(uint32_t *items, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		items[i] = i;
}

/* Rows of the squares in random order, and random names for the variants: a column a block for each group. */
struct group_order {
	uint32_t label[VARIANTS_MAX];
	uint32_t rows[2 * VARIANTS_MAX];
};

static uint32_t *group_place(struct rng *rng, const struct group *g, struct group_order *go, unsigned int block,
			     uint32_t *to)
{
	size_t nrows = williams_rows(g->count), i;
	uint32_t row[VARIANTS_MAX];

	if (block % nrows == 0)
		shuffle(rng, go->rows, nrows);
	williams_row(g->count, go->rows[block % nrows], row);
	for (i = 0; i < g->count; i++)
		*to++ = g->first + go->label[row[i]];
	return to;
}

int order_make(struct plan *plan)
{
	struct group_order *go = calloc(plan->ngroups, sizeof(*go));
	uint32_t *groups = calloc(plan->ngroups, sizeof(*groups));
	struct rng rng = { plan->seed };
	unsigned int block;
	size_t i;
	int err = -ENOMEM;

	plan->order = calloc(plan->trials + 1, sizeof(*plan->order));
	if (!go || !groups || !plan->order)
		goto out;
	identity(groups, plan->ngroups);
	for (i = 0; i < plan->ngroups; i++) {
		identity(go[i].label, plan->groups[i].count);
		shuffle(&rng, go[i].label, plan->groups[i].count);
		identity(go[i].rows, williams_rows(plan->groups[i].count));
		shuffle(&rng, go[i].rows, williams_rows(plan->groups[i].count));
	}
	for (block = 0; block <= plan->trials; block++) {
		uint32_t *at = plan->order[block] = calloc(plan->ncells, sizeof(uint32_t));

		if (!at)
			goto out;
		shuffle(&rng, groups, plan->ngroups);
		/* Block 0 is the warm-up; the squares begin with block 1. */
		for (i = 0; i < plan->ngroups; i++)
			at = group_place(&rng, &plan->groups[groups[i]], &go[groups[i]], block ? block - 1 : 1, at);
	}
	err = 0;
out:
	free(go);
	free(groups);
	return err;
}
