/*
 * Contexts, and the switch: registers into the run page, KVM_RUN, registers out of it. One host call when nothing but
 * the guest's own registers changed.
 *
 * Threats. A guest's registers are checked here before ring 0 loads them: rip canonical, selectors of ring 3, flags
 * that user code may have; so IRETQ and SYSRETQ don't fault. TF, AC, NT and RF are the guest's to set and act in ring
 * 3 only. IOPL is 0 and the TSS has no port bitmap: port and interrupt-flag instructions are #GP, as are HLT, control
 * registers, MSRs and VM instructions. The guest sees ring 0's addresses as supervisor pages: it learns that they are
 * there, no more, and can't change them. It may fault on its own stack as it likes: ring 0 does not use it. An exit
 * costs the guest as much as the sentry, and each runs on the task's own thread, so a flood of them slows nobody
 * else. What KVM reports beyond HLT (a triple fault, an emulation that failed) ends the thread group, with a line in
 * the log, and the vCPU is set up anew.
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

#define EFLAGS_USER	0x254dd5		/* CF PF AF ZF SF TF DF OF NT RF AC ID */
#define EFLAGS_FIXED	0x202
#define EFLAGS_IRET	0x14100			/* TF NT RF: not by SYSRET */
#define CANONICAL_END	((u64)1 << 47)
enum { EFAULT_MAX = 100 };

_Atomic u64 kvm_host_calls;

/* ---- life ---- */

int kvm_context_create(struct context **out)
{
	struct context *ctx = calloc(1, sizeof(*ctx));
	sigset_t kick;

	if (!ctx)
		return -ENOMEM;
	ctx->fp = calloc(1, xstate_size());
	if (!ctx->fp) {
		free(ctx);
		return -ENOMEM;
	}
	ctx->tid = gettid();
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, NULL);
	*out = ctx;
	return 0;
}

void kvm_context_destroy(struct context *ctx)
{
	vcpu_disown(ctx);
	free(ctx->fp);
	free(ctx);
}

/*
 * The flag is set before `running` is read, and the owner publishes `running` before it looks at the flag.
 */
void kvm_interrupt(struct context *ctx)
{
	struct vcpu *v;

	atomic_store(&ctx->interrupted, true);
	v = atomic_load(&ctx->running);
	if (v)
		vcpu_kick(v, ctx->tid);
}

/* ---- extended state ---- */

int kvm_fp_read(struct context *ctx, void *buf)
{
	int err = vcpu_fp_read(ctx);

	if (err)
		return err;
	if (ctx->fp_home == FP_INITIAL)
		xstate_init_image(buf);
	else
		memcpy(buf, ctx->fp, xstate_size());
	return 0;
}

int kvm_fp_write(struct context *ctx, const void *buf)
{
	int err;

	if (xstate_check(buf))
		return -EINVAL;
	err = vcpu_fp_read(ctx);	/* so that no taker writes over the new one */
	if (err)
		return err;
	memcpy(ctx->fp, buf, xstate_size());
	ctx->fp_home = FP_IMAGE;
	return 0;
}

static int load_fp(struct context *ctx, struct vcpu *v)
{
	int err;

	if (ctx->fp_home == FP_VCPU)
		return 0;
	if (ctx->fp_home == FP_INITIAL)
		xstate_init_image(ctx->fp);
	err = vcpu_load_fp(v, ctx->fp);
	if (!err)
		ctx->fp_home = FP_VCPU;
	return err;
}

/* ---- registers ---- */

static u64 data_selector(u64 sel) { return (sel & 0xffff) == SEL_USER_SS ? SEL_USER_SS : 0; }

static void sanitise(struct guest_regs *r)
{
	r->cs = r->cs == SEL_USER_CS32 ? SEL_USER_CS32 : SEL_USER_CS;
	r->ss = SEL_USER_SS;
	r->eflags = (r->eflags & EFLAGS_USER) | EFLAGS_FIXED;
	r->ds = data_selector(r->ds);
	r->es = data_selector(r->es);
	r->fs = data_selector(r->fs);
	r->gs = data_selector(r->gs);
	if (r->fs_base >= CANONICAL_END)
		r->fs_base = 0;
	if (r->gs_base >= CANONICAL_END)
		r->gs_base = 0;
}

static bool canonical(u64 addr) { return addr + CANONICAL_END < 2 * CANONICAL_END; }

static bool set_segment(struct kvm_segment *seg, u64 sel, u64 base)
{
	if (seg->selector == sel && seg->base == base)
		return false;
	if (sel == SEL_USER_SS)
		*seg = (struct kvm_segment){ .base = base, .limit = ~0u, .selector = sel, .type = 3, .present = 1,
					     .dpl = 3, .s = 1, .db = 1, .g = 1 };
	else
		*seg = (struct kvm_segment){ .base = base, .unusable = 1 };
	return true;
}

/* True if anything differs from what the vCPU has. */
static bool set_system(struct kvm_sregs *s, const struct guest_regs *r, u64 root)
{
	bool changed = s->cr3 != root;

	s->cr3 = root;
	changed |= set_segment(&s->fs, r->fs, r->fs_base);
	changed |= set_segment(&s->gs, r->gs, r->gs_base);
	changed |= set_segment(&s->ds, r->ds, 0);
	changed |= set_segment(&s->es, r->es, 0);
	return changed;
}

static void set_general(struct vcpu *v, const struct guest_regs *r)
{
	struct kvm_regs *g = &v->run->s.regs.regs;

	g->r15 = r->r15; g->r14 = r->r14; g->r13 = r->r13; g->r12 = r->r12;
	g->r11 = r->r11; g->r10 = r->r10; g->r9 = r->r9; g->r8 = r->r8;
	g->rbp = r->rbp; g->rbx = r->rbx; g->rax = r->rax; g->rcx = r->rcx;
	g->rdx = r->rdx; g->rsi = r->rsi; g->rdi = r->rdi;
	g->rflags = 2;
}

/* After a call that returns to behind itself, with the flags it had, SYSRET does; rcx and r11 are what it wants. */
static void set_way_in(struct vcpu *v, const struct guest_regs *r)
{
	struct kvm_regs *g = &v->run->s.regs.regs;
	u64 frame[] = { r->rip, r->cs, r->eflags, r->rsp, r->ss };

	/* Interrupted in ring 3, it stays there: a way to ring 0 by KVM_SET_SREGS ends in a triple fault on PVM. */
	if ((v->run->s.regs.sregs.cs.selector & 3) == 3) {
		g->rip = r->rip;
		g->rsp = r->rsp;
		g->rflags = r->eflags;
		return;
	}
	if (r->rcx == r->rip && r->r11 == r->eflags && r->cs == SEL_USER_CS && r->rip < CANONICAL_END - PAGE_SIZE &&
	    !(r->eflags & EFLAGS_IRET)) {
		g->rip = ring0_va(ring0_sysret);
		g->rsp = r->rsp;
		return;
	}
	memcpy(&v->cpu->regs.rip, frame, sizeof(frame));
	g->rip = ring0_va(ring0_iret);
	g->rsp = vcpu_cpu_va(v) + CPU_RIP;
}

static void load_regs(struct vcpu *v, struct address_space *as, const struct guest_regs *regs)
{
	struct guest_regs r = *regs;

	sanitise(&r);
	set_general(v, &r);
	set_way_in(v, &r);
	/* KVM clears what it took; a run that never began took nothing. */
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	if (set_system(&v->run->s.regs.sregs, &r, as->root))
		v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
}

/* ---- running ---- */

static void drain_kick(void)
{
	const struct timespec now = { 0 };
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	sigtimedwait(&kick, NULL, &now);
}

/* An exception that KVM has yet to deliver belongs to the instruction where the guest stands; it must come first. */
static bool exception_under_way(struct vcpu *v)
{
	struct kvm_vcpu_events events;

	return !ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events) && (events.exception.injected || events.exception.pending);
}

/* Somebody wants the guest to stop. */
static bool wanted_back(struct context *ctx, struct vcpu *v)
{
	return atomic_load(&ctx->interrupted) || atomic_load(&v->preempt);
}

/*
 * The address space may have gone over to other tables since the registers were loaded. Ring 0 on tables of its own
 * (kvm.kpti) goes by c->root when it leaves them.
 */
static void follow_root(struct vcpu *v)
{
	struct kvm_sregs *s = &v->run->s.regs.sregs;
	u64 root = atomic_load(&v->running)->root;

	v->cpu->root = root;
	if (s->cr3 == root || (machine.kpti && s->cr3 == v->cpu->sentry_root))
		return;
	s->cr3 = root;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
}

/*
 * Until the guest does something of its own or is wanted back. 0, or -errno of KVM_RUN. The order of the first four
 * lines: a kick that comes after vcpu_passed sets immediate_exit and `stop` after we cleared them; one that came before
 * is seen by wanted_back, or was satisfied by our passing. What ring 0 has begun it ends first: it then sees `stop`.
 */
static int run_guest(struct context *ctx, struct vcpu *v, bool *stopped)
{
	int faults = 0;

	for (;;) {
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		atomic_store(&v->cpu->stop, 0);
		vcpu_passed(v);
		*stopped = wanted_back(ctx, v) && !exception_under_way(v);
		if (*stopped && !event_in_sentry(v))
			return 0;
		if (*stopped)
			atomic_store(&v->cpu->stop, 1);
		*stopped = false;
		follow_root(v);		/* after vcpu_passed: see vcpus_kick_out */
		count_host_calls(1);
		stamp_mark(STAMP_BACK);
		if (!ioctl(v->fd, KVM_RUN, 0)) {
			stamp_mark(STAMP_WOKEN);
			return 0;
		}
		if (errno == EINTR)
			drain_kick();
		else if (errno != EAGAIN && (errno != EFAULT || ++faults > EFAULT_MAX))
			return -errno;
	}
}

static void report_stop(struct context *ctx, struct vcpu *v, struct event *ev)
{
	atomic_store(&v->preempt, false);
	*ev = (struct event){ .kind = atomic_exchange(&ctx->interrupted, false) ? EVENT_INTERRUPT : EVENT_PREEMPT };
}

/* Runs and decodes; again if KVM came back for nothing. */
static int run_to_event(struct context *ctx, struct vcpu *v, struct guest_regs *regs, struct event *ev)
{
	bool stopped;

	for (;;) {
		int err = run_guest(ctx, v, &stopped);

		if (err)
			return err;
		if (stopped && v->run->kvm_dirty_regs) {	/* not even begun */
			report_stop(ctx, v, ev);
			return 0;
		}
		if (!stopped && v->run->exit_reason != KVM_EXIT_HLT && v->run->exit_reason != KVM_EXIT_INTR) {
			log_error("kvm: vCPU %d: unexpected exit %u at rip %#llx", v->id, v->run->exit_reason,
				  v->run->s.regs.regs.rip);
			return -EIO;
		}
		if (event_decode(v, regs, ev) == DECODED)
			return 0;
		if (stopped) {
			report_stop(ctx, v, ev);
			return 0;
		}
	}
}

static int enter(struct context *ctx, struct vcpu *v, struct address_space *as, struct guest_regs *regs,
		 struct event *ev)
{
	int err = 0;

	if (v->broken) {
		err = vcpu_set_up(v);
		v->broken = err;
		if (ctx->fp_home == FP_VCPU)
			ctx->fp_home = FP_INITIAL;
	}
	if (!err)
		err = load_fp(ctx, v);
	if (err)
		return err;
	load_regs(v, as, regs);
	v->cpu->home = regs;
	v->cpu->root = as->root;
	atomic_store(&v->tid, ctx->tid);
	atomic_store(&v->running, as);
	atomic_store(&ctx->running, v);
	err = run_to_event(ctx, v, regs, ev);
	atomic_store(&ctx->running, NULL);
	atomic_store(&v->running, NULL);
	vcpu_passed(v);
	return err;
}

int kvm_switch_to(struct context *ctx, struct address_space *as, struct guest_regs *regs, struct event *ev)
{
	struct vcpu *v;
	int err;

	if (!canonical(regs->rip)) {
		event_protection(ev);
		return 0;
	}
	v = vcpu_get(ctx);
	if (!v)
		return -ENOMEM;
	err = enter(ctx, v, as, regs, ev);
	if (err) {
		log_error("kvm: vCPU %d does not run: %s", v->id, strerror(-err));
		v->broken = true;
		*ev = (struct event){ .kind = EVENT_DEAD };
	}
	vcpu_put(v);
	return 0;
}
