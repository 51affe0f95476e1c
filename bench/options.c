/* The command line. */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum {
	OPT_LIST = 256, OPT_DRY_RUN, OPT_DECODE, OPT_OUT, OPT_RESUME, OPT_TIMEOUT, OPT_SKIP_MISSING, OPT_NO_SUMMARY, OPT_EXTEND,
	OPT_BUDGET, OPT_QUIET_WAIT, OPT_PLACEMENTS, OPT_PHASES, OPT_NO_COUNTERS, OPT_DOCTOR,
};

#define QUIET_WAIT_S	30

static const struct argp_option arg_options[] = {
	{ "suite", 's', "NAME", 0, "quick (default), standard, full, ablation or scaling", 1 },
	{ "platforms", 'p', "LIST", 0, 
	  "comma separated NAME[:KNOB=VALUE;...]; default: all that run here. Native is always measured", 1 },
	{ "workloads", 'w', "LIST", 0, "comma separated names or patterns; default: all. Their floors are added", 1 },
	{ "placements", OPT_PLACEMENTS, "LIST", 0, "comma separated: same-cpu, free, smt-sibling, same-llc", 1 },
	{ "filter", 'f', "LIST", 0, "comma separated WORKLOAD[/PLATFORM[/PLACEMENT]], patterns; native comes along", 1 },
	{ "knob", 'k', "KNOB=VALUE", 0, "for every platform that the knob belongs to; may be repeated", 1 },
	{ "trials", 't', "N", 0, "measured launches a cell; default: the suite's. With --extend: how many more", 1 },
	{ "seed", 'S', "N", 0, "order of the cells; default: drawn, and printed", 1 },
	{ "timeout", OPT_TIMEOUT, "SECONDS", 0, "for one launch; default: the suite's", 1 },
	{ "budget", OPT_BUDGET, "TIME", 0, "such as 4m or 90s: fewer launches a cell, then shorter ones, fixed after the warm-up", 1 },
	{ "quiet-wait", OPT_QUIET_WAIT, "SECONDS", 0, "wait so long for a quiet machine, then go on, flagged; default: 30", 1 },
	{ "phases", OPT_PHASES, NULL, 0, "time stamps at the boundaries of a switch: phases.csv", 1 },
	{ "no-counters", OPT_NO_COUNTERS, NULL, 0, "no events, no CPU time an operation, no footprint of each cell", 1 },
	{ "skip-missing", OPT_SKIP_MISSING, NULL, 0, 
	  "a platform asked for that cannot run here is left out, not an error", 1 },
	{ "out", OPT_OUT, "DIR", 0, "where run folders go; default: results/ of the source tree", 2 },
	{ "resume", OPT_RESUME, "RUN", 0, "go on with an unfinished run folder", 2 },
	{ "extend", OPT_EXTEND, "RUN", 0, "add launches to a finished run, on record; --trials says how many", 2 },
	{ "no-summary", OPT_NO_SUMMARY, NULL, 0, "measure only; no statistics, no table", 2 },
	{ "doctor", OPT_DOCTOR, NULL, 0, "what is missing here or disturbs, and what to do about it, then stop", 3 },
	{ "list", OPT_LIST, NULL, 0, "workloads, platforms and suites, then stop", 3 },
	{ "dry-run", OPT_DRY_RUN, NULL, 0, "the plan and its time, then stop", 3 },
	{ "decode", OPT_DECODE, NULL, 0, "print the sample page on standard input, then stop", 3 },
	{ 0 },
};

static const char doc[] =
	"Measure workloads natively and under Trapgate's platforms, launch by launch, in balanced order.\n"
	"`doctor` is --doctor. `seccomp COMMAND` runs COMMAND under the filter of the variant native-seccomp."
	"\vExit status: 0 all cells measured; 1 a fault of the driver; 2 wrong usage, or a name that matches nothing; "
	"3 a platform that was asked for cannot run here; 4 a cell failed or did not prove its work, or the run was measured "
	"with other binaries; 5 the noise gate failed: native differs from itself, trust nothing small; "
	"7 incomplete, --resume goes on; 124 a cell ran out of time.";

static long number(struct argp_state *state, const char *arg, long min)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(arg, &end, 0);
	if (errno || *end || end == arg || n < min)
		argp_error(state, "%s: a number from %ld up is needed", arg, min);
	return n;
}

/* "90", "90s", "4m", "1h": seconds. */
static long duration(struct argp_state *state, const char *arg)
{
	static const struct { const char *unit; long seconds; } units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 } };
	char *end;
	double n = strtod(arg, &end);
	size_t i;

	for (i = 0; i < COUNT(units); i++)
		if (end != arg && !strcmp(end, units[i].unit) && n * units[i].seconds >= 1 && n < 1e6)
			return n * units[i].seconds;
	argp_error(state, "%s: a time such as 90s or 4m is needed", arg);
	return 0;
}

/* Words instead of options. */
static void command(struct argp_state *state, struct options *opt, const char *arg)
{
	if (!strcmp(arg, "doctor")) {
		opt->doctor = true;
		return;
	}
	if (strcmp(arg, "seccomp"))
		argp_error(state, "%s: neither doctor nor seccomp", arg);
	if (state->next >= state->argc)
		argp_error(state, "seccomp: which command?");
	opt->filtered = state->argv + state->next;
	state->next = state->argc;
}

static void add_knob(struct argp_state *state, struct options *opt, const char *arg)
{
	if (!strchr(arg, '=') || strpbrk(arg, ",; \"\n"))
		argp_error(state, "%s: KNOB=VALUE is needed", arg);
	if (opt->nknobs == COUNT(opt->knobs))
		argp_error(state, "too many knobs");
	opt->knobs[opt->nknobs++] = arg;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;

	switch (key) {
	case 's': opt->suite = arg; return 0;
	case 'p': opt->platforms = *arg ? arg : NULL; return 0;
	case 'w': opt->workloads = *arg ? arg : NULL; return 0;
	case 'k': add_knob(state, opt, arg); return 0;
	case 't': opt->trials = number(state, arg, 1); return 0;
	case 'S': opt->seed = strtoull(arg, NULL, 0); opt->seed_given = true; return 0;
	case 'f': opt->filter = *arg ? arg : NULL; return 0;
	case OPT_PLACEMENTS: opt->placements = *arg ? arg : NULL; return 0;
	case OPT_BUDGET: opt->budget_s = duration(state, arg); return 0;
	case OPT_QUIET_WAIT: opt->quiet_s = number(state, arg, 0); return 0;
	case OPT_PHASES: opt->phases = true; return 0;
	case OPT_NO_COUNTERS: opt->no_counters = true; return 0;
	case OPT_DOCTOR: opt->doctor = true; return 0;
	case OPT_EXTEND: opt->resume = arg; opt->extend = true; return 0;
	case OPT_TIMEOUT: opt->timeout_s = number(state, arg, 1); return 0;
	case OPT_OUT: opt->out = arg; return 0;
	case OPT_RESUME: opt->resume = arg; return 0;
	case OPT_LIST: opt->list = true; return 0;
	case OPT_DRY_RUN: opt->dry_run = true; return 0;
	case OPT_DECODE: opt->decode = true; return 0;
	case OPT_SKIP_MISSING: opt->skip_missing = true; return 0;
	case OPT_NO_SUMMARY: opt->no_summary = true; return 0;
	case ARGP_KEY_ARG: command(state, opt, arg); return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

/* Programs lie beside this binary; results and analysis in the nearest folder above that has analysis/summarize.py. */
static int find_dirs(struct options *opt)
{
	char path[PATH_LEN], probe[PATH_LEN + 32], *slash;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return -errno;
	path[n] = 0;
	snprintf(opt->root_dir, sizeof(opt->root_dir), ".");
	for (slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
		*slash = 0;
		if (!opt->build_dir[0])
			snprintf(opt->build_dir, sizeof(opt->build_dir), "%s", path);
		snprintf(probe, sizeof(probe), "%s/analysis/summarize.py", path);
		if (access(probe, R_OK))
			continue;
		snprintf(opt->root_dir, sizeof(opt->root_dir), "%s", path);
		break;
	}
	return 0;
}

int options_parse(struct options *opt, int argc, char **argv)
{
	static const struct argp argp = { arg_options, parse, NULL, doc, NULL, NULL, NULL };

	*opt = (struct options){ .suite = "quick", .quiet_s = QUIET_WAIT_S, .argc = argc, .argv = argv };
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, opt);
	return find_dirs(opt);
}
