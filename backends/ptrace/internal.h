/* The ptrace backend's own seams: context and address space, placement, extended state, events. */
#ifndef TG_PTRACE_INTERNAL_H
#define TG_PTRACE_INTERNAL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "lib/stamp.h"
#include "platform.h"
#include "backends/stub/maps.h"
#include "backends/stub/place.h"

struct address_space {
	struct stub_maps maps;
	_Atomic u32 refs;		/* core's, and one for each context bound to it */
};

/* Where a context's extended state is. */
enum fp_home {
	FP_INITIAL,			/* nowhere yet: the initial state */
	FP_IMAGE,			/* in ctx->fp, to be loaded into the next worker */
	FP_WORKER,			/* in the worker */
};

struct context {
	/* Any thread. */
	_Atomic u64 target;		/* tgid << 32 | tid of the worker while it may run guest code, 0 otherwise */
	_Atomic bool interrupted;	/* interrupt() was called and not yet reported */

	/* Owner's thread only. */
	struct address_space *as;	/* bound to, with a reference; NULL */
	pid_t tid;			/* the worker, traced by this thread and stopped outside switch_to(); 0: none */
	bool loaded;			/* `held` is what the worker's registers are */
	struct guest_regs held;
	enum fp_home fp_home;
	u8 *fp;				/* xstate_size() bytes */
	struct place *place;
};

extern const struct backing *ptrace_memory;	/* immutable after init */

/* ---- context.c ---- */
int ptrace_context_create(struct context **out);
void ptrace_context_destroy(struct context *ctx);
int ptrace_switch_to(struct context *ctx, struct address_space *as, struct guest_regs *regs, struct event *ev);
void ptrace_interrupt(struct context *ctx);
void address_space_put(struct address_space *as);

/* ---- event.c ---- */

/*
 * What a stop with wait status `status` means for the guest. True: an event for core, *ev filled and *regs put
 * right. False: nothing of the guest's, resume it.
 */
bool event_translate(struct context *ctx, int status, struct guest_regs *regs, struct event *ev);

/* ---- access.c ---- */

/* What the instruction at regs->rip wanted of `addr`, for which ptrace tells no error code. */
enum access access_kind(struct stub_maps *maps, const struct guest_regs *regs, gva_t addr);
/* Vector and error code of the SIGFPE or SIGSEGV that was no page fault, from the instruction. */
bool access_is_x87(struct stub_maps *maps, const struct guest_regs *regs);
int access_software_interrupt(struct stub_maps *maps, const struct guest_regs *regs);	/* n of `int n`, or -1 */

/* ---- fp.c ---- */
int fp_load(pid_t tid, const u8 *image);	/* into a stopped worker */
int fp_save(pid_t tid, u8 *image);
int ptrace_fp_read(struct context *ctx, void *buf);
int ptrace_fp_write(struct context *ctx, const void *buf);

#endif
