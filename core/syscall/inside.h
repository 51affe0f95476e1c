/* Calls that run inside: task/inside.c has the table, sys_inside.c the code. */
#ifndef TG_SYSCALL_INSIDE_H
#define TG_SYSCALL_INSIDE_H

#include "fs/fs.h"
#include "task/task.h"

long inside_read(struct task *t, const u64 *arg);
long inside_write(struct task *t, const u64 *arg);
long inside_lseek(struct task *t, const u64 *arg);
long inside_rt_sigprocmask(struct task *t, const u64 *arg);
long inside_sched_yield(struct task *t, const u64 *arg);
long inside_futex(struct task *t, const u64 *arg);
long inside_clock_gettime(struct task *t, const u64 *arg);

#endif
