/* Who a task is, as far as it can be told from its own fields: no locks, no memory, and so inside too. */
#include "syscall/syscall.h"

long sys_getpid(struct task *t, const u64 *arg) { return t->tg->tgid; }
long sys_gettid(struct task *t, const u64 *arg) { return t->tid; }
long sys_getpgrp(struct task *t, const u64 *arg) { return t->tg->pgid; }

long sys_getuid(struct task *t, const u64 *arg) { return t->cred->uid; }
long sys_geteuid(struct task *t, const u64 *arg) { return t->cred->euid; }
long sys_getgid(struct task *t, const u64 *arg) { return t->cred->gid; }
long sys_getegid(struct task *t, const u64 *arg) { return t->cred->egid; }
