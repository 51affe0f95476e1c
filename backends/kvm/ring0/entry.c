/*
 * Ring 0's code in C, with the sentry in the guest: from the guest's registers in the frame to an event, and to core,
 * which handles it here and now (RING0_TO_GUEST) or leaves it, unchanged, to the host (RING0_TO_HOST).
 *
 * What runs where. In ring 0: this file and what core compiled for it (INSIDE_SRC in the Makefile): the same objects
 * that the host runs, shown to ring 0 at their own addresses, like all of the sentry's memory (sentry.c). In the host:
 * everything else. An event that core leaves alone is handled by the task loop as in the other residency, by the same
 * thread: that thread is inside KVM_RUN while its task is in ring 3 or ring 0, so nothing of the task is ever touched
 * from two sides.
 *
 * Locks. Core's locks are the same words inside and outside. Inside they are only tried: who finds one taken changes
 * nothing, and the host, which can sleep, takes up the event. Ring 0 never waits, so a holder that the host has
 * preempted can't be waited for in vain; it may itself be suspended by the host while it holds one, as any thread may.
 *
 * What the guest can do to it. Its registers are here by value; its memory is reached through core's uaccess (the
 * memory file, by the mm's own table, under mm->lock), never by a guest's pointer, and SMAP and SMEP make sure of it.
 * Its siblings may write to that memory and change the mm at any time, as with the sentry in the host: the same code
 * defends itself in the same way. It can't keep ring 0 busy for longer than one event, and each event is bounded.
 */
#include "backends/kvm/ring0/cpu.h"
#include "lib/inside.h"

enum { PF_WRITE = 2, PF_INSTR = 16, TRAP_PF = 14, SIGSEGV_NR = 11, ENOSYS_NR = 38 };
#define CANONICAL_END	((u64)1 << 47)

static struct ring0_cpu *cpu_of(struct guest_regs *r) { return CONTAINER_OF(r, struct ring0_cpu, regs); }

static int ask_core(struct ring0_cpu *c)
{
	if (!c->inside || !c->inside(c->home, &c->regs, &c->ev))
		return RING0_TO_HOST;
	c->handled++;
	return RING0_TO_GUEST;
}

int ring0_on_call(struct guest_regs *r)
{
	struct ring0_cpu *c = cpu_of(r);

	c->ev.kind = EVENT_SYSCALL;
	c->ev.trapped = false;
	return ask_core(c);
}

/*
 * The software hypervisor lets SYSCALL go to LSTAR without leaving ring 3, where it can only fault. rcx and r11 are
 * what SYSCALL left there, or whatever the guest put there that jumped to LSTAR: the host checks them on its way in.
 */
static int call_by_fault(struct ring0_cpu *c)
{
	struct guest_regs *r = &c->regs;

	r->rip = r->rcx;
	r->eflags = r->r11 | RING0_EFLAGS_FIXED;
	r->cs = SEL_USER_CS;
	r->ss = SEL_USER_SS;
	r->orig_rax = r->rax;
	r->rax = -ENOSYS_NR;
	c->ev.kind = EVENT_SYSCALL;
	c->ev.trapped = false;
	if (r->rip >= CANONICAL_END || r->r11 & ~(u64)RING0_EFLAGS_USER)
		return RING0_TO_HOST;
	return ask_core(c);
}

int ring0_on_fault(struct guest_regs *r, u64 addr)
{
	struct ring0_cpu *c = cpu_of(r);
	const u64 error_code = r->orig_rax;

	if (r->rip == c->lstar)
		return call_by_fault(c);
	r->orig_rax = ~(u64)0;
	c->ev = (struct event){
		.kind = EVENT_FAULT,
		.access = error_code & PF_INSTR ? ACCESS_EXEC : error_code & PF_WRITE ? ACCESS_WRITE : ACCESS_READ,
		.addr = addr, .signo = SIGSEGV_NR, .trapno = TRAP_PF, .error_code = error_code,
	};
	return ask_core(c);
}

/* The vCPU's area is as large as it is aligned, and our stack is in it. */
void inside_host(void (*fn)(void *arg), void *arg)
{
	const u64 area = (u64)__builtin_frame_address(0) & ~(u64)(VCPU_AREA - 1);
	struct ring0_cpu *c = (struct ring0_cpu *)(area + CPU_OFFSET);

	c->call.fn = fn;
	c->call.arg = arg;
	inside_host_halt();
}
