/*
 * What a workload is: a description and a few functions. lib/run.c calls them, times the batches, hands the samples over.
 *
 * A workload file defines `const struct workload workload` and is built twice, as NAME and, with -DTWIN, as NAME.twin.
 * Adding a workload is adding one such file to micro/ (freestanding) or floors/ (libc, native only).
 */
#ifndef WORKLOADS_WORKLOAD_H
#define WORKLOADS_WORKLOAD_H

#include "sample.h"
#include "sys.h"

struct workload {
	const char *name;
	const char *help;			/* one line: what one operation is */
	enum sample_class class;
	unsigned int placements;		/* bits of enum sample_placement */
	unsigned int traps;			/* see struct sample_page */
	u64 fixed_inner;			/* 0: calibrated */
	bool exact;				/* see struct sample_page */

	const char *param_name;			/* NULL: takes no parameter */
	const u64 *levels;			/* its levels, at most SAMPLE_LEVELS - 1, then 0 */
	u64 param;				/* the usual one */

	void (*setup)(void);			/* once, untimed; may be NULL, like prepare, cleanup and finish */
	void (*prepare)(u64 n);			/* before each batch, untimed */
	u64 (*batch)(u64 n);			/* timed: n operations; returns how many had the right result */
	void (*cleanup)(u64 n);			/* after each batch, untimed */
	void (*finish)(void);			/* once, before the samples are written */
};

extern const struct workload workload;

/* Set by lib/start.c (freestanding) or lib/hosted.c before setup(). */
extern char **workload_argv;
extern unsigned long *workload_auxv;		/* freestanding programs only, else NULL */
extern u64 workload_param;			/* the level to run, before setup() */

int workload_main(int argc, char **argv);

/* End with a page that says why. `err` is an errno, `line` a line of the workload's file. */
_Noreturn void workload_fail(int err, int line);
_Noreturn void workload_unsupported(int err, int line);

/* For untimed calls that must succeed: value of a raw system call, or the end. */
#define CHECK(call) ({							\
	long check_ = (long)(call);					\
	if (check_ < 0 && check_ > -4096)				\
		workload_fail(-check_, __LINE__);			\
	check_;								\
})

/* lib/clone.S: a thread of the same process that runs fn(arg) on its own stack; returns its tid or -errno. */
long thread_clone(long (*fn)(void *), void *arg, void *stack_top, long flags);

#endif
