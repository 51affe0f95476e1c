/*
 * What signal.c, sigqueue.c, sigframe.c, kill.c and the signal syscalls share. Everyone else includes task.h.
 *
 * Locking: both pending sets, `blocked`, and the stop state belong to tg->lock. sighand->lock nests inside it, since a
 * table may be shared by groups (CLONE_SIGHAND without CLONE_THREAD). Functions named *_locked want tg->lock held.
 */
#ifndef TG_SIGNAL_H
#define TG_SIGNAL_H

#include "task/task.h"

/* Not libc's SIGRTMIN, which leaves out the two that libc keeps for itself. */
#define GUEST_SIGRTMIN	32

/* Kernel's handler values and the flag that glibc does not show. */
#define HANDLER_DFL	0ull
#define HANDLER_IGN	1ull
#define GUEST_SA_RESTORER	0x04000000ull

#define SIGSET_KERNEL	(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))
#define SIGSET_STOP	(SIGBIT(SIGSTOP) | SIGBIT(SIGTSTP) | SIGBIT(SIGTTIN) | SIGBIT(SIGTTOU))
#define SIGSET_IGNORE	(SIGBIT(SIGCONT) | SIGBIT(SIGCHLD) | SIGBIT(SIGWINCH) | SIGBIT(SIGURG))
#define SIGSET_SYNC	(SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGILL) | SIGBIT(SIGTRAP) | SIGBIT(SIGFPE) | SIGBIT(SIGSYS))

static inline bool signal_valid(int signo) { return signo >= 1 && signo <= NSIG_GUEST; }

/* ---- sigqueue.c: one pending set ---- */

/* Add a signal. 0, also when a standard signal was pending already; -EAGAIN: over `limit` queued, and it may not be lost. */
int sigqueue_add(struct sigpending *p, const union guest_siginfo *info, u64 limit);
/* Remove the next of `wanted` in the kernel's order. Returns its number, 0 if there is none. */
int sigqueue_take(struct sigpending *p, sigset64 wanted, union guest_siginfo *info);
/* As above, but only a fault's own signal (kernel code > 0), which goes before all others. */
int sigqueue_take_fault(struct sigpending *p, sigset64 wanted, union guest_siginfo *info);
void sigqueue_drop(struct sigpending *p, sigset64 which);
u64 sigqueue_count(void);		/* signals queued in the whole sandbox */

/* ---- signal.c ---- */

/* Signalfds sleep here. One for the sandbox: a signalfd tells each process of its own signals, so it belongs to none. */
extern struct waitq signal_waitq;

static inline sigset64 signal_blocked_now(struct task *t) { return t->blocked & ~t->waiting_for; }

struct sigaction_entry signal_action_locked(struct thread_group *tg, int signo);
void signal_set_action(struct task *t, int signo, const struct sigaction_entry *new, struct sigaction_entry *old);
/* Take one of `wanted` for rt_sigtimedwait and signalfd; 0 if none. No lock held. */
int signal_take(struct task *t, sigset64 wanted, union guest_siginfo *info);

/* A signal that is about to run a handler. */
struct delivery {
	int signo;
	union guest_siginfo info;
	struct sigaction_entry action;
};

/* ---- kill.c: sending as kill(2) does. 0, -EPERM, -ESRCH, -EAGAIN; signo 0 only checks ---- */

int signal_kill_group(struct task *from, struct thread_group *tg, const union guest_siginfo *info);
int signal_kill_task(struct task *from, struct task *to, const union guest_siginfo *info);
int signal_kill_pgrp(struct task *from, int pgid, const union guest_siginfo *info);
int signal_kill_all(struct task *from, const union guest_siginfo *info);

/* With the rights of `c`, to a F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP; who is not there or not allowed gets none. */
void signal_kill_for(const struct cred *c, int type, int pid, const union guest_siginfo *info);

/* ---- sigframe.c ---- */

/* Build the frame and point regs at the handler. 0, or -EFAULT: the stack is bad. */
int sigframe_push(struct task *t, const struct delivery *d, sigset64 mask);
/* rt_sigreturn: everything back from the frame at rsp - 8. 0, or -EFAULT: raise SIGSEGV. */
int sigframe_pop(struct task *t);

/* sigaltstack(2); used by rt_sigreturn too. */
struct guest_stack {
	gva_t sp;
	s32 flags, pad;
	u64 size;
};
_Static_assert(sizeof(struct guest_stack) == 24, "stack_t");
void altstack_save(struct task *t, struct guest_stack *out);	/* raw flags, as in a frame */
u32 altstack_status(struct task *t, gva_t sp);		/* 0, SS_ONSTACK, SS_DISABLE */
int altstack_set(struct task *t, const struct guest_stack *new, gva_t sp);

#endif
