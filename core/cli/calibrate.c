/*
 * A short calibration of one platform: what a switch costs here and now. One page of guest code that does nothing but
 * SYSCALL, switched to until a time or a count is over.
 */
#include "cli/calibrate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mm/mm.h"

enum { SWITCHES_MAX = 128, WARM_UP = 24, SAMPLES_MIN = 9, FIRST_LOOK = 3, HOPELESS = 8 };
#define TIME_MAX_NS	2000000.0
#define CODE_AT		((gva_t)0x400000)

static const u8 code[] = { 0xb8, 0x27, 0x00, 0x00, 0x00,	/* 1: mov $39,%eax */
			   0x0f, 0x05,				/* syscall */
			   0xeb, 0xf7 };			/* jmp 1b */

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * Median of the switches, in ns, so that a busy machine's pauses do not choose; negative: it does not work. A platform
 * whose first few are far above `best` has lost, and is not timed any longer.
 */
static double time_switches(const struct platform_ops *p, struct context *ctx, struct address_space *as, double best)
{
	struct guest_regs regs = { .rip = CODE_AT, .rsp = CODE_AT + 0x1000, .eflags = 0x202, .cs = 0x33, .ss = 0x2b };
	double sample[SWITCHES_MAX], first = now_ns(), last = first, now;
	struct event ev;
	int n = 0;

	for (int i = -WARM_UP; i < SWITCHES_MAX; i++) {
		if (p->switch_to(ctx, as, &regs, &ev) || ev.kind != EVENT_SYSCALL)
			return -1;
		regs.rax = 1;
		now = now_ns();
		if (i >= 0)
			sample[n++] = now - last;
		last = now;
		if (best && i == FIRST_LOOK - WARM_UP && (now - first) / (FIRST_LOOK + 1) > HOPELESS * best)
			return (now - first) / (FIRST_LOOK + 1);
		if (n >= SAMPLES_MIN && now - first > TIME_MAX_NS)
			break;
	}
	qsort(sample, n, sizeof(*sample), by_value);
	return sample[n / 2];
}

static double run_guest(const struct platform_ops *p, double best)
{
	struct address_space *as;
	struct context *ctx;
	double ns = -1;
	u64 page;

	if (memory_alloc(1, true, &page))
		return -1;
	memcpy(memory_ptr(page), code, sizeof(code));
	if (p->as_create(&as))
		goto put_page;
	if (p->as_map(as, CODE_AT, PAGE_SIZE, ACCESS_READ | ACCESS_EXEC, memory_file(), page, AS_MAP_FRESH) || p->context_create(&ctx))
		goto destroy_as;
	ns = time_switches(p, ctx, as, best);
	p->context_destroy(ctx);
destroy_as:
	p->as_destroy(as);
put_page:
	memory_put(page, 1);
	return ns;
}

double platform_calibrate(const struct platform_ops *p, const struct platform_config *config, double best)
{
	double ns;

	if (p->init(config) || (p->start && p->start()))
		return -1;
	ns = run_guest(p, best);
	p->exit();
	return ns;
}
