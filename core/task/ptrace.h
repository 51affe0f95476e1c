/*
 * ptrace(2) inside the sandbox: one guest task looks at and steers another. The host's ptrace has no part in it.
 *
 * A tracee stops on its own thread, in ptrace_stop(), and sleeps there until its tracer lets it go on or somebody kills
 * it. While it is stopped its registers belong to the tracer. What only its own thread may touch (the extended state)
 * it does itself, on request, without leaving the stop.
 *
 * Threat: tracer and tracee are both the guest's. A tracer may reach what /proc/PID/mem would give it, and every value
 * that it stores is checked as if the tracee had loaded it itself (flags, segment bases, extended state).
 */
#ifndef TG_TASK_PTRACE_H
#define TG_TASK_PTRACE_H

#include "task/task.h"

struct delivery;
struct wait_spec;
struct wait_result;

static inline bool ptraced(const struct task *t) { return atomic_load_explicit(&t->pt.tracer, memory_order_relaxed); }

/* ---- stops: the tracee's own thread, no locks held. All do nothing for a task without a tracer ---- */
bool ptrace_signal(struct task *t, struct delivery *d);	/* false: the tracer took the signal away */
bool ptrace_call_enter(struct task *t);			/* false: the call is not to be made, rax holds its result */
void ptrace_call_exit(struct task *t);
void ptrace_handler_entered(struct task *t);		/* a signal's frame was pushed while single-stepping */
bool ptrace_seccomp(struct task *t, u32 data);		/* false: nobody wants to know */
void ptrace_exec_event(struct task *t, int old_tid);
void ptrace_exit_event(struct task *t);
void ptrace_clone_event(struct task *t, u64 flags, int exit_signal, int tid);
void ptrace_vfork_done(struct task *t, int tid);
void ptrace_trap(struct task *t);			/* work bit TASK_TRAP */
void ptrace_group_stop(struct task *t, int signo);

/* ---- life; tasklist held for writing ---- */
void ptrace_clone_link(struct task *child, struct task *parent, u64 flags, int exit_signal);	/* parent->tg->lock held too */
void ptrace_continued(struct thread_group *tg);		/* SIGCONT was sent; tg->lock held, tasklist not needed */
void ptrace_exit_tracer(struct task *t);		/* lets all its tracees go */
bool ptrace_keep_dead(struct task *t);			/* a thread that ended: is its tracer still to hear of it? */
bool ptrace_zombie(struct thread_group *tg);		/* true: a tracer hears of the end first, and then the parent */
void ptrace_forget(struct task *t);			/* reaped, or replaced by exec */
/* wait4: what a tracee of `t`'s group has to tell. *any: there is one. */
bool ptrace_wait(struct task *t, const struct wait_spec *spec, struct wait_result *out, bool *any);

long ptrace_call(struct task *t, s64 request, int pid, u64 addr, u64 data);

/* ---- what ptrace.c and ptrace_regs.c share ---- */

/* Run `fn` on the stopped tracee's thread, with its group's lock held. -ESRCH: it is not stopped any more. */
int ptrace_run_on(struct task *t, struct task *tracee, int (*fn)(struct task *tracee, void *arg), void *arg);
/* Requests about registers, memory and signals of a stopped tracee. -EIO: not one of them. */
long ptrace_data(struct task *t, struct task *tracee, s64 request, u64 addr, u64 data);

#endif
