/* Suite x workloads x variants x placements -> cells, groups and blocks. Nothing is measured here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define SWEEPS	"fault-size,call-rate,scale-*"
#define ABLATED	"getpid,getpid-var,read0,open-close,fault-anon,fault-random,fault-cow,mmap-touch-munmap,pipe-pingpong," \
		"futex-pingpong,signal-self,fork-exec,startup"

const struct suite suites[] = {
	{ .name = "quick", .help = "six launches a cell: an indication, under four minutes",
	  .trials = 6, .batches = 15, .target_us = 2000, .timeout_s = 20 },
	{ .name = "standard", .help = "twenty launches a cell",
	  .trials = 20, .batches = 20, .target_us = 2000, .timeout_s = 30, .levels = true },
	{ .name = "full", .help = "forty launches a cell, all placements, twins under every platform",
	  .trials = 40, .batches = 30, .target_us = 2000, .timeout_s = 60, .levels = true, .all_placements = true,
	  .sandbox_twins = true },
	{ .name = "ablation", .help = "six launches a cell; each platform again with each of its optimisations switched off in turn",
	  .trials = 6, .batches = 10, .target_us = 1500, .timeout_s = 20, .ablation = true, .workloads = ABLATED },
	{ .name = "scaling", .help = "six launches a cell; tasks and processes, sizes of faults, rates of calls, at each level",
	  .trials = 6, .batches = 10, .target_us = 2000, .timeout_s = 30, .levels = true, .workloads = SWEEPS },
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

static void name_params(struct cell *cell)
{
	const struct workload_info *w = cell->workload;
	char level[NAME_LEN] = "";

	if (cell->param)
		snprintf(level, sizeof(level), "%s=%llu", w->param_name, (unsigned long long)cell->param);
	snprintf(cell->params, sizeof(cell->params), "%.40s%s%s", level[0] ? level : cell->twin ? "" : w->params,
		 level[0] && cell->twin ? ";" : "", cell->twin ? "twin=1" : "");
}

static int add_cell(struct plan *plan, const struct cell *cell)
{
	struct cell *cells = reallocarray(plan->cells, plan->ncells + 1, sizeof(*cells)), *new;

	if (!cells)
		return -ENOMEM;
	plan->cells = cells;
	new = &cells[plan->ncells];
	*new = *cell;
	new->group = plan->ngroups - 1;
	new->floor = -1;
	new->batches = plan->batches;
	new->times = calloc(plan->trials + 1, sizeof(*new->times));
	if (!new->times)
		return -ENOMEM;
	name_params(new);
	plan->groups[plan->ngroups - 1].count++;
	plan->ncells++;
	return 0;
}

/* Other programs than the platforms are there to be compared with them; a twin needs no such company. */
static bool left_out(const struct cell *cell, const struct plan *plan)
{
	if (cell->twin && (!strcmp(cell->variant->platform, "native-aa") || cell->variant->filtered))
		return true;
	return !cell->needed && !cell_wanted(cell, plan->filter);
}

/* A group: one workload in one placement under each variant that `cell` allows. Empty ones go again. */
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
		if (!left_out(&cell, plan))
			err = add_cell(plan, &cell);
	}
	if (!err && !plan->groups[plan->ngroups - 1].count)
		plan->ngroups--;
	return err;
}

static bool placed(const struct plan *plan, const struct workload_info *w, const struct placement *p)
{
	bool every = plan->suite->all_placements && w->class != CLASS_FLOOR && w->kind == KIND_PROGRAM;

	if (!p->bit || (plan->places && !selected(p->name, plan->places)))
		return false;
	if (p->bit & (PLACE_SMT | PLACE_LLC))
		return (w->placements & PLACE_FREE || every) && (plan->suite->all_placements || plan->places);
	return every || w->placements & p->bit;
}

static int add_level(struct plan *plan, const struct workload_info *w, const struct variants *v, uint64_t param)
{
	size_t i, nvariants = w->class == CLASS_FLOOR ? 1 : v->count;
	struct cell cell = { .workload = w, .param = param };
	int err = 0;

	for (i = 0; i < PLACEMENTS && !err; i++) {
		cell.placement = &plan->placements[i];
		if (!placed(plan, w, cell.placement))
			continue;
		cell.twin = false;
		err = add_group(plan, cell, v, nvariants);
		cell.twin = true;
		if (!err && w->has_twin && !param && (i == 0 || plan->suite->sandbox_twins))
			err = add_group(plan, cell, v, plan->suite->sandbox_twins ? nvariants : 1);
	}
	return err;
}

static int add_workload(struct plan *plan, const struct workload_info *w, const struct variants *v)
{
	size_t i;
	int err = 0;

	if (!w->param_name[0])
		return add_level(plan, w, v, 0);
	for (i = 0; i < SAMPLE_LEVELS && w->levels[i] && !err; i++)
		err = add_level(plan, w, v, w->levels[i]);
	return err;
}

/* A sweep takes long: it is measured where the suite is made for it, or where somebody asks for it by name. */
static bool in_suite(const struct plan *plan, const struct workload_info *w)
{
	const char *asked = plan->workloads ? plan->workloads : plan->filter ? NULL : plan->suite->workloads;

	if (w->param_name[0] && !plan->suite->levels && !plan->workloads && !plan->filter)
		return false;
	if (!plan->workloads && !plan->filter && plan->suite->workloads && w->class == CLASS_FLOOR)
		return false;
	return selected(w->name, asked);
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

/* Whatever placements were asked for: a cell's floor may have its own. */
static int add_floor(struct plan *plan, const struct workload_info *w, const struct variants *v, const char *placement)
{
	struct cell cell = { .workload = w, .needed = true };
	size_t i;

	for (i = 0; i < PLACEMENTS; i++) {
		cell.placement = &plan->placements[i];
		if (cell.placement->bit && !strcmp(cell.placement->name, placement))
			return add_group(plan, cell, v, 1);
	}
	return 0;
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
			err = add_floor(plan, w, v, f.placement);
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
	plan->subset = opt->workloads || opt->platforms || opt->placements || opt->filter;
	plan->platforms = opt->platforms;
	plan->workloads = opt->workloads;
	plan->places = opt->placements;
	plan->filter = opt->filter;
	plan->budget_s = opt->budget_s;
	plan->batches = plan->suite->batches;
	plan->counters = !opt->no_counters;
	plan->phases = opt->phases;
	plan->knobs = (const char *const *)opt->knobs;
	plan->nknobs = opt->nknobs;
}

static int unknown_suite(const char *name)
{
	const char *names[COUNT(suites)], *near;
	size_t n;

	for (n = 0; suites[n].name; n++)
		names[n] = suites[n].name;
	near = suggest(name, names, n);

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
	placements_make(plan);
	err = selection_check(opt, cat, v, plan);
	if (err)
		return err;
	take_settings(plan, opt);
	name_run(plan, opt);
	for (i = 0; i < cat->count && !err; i++)
		if (in_suite(plan, &cat->items[i]))
			err = add_workload(plan, &cat->items[i], v);
	if (!err)
		err = add_floors(plan, cat, v);
	if (!err && !plan->ncells) {
		complain("nothing to measure: no workload of those chosen runs in the placements that are left");
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
	double measured = plan->batches * plan->suite->target_us / 1e6;

	if (cell->seconds > 0)
		return cell->seconds;
	if (cell->failures)
		return 0;
	return measured * (plan->counters ? 1.7 : 1.4) + (cell->variant->sandboxed ? 0.05 : 0.01);
}

double plan_estimate(const struct plan *plan, unsigned int block, unsigned int position)
{
	double left = 0;

	for (; block <= plan->trials; block++, position = 0)
		for (; position < plan->ncells; position++)
			left += cell_guess(plan, &plan->cells[plan->order[block][position]]);
	return left;
}

/*
 * Once, after the warm-up, on what launches have taken and never on what they measured: rounds go first, down to six, below
 * which there is no interval; then batches.
 */
void plan_keep_budget(struct plan *plan, double spent)
{
	double left = plan_estimate(plan, 1, 0), room = plan->budget_s - spent, round = left / plan->trials;
	unsigned int least = plan->trials < 6 ? plan->trials : 6, fit;
	size_t i;

	if (!plan->budget_s || left <= room)
		return;
	fit = room > 0 ? room / round : 0;
	plan->trials = fit < least ? least : fit;
	complain("budget of %ld s: %u launches a cell", plan->budget_s, plan->trials);
	if (fit >= least)
		return;
	for (i = 0; i < plan->ncells; i++)
		if (plan->cells[i].batches > 5)
			plan->cells[i].batches = 5 + (plan->cells[i].batches - 5) * (room > 0 ? room / (round * least) : 0);
	plan->batches = 5;
	complain("it is too small for these cells even so: shorter launches, and about %.0f s over; choose fewer cells",
		 round * least * 0.6 - room);
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

		printf("%-22s %-11s %-16s", c->workload->name, c->placement->name, c->params);
		for (i = 0; i < plan->groups[g].count; i++)
			printf(" %s%s%s", c[i].variant->platform, c[i].variant->knobs[0] ? ":" : "", c[i].variant->knobs);
		putchar('\n');
	}
}
