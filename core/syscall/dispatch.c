/*
 * Dispatch: from the registers of a trapped call to its handler and back.
 *
 * A result of -ERESTART* stays in rax as it is; signal_deliver() turns it into a restart or EINTR before the guest
 * runs again, as the kernel does on its way out.
 */
#include "syscall/syscall.h"

#include "lib/log.h"
#include "stats.h"
#include "task/ptrace.h"
#include "task/seccomp.h"

const struct syscall_entry syscall_table[SYSCALL_MAX] = {
#define X(nr, name, args, handler)	[nr] = { #name, args, handler },
#include "syscall/table.def"
#undef X
};

static long unknown_call(struct task *t, u64 nr)
{
	log_debug("[%d] unknown system call %llu", t->tid, (unsigned long long)nr);
	return -ENOSYS;
}

static void call(struct task *t)
{
	struct guest_regs *r = &t->regs;
	const u64 arg[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };
	u32 nr = r->orig_rax;		/* the kernel looks at the low 32 bits only */
	const struct syscall_entry *e = nr < SYSCALL_MAX ? &syscall_table[nr] : NULL;
	long result;

	if (!e || !e->handler) {
		r->rax = unknown_call(t, nr);
		return;
	}
	t->syscall_nr = nr;
	stats_count_call(t, nr);
	if (__builtin_expect(strace_on, 0))
		strace_enter(t, e, arg);
	result = e->handler(t, arg);
	/* execve and rt_sigreturn replace the registers and return what rax is to hold. */
	r->rax = result;
	if (__builtin_expect(strace_on, 0))
		strace_exit(t, e, arg, result);
	t->syscall_nr = -1;
}

/*
 * A call of a task that is traced or filtered. The tracer comes first, as in Linux, so that the filters see the call as
 * it left it. A number that was made negative means: no call.
 */
static void call_watched(struct task *t, u32 watched)
{
	bool make = true;

	if (watched & WATCH_TRACE)
		make = ptrace_call_enter(t);
	if (make && (watched & WATCH_SECCOMP) && (s32)t->regs.orig_rax != -1)
		make = seccomp_enter(t);
	if (make && (s32)t->regs.orig_rax != -1)
		call(t);
	if (atomic_load(&t->watched) & WATCH_TRACE)
		ptrace_call_exit(t);
}

void syscall_dispatch(struct task *t)
{
	u32 watched = atomic_load_explicit(&t->watched, memory_order_relaxed);

	if (__builtin_expect(watched != 0, 0))
		call_watched(t, watched);
	else
		call(t);
}
