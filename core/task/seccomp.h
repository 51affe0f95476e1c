/* seccomp inside the sandbox: a guest's filters, run by the sentry before each of its calls. */
#ifndef TG_TASK_SECCOMP_H
#define TG_TASK_SECCOMP_H

#include "task/task.h"

struct sock_filter;
struct seccomp_filter;

/*
 * Before the call in t->regs is made. True: go on with it. False: it is not to be made, and t->regs.rax holds what
 * it returns (a signal or the task's end may be pending).
 */
bool seccomp_enter(struct task *t);

long seccomp_call(struct task *t, u32 op, u32 flags, gva_t args);	/* seccomp(2) */
long seccomp_prctl(struct task *t, u64 mode, gva_t args);		/* PR_SET_SECCOMP */
void seccomp_clone(struct task *child, struct task *parent);		/* inherits; may be called again before the child is linked */
void seccomp_release(struct task *t);
int seccomp_filters(const struct task *t);				/* how many there are, for /proc */

/* bpf.c: is this a program that seccomp may run? 0, -EINVAL. */
int bpf_check(const struct sock_filter *insn, u32 len);
/* What a checked program returns for `data`, `words` u32 long. */
u32 bpf_run(const struct sock_filter *insn, const u32 *data, u32 words);

#endif
