/*
 * The page in which a workload hands its raw samples to the driver: the ABI between workloads/ and bench/.
 *
 * A workload fills one page in its own memory and writes it to standard output, once, as its very last act: the same
 * way out natively, in a sandbox and in a virtual machine. It never formats a number. The driver believes nothing of
 * it before it has checked magic, version, state, counts and, in a sandbox, the sentry's own count of switches.
 *
 * Self-contained and free of libc, so that freestanding programs may include it.
 */
#ifndef WORKLOADS_SAMPLE_H
#define WORKLOADS_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#define SAMPLE_MAGIC	0x454c504d41534754ull	/* "TGSAMPLE" */
#define SAMPLE_VERSION	2
#define SAMPLE_BYTES	8192
#define SAMPLE_MAX	448			/* batches that fit */
#define SAMPLE_LEVELS	14			/* levels of a parameter */
#define SAMPLE_STAMPS	192			/* operations with a time stamp on both sides */

/*
 * Bins of the histogram: below 16 ticks one a tick, above 16 bins an octave, so that a bin is 6 % wide at most.
 * What takes 2^44 ticks or more is in the last one.
 */
#define SAMPLE_BIN_BITS	4
#define SAMPLE_BINS	((44 - SAMPLE_BIN_BITS + 1) << SAMPLE_BIN_BITS)

/* How far the workload came. Only SAMPLE_DONE carries samples. */
enum sample_state {
	SAMPLE_DESCRIBED = 1,			/* --describe: the description fields only */
	SAMPLE_DONE = 2,
	SAMPLE_ERROR = 3,			/* `error` and `line` say what failed where */
	SAMPLE_UNSUPPORTED = 4,			/* this machine or placement cannot run it; `error`, `line` */
};

enum sample_class {
	CLASS_SYSCALL = 1,			/* one operation is a few system calls and nothing else */
	CLASS_FAULT = 2,			/* page faults, mappings */
	CLASS_TASK = 3,				/* processes, threads, signals, hand-over between them */
	CLASS_CPU = 4,				/* must cost nothing extra */
	CLASS_FLOOR = 5,			/* a bare mechanism, run natively only */
};

/* Placements in which a workload tells something; quick runs these, full runs both for all but floors. */
enum sample_placement {
	PLACE_SAME = 1,				/* everything on one CPU */
	PLACE_FREE = 2,				/* all CPUs of the run; a floor pins its two sides to two of them */
};

enum sample_clock {
	CLOCK_TSC = 0,				/* LFENCE;RDTSC .. RDTSCP;LFENCE */
	CLOCK_NS = 1,				/* clock_gettime(CLOCK_MONOTONIC_RAW), where the TSC is not constant */
};

struct sample_page {
	uint64_t magic;
	uint32_t version;
	uint32_t state;				/* enum sample_state */

	/* Description: constant, what --describe gives. */
	char name[32];
	char help[128];
	uint32_t class;				/* enum sample_class */
	uint32_t placements;			/* bits of enum sample_placement */
	uint32_t traps;				/* switches an operation cannot do without; 0: none, or not countable */
	uint32_t twin;				/* 1: built with the trap left out */
	uint64_t fixed_inner;			/* operations a batch if that is part of the case; 0: calibrated */

	/* Result. */
	uint64_t inner;				/* operations a timed batch */
	uint32_t batches;			/* entries of ticks[] */
	uint32_t warmups;			/* untimed batches before them, calibration not counted */
	uint64_t ops;				/* operations done in all: calibration, warm-up and timed */
	uint64_t good;				/* of those, how many had the right result; proof of work: good == ops */
	uint64_t min_switches;			/* a sentry must have seen at least so many */
	uint64_t first_tick, last_tick;		/* begin of the first and end of the last timed batch */
	uint32_t clock;				/* enum sample_clock */
	uint32_t error;				/* errno */
	uint32_t line;				/* in the workload's source file */

	/*
	 * 1: a single process whose operations make `traps` system calls each and no other, so that a sentry must have
	 * counted exactly ops * traps + calls of them.
	 */
	uint32_t exact;
	uint64_t calls;				/* made outside the operations, the last write and the exit included */

	/* A parameter, if it takes one. Description: its name, its levels, and the one to take where only one is. */
	char param_name[16];
	uint64_t param;				/* described: the usual level; done: the level that ran */
	uint64_t levels[SAMPLE_LEVELS];		/* ends with 0 */

	/* Passes after the timed batches, each only if asked for. */
	uint64_t counted;			/* operations between the two signs (run.c): hardware and software counters */
	uint64_t alone;				/* operations timed one by one: in hist[] */
	uint64_t overhead;			/* what timing one by one itself takes: median in ticks, part of hist[] */
	uint64_t stamps;			/* operations with two stamps; hist[] is then not used */
	uint64_t spare[8];

	uint64_t ticks[SAMPLE_MAX];		/* duration of each timed batch */
	union {
		uint32_t hist[SAMPLE_BINS];	/* operations in a bin; see sample_bin() */
		struct { uint64_t before, after; } stamp[SAMPLE_STAMPS];	/* TSC right before and behind the trap */
	};
	unsigned char rest[SAMPLE_BYTES - 512 - 8 * SAMPLE_MAX - 16 * SAMPLE_STAMPS];
};

static inline uint32_t sample_bin(uint64_t ticks)
{
	uint32_t octave;

	if (ticks < 1u << SAMPLE_BIN_BITS)
		return (uint32_t)ticks;
	if (ticks >> 44)
		return SAMPLE_BINS - 1;
	octave = 63 - (uint32_t)__builtin_clzll(ticks) - SAMPLE_BIN_BITS;
	return (octave << SAMPLE_BIN_BITS) + (uint32_t)(ticks >> octave);
}

/* The least number of ticks in a bin; a bin ends where the next begins. */
static inline uint64_t sample_bin_low(uint32_t bin)
{
	uint32_t octave = bin >> SAMPLE_BIN_BITS;

	if (!octave)
		return bin;
	return (uint64_t)((bin & ((1u << SAMPLE_BIN_BITS) - 1)) | 1u << SAMPLE_BIN_BITS) << (octave - 1);
}

_Static_assert(offsetof(struct sample_page, class) == 176, "sample page ABI");
_Static_assert(offsetof(struct sample_page, inner) == 200, "sample page ABI");
_Static_assert(offsetof(struct sample_page, clock) == 256, "sample page ABI");
_Static_assert(offsetof(struct sample_page, exact) == 268, "sample page ABI");
_Static_assert(offsetof(struct sample_page, param) == 296, "sample page ABI");
_Static_assert(offsetof(struct sample_page, ticks) == 512, "sample page ABI");
_Static_assert(offsetof(struct sample_page, hist) == 512 + 8 * SAMPLE_MAX, "sample page ABI");
_Static_assert(SAMPLE_BINS * 4 <= 16 * SAMPLE_STAMPS, "the bins fit");
_Static_assert(sizeof(struct sample_page) == SAMPLE_BYTES, "sample page ABI");

#endif
