/* The command line. */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum { OPT_LIST = 256, OPT_DRY_RUN, OPT_DECODE, OPT_OUT, OPT_RESUME, OPT_TIMEOUT, OPT_SKIP_MISSING, OPT_NO_SUMMARY };

static const struct argp_option arg_options[] = {
	{ "suite", 's', "NAME", 0, "quick (default), standard, full or ablation", 1 },
	{ "platforms", 'p', "LIST", 0, 
	  "comma separated NAME[:KNOB=VALUE;...]; default: all that run here. Native is always measured", 1 },
	{ "workloads", 'w', "LIST", 0, "comma separated names or patterns; default: all. Their floors are added", 1 },
	{ "knob", 'k', "KNOB=VALUE", 0, "for every platform that the knob belongs to; may be repeated", 1 },
	{ "trials", 't', "N", 0, "measured launches a cell; default: the suite's", 1 },
	{ "seed", 'S', "N", 0, "order of the cells; default: drawn, and printed", 1 },
	{ "timeout", OPT_TIMEOUT, "SECONDS", 0, "for one launch; default: the suite's", 1 },
	{ "skip-missing", OPT_SKIP_MISSING, NULL, 0, 
	  "a platform asked for that cannot run here is left out, not an error", 1 },
	{ "out", OPT_OUT, "DIR", 0, "where run folders go; default: results/ of the source tree", 2 },
	{ "resume", OPT_RESUME, "RUN", 0, "go on with an unfinished run folder", 2 },
	{ "no-summary", OPT_NO_SUMMARY, NULL, 0, "measure only; no statistics, no table", 2 },
	{ "list", OPT_LIST, NULL, 0, "workloads, platforms and suites, then stop", 3 },
	{ "dry-run", OPT_DRY_RUN, NULL, 0, "the plan and its time, then stop", 3 },
	{ "decode", OPT_DECODE, NULL, 0, "print the sample page on standard input, then stop", 3 },
	{ 0 },
};

static const char doc[] =
	"Measure workloads natively and under Trapgate's platforms, launch by launch, in balanced order."
	"\vExit status: 0 all cells measured; 1 a fault of the driver; 2 wrong usage, or a name that matches nothing; "
	"3 a platform that was asked for cannot run here; 4 a cell failed or did not prove its work; "
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
	case OPT_TIMEOUT: opt->timeout_s = number(state, arg, 1); return 0;
	case OPT_OUT: opt->out = arg; return 0;
	case OPT_RESUME: opt->resume = arg; return 0;
	case OPT_LIST: opt->list = true; return 0;
	case OPT_DRY_RUN: opt->dry_run = true; return 0;
	case OPT_DECODE: opt->decode = true; return 0;
	case OPT_SKIP_MISSING: opt->skip_missing = true; return 0;
	case OPT_NO_SUMMARY: opt->no_summary = true; return 0;
	case ARGP_KEY_ARG: argp_error(state, "%s: no arguments are taken", arg); return 0;
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

	*opt = (struct options){ .suite = "quick", .argc = argc, .argv = argv };
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, opt);
	return find_dirs(opt);
}
