/*
 * The driver's own words: what is measured (catalog), by whom (variants), in which order (plan), and what came out.
 *
 * Single-threaded. Everything that is planned is in struct plan; a cell never changes its identity after plan_make(),
 * only its calibration and its count of failures.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workloads/include/sample.h"

#define SCHEMA_VERSION	1

#define NAME_LEN	64
#define TEXT_LEN	256
#define PATH_LEN	1024

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

/* What the driver returns; shown by --help. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_BUG = 1,				/* the driver itself failed */
	EXIT_USAGE = 2,				/* wrong option, or a name that matches nothing */
	EXIT_MISSING = 3,			/* a platform that was asked for cannot run here */
	EXIT_INVALID = 4,			/* a cell failed or did not prove its work, or the binaries are not the run's */
	EXIT_NOISY = 5,				/* the A/A gate failed: native differs from itself (analysis/ decides) */
	EXIT_INCOMPLETE = 7,			/* stopped early; --resume goes on */
	EXIT_TIMEOUT = 124,			/* a cell ran out of time */
};

/* catalog.c: programs found in the build, and the driver's own workloads. */

enum workload_kind {
	KIND_PROGRAM,				/* hands over a sample page */
	KIND_STARTUP,				/* wall time of a whole process, taken by the driver */
	KIND_FOOTPRINT,				/* resident memory while the guest sleeps, read by the driver */
};

struct workload_info {
	char name[NAME_LEN];
	char path[PATH_LEN];
	char help[128];
	char params[NAME_LEN];			/* "k=v;k=v", or empty */
	enum workload_kind kind;
	unsigned int class;			/* enum sample_class */
	unsigned int placements;		/* bits of enum sample_placement */
	unsigned int traps;
	uint64_t fixed_inner;
	bool has_twin, exact;
	char param_name[16];			/* empty: takes no parameter */
	uint64_t param, levels[SAMPLE_LEVELS];	/* the usual level, and all of them, ending with 0 */
};

struct catalog {
	struct workload_info *items;
	size_t count;
};

int catalog_load(struct catalog *cat, const char *build_dir);
const struct workload_info *catalog_find(const struct catalog *cat, const char *name);
const char *class_name(unsigned int class);

/* suggest.c: the candidate nearest to a mistyped name, or NULL if none is near. */
const char *suggest(const char *typed, const char *const *candidates, size_t count);

/* variant.c: who runs a workload. */

struct variant {
	char platform[NAME_LEN];		/* native, native-aa, native-seccomp, or what `trapgate run --platform=` takes */
	char knobs[TEXT_LEN];			/* "k=v;k=v" of what differs from the default */
	bool sandboxed;
	bool filtered;				/* native under the filter of seccomp.c */
};

struct platform_state {
	char name[NAME_LEN];
	char reason[TEXT_LEN];			/* why it cannot run here; empty if it can */
};

#define VARIANTS_MAX	64

struct variants {
	struct variant items[VARIANTS_MAX];
	size_t count;
	struct platform_state known[VARIANTS_MAX];	/* what the sentry offers, runnable or not */
	size_t nknown;
	struct json_t *sentry;			/* its own list, with all knobs; NULL: none */
	char note[TEXT_LEN];			/* why there is no sentry to ask, or empty */
};

struct options;
int variants_make(struct variants *v, const struct options *opt);

/* options.c */

struct options {
	const char *suite;
	const char *platforms;			/* comma separated NAME[:k=v;k=v]; NULL: all that run here */
	const char *workloads;			/* comma separated names or shell patterns; NULL: all */
	const char *placements;			/* comma separated names; NULL: the suite's */
	const char *filter;			/* comma separated WORKLOAD[/PLATFORM[/PLACEMENT]] patterns; NULL: all */
	const char *out;			/* folder for results; NULL: ROOT/results */
	const char *resume;			/* folder of an unfinished run, or of the finished one that is extended */
	const char *knobs[16];			/* K=V for every platform they belong to */
	size_t nknobs;
	long trials;				/* 0: the suite's */
	long timeout_s;				/* 0: the suite's */
	long budget_s;				/* 0: none */
	long quiet_s;				/* wait so long for a quiet machine */
	uint64_t seed;
	bool seed_given, list, dry_run, decode, doctor, skip_missing, no_summary, extend, phases, no_counters;
	char *const *filtered;			/* a command to run under the filter, or NULL */
	char build_dir[PATH_LEN];		/* where this binary lies: trapgate and workloads/ are beside it */
	char root_dir[PATH_LEN];		/* the source tree, for results/ and analysis/ */
	int argc;
	char **argv;
};

int options_parse(struct options *opt, int argc, char **argv);

/* plan.c */

#define PLACEMENTS	4
#define EXTENSIONS	16
#define FAILURES_MAX	2			/* after so many, or one time-out, a cell is left alone */

/* The workloads' own bits (enum sample_placement), and those that only the driver knows: both are `free` to a workload. */
enum { PLACE_SMT = 4, PLACE_LLC = 8 };

struct placement {
	const char *name;
	unsigned int bit;			/* enum sample_placement; 0: this machine has no such place */
	cpu_set_t cpus;
};

/* Rounds added to a finished run: fixed beforehand, on record, so that nobody stops when the numbers please. */
struct extension {
	unsigned int from, to;			/* trials */
	char at[32];
};

struct suite {
	const char *name, *help;
	unsigned int trials;			/* measured launches a cell */
	unsigned int batches;			/* timed batches a launch */
	unsigned int target_us;			/* length of a batch */
	unsigned int timeout_s;			/* for one launch */
	bool all_placements;			/* for all workloads, not only where the workload asks for it */
	bool sandbox_twins;			/* twins under every platform, not only natively */
	bool ablation;				/* each platform again with each optimisation switched off */
	bool levels;				/* workloads with a parameter, at each of its levels; else only if asked for by name */
	const char *workloads;			/* patterns; NULL: all */
};

struct cell {
	const struct workload_info *workload;
	const struct variant *variant;
	const struct placement *placement;
	bool twin;
	bool needed;				/* a floor that another cell is held against, whatever was asked for */
	uint64_t param;				/* level of the workload's parameter, or 0 */
	char params[NAME_LEN];			/* "k=v;k=v", or empty */
	size_t group;
	uint64_t inner;				/* operations a batch; 0: not calibrated yet */
	unsigned int batches;
	unsigned int failures;
	long floor;				/* index of the cell with the bare mechanism, or -1 */
	unsigned int floor_times;		/* that mechanism so many times an operation */
	double seconds;				/* what its last launch took; for the estimate */
	double *times;				/* times[block]: ns_per_op, 0 if there is none; for the floor on the screen */
};

/* Cells of one workload and placement that are compared with each other: run back to back in balanced order. */
struct group {
	size_t first, count;			/* cells[first .. first + count) */
};

struct plan {
	char run_id[NAME_LEN], host[NAME_LEN];
	char dir[PATH_LEN];
	const struct suite *suite;
	uint64_t seed;
	unsigned int trials;			/* blocks after the warm-up block 0 */
	unsigned int planned;			/* trials of the run that is gone on with, before an extension */
	unsigned int timeout_s;
	bool subset;				/* filtered: not the whole suite */
	double tsc_hz;				/* 0: no constant TSC, workloads use clock_gettime */
	struct placement placements[PLACEMENTS];
	struct cell *cells;
	size_t ncells;
	struct group *groups;
	size_t ngroups;
	uint32_t **order;			/* order[block][position] = cell */
	const char *platforms, *workloads, *places, *filter;	/* the selection as asked for, for --resume; or NULL */
	const char *const *knobs;
	size_t nknobs;
	long budget_s;				/* 0: none */
	unsigned int batches;			/* timed batches a launch: the suite's, or fewer to keep the budget */
	struct extension extensions[EXTENSIONS];
	size_t nextensions;
	bool counters, phases;
	const char *stats_path, *phases_path;	/* where a sentry leaves its counters and stamps; outside the results */
	bool complete;
};

extern const struct suite suites[];
const struct suite *suite_find(const char *name);

int plan_make(struct plan *plan, const struct options *opt, const struct catalog *cat, const struct variants *v);
void plan_show(const struct plan *plan, const struct variants *v);	/* --dry-run; standard output */
double plan_estimate(const struct plan *plan, unsigned int block, unsigned int position);	/* seconds left */
void plan_keep_budget(struct plan *plan, double spent);	/* after the warm-up: fewer rounds, then shorter launches */

/* select.c: which workloads, placements and cells were asked for. */
bool selected(const char *name, const char *list);
int selection_check(const struct options *opt, const struct catalog *cat, const struct variants *v, const struct plan *plan);
bool cell_wanted(const struct cell *cell, const char *filter);

/* topology.c: where the two sides of a hand-over may run. */
void placements_make(struct plan *plan);

/* quiet.c: is anybody else at work on this machine? */
struct quiet {
	double waited_s;
	double busy;				/* CPUs' worth of others' work in the last look, 0 .. CPUs */
	double steal;				/* share of time that the hypervisor took, 0 .. 1 */
	double load;				/* load average of a minute; negative: unknown */
	bool quiet;
};
void quiet_wait(long most_s, struct quiet *out);

/* noise.c: the A/A floor so far, as a factor (1.02: +-2 %), or 0 while six launches are not there. For the screen only. */
double noise_now(const struct plan *plan, unsigned int block);

/* doctor.c: what is missing or disturbs, each in one line that says what to do about it. */
struct finding {
	char mark;				/* '!' distorts or prevents, '-' is less than could be, '+' is fine */
	char text[TEXT_LEN];
};
struct findings {
	struct finding items[32];
	size_t count, problems, notes;
};
void doctor_look(struct findings *f, const struct options *opt, const struct variants *v);
void doctor_print(const struct findings *f, bool all, void *file);

/* seccomp.c: an allow-list as long as a container runtime's default, so that the cost of a filter alone is known. */
int filter_install(void);
int filter_exec(char *const argv[]);		/* returns an exit status only if it fails */

/* floor.c: the cheapest bare way to do what a cell does (the table of results/README.md). */
struct floor_choice {
	const char *workload, *placement;
	unsigned int times;
};
bool floor_choose(const struct cell *cell, struct floor_choice *out);

/* plan_json.c: plan.json, written with tmp + rename; --resume reads it back and checks that the cells are the same. */
int plan_save(const struct plan *plan, const struct variants *v);
int plan_restore(struct plan *plan);	/* calibration of the unfinished run; -ESTALE if its cells were others */
int plan_read_options(struct options *opt);	/* suite, seed, selection of the run in opt->resume */
int json_save(const struct json_t *o, const char *dir, const char *name);	/* tmp, fsync, rename */

/* order.c */
struct rng { uint64_t state; };
uint64_t rng_next(struct rng *rng);
void shuffle(struct rng *rng, uint32_t *items, size_t count);
size_t williams_rows(size_t k);
void williams_row(size_t k, size_t row, uint32_t *out);
int order_make(struct plan *plan);

/* launch.c: one process tree, its output, its end. */

enum launch_status { LAUNCH_EXITED, LAUNCH_SIGNALLED, LAUNCH_TIMEOUT, LAUNCH_INTERRUPTED, LAUNCH_FAILED };

struct launch {
	/* in */
	char *const *argv;
	const cpu_set_t *cpus;
	unsigned int timeout_ms;
	bool filtered;				/* under filter_install() */
	void (*when_sign)(pid_t pid, void *arg, unsigned int nth);	/* stderr ends in '.': called, then answered. Or NULL */
	void *arg;

	/* out */
	enum launch_status status;
	int code;				/* exit status, signal or errno */
	double wall_ns;				/* from just before exec to the end of the process */
	double user_ns, system_ns;		/* of the whole tree */
	unsigned char out[SAMPLE_BYTES + 1];
	size_t out_len;
	char err[TEXT_LEN];			/* the last line of standard error */
};

void launch_init(void);
void launch_run(struct launch *l);

extern volatile sig_atomic_t stop_requested;	/* Ctrl-C or SIGTERM */

/* cell.c: launch a cell once and turn what comes back into rows. */
struct rows;
enum cell_result { CELL_OK, CELL_UNSUPPORTED, CELL_FAILED, CELL_INVALID, CELL_TIMEOUT, CELL_STOPPED };
enum cell_result cell_run(struct plan *plan, struct cell *cell, const struct options *opt, unsigned int block,
			  unsigned int position, struct rows *tables);

/* runner.c: the command line that runs `program` (with its arguments) under a variant. */
#define ARGV_MAX	64
struct command {
	char *argv[ARGV_MAX];
	size_t argc;
	char text[4096];
	size_t used;
	bool overflow;
};
void command_add(struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void runner_prefix(struct command *c, const struct variant *v, const char *build_dir, const char *stats_path,
		   const char *phases_path);	/* phases_path: NULL: none */

/* stats.c: what the sentry counted, from its --stats file. */
struct counters {
	uint64_t switches, calls, faults, host_calls, rss_kib;
	bool has_switches, has_calls, has_faults, has_host_calls, has_rss;
};
void counters_read(const char *path, struct counters *c);

/*
 * counters.c: software and hardware events of a launch's whole tree, between the two signs of a workload. Opened only
 * then, so that what was timed before knew nothing of them.
 */
#define COUNTERS_MAX	24
struct counter_value {
	const char *metric, *unit;
	double value;
	double share;				/* of the time that it was counting: below 1 the value is an estimate */
	bool known;
};
int counter_reason(const char *name, char *why, size_t size);	/* 0 if it counts here; -errno and "n/a(...)"'s inside */
void counters_start(pid_t driver);		/* all descendants of the driver */
size_t counters_stop(struct counter_value *out, size_t max);
struct json_t *counters_describe(void);		/* name -> "ok" or "n/a(why)" */

/* phases.c */
struct rows;
unsigned int phases_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block,
			const struct sample_page *page);

/* page.c: a sample page is hostile until checked. */
int page_check(const struct sample_page *page, size_t len, const struct cell *cell, char *why, size_t size);
double page_percentile(const struct sample_page *page, double p, double ns_per_tick);	/* of a batch, per operation */
void page_print(const struct sample_page *page);

/* csv.c: raw.csv, hist.csv and phases.csv, a block of rows at a time. */
enum table { TABLE_RAW, TABLE_HIST, TABLE_PHASES, TABLES };
struct rows {
	char *text;
	size_t len, size;
	bool failed;				/* out of memory */
};
struct value {
	const char *metric, *unit;
	double number;
	bool missing;
	double share;				/* of a counter that shared the hardware: below 1, an estimate */
};
void rows_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block,
	      unsigned int position, const struct value *value, const char *status, const char *reason);
void hist_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block, double low_ns,
	      double high_ns, unsigned int count);
void phase_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block, const char *phase,
	       double ns, double p90_ns, unsigned int n);
int csv_append(const struct plan *plan, struct rows *tables);	/* writes, fsyncs and empties them; raw.csv first */
int csv_done(const struct plan *plan, bool **done);	/* what --resume need not run again; mends torn tails */

/* clock.c */
double clock_seconds(void);
bool tsc_is_constant(void);
double tsc_calibrate(void);			/* Hz, or 0 if the TSC is not constant */

/* machine.c: readings of the machine as JSON. json_t by name only, so that jansson.h stays where JSON is made. */
struct json_t;
struct json_t *machine_describe(double tsc_hz);
struct json_t *machine_load(void);
struct json_t *machine_packages(void);
bool hypervisor_present(void);
struct json_t *command_output(const char *const argv[]);	/* first line as a string, or null */

/* manifest.c: what could explain the numbers. `ended`: the run is over; load and steal are read again. */
int manifest_save(const struct plan *plan, const struct options *opt, const struct variants *v, const struct quiet *quiet,
		  bool ended);
int manifest_same_binaries(const struct plan *plan, const struct options *opt);	/* -ESTALE: others than the run's */

/* progress.c: standard error only. */
void progress_begin(const struct plan *plan);
void progress_cell(const struct plan *plan, const struct cell *cell, unsigned int block, unsigned int position);
void progress_block(const struct plan *plan, unsigned int block, double floor);
void progress_end(const struct plan *plan);

/* main.c */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
