/* Suite x workloads x variants x placements -> cells, groups and blocks. Nothing is measured here. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

const struct suite suites[] = {
	{ "quick", "six launches a cell: an indication, under four minutes", 6, 15, 2000, 20, false, false, false },
	{ "standard", "twenty launches a cell", 20, 20, 2000, 30, false, false, false },
	{ "full", "forty launches a cell, both placements, twins under every platform", 40, 30, 2000, 60, true, true, false },
	{ "ablation", "six launches a cell; each platform again with each of its optimisations switched off in turn", 6, 10, 1500, 20,
	  false, false, true },
	{ 0 },
};

const struct suite *suite_find(const char *name)
{
	const struct suite *s;

	for (s = suites; s->name; s++)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

/* same-cpu: the last CPU we may use, the driver itself stays on the first. free: all of them. */
static void placements_make(struct plan *plan)
{
	cpu_set_t all;
	int cpu, first = -1, last = 0;

	sched_getaffinity(0, sizeof(all), &all);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		if (first < 0)
			first = cpu;
		last = cpu;
	}
	plan->placements[0] = (struct placement){ .name = "same-cpu", .bit = PLACE_SAME };
	CPU_ZERO(&plan->placements[0].cpus);
	CPU_SET(last, &plan->placements[0].cpus);
	/* With one CPU there is no second placement. */
	plan->placements[1] = (struct placement){ .name = "free", .bit = first == last ? 0 : PLACE_FREE, .cpus = all };
}

static bool selected(const struct workload_info *w, const char *list)
{
	char *copy, *save = NULL, *item;
	bool hit = false;

	if (!list)
		return true;
	copy = strdup(list);
	for (item = strtok_r(copy, ", ", &save); item && !hit; item = strtok_r(NULL, ", ", &save))
		hit = !fnmatch(item, w->name, 0);
	free(copy);
	return hit;
}

/* Each item of the list must match something: a typing error that silently measures nothing is the worst answer. */
static int check_selection(const char *list, const struct catalog *cat)
{
	const char *names[256], *near;
	char *copy = list ? strdup(list) : NULL, *save = NULL, *item;
	size_t i, n = cat->count < COUNT(names) ? cat->count : COUNT(names);
	int err = 0;

	for (i = 0; i < n; i++)
		names[i] = cat->items[i].name;
	for (item = copy ? strtok_r(copy, ", ", &save) : NULL; item && !err; item = strtok_r(NULL, ", ", &save)) {
		for (i = 0; i < cat->count && fnmatch(item, cat->items[i].name, 0); i++)
			;
		if (i < cat->count)
			continue;
		near = suggest(item, names, n);
		complain("no workload called %s%s%s%s", item, near ? "; did you mean " : "",
			 near ? near : "", near ? "?" : "");
		err = EXIT_USAGE;
	}
	free(copy);
	return err;
}

static int add_cell(struct plan *plan, const struct cell *cell)
{
	struct cell *cells = reallocarray(plan->cells, plan->ncells + 1, sizeof(*cells));

	if (!cells)
		return -ENOMEM;
	plan->cells = cells;
	cells[plan->ncells] = *cell;
	cells[plan->ncells].group = plan->ngroups - 1;
	cells[plan->ncells].floor = -1;
	plan->groups[plan->ngroups - 1].count++;
	plan->ncells++;
	return 0;
}

/* A group: one workload in one placement under each variant that `cell` allows. */
static int add_group(struct plan *plan, struct cell cell, const struct variants *v, size_t nvariants)
{
	struct group *groups = reallocarray(plan->groups, plan->ngroups + 1, sizeof(*groups));
	size_t i;
	int err = 0;

	if (!groups)
		return -ENOMEM;
	plan->groups = groups;
	groups[plan->ngroups++] = (struct group){ .first = plan->ncells };
	for (i = 0; i < nvariants && !err; i++) {
		cell.variant = &v->items[i];
		if (cell.twin && !strcmp(cell.variant->platform, "native-aa"))
			continue;
		err = add_cell(plan, &cell);
	}
	return err;
}

static int add_workload(struct plan *plan, const struct workload_info *w, const struct variants *v)
{
	bool both = plan->suite->both_placements && w->class != CLASS_FLOOR && w->kind == KIND_PROGRAM;
	size_t i, nvariants = w->class == CLASS_FLOOR ? 1 : v->count;
	struct cell cell = { .workload = w };
	int err = 0;

	for (i = 0; i < PLACEMENTS && !err; i++) {
		cell.placement = &plan->placements[i];
		if (!cell.placement->bit || !(both || w->placements & cell.placement->bit))
			continue;
		cell.twin = false;
		err = add_group(plan, cell, v, nvariants);
		cell.twin = true;
		if (!err && w->has_twin && (i == 0 || plan->suite->sandbox_twins))
			err = add_group(plan, cell, v, plan->suite->sandbox_twins ? nvariants : 1);
	}
	return err;
}

static long find_floor(const struct plan *plan, const struct floor_choice *f)
{
	size_t i;

	for (i = 0; i < plan->ncells; i++)
		if (!strcmp(plan->cells[i].workload->name, f->workload) &&
		    !strcmp(plan->cells[i].placement->name, f->placement))
			return i;
	return -1;
}

/* Floors come last, so that a filtered run adds just those its cells need. */
static int add_floors(struct plan *plan, const struct catalog *cat, const struct variants *v)
{
	size_t i, ncells = plan->ncells;
	struct floor_choice f;
	const struct workload_info *w;
	int err;

	for (i = 0; i < ncells; i++) {
		if (!floor_choose(&plan->cells[i], &f))
			continue;
		w = catalog_find(cat, f.workload);
		if (w && find_floor(plan, &f) < 0) {
			err = add_workload(plan, w, v);
			if (err)
				return err;
		}
		plan->cells[i].floor = find_floor(plan, &f);
		plan->cells[i].floor_times = f.times;
	}
	return 0;
}

static void name_run(struct plan *plan, const struct options *opt)
{
	time_t now = time(NULL);
	char stamp[24], *p;
	const char *slash;
	struct tm tm;

	if (gethostname(plan->host, sizeof(plan->host) - 1) || !plan->host[0])
		snprintf(plan->host, sizeof(plan->host), "unknown");
	for (p = plan->host; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p))
			*p = '_';
	if (opt->resume) {
		snprintf(plan->dir, sizeof(plan->dir), "%s", opt->resume);
		while ((p = strrchr(plan->dir, '/')) && !p[1])
			*p = 0;
		slash = strrchr(plan->dir, '/');
		snprintf(plan->run_id, sizeof(plan->run_id), "%.63s", slash ? slash + 1 : plan->dir);
		return;
	}
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(plan->run_id, sizeof(plan->run_id), "%s-%.38s", stamp, plan->host);
	if (opt->out)
		snprintf(plan->dir, sizeof(plan->dir), "%.900s/%s", opt->out, plan->run_id);
	else
		snprintf(plan->dir, sizeof(plan->dir), "%.900s/results/%s", opt->root_dir, plan->run_id);
}

static void take_settings(struct plan *plan, const struct options *opt)
{
	plan->seed = opt->seed;
	if (!opt->seed_given && getrandom(&plan->seed, 4, 0) != 4)
		plan->seed = time(NULL);
	plan->trials = opt->trials ? opt->trials : plan->suite->trials;
	plan->timeout_s = opt->timeout_s ? opt->timeout_s : plan->suite->timeout_s;
	plan->subset = opt->workloads || opt->platforms;
	plan->platforms = opt->platforms;
	plan->workloads = opt->workloads;
	plan->knobs = (const char *const *)opt->knobs;
	plan->nknobs = opt->nknobs;
}

static int unknown_suite(const char *name)
{
	const char *near = suggest(name, (const char *const[]){ "quick", "standard", "full", "ablation" }, 4);

	complain("no suite called %s%s%s%s", name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return EXIT_USAGE;
}

/* Returns 0 or an exit code, having said why. */
int plan_make(struct plan *plan, const struct options *opt, const struct catalog *cat, const struct variants *v)
{
	size_t i;
	int err;

	plan->suite = suite_find(opt->suite);
	if (!plan->suite)
		return unknown_suite(opt->suite);
	err = check_selection(opt->workloads, cat);
	if (err)
		return err;
	take_settings(plan, opt);
	name_run(plan, opt);
	placements_make(plan);
	for (i = 0; i < cat->count && !err; i++)
		if (selected(&cat->items[i], opt->workloads))
			err = add_workload(plan, &cat->items[i], v);
	if (!err)
		err = add_floors(plan, cat, v);
	if (!err && !plan->ncells) {
		complain("nothing to measure: the workloads chosen need a second CPU");
		return EXIT_USAGE;
	}
	if (!err)
		err = order_make(plan);
	if (err)
		complain("no memory for the plan");
	return err ? EXIT_BUG : 0;
}

static double cell_guess(const struct plan *plan, const struct cell *cell)
{
	double measured = plan->suite->batches * plan->suite->target_us / 1e6;

	if (cell->seconds > 0)
		return cell->seconds;
	if (cell->failures)
		return 0;
	return measured * 1.4 + (cell->variant->sandboxed ? 0.05 : 0.01);
}

double plan_estimate(const struct plan *plan, unsigned int block, unsigned int position)
{
	double left = 0;

	for (; block <= plan->trials; block++, position = 0)
		for (; position < plan->ncells; position++)
			left += cell_guess(plan, &plan->cells[plan->order[block][position]]);
	return left;
}

void plan_show(const struct plan *plan, const struct variants *v)
{
	double left = plan_estimate(plan, 0, 0);
	size_t i, g;

	printf("suite %s%s: %zu cells in %zu groups, 1 warm-up and %u measured launches each, seed %llu, about %d:%02d\n",
	       plan->suite->name, plan->subset ? " (subset)" : "", plan->ncells, plan->ngroups, plan->trials,
	       (unsigned long long)plan->seed, (int)left / 60, (int)left % 60);
	for (i = 0; i < v->nknown; i++)
		if (v->known[i].reason[0])
			printf("left out: %s (%s)\n", v->known[i].name, v->known[i].reason);
	for (g = 0; g < plan->ngroups; g++) {
		const struct cell *c = &plan->cells[plan->groups[g].first];

		printf("%-22s %-8s %-6s", c->workload->name, c->placement->name, c->twin ? "twin" : "");
		for (i = 0; i < plan->groups[g].count; i++)
			printf(" %s%s%s", c[i].variant->platform, c[i].variant->knobs[0] ? ":" : "", c[i].variant->knobs);
		putchar('\n');
	}
}
