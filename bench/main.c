/* trapgate-bench: options -> catalog -> variants -> plan -> blocks of launches -> manifest -> summary. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct bench {
	struct options opt;
	struct catalog catalog;
	struct variants variants;
	struct plan plan;
	struct rows rows;
	bool **done;				/* done[block][position]: by the run that is resumed */
	unsigned int invalid, timeouts;
	char stats_dir[64], stats_path[96];
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
	if (b->opt.resume) {
		err = plan_restore(&b->plan);
		if (err) {
			complain("%s was planned with other cells than this build or machine has: start a new run",
				 b->plan.dir);
			return EXIT_INVALID;
		}
	}
	err = make_dirs(b->plan.dir);
	if (!err)
		err = read_done(b);
	if (!err)
		err = plan_save(&b->plan, &b->variants);
	if (!err && !b->opt.resume)
		err = manifest_save(&b->plan, &b->opt, &b->variants, false);
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
		result = cell_run(plan, cell, &b->opt, block, position, &b->rows);
		b->invalid += result == CELL_FAILED || result == CELL_INVALID;
		b->timeouts += result == CELL_TIMEOUT;
	}
}

/* Returns 0, or an exit code if the results could not be kept. */
static int run_blocks(struct bench *b)
{
	unsigned int block;
	int err = 0;

	for (block = 0; block <= b->plan.trials && !stop_requested && !err; block++) {
		run_block(b, block);
		err = csv_append(&b->plan, &b->rows);
		if (!block)
			share_calibration(&b->plan);
		if (!err && !block)
			err = plan_save(&b->plan, &b->variants);
		if (!err && !stop_requested)
			progress_block(&b->plan, block);
	}
	if (err)
		complain("%s: %s; the last block is lost", b->plan.dir, strerror(-err));
	b->plan.complete = !err && !stop_requested;
	progress_end(&b->plan);
	return err ? EXIT_INCOMPLETE : 0;
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

/* Statistics are analysis/'s. Without python3 the raw results are still there. */
static void summarize(const struct bench *b)
{
	char script[PATH_LEN + 32];
	pid_t pid;

	snprintf(script, sizeof(script), "%s/analysis/summarize.py", b->opt.root_dir);
	if (b->opt.no_summary)
		return;
	if (access(script, R_OK) || access("/usr/bin/python3", X_OK)) {
		complain("no summary: python3 or %s is missing", script);
		return;
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		sched_setaffinity(0, sizeof(cpu_set_t), &b->plan.placements[1].cpus);
		execl("/usr/bin/python3", "python3", "-B", script, b->plan.dir, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int close_run(struct bench *b, int code)
{
	int err = plan_save(&b->plan, &b->variants);

	if (!err)
		err = manifest_save(&b->plan, &b->opt, &b->variants, true);
	if (err)
		complain("%s: %s", b->plan.dir, strerror(-err));
	point_latest(b);
	summarize(b);
	if (code || err)
		return code ? code : EXIT_INCOMPLETE;
	if (!b->plan.complete)
		return EXIT_INCOMPLETE;
	return b->timeouts ? EXIT_TIMEOUT : b->invalid ? EXIT_INVALID : EXIT_OK;
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

static int measure(struct bench *b)
{
	int code;

	if (b->variants.note[0])
		complain("%s", b->variants.note);
	b->plan.tsc_hz = tsc_calibrate();
	code = open_run(b);
	if (code)
		goto out;
	move_aside(&b->plan);
	progress_begin(&b->plan);
	code = close_run(b, run_blocks(b));
out:
	unlink(b->stats_path);
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
	launch_init();
	code = prepare(&b);
	if (code)
		return code;
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
