/*
 * The vvar page: what turns a TSC reading into a time. The sentry writes it (task/clock.c); the vDSO in every guest and
 * the sentry's own syscalls evaluate it with the one function below. Guests map it read-only; the sentry never reads
 * it back, but keeps a copy of its own.
 *
 * A time is line.ns + (tsc - cycles) * line.mult / 2^VVAR_SHIFT + offset[clock], and holds only while tsc - cycles <
 * span: past that a reader makes the system call, and the sentry renews the page. So a sandbox in which nobody asks for
 * the time does no work, and what the page promised can be corrected without ever going backwards.
 *
 * Freestanding: the vDSO includes it.
 */
#ifndef TG_VVAR_H
#define TG_VVAR_H

#include "lib/types.h"

#define VVAR_SHIFT	48
#define VVAR_CLOCKS	12		/* CLOCK_TAI is 11 */
#define VVAR_TRIES	256		/* then the system call: the writer may have been descheduled */
#define VVAR_RAW	4		/* CLOCK_MONOTONIC_RAW */

/* REALTIME, MONOTONIC, MONOTONIC_RAW, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME, TAI. */
#define VVAR_CLOCK_MASK	(1u << 0 | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 11)

struct vvar_line {
	u64 ns, mult;
};

struct vvar {
	u32 seq;			/* odd: being written */
	u32 coarse_ns;			/* resolution of the coarse clocks */
	u64 cycles, span;		/* span 0: nothing holds, make the system call */
	struct vvar_line line[2];	/* monotonic; raw */
	u64 offset[VVAR_CLOCKS];	/* to the clock's line; wraps for negative ones */
};
_Static_assert(sizeof(struct vvar) <= PAGE_SIZE, "one page");

static inline u64 vvar_tsc(void)
{
	__asm__ volatile("lfence" : : : "memory");
	return __builtin_ia32_rdtsc();
}

static inline u64 vvar_eval(const struct vvar_line *line, u64 delta)
{
	return line->ns + (u64)((unsigned __int128)delta * line->mult >> VVAR_SHIFT);
}

/* Acquire loads: the second look at seq may not move before any of them. */
#define VVAR_LOAD(p)	__atomic_load_n(&(p), __ATOMIC_ACQUIRE)

/* False: make the system call (in the sentry: take the lock and renew). */
static inline bool vvar_read(const struct vvar *v, u32 clock, u64 *ns)
{
	struct vvar_line line;
	u64 delta, span, offset;
	u32 seq, which = clock == VVAR_RAW;

	if (clock >= VVAR_CLOCKS || !(VVAR_CLOCK_MASK >> clock & 1))
		return false;
	for (int i = 0; i < VVAR_TRIES; i++) {
		seq = VVAR_LOAD(v->seq);
		if (seq & 1) {
			__builtin_ia32_pause();
			continue;
		}
		delta = vvar_tsc() - VVAR_LOAD(v->cycles);
		span = VVAR_LOAD(v->span);
		line.ns = VVAR_LOAD(v->line[which].ns);
		line.mult = VVAR_LOAD(v->line[which].mult);
		offset = VVAR_LOAD(v->offset[clock]);
		if (VVAR_LOAD(v->seq) != seq)
			continue;
		if (delta >= span)
			return false;
		*ns = vvar_eval(&line, delta) + offset;
		return true;
	}
	return false;
}

#endif
