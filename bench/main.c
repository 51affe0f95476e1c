/* trapgate-bench: options -> catalog -> variants -> plan -> blocks of launches -> manifest -> summary. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "core/lib/version.h"

struct bench {
	struct options opt;
	struct catalog catalog;
	struct variants variants;
	struct plan plan;
	struct rows tables[TABLES];
	struct quiet quiet;
	struct findings findings;
	bool **done;				/* done[block][position]: by the run that is resumed */
	unsigned int invalid, timeouts;
	char stats_dir[64], stats_path[96], phases_path[96];
};

void complain(const char *fmt, ...)
{
	va_list ap;

	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	fputs("trapgate-bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int decode(void)
{
	struct sample_page page;

	if (fread(&page, sizeof(page), 1, stdin) != 1 || page.magic != SAMPLE_MAGIC || page.version != SAMPLE_VERSION) {
		complain("standard input is not a sample page");
		return EXIT_INVALID;
	}
	page_print(&page);
	return EXIT_OK;
}

static void list(const struct bench *b)
{
	const struct suite *s;
	size_t i;

	puts("workloads");
	for (i = 0; i < b->catalog.count; i++)
		printf("  %-20s %-8s %s\n", b->catalog.items[i].name, class_name(b->catalog.items[i].class),
		       b->catalog.items[i].help);
	puts("platforms\n  native               always measured, with its A/A twin native-aa");
	for (i = 0; i < b->variants.nknown; i++)
		printf("  %-20s %s\n", b->variants.known[i].name,
		       b->variants.known[i].reason[0] ? b->variants.known[i].reason : "can run here");
	puts("suites");
	for (s = suites; s->name; s++)
		printf("  %-20s %s\n", s->name, s->help);
}

/* The driver keeps off the CPU on which everything is pinned. */
static void move_aside(const struct plan *plan)
{
	cpu_set_t mine = plan->placements[1].cpus;
	int cpu, kept = 0;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &mine) && kept++)
			CPU_CLR(cpu, &mine);
	sched_setaffinity(0, sizeof(mine), &mine);
}

static int make_dirs(const char *path)
{
	char part[PATH_LEN];
	size_t i;

	for (i = 1; path[i - 1] && i < sizeof(part); i++) {
		if (path[i] && path[i] != '/')
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)i, path);
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int read_done(struct bench *b)
{
	unsigned int block;

	b->done = calloc(b->plan.trials + 1, sizeof(*b->done));
	for (block = 0; b->done && block <= b->plan.trials; block++) {
		b->done[block] = calloc(b->plan.ncells, sizeof(bool));
		if (!b->done[block])
			return -ENOMEM;
	}
	if (!b->done)
		return -ENOMEM;
	return b->opt.resume ? csv_done(&b->plan, b->done) : 0;
}

/* How many launches a run has is fixed before it begins. Whoever wants more later gets them, and it stays on record. */
static int extend(struct plan *plan)
{
	struct extension *e = &plan->extensions[plan->nextensions];
	time_t now = time(NULL);
	struct tm tm;

	if (!plan->complete) {
		complain("%s is not finished: --resume it first", plan->dir);
		return EXIT_USAGE;
	}
	if (plan->nextensions == EXTENSIONS) {
		complain("%s has been extended often enough: start a new run", plan->dir);
		return EXIT_USAGE;
	}
	e->from = plan->planned;
	e->to = plan->trials;
	gmtime_r(&now, &tm);
	strftime(e->at, sizeof(e->at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	plan->nextensions++;
	plan->complete = false;
	return 0;
}

static int restore(struct bench *b)
{
	if (plan_restore(&b->plan)) {
		complain("%s was planned with other cells than this build or machine has: start a new run", b->plan.dir);
		return EXIT_INVALID;
	}
	if (manifest_same_binaries(&b->plan, &b->opt)) {
		complain("%s was measured with other binaries than these: start a new run", b->plan.dir);
		return EXIT_INVALID;
	}
	return b->opt.extend ? extend(&b->plan) : 0;
}

static int open_run(struct bench *b)
{
	int err;

	snprintf(b->stats_dir, sizeof(b->stats_dir), "/tmp/trapgate-bench.XXXXXX");
	if (!mkdtemp(b->stats_dir)) {
		complain("no temporary folder: %s", strerror(errno));
		return EXIT_BUG;
	}
	snprintf(b->stats_path, sizeof(b->stats_path), "%s/stats.json", b->stats_dir);
	b->plan.stats_path = b->stats_path;
	snprintf(b->phases_path, sizeof(b->phases_path), "%s/phases.csv", b->stats_dir);
	b->plan.phases_path = b->phases_path;
	if (b->opt.resume) {
		err = restore(b);
		if (err)
			return err;
	}
	err = make_dirs(b->plan.dir);
	if (!err)
		err = read_done(b);
	if (!err)
		err = plan_save(&b->plan, &b->variants);
	if (!err && !b->opt.resume)
		err = manifest_save(&b->plan, &b->opt, &b->variants, &b->quiet, false);
	if (err)
		complain("%s: %s", b->plan.dir, strerror(-err));
	return err ? EXIT_BUG : 0;
}

/* The A/A twin must do the very same as native, so it takes native's counts, whatever its own calibration said. */
static void share_calibration(struct plan *plan)
{
	size_t g, i;

	for (g = 0; g < plan->ngroups; g++) {
		struct cell *cells = plan->cells + plan->groups[g].first;

		for (i = 1; i < plan->groups[g].count; i++)
			if (!strcmp(cells[i].variant->platform, "native-aa") && cells[0].inner) {
				cells[i].inner = cells[0].inner;
				cells[i].batches = cells[0].batches;
			}
	}
}

static void run_block(struct bench *b, unsigned int block)
{
	struct plan *plan = &b->plan;
	enum cell_result result;
	unsigned int position;

	for (position = 0; position < plan->ncells && !stop_requested; position++) {
		struct cell *cell = &plan->cells[plan->order[block][position]];

		if (b->done[block][position] || cell->failures >= FAILURES_MAX)
			continue;
		progress_cell(plan, cell, block, position);
		result = cell_run(plan, cell, &b->opt, block, position, b->tables);
		b->invalid += result == CELL_FAILED || result == CELL_INVALID;
		b->timeouts += result == CELL_TIMEOUT;
	}
}

/* After the warm-up the counts are known, and how long launches take. */
static int settle(struct bench *b, double spent)
{
	share_calibration(&b->plan);
	if (!stop_requested)
		plan_keep_budget(&b->plan, spent);
	return plan_save(&b->plan, &b->variants);
}

static bool block_done(const struct bench *b, unsigned int block)
{
	size_t i;

	for (i = 0; i < b->plan.ncells; i++)
		if (!b->done[block][i])
			return false;
	return true;
}

/* Returns 0, or an exit code if the results could not be kept. */
static int run_blocks(struct bench *b)
{
	double begin = clock_seconds();
	unsigned int block;
	int err = 0;

	for (block = 0; block <= b->plan.trials && !stop_requested && !err; block++) {
		if (block_done(b, block))
			continue;
		run_block(b, block);
		err = csv_append(&b->plan, b->tables);
		if (!block && !err)
			err = settle(b, clock_seconds() - begin);
		if (!err && !stop_requested)
			progress_block(&b->plan, block, noise_now(&b->plan, block));
	}
	if (err)
		complain("%s: %s; the last block is lost", b->plan.dir, strerror(-err));
	b->plan.complete = !err && !stop_requested;
	progress_end(&b->plan);
	return err ? EXIT_INCOMPLETE : 0;
}

static size_t left_out(const struct variants *v)
{
	size_t i, n = 0;

	for (i = 0; i < v->nknown; i++)
		n += v->known[i].reason[0] != 0;
	return n;
}

/* results/latest, swapped in one step. */
static void point_latest(const struct bench *b)
{
	char link[PATH_LEN + 32], tmp[PATH_LEN + 32];
	const char *slash = strrchr(b->plan.dir, '/');
	int len = slash ? (int)(slash - b->plan.dir) : 1;

	snprintf(link, sizeof(link), "%.*s/latest", len, slash ? b->plan.dir : ".");
	snprintf(tmp, sizeof(tmp), "%.*s/.latest.%d", len, slash ? b->plan.dir : ".", getpid());
	unlink(tmp);
	if (symlink(b->plan.run_id, tmp) || rename(tmp, link)) {
		complain("%s: %s", link, strerror(errno));
		unlink(tmp);
	}
}

/* Statistics, and so the noise gate, are analysis/'s. Without python3 the raw results are still there. Returns its exit code. */
static int summarize(const struct bench *b)
{
	bool gate = b->plan.trials >= 6 && b->plan.complete;
	int status = 0;
	char script[PATH_LEN + 32];
	pid_t pid;

	snprintf(script, sizeof(script), "%s/analysis/summarize.py", b->opt.root_dir);
	if (b->opt.no_summary)
		return 0;
	if (access(script, R_OK) || access("/usr/bin/python3", X_OK)) {
		complain("no summary: python3 or %s is missing", script);
		return 0;
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		sched_setaffinity(0, sizeof(cpu_set_t), &b->plan.placements[1].cpus);
		execl("/usr/bin/python3", "python3", "-B", script, b->plan.dir, gate ? "--gate" : NULL, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* The last line of the screen, and the exit code that goes with it. */
static int conclude(const struct bench *b, int code, int gate)
{
	static const struct { int code; const char *word, *meaning; } words[] = {
		{ EXIT_OK, "OK", "all cells measured" }, { EXIT_BUG, "FAILED", "a fault of the driver" },
		{ EXIT_INVALID, "FAILED", "cells failed or did not prove their work" },
		{ EXIT_NOISY, "NOISY", "the A/A gate failed: native differs from itself, so trust nothing small" },
		{ EXIT_INCOMPLETE, "INCOMPLETE", "finished launches are kept" },
		{ EXIT_TIMEOUT, "TIMEOUT", "cells ran out of time" },
	};
	size_t i, bad = 0;

	if (!code && gate == EXIT_NOISY)
		code = EXIT_NOISY;
	for (i = 0; i < b->plan.ncells; i++)
		bad += b->plan.cells[i].failures > 0;
	for (i = 0; i < COUNT(words) && words[i].code != code; i++)
		;
	fprintf(stderr, "%s: %s; %zu/%zu cells measured, %zu platforms left out, exit %d\n",
		i < COUNT(words) ? words[i].word : "FAILED", i < COUNT(words) ? words[i].meaning : "", b->plan.ncells - bad,
		b->plan.ncells, left_out(&b->variants), code);
	if (code == EXIT_INCOMPLETE)
		fprintf(stderr, "next   make bench-resume RUN=%s\n", b->plan.dir);
	return code;
}

static int close_run(struct bench *b, int code)
{
	int err = plan_save(&b->plan, &b->variants), gate;

	if (!err)
		err = manifest_save(&b->plan, &b->opt, &b->variants, &b->quiet, true);
	if (err)
		complain("%s: %s", b->plan.dir, strerror(-err));
	point_latest(b);
	gate = summarize(b);
	if (!code && (err || !b->plan.complete))
		code = EXIT_INCOMPLETE;
	if (!code)
		code = b->timeouts ? EXIT_TIMEOUT : b->invalid ? EXIT_INVALID : EXIT_OK;
	return conclude(b, code, gate);
}

static int prepare(struct bench *b)
{
	int err;

	if (b->opt.resume && plan_read_options(&b->opt)) {
		complain("%s/plan.json cannot be read: nothing to resume", b->opt.resume);
		return EXIT_USAGE;
	}
	err = catalog_load(&b->catalog, b->opt.build_dir);
	if (err) {
		complain("%s/workloads: %s; build them with make", b->opt.build_dir, strerror(-err));
		return EXIT_MISSING;
	}
	err = variants_make(&b->variants, &b->opt);
	return err ? err : plan_make(&b->plan, &b->opt, &b->catalog, &b->variants);
}

static void greet(struct bench *b)
{
	const struct quiet *q = &b->quiet;

	doctor_look(&b->findings, &b->opt, &b->variants);
	fprintf(stderr, "trapgate %s  doctor: %zu problems, %zu notes   (details: make doctor)\n", TRAPGATE_VERSION,
		b->findings.problems + !q->quiet, b->findings.notes);
	if (!q->quiet)
		fprintf(stderr, "  ! others use %.1f CPUs, %.0f %% stolen, load %.1f: waited %.0f s for quiet, going on, flagged\n",
			q->busy, 100 * q->steal, q->load, q->waited_s);
	doctor_print(&b->findings, true, stderr);
}

static int doctor(struct bench *b)
{
	quiet_wait(0, &b->quiet);
	doctor_look(&b->findings, &b->opt, &b->variants);
	printf("trapgate %s  doctor: %zu problems, %zu notes\n", TRAPGATE_VERSION, b->findings.problems, b->findings.notes);
	doctor_print(&b->findings, true, stdout);
	printf("  %c others use %.1f CPUs, %.0f %% stolen, load %.1f\n", b->quiet.quiet ? '+' : '!', b->quiet.busy,
	       100 * b->quiet.steal, b->quiet.load);
	return EXIT_OK;
}

static int measure(struct bench *b)
{
	int code;

	quiet_wait(b->opt.quiet_s, &b->quiet);
	greet(b);
	b->plan.tsc_hz = tsc_calibrate();
	code = open_run(b);
	if (code)
		goto out;
	move_aside(&b->plan);
	progress_begin(&b->plan);
	code = close_run(b, run_blocks(b));
out:
	unlink(b->stats_path);
	unlink(b->phases_path);
	rmdir(b->stats_dir);
	return code;
}

int main(int argc, char **argv)
{
	static struct bench b;
	int code;

	if (options_parse(&b.opt, argc, argv))
		return EXIT_BUG;
	if (b.opt.decode)
		return decode();
	if (b.opt.filtered)
		return filter_exec(b.opt.filtered);
	launch_init();
	code = prepare(&b);
	if (code)
		return code;
	if (b.opt.doctor)
		return doctor(&b);
	if (b.opt.list) {
		list(&b);
		return EXIT_OK;
	}
	if (b.opt.dry_run) {
		plan_show(&b.plan, &b.variants);
		return EXIT_OK;
	}
	return measure(&b);
}
