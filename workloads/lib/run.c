/*
 * The measuring loop that all workloads share: calibrate, warm up, time batches, write the page.
 *
 *   NAME [INNER [BATCHES [WARMUP [TARGET [CLOCK [PARAM [COUNTED [ALONE [STAMPS]]]]]]]]]      all decimal; NAME --describe
 *
 * INNER 0 asks for calibration: double until a batch takes TARGET ticks, and stop early where operations are slow.
 * The driver does that in a launch of its own, so that calibration never enters a sample. Otherwise exactly BATCHES
 * batches of INNER operations are timed, after at most WARMUP batches that end as soon as three in a row agree.
 *
 * What follows the timed batches cannot disturb them, and happens only if asked for. COUNTED batches run between two signs:
 * a '.' on standard error, answered by a byte on standard input; there the driver starts and stops its counters. Up to
 * ALONE operations are timed one by one into a histogram, or STAMPS operations get a time stamp on both sides.
 *
 * No libc. Only batch totals are kept: a store per operation would be part of what is measured.
 */
#include "workload.h"

#define DEFAULT_TARGET	4000000			/* ticks; about 2 ms */

struct request {
	u64 inner, batches, warmup, target, clock, param, counted, alone, stamps;
};

char **workload_argv;
unsigned long *workload_auxv;
u64 workload_calls, workload_param;

static struct sample_page page __attribute__((aligned(SAMPLE_BYTES)));

static u64 clock_ns(void)
{
	long ts[2] = { 0, 0 };

	sys2(__NR_clock_gettime, 4, ts);
	return (u64)ts[0] * 1000000000 + (u64)ts[1];
}

static inline u64 tick_begin(void)
{
	u32 lo, hi;

	if (page.clock == CLOCK_NS)
		return clock_ns();
	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

static inline u64 tick_end(void)
{
	u32 lo, hi;

	if (page.clock == CLOCK_NS)
		return clock_ns();
	__asm__ volatile("rdtscp; lfence" : "=a"(lo), "=d"(hi) : : "rcx", "memory");
	return (u64)hi << 32 | lo;
}

static void page_write(void)
{
	const char *from = (const char *)&page;
	size_t left = sizeof(page);
	long n;

	while (left) {
		n = sys3(__NR_write, 1, from, left);
		if (n == -4)
			continue;
		if (n <= 0)
			return;
		from += n;
		left -= n;
	}
}

static _Noreturn void quit(int state, int err, int line)
{
	page.state = state;
	page.error = err;
	page.line = line;
	page_write();
	for (;;)
		sys1(__NR_exit_group, 1);
}

void workload_fail(int err, int line)
{
	quit(SAMPLE_ERROR, err, line);
}

void workload_unsupported(int err, int line)
{
	quit(SAMPLE_UNSUPPORTED, err, line);
}

static void text_copy(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i];
}

static void describe(void)
{
	int i;

	page.magic = SAMPLE_MAGIC;
	page.version = SAMPLE_VERSION;
	page.state = SAMPLE_DESCRIBED;
	text_copy(page.name, sizeof(page.name), workload.name);
	text_copy(page.help, sizeof(page.help), workload.help);
	page.class = workload.class;
	page.placements = workload.placements;
	page.traps = IS_TWIN ? 0 : workload.traps;
	page.twin = IS_TWIN;
	page.fixed_inner = workload.fixed_inner;
	page.exact = workload.exact;
	if (!workload.param_name)
		return;
	text_copy(page.param_name, sizeof(page.param_name), workload.param_name);
	for (i = 0; i < SAMPLE_LEVELS - 1 && workload.levels[i]; i++)
		page.levels[i] = workload.levels[i];
	page.param = workload.param;
}

static u64 run_batch(u64 n, u64 *begin, u64 *end)
{
	u64 right;

	if (workload.prepare)
		workload.prepare(n);
	*begin = tick_begin();
	right = workload.batch(n);
	*end = tick_end();
	if (workload.cleanup)
		workload.cleanup(n);
	page.ops += n;
	page.good += right;
	return *end - *begin;
}

static u64 timed(u64 n)
{
	u64 begin, end;

	return run_batch(n, &begin, &end);
}

static u64 calibrate(u64 target)
{
	u64 n = 1, ticks, again;

	if (!target)
		target = DEFAULT_TARGET;
	if (workload.fixed_inner)
		return workload.fixed_inner;
	for (;;) {
		ticks = timed(n);
		/* An interruption is not the operation's: the quicker of two. */
		if (ticks >= target / 4) {
			again = timed(n);
			ticks = again < ticks ? again : ticks;
		}
		if (ticks >= target / 4 || n >= (u64)1 << 32)
			break;
		n *= ticks < target / 64 ? 8 : 2;
	}
	if (ticks >= target / 4)
		n = n * (target * 256 / ticks) / 256;
	return n ? n : 1;
}

static bool agree(const u64 *last)
{
	u64 low = last[0], high = last[0];
	int i;

	for (i = 1; i < 3; i++) {
		low = last[i] < low ? last[i] : low;
		high = last[i] > high ? last[i] : high;
	}
	return high - low <= low / 20;
}

static void warm_up(const struct request *req)
{
	u64 last[3], i;

	for (i = 0; i < req->warmup; i++) {
		last[i % 3] = timed(page.inner);
		page.warmups++;
		if (i >= 2 && agree(last))
			break;
	}
}

/* `budget` ticks end the loop early after three batches; only a calibrating launch has one. */
static void sample(u64 batches, u64 budget)
{
	u64 begin, end, i;

	for (i = 0; i < batches; i++) {
		page.ticks[i] = run_batch(page.inner, &begin, &end);
		page.batches++;
		if (!i)
			page.first_tick = begin;
		page.last_tick = end;
		if (budget && i >= 2 && end - page.first_tick > budget)
			break;
	}
}

/* Tells the driver that the counted region begins or ends, and waits until it has seen it. */
static void sign(void)
{
	char byte = '.';

	sys3(__NR_write, 2, &byte, 1);
	sys3(__NR_read, 0, &byte, 1);
}

static void count(u64 batches)
{
	u64 before = page.ops, i;

	sign();
	for (i = 0; i < batches; i++)
		timed(page.inner);
	page.counted = page.ops - before;
	sign();
}

static u64 median_of_nothing(void)
{
	u64 seen[33], begin, i, j, t;

	for (i = 0; i < 33; i++) {
		begin = tick_begin();
		workload.batch(0);
		t = tick_end() - begin;
		for (j = i; j && seen[j - 1] > t; j--)
			seen[j] = seen[j - 1];
		seen[j] = t;
	}
	return seen[16];
}

/* One operation at a time. Not where a batch is one thing, such as a mapping that is touched page by page. */
static void sample_alone(u64 most, u64 budget)
{
	u64 spent = 0, ticks;

	if (workload.fixed_inner)
		return;
	page.overhead = median_of_nothing();
	while (page.alone < most && (spent < budget || page.alone < 8)) {
		ticks = timed(1);
		page.hist[sample_bin(ticks)]++;
		page.alone++;
		spent += ticks;
	}
}

/* For those who know more stamps in between. */
static void stamp_alone(u64 stamps)
{
	u64 i;

	for (i = 0; i < stamps && i < SAMPLE_STAMPS; i++)
		run_batch(1, &page.stamp[i].before, &page.stamp[i].after);
	page.stamps = i;
}

static u64 number(const char *s)
{
	u64 n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + (u64)(*s++ - '0');
	return n;
}

static void read_request(struct request *req, int argc, char **argv)
{
	u64 *field[] = { &req->inner, &req->batches, &req->warmup, &req->target, &req->clock, &req->param, &req->counted,
			 &req->alone, &req->stamps };
	int i;

	*req = (struct request){ .batches = 15, .warmup = 10, .target = DEFAULT_TARGET };
	for (i = 0; i < 9 && i + 1 < argc; i++)
		*field[i] = number(argv[i + 1]);
	if (req->batches > SAMPLE_MAX)
		req->batches = SAMPLE_MAX;
}

int workload_main(int argc, char **argv)
{
	struct request req;

	describe();
	if (argc > 1 && argv[1][0] == '-') {
		page_write();
		return 0;
	}
	read_request(&req, argc, argv);
	page.clock = req.clock ? CLOCK_NS : CLOCK_TSC;
	workload_argv = argv;
	workload_param = page.param = req.param ? req.param : workload.param;

	if (workload.setup)
		workload.setup();
	page.inner = req.inner ? req.inner : calibrate(req.target);
	warm_up(&req);
	sample(req.batches, req.inner ? 0 : req.batches * req.target);
	if (req.counted)
		count(req.counted);
	if (req.stamps)
		stamp_alone(req.stamps);
	else if (req.alone)
		sample_alone(req.alone, req.target);
	if (workload.finish)
		workload.finish();

	page.min_switches = page.ops * page.traps;
	page.calls = workload_calls + 2;		/* page_write() and the exit */
	page.state = SAMPLE_DONE;
	page_write();
	return 0;
}
