/* From a ptrace stop to an event of the guest. Signals that come from outside the guest are none. */
#include "backends/ptrace/internal.h"

#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* x86 exception vectors, as sigcontext's trapno. */
enum { TRAP_DE = 0, TRAP_DB = 1, TRAP_BP = 3, TRAP_OF = 4, TRAP_UD = 6, TRAP_TS = 10, TRAP_NP = 11, TRAP_SS = 12, TRAP_GP = 13,
       TRAP_PF = 14, TRAP_MF = 16, TRAP_AC = 17, TRAP_XM = 19 };
enum { PF_PROT = 1, PF_WRITE = 2, PF_USER = 4, PF_INSTR = 16 };

static void fill_exception(struct event *ev, const siginfo_t *si, u64 trapno, u64 error_code)
{
	ev->kind = EVENT_EXCEPTION;
	ev->access = ACCESS_NONE;
	ev->signo = si->si_signo;
	ev->code = si->si_code;
	ev->addr = si->si_code == SI_KERNEL ? 0 : (gva_t)si->si_addr;
	ev->trapno = trapno;
	ev->error_code = error_code;
}

static void translate_fault(struct context *ctx, const siginfo_t *si, const struct guest_regs *regs, struct event *ev)
{
	const gva_t addr = (gva_t)si->si_addr;
	const enum access want = access_kind(&ctx->as->maps, regs, addr);

	ev->kind = EVENT_FAULT;
	ev->addr = addr;
	ev->access = want;
	ev->signo = SIGSEGV;
	ev->code = 0;
	ev->trapno = TRAP_PF;
	ev->error_code = PF_USER | (want == ACCESS_WRITE ? PF_WRITE : 0) | (want == ACCESS_EXEC ? PF_INSTR : 0) |
			 (si->si_code == SEGV_ACCERR ? PF_PROT : 0);
}

/* #GP: for `int n` of a gate that user code may not use the error code is its selector. */
static void translate_protection(struct context *ctx, const siginfo_t *si, const struct guest_regs *regs, struct event *ev)
{
	const int n = access_software_interrupt(&ctx->as->maps, regs);

	fill_exception(ev, si, TRAP_GP, n < 0 ? 0 : (u64)n << 3 | 2);
}

static u64 trap_vector(const siginfo_t *si)
{
	return si->si_code == SI_KERNEL ? TRAP_BP : TRAP_DB;	/* int3 is SI_KERNEL on x86 */
}

static u64 fpe_vector(struct context *ctx, const siginfo_t *si, const struct guest_regs *regs)
{
	if (si->si_code == FPE_INTDIV)
		return TRAP_DE;
	if (si->si_code == FPE_INTOVF)
		return TRAP_OF;
	return access_is_x87(&ctx->as->maps, regs) ? TRAP_MF : TRAP_XM;
}

static u64 bus_vector(const siginfo_t *si)
{
	if (si->si_code == BUS_ADRALN)
		return TRAP_AC;
	return si->si_code == SI_KERNEL ? TRAP_SS : TRAP_PF;
}

/* Signals that a fault of the guest raises. False: somebody outside sent it. */
static bool translate_signal(struct context *ctx, const struct guest_regs *regs, struct event *ev)
{
	siginfo_t si;

	if (ptrace(PTRACE_GETSIGINFO, ctx->tid, NULL, &si) || si.si_code <= 0)
		return false;
	switch (si.si_signo) {
	case SIGSEGV:
		if (si.si_code == SEGV_MAPERR || si.si_code == SEGV_ACCERR)
			translate_fault(ctx, &si, regs, ev);
		else
			translate_protection(ctx, &si, regs, ev);
		return true;
	case SIGTRAP:
		fill_exception(ev, &si, trap_vector(&si), 0);
		return true;
	case SIGFPE:
		fill_exception(ev, &si, fpe_vector(ctx, &si, regs), 0);
		return true;
	case SIGILL:
		fill_exception(ev, &si, TRAP_UD, 0);
		return true;
	case SIGBUS:
		fill_exception(ev, &si, bus_vector(&si), 0);
		return true;
	}
	return false;
}

/* int $0x80 and sysenter: this kernel has no 32-bit calls, so they are what they would be without a gate, #GP. */
static void refuse_32bit_call(struct guest_regs *regs, struct event *ev)
{
	const siginfo_t si = { .si_signo = SIGSEGV, .si_code = SI_KERNEL };

	regs->rip -= 2;
	regs->rax = regs->orig_rax;
	regs->orig_rax = ~(u64)0;
	fill_exception(ev, &si, TRAP_GP, 0x80 << 3 | 2);
}

static bool is_64bit_call(pid_t tid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < (long)offsetof(struct __ptrace_syscall_info, entry))
		return true;
	return info.arch == AUDIT_ARCH_X86_64;
}

/*
 * SYSCALL leaves rip in rcx and the flags in r11, so that is what a 64-bit call looks like, for free. Otherwise the
 * host is asked: it may also be a processor (FRED) whose SYSCALL leaves both alone. A guest that makes its int $0x80
 * look like SYSCALL gets a 64-bit call, no more.
 */
static void translate_syscall(struct context *ctx, struct guest_regs *regs, struct event *ev)
{
	*ev = (struct event){ .kind = EVENT_SYSCALL };
	if (regs->rcx == regs->rip && regs->r11 == regs->eflags)
		return;
	if (!is_64bit_call(ctx->tid)) {
		refuse_32bit_call(regs, ev);
		return;
	}
	regs->rcx = regs->rip;
	regs->r11 = regs->eflags;
}

bool event_translate(struct context *ctx, int status, struct guest_regs *regs, struct event *ev)
{
	const int signo = WSTOPSIG(status);

	if (status >> 16)		/* PTRACE_EVENT_STOP: somebody stops or continues the stub from outside */
		return false;
	switch (signo) {
	case SIGTRAP | 0x80:
		translate_syscall(ctx, regs, ev);
		return true;
	case SIGURG:
		if (!atomic_exchange(&ctx->interrupted, false))
			return false;	/* of an interrupt that was reported already */
		*ev = (struct event){ .kind = EVENT_INTERRUPT };
		return true;
	case SIGSEGV: case SIGTRAP: case SIGFPE: case SIGILL: case SIGBUS:
		return translate_signal(ctx, regs, ev);
	default:
		return false;
	}
}
