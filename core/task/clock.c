/*
 * Clocks from the TSC, kept to the host's.
 *
 * The parameters (loader/vdso/vvar.h) hold for a span of at most a second. The first reader after that renews them,
 * here: the host's clocks are sampled next to the TSC, and the new line starts at the host's time - or, where the old
 * line had run ahead, at the latest time that it can have given to anyone, and then runs a little slow. An idle sandbox
 * thus reads nothing, and the error is that of the last second's rate: well under a microsecond.
 *
 * The first span starts only when the rate is known from 10 ms of elapsed time; until then, and for good where
 * the TSC proves to be of no use, every reading is the host's.
 */
#include <errno.h>
#include <cpuid.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "loader/vdso/vvar.h"
#include "mm/mm.h"
#include "task/clock.h"

#define FIRST_BASELINE	(10 * 1000000ull)	/* ns of TSC and clock side by side before the first span */
#define MAX_SPAN	NSEC_PER_SEC
#define ANCHOR_AGE	(NSEC_PER_SEC / 2)	/* rates are taken over at least this, once there is as much */
#define MAX_BAD		3			/* wild samples in a row before the TSC is given up */

struct sample {				/* the host's clocks at one TSC value */
	u64 tsc, mono, raw;
};

static struct {
	pthread_mutex_t lock;
	struct vvar own;		/* read by anyone through its seq; written under lock */
	struct vvar *page;		/* the guests' copy: only written, never read */
	bool started, unusable;
	struct sample anchor;		/* where the rate is measured from */
	u64 span_ns;
	int bad;
	u64 real_offset;		/* as clock_real_offset() last saw it */
	u64 floor_mono, floor_raw;	/* host readings may not fall below what a line has promised */
} clk = { .lock = PTHREAD_MUTEX_INITIALIZER };

const struct vvar *const clock_line = &clk.own;

bool clock_is_system(s32 clock)
{
	return clock >= 0 && clock < VVAR_CLOCKS && (VVAR_CLOCK_MASK >> clock & 1);
}

static u64 host_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return timespec_to_ns(&ts);
}

u64 clock_resolution(s32 clock)
{
	struct timespec ts = { 0, 4000000 };

	if (clock != CLOCK_REALTIME_COARSE && clock != CLOCK_MONOTONIC_COARSE)
		return 1;
	clock_getres(clock, &ts);
	return timespec_to_ns(&ts);
}

/* ---- sampling the host ---- */

/* `clock` and the TSC in the middle of its reading: the best of a few tries, since any may have been interrupted. */
static void sample_clock(clockid_t clock, u64 *tsc, u64 *ns)
{
	u64 best = UINT64_MAX;

	*tsc = *ns = 0;
	for (int i = 0; i < 5; i++) {
		u64 before = vvar_tsc(), now = host_clock(clock), width = vvar_tsc() - before;

		if (width < best) {
			best = width;
			*tsc = before + width / 2;
			*ns = now;
		}
	}
}

static struct sample take_sample(void)
{
	struct sample s;
	u64 tsc, raw;

	sample_clock(CLOCK_MONOTONIC_RAW, &tsc, &raw);
	sample_clock(CLOCK_MONOTONIC, &s.tsc, &s.mono);
	/* Some hundred nanoseconds apart: both rates are the same to 500 ppm. */
	s.raw = raw + (u64)((unsigned __int128)(s.tsc - tsc) * clk.own.line[1].mult >> VVAR_SHIFT);
	return s;
}

/* Distance of `clock` from CLOCK_MONOTONIC. Both are disciplined alike, so it changes only in steps. */
static u64 measure_offset(clockid_t clock, u64 *width)
{
	u64 best = UINT64_MAX, offset = 0;

	for (int i = 0; i < 5; i++) {
		u64 before = host_clock(CLOCK_MONOTONIC), there = host_clock(clock);
		u64 took = host_clock(CLOCK_MONOTONIC) - before;

		if (took < best) {
			best = took;
			offset = there - before - took / 2;
		}
	}
	*width = best;
	return offset;
}

/* A difference that the measurement itself can explain is no step. */
static u64 follow_offset(clockid_t clock, u64 old)
{
	u64 width, now = measure_offset(clock, &width);
	s64 moved = now - old;

	return old && moved < (s64)(width + 1000) && moved > -(s64)(width + 1000) ? old : now;
}

static void measure_offsets(u64 *offset)
{
	u64 width, tai = measure_offset(CLOCK_TAI, &width);
	s64 boot = measure_offset(CLOCK_BOOTTIME, &width);
	u64 leap;

	offset[CLOCK_REALTIME] = follow_offset(CLOCK_REALTIME, offset[CLOCK_REALTIME]);
	offset[CLOCK_REALTIME_COARSE] = offset[CLOCK_REALTIME];
	/* TAI is whole seconds away from REALTIME; BOOTTIME differs by the time asleep, if the host ever was. */
	leap = (tai - offset[CLOCK_REALTIME] + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
	offset[CLOCK_TAI] = offset[CLOCK_REALTIME] + leap * NSEC_PER_SEC;
	offset[CLOCK_BOOTTIME] = boot < 100000 ? 0 : follow_offset(CLOCK_BOOTTIME, offset[CLOCK_BOOTTIME]);
}

/* ---- the lines ---- */

/* A line from the host's reading `want` at the new start; `floor` is the latest time that was promised. */
static struct vvar_line next_line(u64 want, u64 floor, u64 rate, u64 span_ns)
{
	struct vvar_line line = { .ns = MAX(want, floor), .mult = rate };
	u64 ahead = line.ns - want;

	/* Lose the lead over the coming span, but never stand still. */
	if (ahead)
		line.mult -= (u64)((unsigned __int128)rate * MIN(ahead, span_ns / 2) / span_ns);
	return line;
}

/* The latest time that a line can have given out: readers stop at the end of the span. */
static u64 promised(const struct vvar *v, int which, u64 tsc)
{
	s64 delta = tsc - v->cycles;

	return vvar_eval(&v->line[which], delta < 0 ? 0 : MIN((u64)delta, v->span));
}

/* Far from where the old line led, although that was good to parts per million? Then the TSC is not what it seems. */
static void judge(const struct sample *now)
{
	s64 delta = now->tsc - clk.own.cycles, off;
	u64 led;

	if (!clk.own.span)
		return;
	led = vvar_eval(&clk.own.line[0], delta < 0 ? 0 : delta);
	off = now->mono - led;
	if ((u64)(off < 0 ? -off : off) < 50000 + led / 1000 - clk.own.line[0].ns / 1000) {
		clk.bad = 0;
	} else if (++clk.bad == MAX_BAD) {
		log_info("the TSC does not keep time with the host's clock: every clock reading is a system call");
		clk.unusable = true;
	}
}

static u64 rate_of(u64 ns, u64 cycles)
{
	return (u64)(((unsigned __int128)ns << VVAR_SHIFT) / cycles);
}

/* Between vvar_begin and vvar_end, so that no reader evaluates the old line later than now->tsc. */
static void renew(struct vvar *new, const struct sample *now)
{
	u64 cycles = now->tsc - clk.anchor.tsc, age = now->mono - clk.anchor.mono;
	u64 rate = rate_of(age, cycles), rate_raw = rate_of(now->raw - clk.anchor.raw, cycles);
	u64 floor = MAX(clk.floor_mono, promised(new, 0, now->tsc));
	u64 floor_raw = MAX(clk.floor_raw, promised(new, 1, now->tsc));

	clk.span_ns = MIN(clk.span_ns * 2, MAX_SPAN);
	new->line[0] = next_line(now->mono, floor, rate, clk.span_ns);
	new->line[1] = next_line(now->raw, floor_raw, rate_raw, clk.span_ns);
	new->cycles = now->tsc;
	new->span = (u64)(((unsigned __int128)clk.span_ns << VVAR_SHIFT) / rate);
	clk.floor_mono = new->line[0].ns;
	clk.floor_raw = new->line[1].ns;
	if (age >= ANCHOR_AGE)
		clk.anchor = *now;
}

/* ---- publishing ---- */

#define STORE(p, x)	__atomic_store_n(&(p), x, __ATOMIC_RELEASE)

static void vvar_begin(struct vvar *v, u32 seq)
{
	/* A full barrier: the TSC must not be read before every reader can see that seq is odd. */
	__atomic_exchange_n(&v->seq, seq + 1, __ATOMIC_SEQ_CST);
}

static void vvar_end(struct vvar *v, const struct vvar *from, u32 seq)
{
	STORE(v->coarse_ns, from->coarse_ns);
	STORE(v->cycles, from->cycles);
	STORE(v->span, from->span);
	for (int i = 0; i < 2; i++) {
		STORE(v->line[i].ns, from->line[i].ns);
		STORE(v->line[i].mult, from->line[i].mult);
	}
	for (int i = 0; i < VVAR_CLOCKS; i++)
		STORE(v->offset[i], from->offset[i]);
	STORE(v->seq, seq);
}

/* lock held. Gives up the TSC, or starts a new span. */
static void update(void)
{
	struct vvar new = clk.own;
	struct sample now;
	u32 seq = clk.own.seq;

	measure_offsets(new.offset);
	vvar_begin(&clk.own, seq);
	if (clk.page)
		vvar_begin(clk.page, seq);

	now = take_sample();
	judge(&now);
	if (clk.unusable || now.tsc <= clk.anchor.tsc || now.mono <= clk.anchor.mono) {
		clk.floor_mono = MAX(clk.floor_mono, promised(&new, 0, now.tsc));
		clk.floor_raw = MAX(clk.floor_raw, promised(&new, 1, now.tsc));
		new.span = 0;
		clk.anchor = now;	/* the TSC went back: the machine slept, or moved */
		clk.span_ns = FIRST_BASELINE;
	} else {
		renew(&new, &now);
	}

	if (clk.page)
		vvar_end(clk.page, &new, seq + 2);
	vvar_end(&clk.own, &new, seq + 2);
}

/* ---- start ---- */

static bool tsc_invariant(void)
{
	u32 a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1 << 8);
}

/* The kernel's own verdict: it watches the TSC against other clocks, on all CPUs, and demotes it if they disagree. */
static bool kernel_trusts_tsc(void)
{
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
	char name[32] = "tsc";

	if (f) {
		if (!fgets(name, sizeof(name), f))
			name[0] = 0;
		fclose(f);
	}
	return !strncmp(name, "tsc", 3) || !strncmp(name, "kvm-clock", 9) || !strncmp(name, "hyperv", 6);
}

static void start(void)
{
	clk.started = true;
	clk.own.coarse_ns = clock_resolution(CLOCK_MONOTONIC_COARSE);
	clk.unusable = !tsc_invariant() || !kernel_trusts_tsc();
	if (clk.unusable)
		log_info("no steady TSC on this machine: every clock reading is a system call");
	clk.span_ns = FIRST_BASELINE;
	clk.anchor = take_sample();
	clk.anchor.raw = host_clock(CLOCK_MONOTONIC_RAW);
}

void clock_begin(void)
{
	pthread_mutex_lock(&clk.lock);
	if (!clk.started)
		start();
	pthread_mutex_unlock(&clk.lock);
}

void clock_publish(struct vvar *page)
{
	pthread_mutex_lock(&clk.lock);
	if (!clk.started)
		start();
	clk.page = page;
	vvar_end(page, &clk.own, clk.own.seq);
	pthread_mutex_unlock(&clk.lock);
}

/* ---- reading ---- */

static u64 read_host(s32 clock)
{
	u64 now = host_clock(clock), floor = 0;

	if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE)
		floor = clk.floor_mono;
	else if (clock == CLOCK_MONOTONIC_RAW)
		floor = clk.floor_raw;
	return MAX(now, floor);
}

/* The parameters have run out, or there are none yet. */
static u64 read_slow(s32 clock)
{
	u64 ns;

	pthread_mutex_lock(&clk.lock);
	if (!clk.started)
		start();
	if (!vvar_read(&clk.own, clock, &ns)) {
		if (!clk.unusable && (clk.own.span || host_clock(CLOCK_MONOTONIC) - clk.anchor.mono >= FIRST_BASELINE))
			update();
		if (clk.unusable || !vvar_read(&clk.own, clock, &ns))
			ns = read_host(clock);
	}
	pthread_mutex_unlock(&clk.lock);
	return ns;
}

u64 clock_now(s32 clock)
{
	u64 ns;

	if (vvar_read(&clk.own, clock, &ns))
		return ns;
	return clock_is_system(clock) ? read_slow(clock) : 0;
}

u64 clock_real_offset(void)
{
	u64 offset;

	pthread_mutex_lock(&clk.lock);
	offset = clk.real_offset = follow_offset(CLOCK_REALTIME, clk.real_offset);
	pthread_mutex_unlock(&clk.lock);
	return offset;
}

/* ---- deadlines ---- */

u64 deadline_after(u64 ns)
{
	u64 when;

	if (__builtin_add_overflow(clock_now(CLOCK_MONOTONIC), ns, &when))
		return TIME_FOREVER;
	return when;
}

u64 deadline_at(s32 clock, u64 ns)
{
	u64 now;

	if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE)
		return ns;
	now = clock_now(clock);
	return deadline_after(ns > now ? ns - now : 0);
}

int copy_in_timespec(struct mm *mm, gva_t src, u64 *ns)
{
	struct timespec ts;

	if (get_user(mm, &ts, src))
		return -EFAULT;
	if (!timespec_valid(&ts))
		return -EINVAL;
	*ns = timespec_to_ns(&ts);
	return 0;
}

int copy_out_timespec(struct mm *mm, gva_t dst, u64 ns)
{
	struct timespec ts = timespec_from_ns(ns);

	return put_user(mm, dst, &ts) ? -EFAULT : 0;
}
