/*
 * The syscall table is data: syscall/table.def lists X(number, name, args, handler) once, and dispatch, --strace and
 * the per-call counters are made from it.
 *
 * A handler decodes its arguments (each u64 is hostile, and ints must be truncated as the kernel does), copies what
 * they point to, and calls the subsystem with C values. It returns a value or -errno, or a -ERESTART* code.
 */
#ifndef TG_SYSCALL_H
#define TG_SYSCALL_H

#include <errno.h>

#include "lib/types.h"
#include "mm/mm.h"
#include "task/task.h"

typedef long (*syscall_fn)(struct task *t, const u64 *arg);

/*
 * `args`: a letter an argument, for --strace: d int, u unsigned long, x hex, o octal mode, p pointer, s path or string,
 * f descriptor, F open flags, P mmap prot, S signal, b buffer of the next argument's (or the result's) length.
 */
struct syscall_entry {
	const char *name;
	const char *args;
	syscall_fn handler;
};

#define SYSCALL_MAX	512
extern const struct syscall_entry syscall_table[SYSCALL_MAX];

void syscall_dispatch(struct task *t);		/* t->regs hold the call; sets rax */
extern bool strace_on;
void strace_enter(struct task *t, const struct syscall_entry *e, const u64 *arg);
void strace_exit(struct task *t, const struct syscall_entry *e, const u64 *arg, long result);
void strace_signal(struct task *t, const union guest_siginfo *info);	/* a task takes it: a handler or its default action follows */

#define X(nr, name, args, handler)	long handler(struct task *t, const u64 *arg);
#include "syscall/table.def"
#undef X

#endif
