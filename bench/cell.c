/*
 * One launch of one cell, and the rows that come of it. A failure is a row too: with status and reason, without a value.
 *
 * Proof of work: the page's own counts must agree with each other and with the plan, every operation must have had the
 * right result, and in a sandbox the sentry must have counted exactly the system calls that the workload made, if that is
 * a known number, and at least the switches that its operations cannot do without. A platform that leaves a trap out is
 * caught, and so is one that makes a trap of what is none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define STARTUP_RUNS	5			/* runs a launch of `startup`; their median is the launch's value */
#define BATCHES_MIN	5
#define COUNTED_BATCHES	3			/* between the signs */
#define ALONE_MAX	4000			/* operations timed one by one, if a batch's time allows */

struct outcome {
	enum cell_result result;
	char reason[2 * TEXT_LEN];
	struct value values[64];
	size_t count;
	bool calibrated;			/* this launch found the inner count: no sample */
	struct counter_value counters[COUNTERS_MAX];
	size_t ncounters;
	double tick;				/* ns */
};

struct run {
	struct plan *plan;
	struct cell *cell;
	const struct options *opt;
	struct outcome *out;
	struct launch launch;
	unsigned int block;
	struct rows *tables;
};

static void fail(struct outcome *out, enum cell_result result, const char *reason)
{
	out->result = result;
	snprintf(out->reason, sizeof(out->reason), "%s", reason);
}

static void add(struct outcome *out, const char *metric, const char *unit, double number)
{
	if (out->count < COUNT(out->values))
		out->values[out->count++] = (struct value){ metric, unit, number, false, 1 };
}

/* True if the process came to its own end, with exit status 0 or a page that says what was wrong. */
static bool launch_ok(struct run *r)
{
	struct launch *l = &r->launch;
	struct outcome *out = r->out;

	switch (l->status) {
	case LAUNCH_EXITED:
		if (!l->code || (l->code == 1 && l->out_len == sizeof(struct sample_page)))
			return true;
		out->result = CELL_FAILED;
		snprintf(out->reason, sizeof(out->reason), "exit status %d%s%s", l->code,
			 l->err[0] ? ": " : "", l->err);
		return false;
	case LAUNCH_SIGNALLED:
		out->result = CELL_FAILED;
		snprintf(out->reason, sizeof(out->reason), "killed by signal %d (%s)", l->code, strsignal(l->code));
		return false;
	case LAUNCH_TIMEOUT:
		out->result = CELL_TIMEOUT;
		snprintf(out->reason, sizeof(out->reason), "no end after %u s", r->plan->timeout_s);
		return false;
	case LAUNCH_INTERRUPTED:
		fail(out, CELL_STOPPED, "interrupted");
		return false;
	default:
		out->result = CELL_FAILED;
		snprintf(out->reason, sizeof(out->reason), "cannot start: %s", strerror(l->code));
		return false;
	}
}

static bool run_command(struct run *r, struct command *c)
{
	if (c->overflow) {
		fail(r->out, CELL_FAILED, "the command line is too long");
		return false;
	}
	unlink(r->plan->stats_path);
	unlink(r->plan->phases_path);
	r->launch.argv = c->argv;
	r->launch.cpus = &r->cell->placement->cpus;
	r->launch.timeout_ms = r->plan->timeout_s * 1000;
	r->launch.filtered = r->cell->variant->filtered;
	launch_run(&r->launch);
	return launch_ok(r);
}

/* One trap an operation, known to the call, and a clock that the sentry reads too. */
static bool stamped(const struct run *r)
{
	const struct workload_info *w = r->cell->workload;

	return r->plan->phases && r->plan->tsc_hz > 0 && w->exact && w->traps == 1 && w->class == CLASS_SYSCALL &&
	       !r->cell->twin && r->cell->variant->sandboxed && r->cell->inner;
}

static void begin_command(const struct run *r, struct command *c)
{
	memset(c, 0, sizeof(*c));
	runner_prefix(c, r->cell->variant, r->opt->build_dir, r->plan->stats_path,
		      stamped(r) ? r->plan->phases_path : NULL);
	command_add(c, "%s%s", r->cell->workload->path, r->cell->twin ? ".twin" : "");
}

static bool unproven(struct outcome *out, const char *what, uint64_t claim, uint64_t counted, bool known)
{
	out->result = CELL_INVALID;
	snprintf(out->reason, sizeof(out->reason), "work not proven: %llu %s; the sentry counted %llu%s",
		 (unsigned long long)claim, what, (unsigned long long)counted, known ? "" : " (no counters)");
	return false;
}

/* The sentry's counters beside the workload's claim. */
static bool proven(struct run *r, const struct sample_page *page)
{
	unsigned int traps = r->cell->twin ? 0 : r->cell->workload->traps;
	struct outcome *out = r->out;
	struct counters c;
	uint64_t claim, calls;

	if (!r->cell->variant->sandboxed)
		return true;
	counters_read(r->plan->stats_path, &c);
	if (__builtin_mul_overflow(page->ops, traps, &claim) || __builtin_add_overflow(claim, page->calls, &calls))
		calls = claim = UINT64_MAX;
	if (claim && (!c.has_switches || c.switches < claim))
		return unproven(out, "switches needed", claim, c.switches, c.has_switches);
	if (r->cell->workload->exact && (!c.has_calls || c.calls != calls))
		return unproven(out, "system calls made", calls, c.calls, c.has_calls);
	if (c.has_switches) {
		add(out, "switches", "count", c.switches);
		add(out, "switches_per_op", "count", (double)c.switches / page->ops);
	}
	if (c.has_faults)
		add(out, "faults", "count", c.faults);
	if (c.has_host_calls) {
		add(out, "host_calls", "count", c.host_calls);
		add(out, "host_calls_per_op", "count", (double)c.host_calls / page->ops);
	}
	if (c.has_rss)
		add(out, "sentry_maxrss_kib", "KiB", c.rss_kib);
	return true;
}

/* "Name:   123 kB" in a file of /proc, or -1. */
static double proc_number(pid_t pid, const char *file, const char *name)
{
	char path[64], line[256];
	double number = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			number = atof(line + strlen(name) + 1);
	if (f)
		fclose(f);
	return number;
}

/* The process that runs the guest: natively the guest itself, otherwise the sentry. */
static void look(pid_t pid, struct outcome *out)
{
	double rss = proc_number(pid, "smaps_rollup", "Rss"), pss = proc_number(pid, "smaps_rollup", "Pss");
	double threads = proc_number(pid, "status", "Threads");

	if (rss < 0)
		rss = proc_number(pid, "status", "VmRSS");
	if (rss >= 0)
		add(out, "rss_kib", "KiB", rss);
	if (pss >= 0)
		add(out, "pss_kib", "KiB", pss);
	if (threads >= 0)
		add(out, "threads", "count", threads);
}

static void on_sign(pid_t pid, void *arg, unsigned int nth)
{
	struct outcome *out = arg;

	if (nth == 1) {
		out->ncounters = counters_stop(out->counters, COUNT(out->counters));
	} else if (!nth) {
		look(pid, out);
		counters_start(getpid());
	}
}

/* What the counted region came to, an operation. User and system time have no clock of their own: the launch's shares. */
static void add_counters(struct run *r, uint64_t ops)
{
	double all = r->launch.user_ns + r->launch.system_ns;
	struct outcome *out = r->out;
	size_t i;

	for (i = 0; i < out->ncounters && ops; i++) {
		const struct counter_value *c = &out->counters[i];
		double value = c->value / ops;

		if (!c->known || out->count == COUNT(out->values))
			continue;
		out->values[out->count++] = (struct value){ c->metric, c->unit, value, false, c->share };
		if (strcmp(c->metric, "cpu_ns_per_op") || all <= 0)
			continue;
		add(out, "user_ns_per_op", "ns", value * r->launch.user_ns / all);
		add(out, "system_ns_per_op", "ns", value * r->launch.system_ns / all);
	}
}

static double ns_per_tick(const struct plan *plan, const struct sample_page *page)
{
	return page->clock == CLOCK_TSC && plan->tsc_hz > 0 ? 1e9 / plan->tsc_hz : 1;
}

static unsigned int batches_for(const struct plan *plan, double batch_ns)
{
	double fit = plan->batches * plan->suite->target_us * 1e3 / batch_ns;

	if (fit >= plan->batches)
		return plan->batches;
	return fit < BATCHES_MIN ? BATCHES_MIN : (unsigned int)fit;
}

static void add_usage(struct run *r, unsigned int runs)
{
	add(r->out, "wall_ms", "ms", r->launch.wall_ns / 1e6);
	add(r->out, "user_ms", "ms", r->launch.user_ns / 1e6 / runs);
	add(r->out, "system_ms", "ms", r->launch.system_ns / 1e6 / runs);
}

static void add_hist(struct run *r, const struct sample_page *page, unsigned int block, struct rows *rows)
{
	uint32_t i;

	for (i = 0; i < SAMPLE_BINS; i++)
		if (page->hist[i])
			hist_add(rows, r->plan, r->cell, block, sample_bin_low(i) * r->out->tick,
				 sample_bin_low(i + 1) * r->out->tick, page->hist[i]);
}

/* Arguments: see workloads/lib/run.c. The calibrating launch asks for inner 0, and for nothing beside. */
static void ask(struct run *r, struct command *c)
{
	const struct plan *plan = r->plan;
	const struct cell *cell = r->cell;
	/* A floor is bare: some of them loop by a count that must not be 0, and none has a sentry to count for. */
	bool extras = cell->inner && !cell->twin && cell->workload->class != CLASS_FLOOR;

	begin_command(r, c);
	command_add(c, "%llu", (unsigned long long)cell->inner);
	command_add(c, "%u", cell->inner ? cell->batches : plan->batches);
	command_add(c, "%u", plan->batches);
	command_add(c, "%.0f", plan->suite->target_us * (plan->tsc_hz > 0 ? plan->tsc_hz / 1e6 : 1e3));
	command_add(c, "%d", plan->tsc_hz > 0 ? CLOCK_TSC : CLOCK_NS);
	command_add(c, "%llu", (unsigned long long)cell->param);
	command_add(c, "%d", extras && plan->counters ? COUNTED_BATCHES : 0);
	command_add(c, "%d", extras ? ALONE_MAX : 0);
	command_add(c, "%d", stamped(r) ? SAMPLE_STAMPS : 0);
	if (extras && plan->counters) {
		r->launch.when_sign = on_sign;
		r->launch.arg = r->out;
	}
}

static void run_program(struct run *r)
{
	struct plan *plan = r->plan;
	struct cell *cell = r->cell;
	struct sample_page page;
	struct command c;
	double tick, median;
	char why[TEXT_LEN];
	int err;

	ask(r, &c);
	if (!run_command(r, &c))
		return;
	memcpy(&page, r->launch.out, sizeof(page));
	err = page_check(&page, r->launch.out_len, cell, why, sizeof(why));
	if (err) {
		fail(r->out, err == -ENOTSUP ? CELL_UNSUPPORTED : err == -EIO ? CELL_FAILED : CELL_INVALID, why);
		return;
	}
	r->out->tick = tick = ns_per_tick(plan, &page);
	median = page_percentile(&page, 0.5, tick);
	add(r->out, "ns_per_op", "ns", median);
	add(r->out, "ns_per_op_p99", "ns", page_percentile(&page, 0.99, tick));
	add_usage(r, 1);
	add_counters(r, page.counted);
	if (!proven(r, &page))
		return;
	if (page.alone && !page.stamps)
		add_hist(r, &page, r->block, &r->tables[TABLE_HIST]);
	if (page.stamps && !phases_add(&r->tables[TABLE_PHASES], plan, cell, r->block, &page))
		complain("%s / %s: no stamps of the sentry's fit the workload's", cell->workload->name, cell->variant->platform);
	if (r->block)
		cell->times[r->block] = median;
	if (!cell->inner) {
		r->out->calibrated = true;
		cell->inner = page.inner;
		cell->batches = batches_for(plan, median * page.inner);
	}
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void run_startup(struct run *r)
{
	double wall[STARTUP_RUNS];
	struct command c;
	int i;

	for (i = 0; i < STARTUP_RUNS; i++) {
		begin_command(r, &c);
		if (!run_command(r, &c))
			return;
		wall[i] = r->launch.wall_ns;
	}
	qsort(wall, STARTUP_RUNS, sizeof(*wall), by_number);
	add(r->out, "ns_per_op", "ns", wall[STARTUP_RUNS / 2]);
	add(r->out, "ns_per_op_p99", "ns", wall[STARTUP_RUNS - 1]);
	add_usage(r, STARTUP_RUNS);
	r->cell->inner = 1;
	r->cell->batches = STARTUP_RUNS;
}

static void on_look(pid_t pid, void *arg, unsigned int nth)
{
	if (!nth)
		look(pid, arg);
}

static void run_footprint(struct run *r)
{
	struct command c;

	begin_command(r, &c);
	command_add(&c, "1");
	command_add(&c, "1");
	command_add(&c, "0");
	r->launch.when_sign = on_look;
	r->launch.arg = r->out;
	if (!run_command(r, &c))
		return;
	if (!r->out->count) {
		fail(r->out, CELL_FAILED, "the guest never said that it was up");
		return;
	}
	r->cell->inner = 1;
	r->cell->batches = 1;
}

static const char *status_of(const struct outcome *out, unsigned int block)
{
	switch (out->result) {
	case CELL_OK: return out->calibrated || !block ? "warmup" : "ok";
	case CELL_UNSUPPORTED: return "unsupported";
	case CELL_INVALID: return "invalid";
	case CELL_TIMEOUT: return "timeout";
	default: return "failed";
	}
}

/* A counter that was not on the hardware all the time is an estimate, and says so. */
static void write_value(struct run *r, unsigned int block, unsigned int position, struct rows *rows, const struct value *v,
			const char *status)
{
	char reason[80] = "";

	if (v->share < 0.999 && !strcmp(status, "ok")) {
		status = "scaled";
		snprintf(reason, sizeof(reason), "counted %.0f %% of the time", 100 * v->share);
	}
	rows_add(rows, r->plan, r->cell, block, position, v, status, reason);
}

static void write_rows(struct run *r, unsigned int block, unsigned int position, struct rows *rows)
{
	static const struct value by_kind[] = {
		[KIND_PROGRAM] = { "ns_per_op", "ns", 0, true, 1 },
		[KIND_STARTUP] = { "ns_per_op", "ns", 0, true, 1 },
		[KIND_FOOTPRINT] = { "rss_kib", "KiB", 0, true, 1 },
	};
	struct outcome *out = r->out;
	const char *status = status_of(out, block);
	size_t i;

	if (out->result != CELL_OK)
		rows_add(rows, r->plan, r->cell, block, position, &by_kind[r->cell->workload->kind], status,
			 out->reason);
	for (i = 0; i < out->count && out->result == CELL_OK; i++)
		write_value(r, block, position, rows, &out->values[i], status);
}

enum cell_result cell_run(struct plan *plan, struct cell *cell, const struct options *opt, unsigned int block,
			  unsigned int position, struct rows *tables)
{
	static void (*const kinds[])(struct run *) = {
		[KIND_PROGRAM] = run_program, [KIND_STARTUP] = run_startup, [KIND_FOOTPRINT] = run_footprint,
	};
	struct outcome out = { .result = CELL_OK };
	struct run r = { .plan = plan, .cell = cell, .opt = opt, .out = &out, .block = block, .tables = tables };
	double begin = clock_seconds();

	kinds[cell->workload->kind](&r);
	if (out.result == CELL_STOPPED)
		return out.result;
	cell->seconds = clock_seconds() - begin;
	if (out.result == CELL_TIMEOUT || out.result == CELL_UNSUPPORTED)
		cell->failures = FAILURES_MAX;
	else if (out.result != CELL_OK)
		cell->failures++;
	write_rows(&r, block, position, &tables[TABLE_RAW]);
	if (out.result != CELL_OK && out.result != CELL_UNSUPPORTED)
		complain("%s / %s / %s: %s", cell->workload->name, cell->variant->platform, cell->placement->name,
			 out.reason);
	return out.result;
}
