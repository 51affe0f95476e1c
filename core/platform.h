/*
 * The platform contract: every word that core and a backend may say to each other.
 *
 * A backend implements struct platform_ops and nothing of Linux: it creates address spaces, runs guest code in
 * them and reports why that code stopped. Core decides what the stop means. A backend includes this header and
 * lib/, never task, mm, fs or net; core includes this header and calls through `struct platform_ops`, never a
 * backend by name (backends/registry.c holds the table).
 *
 * Errors are 0 or -errno. Guest addresses are checked by core (page aligned, below GUEST_END) before they come
 * here. What the guest can write is hostile: a backend reads it once and believes none of it.
 */
#ifndef TG_PLATFORM_H
#define TG_PLATFORM_H

#include "lib/types.h"

/* Same values as PROT_READ, PROT_WRITE, PROT_EXEC. */
enum access { ACCESS_NONE = 0, ACCESS_READ = 1, ACCESS_WRITE = 2, ACCESS_EXEC = 4 };

/*
 * General registers of a guest thread, in the order of Linux's user_regs_struct (asm/user_64.h). Complete and
 * writable whenever switch_to() is not running. At EVENT_SYSCALL: orig_rax is the call's number, rax is -ENOSYS,
 * rip points behind the instruction, rcx and r11 are what the instruction left there.
 */
struct guest_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	u64 rax, rcx, rdx, rsi, rdi, orig_rax;
	u64 rip, cs, eflags, rsp, ss;
	u64 fs_base, gs_base;
	u64 ds, es, fs, gs;
};

/* A file whose pages may be mapped into guests. Core owns it and keeps it open until platform exit. */
struct backing {
	int fd;				/* read-write memfd */
	u8 *base;			/* the sentry's own shared mapping of all of it */
	u64 size;			/* bytes; sparse */
};

/* Why guest code stopped. */
enum event_kind {
	EVENT_SYSCALL,			/* SYSCALL instruction; see struct guest_regs */
	EVENT_FAULT,			/* page fault at `addr`, wanting `access`; rip is the faulting instruction */
	EVENT_EXCEPTION,		/* any other trap of the guest's own: signo, code, addr, trapno, error_code as Linux reports them */
	EVENT_INTERRUPT,		/* interrupt() was called; may be spurious */
	EVENT_PREEMPT,			/* the backend needs the thread to come back soon; nothing to do */
	EVENT_DEAD,			/* the guest's execution vehicle is gone (killed from outside, or it damaged it): kill its thread group */
};

struct event {
	enum event_kind kind;
	enum access access;		/* FAULT: exactly one of READ, WRITE, EXEC */
	gva_t addr;			/* FAULT: address as in CR2. EXCEPTION: si_addr */
	int signo, code;		/* EXCEPTION: the signal and si_code that native Linux raises. FAULT: SIGSEGV, 0 */
	bool trapped;			/* SYSCALL: it came the slow way, which a patched site would spare */
	u64 trapno, error_code;		/* FAULT, EXCEPTION: as sigcontext shows them (trapno 14, error_code bits P W U I) */
};

enum { TRAMPOLINE_SIZE = 192 };
enum { AS_MAP_POPULATE = 1, AS_MAP_FRESH = 2 };

struct address_space;			/* a backend's page-table-like object; core sees only pointers */
struct context;				/* a backend's execution state for one guest thread */

/* A named policy or optimisation, so that the laboratory can switch it off. Values are set before init(). */
enum knob_kind { KNOB_BOOL, KNOB_INT, KNOB_CHOICE };

struct knob {
	const char *name;		/* "ptrace.pin", "mm.fault_around_kb" */
	enum knob_kind kind;
	long *value;			/* BOOL: 0/1; INT: the number; CHOICE: index into choices */
	long def, min, max;		/* min and max for INT only */
	const char *const *choices;	/* CHOICE: NULL-terminated; BOOL is spelled on|off */
	const char *help;		/* one line, with the unit */
	const char *off;		/* the value that switches the optimisation off (suite ablation); NULL: none */
};

/*
 * Core's handling of an event inside the guest, for a backend that can run the sentry's code there (lib/inside.h says
 * what such code may do). `regs` are the guest's now, `home` is what switch_to() was given, untouched meanwhile. True:
 * the event is dealt with and *regs is what the guest goes on with, unless interrupt() was called. False: nothing has
 * changed but perhaps *ev, and switch_to() returns with it.
 */
typedef bool (*inside_fn)(struct guest_regs *home, struct guest_regs *regs, struct event *ev);

struct platform_config {
	const struct backing *memory;	/* the memory file: all guest memory comes from it */
	int ncpus;			/* CPUs this process may use (sched_getaffinity) */
	inside_fn inside;		/* NULL: none */
};

/* A call site that core wants to rewrite so that it need not trap (mm/patch.c). */
struct trampoline_request {
	gva_t at;			/* where the trampoline will stand; within 2 GiB of `resume` */
	gva_t resume;			/* the instruction behind the site's SYSCALL */
	s32 nr;				/* the call's number if the site loads a constant and the trampoline must, or -1: in rax */
};

/* Counts that only a backend can know; read without locks, for --stats. */
struct platform_counters {
	u64 host_calls;			/* host system calls made by the sentry for switches and mappings */
	u64 map_calls, unmap_calls, protect_calls;	/* host mapping calls made inside guests' processes or tables */
	u64 batches;			/* times queued mappings were flushed */
	u64 stubs_created, stubs_reused;
};

/* A host call that a running sentry makes, for its allow-list (core/host/confine.h). */
struct host_call {
	int nr;
	int arg;			/* the argument that is looked at, if any of the two below is set */
	const u64 *values;		/* what it may be; ends with 0 */
	u64 forbidden;			/* bits that it may not have */
	const char *why;		/* one line; NULL ends a table */
};

struct platform_ops {
	const char *name;		/* what --platform= takes */
	const char *help;		/* one line */
	const struct knob *knobs;	/* ends with .name == NULL; may be NULL */
	const struct host_call *host_calls;	/* what it calls after start(), beyond core/host/host_calls.def; may be NULL */

	/*
	 * Can this machine run it? 0, or -errno with one sentence in `why` that a user can act on. Called in a process
	 * that has set nothing up; leaves nothing behind. Single-threaded.
	 */
	int (*probe)(char *why, size_t len);

	/*
	 * Optional (NULL). A reason, known without setting anything up, for which auto need not even time it here: 0, or
	 * -errno with the reason in `why`. It still runs when asked for by name.
	 */
	int (*worth_timing)(char *why, size_t len);

	/*
	 * Once, before any other call but probe, on the main thread, which is the only one and stays so: opens what has a
	 * path name. Then the sentry leaves the host's namespaces. start(), optional (NULL), comes once after it, on the main
	 * thread, before any other call: processes and threads are started here, and the last host calls made that
	 * `host_calls` does not name. exit() undoes both, after start() only: before, there is nothing that outlives the process.
	 */
	int (*init)(const struct platform_config *config);
	int (*start)(void);
	void (*exit)(void);

	/*
	 * Address spaces. Core serialises as_map, as_unmap and as_protect on one address space (it holds the mm's lock)
	 * and may call them from any thread, whether or not that thread has a context in it; switch_to() runs
	 * concurrently. as_destroy: no context is in it any more; the object is freed or recycled, and every page of
	 * it is out of reach when it returns.
	 */
	int (*as_create)(struct address_space **out);
	void (*as_destroy)(struct address_space *as);

	/*
	 * Show [offset, offset+len) of `file` at [addr, addr+len) with `prot`, replacing what was there. May be queued
	 * until a context next enters the address space or until a sync operation, and merged with its neighbours,
	 * if `how` says AS_MAP_FRESH: nothing was shown in that range. Otherwise the replacement is complete for every
	 * context on return, so that the caller may reuse the old pages.
	 * AS_MAP_POPULATE: enter the pages now so that the guest's first touch does not fault again.
	 */
	int (*as_map)(struct address_space *as, gva_t addr, u64 len, enum access prot,
		      const struct backing *file, u64 offset, u32 how);

	/* Complete on return: no context can reach the old pages, so the caller may reuse them. Holes are fine. */
	int (*as_unmap)(struct address_space *as, gva_t addr, u64 len);

	/* As as_unmap for the access that is taken away; access that is added may be queued. Holes are fine: they stay holes. */
	int (*as_protect)(struct address_space *as, gva_t addr, u64 len, enum access prot);

	/*
	 * Contexts. One per guest thread; created, used and destroyed on that task's own host thread, except interrupt().
	 * A new context has the processor's initial x87/SSE/AVX state.
	 */
	int (*context_create)(struct context **out);
	void (*context_destroy)(struct context *ctx);

	/*
	 * Run guest code with `regs` in `as` until it stops. Owner's thread only. `as` may differ from the last call's
	 * (exec). Returns 0 with *ev filled and *regs complete, or -errno if the backend itself failed (core then
	 * kills the thread group, as for EVENT_DEAD). Selectors and flags that a guest may not have are sanitised here.
	 */
	int (*switch_to)(struct context *ctx, struct address_space *as, struct guest_regs *regs, struct event *ev);

	/*
	 * Any thread, any time between create and destroy, async: a switch_to() under way, or else the next one, returns
	 * promptly with EVENT_INTERRUPT (or with what it had already seen; the interrupt then still ends the next one).
	 */
	void (*interrupt)(struct context *ctx);

	/*
	 * Optional (NULL). Owner's thread: the task is about to sleep in the sentry (`sleeps`), or to make another task; give
	 * up what is only worth having while calls come one after the other (a spinning CPU).
	 */
	void (*idle)(struct context *ctx, bool sleeps);

	/*
	 * The extended state (x87, SSE, AVX, AVX-512, PKRU) in XSAVE's standard format, XSTATE_BV valid, of exactly
	 * xstate_size() bytes. Owner's thread, outside switch_to(). Costly: core calls them for signal frames, clone,
	 * exec and debuggers only. fp_write validates what it is given: a bad image is -EINVAL, never a sentry fault.
	 */
	int (*fp_read)(struct context *ctx, void *buf);
	int (*fp_write)(struct context *ctx, const void *buf);

	/*
	 * Optional (NULL: the platform has no use for patched call sites). Writes the code for one site, at most
	 * TRAMPOLINE_SIZE bytes, and returns its length. The code must do what SYSCALL does there, restartable at each
	 * of its instructions. patching() says whether the knob is on.
	 */
	size_t (*trampoline)(u8 *out, const struct trampoline_request *req);
	bool (*patching)(void);

	void (*counters)(struct platform_counters *out);
};

/* core/xstate.c: bytes of an XSAVE standard-format image with all features that the host kernel enables for processes. */
size_t xstate_size(void);
u64 xstate_features(void);		/* XCR0 less what the sentry does not offer (AMX tile data) */
void xstate_init_image(void *buf);	/* the processor's initial state, as after exec */
int xstate_check(const void *buf);	/* 0, or -EINVAL if XRSTOR would refuse it (reserved header bits, MXCSR) */

/* backends/registry.c: every platform in this binary, NULL-terminated, in order of preference for auto. */
extern const struct platform_ops *const platforms[];
const struct platform_ops *platform_find(const char *name);

/* core/knob.c */
int knob_set(const char *assignment, char *why, size_t len);	/* "ptrace.pin=off" */
void knobs_reset(void);						/* defaults */

#endif
