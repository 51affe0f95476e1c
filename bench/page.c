/* The sample page that came out of a sandbox: nothing in it is believed before it has been checked. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static int refuse(char *why, size_t size, const char *text)
{
	snprintf(why, size, "%s", text);
	return -EINVAL;
}

/* Counts must fit each other and what was asked; an inner count of our own must come back as it went in. */
static int check_counts(const struct sample_page *page, const struct cell *cell, char *why, size_t size)
{
	uint64_t i, timed;

	if (!page->inner || !page->batches || page->batches > SAMPLE_MAX)
		return refuse(why, size, "no samples in the page");
	if (__builtin_mul_overflow(page->inner, page->batches, &timed) || page->ops < timed)
		return refuse(why, size, "fewer operations done than timed");
	if (cell->inner && (page->inner != cell->inner || page->batches != cell->batches))
		return refuse(why, size, "ran other counts than the plan's");
	for (i = 0; i < page->batches; i++)
		if (!page->ticks[i])
			return refuse(why, size, "a batch took no time at all");
	if (page->good != page->ops) {
		snprintf(why, size, "wrong results: %llu of %llu operations right", (unsigned long long)page->good,
			 (unsigned long long)page->ops);
		return -EINVAL;
	}
	return 0;
}

int page_check(const struct sample_page *page, size_t len, const struct cell *cell, char *why, size_t size)
{
	if (len != sizeof(*page))
		return refuse(why, size, len ? "a sample page of the wrong size" : "no sample page");
	if (page->magic != SAMPLE_MAGIC || page->version != SAMPLE_VERSION)
		return refuse(why, size, "not a sample page of this version");
	if (page->state == SAMPLE_ERROR || page->state == SAMPLE_UNSUPPORTED) {
		snprintf(why, size, "%s in %s line %u: %s", page->state == SAMPLE_ERROR ? "error" : "unsupported",
			 cell->workload->name, page->line, strerror((int)page->error));
		return page->state == SAMPLE_ERROR ? -EIO : -ENOTSUP;
	}
	if (page->state != SAMPLE_DONE)
		return refuse(why, size, "an unfinished sample page");
	if (strncmp(page->name, cell->workload->name, sizeof(page->name)) || page->twin != cell->twin)
		return refuse(why, size, "the sample page of another workload");
	return check_counts(page, cell, why, size);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Linear interpolation between order statistics; p from 0 to 1. */
double page_percentile(const struct sample_page *page, double p, double ns_per_tick)
{
	uint64_t sorted[SAMPLE_MAX];
	double at = p * (page->batches - 1);
	size_t i = (size_t)at;
	double ticks;

	memcpy(sorted, page->ticks, page->batches * sizeof(*sorted));
	qsort(sorted, page->batches, sizeof(*sorted), by_value);
	ticks = sorted[i];
	if (i + 1 < page->batches)
		ticks += (at - i) * (double)(sorted[i + 1] - sorted[i]);
	return ticks * ns_per_tick / page->inner;
}

/* --decode: for people who look at a workload's own output. */
void page_print(const struct sample_page *page)
{
	uint32_t i;

	printf("%.32s%s: %.128s\n", page->name, page->twin ? " (twin)" : "", page->help);
	printf("state %u  class %s  placements %u  traps %u  error %u line %u\n", page->state, class_name(page->class),
	       page->placements, page->traps, page->error, page->line);
	printf("inner %llu  batches %u  warm-up %u  ops %llu  good %llu  min_switches %llu\n",
	       (unsigned long long)page->inner, page->batches, page->warmups, (unsigned long long)page->ops,
	       (unsigned long long)page->good, (unsigned long long)page->min_switches);
	for (i = 0; i < page->batches && i < SAMPLE_MAX; i++)
		printf("%llu\n", (unsigned long long)page->ticks[i]);
}
