/*
 * What was asked for: --workloads, --placements, --filter. Each item must match something: a typing error that silently
 * measures nothing is the worst answer.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define NAMES_MAX	256

bool selected(const char *name, const char *list)
{
	char *copy, *save = NULL, *item;
	bool hit = false;

	if (!list)
		return true;
	copy = strdup(list);
	for (item = copy ? strtok_r(copy, ", ", &save) : NULL; item && !hit; item = strtok_r(NULL, ", ", &save))
		hit = !fnmatch(item, name, 0);
	free(copy);
	return hit;
}

struct names {
	const char *what;
	const char *items[NAMES_MAX];
	size_t count;
};

static void names_add(struct names *n, const char *name)
{
	if (n->count < NAMES_MAX)
		n->items[n->count++] = name;
}

static int check_one(const char *item, const struct names *n)
{
	const char *near;
	size_t i;

	for (i = 0; i < n->count; i++)
		if (!fnmatch(item, n->items[i], 0))
			return 0;
	near = suggest(item, n->items, n->count);
	complain("no %s called %s%s%s%s", n->what, item, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return EXIT_USAGE;
}

/* Each item of the list against names[0]; its parts behind a slash against names[1] and names[2]. */
static int check_list(const char *list, const struct names *names, size_t parts)
{
	char *copy = list ? strdup(list) : NULL, *save = NULL, *item, *part, *next;
	size_t i;
	int err = 0;

	for (item = copy ? strtok_r(copy, ", ", &save) : NULL; item && !err; item = strtok_r(NULL, ", ", &save)) {
		for (part = item, i = 0; part && i < parts && !err; part = next, i++) {
			next = parts > 1 ? strchr(part, '/') : NULL;
			if (next)
				*next++ = 0;
			err = check_one(part, &names[i]);
		}
		if (!err && part) {
			complain("%s: WORKLOAD/PLATFORM/PLACEMENT has three parts at most", part);
			err = EXIT_USAGE;
		}
	}
	free(copy);
	return err;
}

int selection_check(const struct options *opt, const struct catalog *cat, const struct variants *v, const struct plan *plan)
{
	struct names names[3] = { { .what = "workload" }, { .what = "platform" }, { .what = "placement here" } };
	size_t i;
	int err;

	for (i = 0; i < cat->count; i++)
		names_add(&names[0], cat->items[i].name);
	for (i = 0; i < v->count; i++)
		names_add(&names[1], v->items[i].platform);
	for (i = 0; i < PLACEMENTS; i++)
		if (plan->placements[i].bit)
			names_add(&names[2], plan->placements[i].name);
	err = check_list(opt->workloads, &names[0], 1);
	if (!err)
		err = check_list(opt->placements, &names[2], 1);
	if (!err)
		err = check_list(opt->filter, names, 3);
	return err;
}

static bool matches(char *pattern, const struct cell *cell)
{
	const char *name[3] = { cell->workload->name, cell->variant->platform, cell->placement->name };
	char *next;
	int i;

	for (i = 0; i < 3 && pattern; i++, pattern = next) {
		next = strchr(pattern, '/');
		if (next)
			*next++ = 0;
		/* A platform without native beside it says nothing, so native comes along. */
		if (i == 1 && !cell->variant->sandboxed)
			continue;
		if (fnmatch(pattern, name[i], 0))
			return false;
	}
	return true;
}

bool cell_wanted(const struct cell *cell, const char *filter)
{
	char *copy, *save = NULL, *item;
	bool hit = false;

	if (!filter)
		return true;
	copy = strdup(filter);
	for (item = copy ? strtok_r(copy, ", ", &save) : NULL; item && !hit; item = strtok_r(NULL, ", ", &save))
		hit = matches(item, cell);
	free(copy);
	return hit;
}
