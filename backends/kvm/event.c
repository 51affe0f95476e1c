/*
 * From a vCPU's state after KVM_RUN to an event of the guest.
 *
 * rip says which way the guest took into ring 0, and the frame on the vCPU's own stack what it was doing. That memory
 * is ring 0's; what stands in it and in the registers was the guest's, and goes to core as a guest's registers.
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/log.h"

extern const u8 __start_inside_text[], __stop_inside_text[];

enum { TRAP_DE = 0, TRAP_DB = 1, TRAP_NMI = 2, TRAP_BP = 3, TRAP_OF = 4, TRAP_BR = 5, TRAP_UD = 6, TRAP_TS = 10,
       TRAP_NP = 11, TRAP_SS = 12, TRAP_GP = 13, TRAP_PF = 14, TRAP_MF = 16, TRAP_AC = 17, TRAP_XM = 19, VECTORS = 32 };
enum { INSN_BOUND = 0x62, INSN_INT3 = 0xcc, INSN_INT_N = 0xcd, INSN_INTO = 0xce, EFLAGS_OF = 0x800 };
enum { PF_PRESENT = 1, PF_WRITE = 2, PF_INSTR = 16, DR6_STEP = 1 << 14, MXCSR_OFFSET = 24, RPL = 3 };
#define WITH_ERROR_CODE	(1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21)

struct frame {
	u64 error_code;
	u64 rip, cs, rflags, rsp, ss;
};

/* What Linux makes of each vector. */
static const struct {
	u8 signo;
	u8 code;			/* with .addr_is_rip; otherwise SI_KERNEL */
	bool addr_is_rip, fixed_code;
} signals[VECTORS] = {
	[TRAP_DE] = { SIGFPE, FPE_INTDIV, true, true },
	[TRAP_DB] = { SIGTRAP, TRAP_BRKPT, true, true },
	[TRAP_BP] = { SIGTRAP, 0, false, false },
	[TRAP_OF] = { SIGSEGV, 0, false, false },
	[TRAP_BR] = { SIGSEGV, 0, false, false },
	[TRAP_UD] = { SIGILL, ILL_ILLOPN, true, true },
	[TRAP_TS] = { SIGSEGV, 0, false, false },
	[TRAP_NP] = { SIGBUS, 0, false, false },
	[TRAP_SS] = { SIGBUS, 0, false, false },
	[TRAP_GP] = { SIGSEGV, 0, false, false },
	[TRAP_MF] = { SIGFPE, 0, true, true },
	[TRAP_AC] = { SIGBUS, BUS_ADRALN, false, true },
	[TRAP_XM] = { SIGFPE, 0, true, true },
};

static enum decoded dead(struct vcpu *v, struct event *ev, const char *why, u64 n)
{
	const struct kvm_regs *g = &v->run->s.regs.regs;

	log_error("kvm: vCPU %d: %s %#lx at rip %#llx, rsp %#llx, cr2 %#llx", v->id, why, n, g->rip, g->rsp,
		  v->run->s.regs.sregs.cr2);
	v->broken = true;
	*ev = (struct event){ .kind = EVENT_DEAD };
	return DECODED;
}

/* ---- registers ---- */

static void get_general(const struct vcpu *v, struct guest_regs *r)
{
	const struct kvm_regs *g = &v->run->s.regs.regs;
	const struct kvm_sregs *s = &v->run->s.regs.sregs;

	r->r15 = g->r15; r->r14 = g->r14; r->r13 = g->r13; r->r12 = g->r12;
	r->r11 = g->r11; r->r10 = g->r10; r->r9 = g->r9; r->r8 = g->r8;
	r->rbp = g->rbp; r->rbx = g->rbx; r->rax = g->rax; r->rcx = g->rcx;
	r->rdx = g->rdx; r->rsi = g->rsi; r->rdi = g->rdi;
	r->orig_rax = ~(u64)0;
	r->fs_base = s->fs.base;
	r->gs_base = s->gs.base;
	r->ds = s->ds.selector;
	r->es = s->es.selector;
	r->fs = s->fs.selector;
	r->gs = s->gs.selector;
}

static void get_interrupted(const struct vcpu *v, struct guest_regs *r)
{
	get_general(v, r);
	r->rip = v->run->s.regs.regs.rip;
	r->rsp = v->run->s.regs.regs.rsp;
	r->eflags = v->run->s.regs.regs.rflags | 0x200;
	r->cs = v->run->s.regs.sregs.cs.selector;
	r->ss = v->run->s.regs.sregs.ss.selector;
}

static void get_from_frame(const struct vcpu *v, const struct frame *f, struct guest_regs *r)
{
	get_general(v, r);
	r->rip = f->rip;
	r->cs = f->cs & 0xffff;
	r->eflags = f->rflags;
	r->rsp = f->rsp;
	r->ss = f->ss & 0xffff;
}

static enum decoded syscall_event(const struct vcpu *v, u64 rsp, struct guest_regs *r, struct event *ev)
{
	get_general(v, r);
	r->rip = r->rcx;
	r->eflags = r->r11;
	r->rsp = rsp;
	r->cs = SEL_USER_CS;
	r->ss = SEL_USER_SS;
	r->orig_rax = r->rax;
	r->rax = -ENOSYS;
	*ev = (struct event){ .kind = EVENT_SYSCALL };
	return DECODED;
}

/* ---- exceptions ---- */

static void fault_event(const struct vcpu *v, u64 error_code, struct event *ev)
{
	enum access want = error_code & PF_INSTR ? ACCESS_EXEC : error_code & PF_WRITE ? ACCESS_WRITE : ACCESS_READ;

	*ev = (struct event){
		.kind = EVENT_FAULT, .access = want, .addr = v->run->s.regs.sregs.cr2, .signo = SIGSEGV,
		.trapno = TRAP_PF, .error_code = error_code,
	};
}

static int fpe_code(u32 raised)
{
	if (raised & 1)
		return FPE_FLTINV;
	if (raised & 4)
		return FPE_FLTDIV;
	if (raised & 8)
		return FPE_FLTOVF;
	if (raised & 0x12)
		return FPE_FLTUND;
	return raised & 0x20 ? FPE_FLTRES : 0;
}

/* Which of the unmasked floating-point exceptions is raised, as Linux tells it. */
static int floating_point_code(struct vcpu *v, u32 vector)
{
	u8 image[XSAVE_MAX];
	u16 control, status;
	u32 mxcsr;

	if (vcpu_save_fp(v, image))
		return 0;
	memcpy(&control, image, sizeof(control));
	memcpy(&status, image + 2, sizeof(status));
	memcpy(&mxcsr, image + MXCSR_OFFSET, sizeof(mxcsr));
	return fpe_code(vector == TRAP_MF ? (u32)(status & ~control) : ~(mxcsr >> 7) & mxcsr);
}

static int debug_code(const struct vcpu *v, const struct frame *f)
{
	struct kvm_debugregs d;

	if (f->rflags & 0x100)
		return TRAP_TRACE;
	return !ioctl(v->fd, KVM_GET_DEBUGREGS, &d) && d.dr6 & DR6_STEP ? TRAP_TRACE : TRAP_BRKPT;
}

static void exception_event(struct vcpu *v, u32 vector, const struct frame *f, struct event *ev)
{
	int code = signals[vector].fixed_code ? signals[vector].code : SI_KERNEL;

	if (vector == TRAP_MF || vector == TRAP_XM)
		code = floating_point_code(v, vector);
	else if (vector == TRAP_DB)
		code = debug_code(v, f);
	*ev = (struct event){
		.kind = EVENT_EXCEPTION, .signo = signals[vector].signo, .code = code,
		.addr = signals[vector].addr_is_rip ? f->rip : 0,
		.trapno = vector, .error_code = f->error_code,
	};
}

void event_protection(struct event *ev)
{
	*ev = (struct event){ .kind = EVENT_EXCEPTION, .signo = SIGSEGV, .code = SI_KERNEL, .trapno = TRAP_GP };
}

static bool read_frame(const struct vcpu *v, u32 vector, struct frame *f)
{
	const bool error = vector < VECTORS && WITH_ERROR_CODE >> vector & 1;
	const u64 at = v->run->s.regs.regs.rsp - v->area_va, len = sizeof(*f) - (error ? 0 : 8);

	if (at > VCPU_AREA - len)
		return false;
	f->error_code = 0;
	memcpy((u8 *)f + (error ? 0 : 8), v->area + at, len);
	return true;
}

/*
 * The software hypervisor makes #UD of what is something else: of `int n` where ring 3 may not use the gate (#GP), and
 * in 32-bit code, all of which it emulates, of INT3, INTO and BOUND. The guest may change the instruction meanwhile,
 * and get the other signal.
 */
static u32 meant_by_ud(struct vcpu *v, struct frame *f)
{
	const bool compat = (f->cs & 0xffff) == SEL_USER_CS32;
	u8 insn[2] = { 0 };

	if (!pagetable_read(atomic_load(&v->running), f->rip, &insn[0], 1))
		return TRAP_UD;
	if (compat && (insn[0] == INSN_INT3 || (insn[0] == INSN_INTO && f->rflags & EFLAGS_OF))) {
		f->rip++;
		return insn[0] == INSN_INT3 ? TRAP_BP : TRAP_OF;
	}
	if (!pagetable_read(atomic_load(&v->running), f->rip + 1, &insn[1], 1))
		return TRAP_UD;
	if (compat && insn[0] == INSN_BOUND && insn[1] < 0xc0)	/* to memory; otherwise a prefix */
		return TRAP_BR;
	if (insn[0] != INSN_INT_N)
		return TRAP_UD;
	f->error_code = (u64)insn[1] << 3 | 2;
	return TRAP_GP;
}

static enum decoded vector_event(struct vcpu *v, u32 vector, struct guest_regs *regs, struct event *ev)
{
	struct frame f;

	if (!read_frame(v, vector, &f))
		return dead(v, ev, "an exception off the stack, vector", vector);
	if ((f.cs & RPL) != RPL) {
		log_error("kvm: ring 0 at %#lx, error code %#lx", f.rip, f.error_code);
		return dead(v, ev, "an exception in ring 0, vector", vector);
	}
	/*
	 * The software hypervisor lets SYSCALL go to LSTAR without leaving ring 3, where it can only fault. With TF set
	 * the step over the SYSCALL comes first; the call is what native Linux would see.
	 */
	if (f.rip == v->cpu->lstar && (vector == TRAP_PF || vector == TRAP_DB))
		return syscall_event(v, f.rsp, regs, ev);
	if (vector == TRAP_UD)
		vector = meant_by_ud(v, &f);
	get_from_frame(v, &f, regs);
	if (vector == TRAP_PF)
		fault_event(v, f.error_code, ev);
	else if (vector < VECTORS && signals[vector].signo)
		exception_event(v, vector, &f, ev);
	else if (vector == TRAP_NMI || vector >= VECTORS)	/* nothing of the guest's: it goes on where it was */
		*ev = (struct event){ .kind = EVENT_PREEMPT };
	else
		return dead(v, ev, "an unexpected vector", vector);
	return DECODED;
}

/* SYSCALL of 32-bit code, where the processor has that: as where it has not. */
static enum decoded compat_call(struct vcpu *v, struct guest_regs *regs, struct event *ev)
{
	const struct frame f = { .rip = v->run->s.regs.regs.rcx, .cs = SEL_USER_CS32, .rflags = v->run->s.regs.regs.r11,
				 .rsp = v->run->s.regs.regs.rsp, .ss = SEL_USER_SS };

	get_from_frame(v, &f, regs);
	exception_event(v, TRAP_UD, &f, ev);
	return DECODED;
}

/* ---- the sentry in the guest ---- */

/* Places on one of the four ways through ring 0, two with kvm.kpti and two without: addresses in the VM. */
struct way {
	u64 back, end;			/* from the look at `stop` to the guest */
	u64 host, stop;			/* behind the HLTs */
};

static struct way call_way(const struct vcpu *v)
{
	const u64 base = v->area_va + VCPU_PAGE_TEXT * PAGE_SIZE - (u64)(machine.kpti ? ring0_call_kpti : ring0_call);

	return machine.kpti ? (struct way){ base + (u64)ring0_call_back_kpti, base + (u64)ring0_call_end_kpti,
					    base + (u64)ring0_call_host_kpti + 1, base + (u64)ring0_call_stop_kpti + 1 }
			    : (struct way){ base + (u64)ring0_call_back, base + (u64)ring0_call_end,
					    base + (u64)ring0_call_host + 1, base + (u64)ring0_call_stop + 1 };
}

static struct way fault_way(void)
{
	return machine.kpti ? (struct way){ ring0_va(ring0_fault_back_kpti), ring0_va(ring0_fault_end_kpti),
					    ring0_va(ring0_fault_host_kpti) + 1, ring0_va(ring0_fault_stop_kpti) + 1 }
			    : (struct way){ ring0_va(ring0_fault_back), ring0_va(ring0_fault_end),
					    ring0_va(ring0_fault_host) + 1, ring0_va(ring0_fault_stop) + 1 };
}

/* The guest's registers are whole in the frame. */
static void get_from_cpu(const struct vcpu *v, struct guest_regs *r)
{
	const struct kvm_sregs *s = &v->run->s.regs.sregs;

	*r = v->cpu->regs;
	r->fs_base = s->fs.base;
	r->gs_base = s->gs.base;
	r->ds = s->ds.selector;
	r->es = s->es.selector;
	r->fs = s->fs.selector;
	r->gs = s->gs.selector;
}

/* Between the look at `stop` and the guest: put before the look again; the guest's registers are still in the frame. */
static enum decoded look_again(struct vcpu *v, const struct way *w, struct guest_regs *regs)
{
	struct kvm_regs *g = &v->run->s.regs.regs;

	g->rip = w->back;
	g->rsp = vcpu_cpu_va(v) + CPU_REGS;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	get_from_cpu(v, regs);
	return IN_GUEST;
}

static enum decoded way_event(struct vcpu *v, const struct way *w, struct guest_regs *regs, struct event *ev)
{
	const u64 rip = v->run->s.regs.regs.rip;

	if (rip >= w->back && rip < w->end)
		return look_again(v, w, regs);
	if (rip != w->host && rip != w->stop)
		return IN_SENTRY;
	get_from_cpu(v, regs);
	if (rip == w->stop)
		return IN_GUEST;
	*ev = v->cpu->ev;
	return DECODED;
}

/* Ring 0 has touched memory of the sentry's that it was not shown yet. */
static enum decoded own_fault(struct vcpu *v, struct event *ev)
{
	const u64 addr = v->run->s.regs.sregs.cr2;

	const u64 *frame = (const u64 *)(v->area + (v->run->s.regs.regs.rsp - v->area_va) % VCPU_AREA);

	if (!(frame[0] & PF_PRESENT) && sentry_show(addr))
		return IN_SENTRY;
	log_error("kvm: ring 0 at %#lx, error code %#lx", frame[1], frame[0]);
	return dead(v, ev, "ring 0 has no business at", addr);
}

/* What ring 0 asks the host to do in the middle. It may take pages from our own address space: we are out of it. */
static enum decoded host_call(struct vcpu *v)
{
	struct address_space *as = atomic_load(&v->running);
	const u64 on_stack = (u64)v->cpu->call.arg - v->area_va;

	atomic_store(&v->running, NULL);
	vcpu_passed(v);
	/* Ring 0's stack is elsewhere for us. */
	v->cpu->call.fn(on_stack < VCPU_AREA ? v->area + on_stack : v->cpu->call.arg);
	atomic_store(&v->running, as);
	return IN_SENTRY;
}

static bool in_inside_text(u64 rip) { return rip >= (u64)__start_inside_text && rip < (u64)__stop_inside_text; }

static enum decoded sentry_event(struct vcpu *v, struct guest_regs *regs, struct event *ev)
{
	const u64 rip = v->run->s.regs.regs.rip;
	struct way w;

	if (rip - v->area_va < PAGE_SIZE) {
		w = call_way(v);
		return way_event(v, &w, regs, ev);
	}
	if (rip == ring0_va(ring0_own_fault) + 1)
		return own_fault(v, ev);
	if (rip == (u64)inside_halted)
		return host_call(v);
	if (in_inside_text(rip))
		return IN_SENTRY;
	w = fault_way();
	return way_event(v, &w, regs, ev);
}

static bool on_sentry_way(const struct vcpu *v)
{
	const u64 rip = v->run->s.regs.regs.rip;

	return machine.sentry_inside && (v->run->s.regs.sregs.cs.selector & RPL) != RPL &&
	       (rip - v->area_va < PAGE_SIZE || in_inside_text(rip) ||
		rip - ring0_va(ring0_fault) < (u64)(ring0_image_end - ring0_fault));
}

bool event_in_sentry(const struct vcpu *v)
{
	const u64 rip = v->run->s.regs.regs.rip;
	struct way w;

	if (!on_sentry_way(v))
		return false;
	w = rip - v->area_va < PAGE_SIZE ? call_way(v) : fault_way();
	return rip != w.host && rip != w.stop && !(rip >= w.back && rip < w.end);
}

enum decoded event_decode(struct vcpu *v, struct guest_regs *regs, struct event *ev)
{
	const u64 rip = v->run->s.regs.regs.rip, in_text = rip - ring0_va(ring0_image);

	if ((v->run->s.regs.sregs.cs.selector & RPL) == RPL) {
		get_interrupted(v, regs);
		return IN_GUEST;
	}
	if (rip == ring0_va(ring0_iret) || rip == ring0_va(ring0_sysret))
		return NOT_ENTERED;
	if (on_sentry_way(v))
		return sentry_event(v, regs, ev);
	if (in_text < 256 * RING0_STUB_SIZE)
		return vector_event(v, in_text / RING0_STUB_SIZE, regs, ev);
	if (rip - ring0_va(ring0_lstar) <= 1)
		return syscall_event(v, v->run->s.regs.regs.rsp, regs, ev);
	if (rip - ring0_va(ring0_cstar) <= 1)
		return compat_call(v, regs, ev);
	return dead(v, ev, "nowhere in ring 0, exit", v->run->exit_reason);
}
