/*
 * Dispatch: from the registers of a trapped call to its handler and back.
 *
 * A result of -ERESTART* stays in rax as it is; signal_deliver() turns it into a restart or EINTR before the guest
 * runs again, as the kernel does on its way out.
 */
#include "syscall/syscall.h"

#include "lib/log.h"
#include "stats.h"

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

void syscall_dispatch(struct task *t)
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
