/*
 * Signal frames on the guest's stack, byte for byte as Linux lays them out on x86-64, and the way back from them.
 *
 *	high	magic2, end of the XSAVE image
 *		XSAVE image, 64-byte aligned; its software bytes say how long it is and what it holds
 *		struct rt_sigframe; rsp at the handler's entry points here, 8 below a multiple of 16
 *
 * Everything read back was written by the guest and may be anything: it is copied once, then checked. What is wrong with
 * it ends in the guest's own SIGSEGV.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mm/mm.h"
#include "task/signal.h"

#define RED_ZONE	128
#define USER_CS		0x33
#define USER_SS		0x2b

enum { UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4 };

/* Flags that a handler may change in the interrupted code: AC OF DF TF SF ZF AF PF CF RF. */
#define FLAGS_FREE	0x50dd5ull
#define FLAG_TF		0x100ull
#define FLAG_DF		0x400ull
#define FLAG_RF		0x10000ull

struct sigcontext_frame {
	u64 r8, r9, r10, r11, r12, r13, r14, r15;
	u64 rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u16 cs, gs, fs, ss;
	u64 err, trapno, oldmask, cr2;
	gva_t fpstate;
	u64 reserved[8];
};

struct rt_frame {
	gva_t pretcode;
	u64 uc_flags;
	gva_t uc_link;
	struct guest_stack uc_stack;
	struct sigcontext_frame sc;
	sigset64 uc_mask;
	union guest_siginfo info;
};
_Static_assert(offsetof(struct rt_frame, sc) == 48, "uc_mcontext is 40 bytes into ucontext");
_Static_assert(offsetof(struct rt_frame, uc_mask) == 304, "sigcontext is 256 bytes");
_Static_assert(offsetof(struct rt_frame, info) == 312, "ucontext is 304 bytes");
_Static_assert(sizeof(struct rt_frame) == 440, "struct rt_sigframe");

/* The software bytes of the XSAVE image, at 464. */
#define FP_MAGIC1	0x46505853u
#define FP_MAGIC2	0x46505845u

struct fp_software {
	u32 magic1, extended_size;
	u64 features;
	u32 xstate_size;
	u32 padding[7];
};
_Static_assert(sizeof(struct fp_software) == 48, "struct _fpx_sw_bytes");

#define FP_LEGACY	512		/* the FXSAVE part */
#define FP_HEADER	64
#define FP_SOFTWARE	464
#define FEATURES_FPSSE	3ull
#define XRSTOR_ALIGN	64
#define FXRSTOR_ALIGN	16

static u64 *fp_header_features(u8 *image)
{
	return (u64 *)(image + FP_LEGACY);
}

/* ---- the alternate stack ---- */

#define SS_AUTODISARM_BIT	0x80000000u
#define MIN_ALTSTACK	2048		/* the ABI's MINSIGSTKSZ: the kernel checks no more than that either */

void signal_altstack_reset(struct task *t)
{
	memset(&t->altstack, 0, sizeof(t->altstack));
}

static bool on_altstack(struct task *t, gva_t sp)
{
	return sp > t->altstack.sp && sp - t->altstack.sp <= t->altstack.size;
}

u32 altstack_status(struct task *t, gva_t sp)
{
	if (!t->altstack.size)
		return SS_DISABLE;
	/* With autodisarm the stack is off while it is in use. */
	return !(t->altstack.flags & SS_AUTODISARM_BIT) && on_altstack(t, sp) ? SS_ONSTACK : 0;
}

void altstack_save(struct task *t, struct guest_stack *out)
{
	memset(out, 0, sizeof(*out));
	out->sp = t->altstack.sp;
	out->size = t->altstack.size;
	out->flags = t->altstack.size ? t->altstack.flags : (t->altstack.flags | SS_DISABLE);
}

int altstack_set(struct task *t, const struct guest_stack *new, gva_t sp)
{
	u32 mode = (u32)new->flags & ~SS_AUTODISARM_BIT;

	if (altstack_status(t, sp) == SS_ONSTACK)
		return -EPERM;
	if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
		return -EINVAL;
	if (mode == SS_DISABLE) {
		signal_altstack_reset(t);
		t->altstack.flags = (u32)new->flags & SS_AUTODISARM_BIT;
		return 0;
	}
	if (new->size < MIN_ALTSTACK)
		return -ENOMEM;
	t->altstack.sp = new->sp;
	t->altstack.size = new->size;
	t->altstack.flags = new->flags;
	return 0;
}

/* ---- building ---- */

struct layout {
	gva_t frame, fp;
};

static int place_frame(struct task *t, const struct sigaction_entry *a, struct layout *out)
{
	gva_t sp = t->regs.rsp;
	bool on_it = t->altstack.size && on_altstack(t, sp), entering = false;

	sp -= RED_ZONE;
	if ((a->flags & SA_ONSTACK) && altstack_status(t, sp) == 0) {
		sp = t->altstack.sp + t->altstack.size;
		entering = true;
	}
	out->fp = align_down(sp - (xstate_size() + sizeof(u32)), 64);
	out->frame = align_down(out->fp - sizeof(struct rt_frame), 16) - 8;
	/* An alternate stack that overflows must not run into what lies below it. */
	if ((on_it || entering) && !on_altstack(t, out->frame))
		return -EFAULT;
	return guest_range_ok(out->frame, out->fp + xstate_size() + sizeof(u32) - out->frame) ? 0 : -EFAULT;
}

/*
 * The guest's extended state goes to the stack, and the handler begins with the initial one. Writing the state back to
 * the backend is saved where it is the initial one already.
 */
/* *initial: all of it is as a new program finds it. */
static int push_fp(struct task *t, gva_t fp, bool *initial)
{
	size_t size = xstate_size();
	const struct fp_software sw = { FP_MAGIC1, size + sizeof(u32), xstate_features(), size, { 0 } };
	const u32 magic2 = FP_MAGIC2;
	u8 *image = malloc(size);
	int err;

	if (!image)
		return -ENOMEM;
	err = platform->fp_read(t->ctx, image);
	if (err)
		goto out;
	*initial = *fp_header_features(image) == 0;
	memcpy(image + FP_SOFTWARE, &sw, sizeof(sw));
	*fp_header_features(image) |= FEATURES_FPSSE;
	err = copy_out(t->mm, fp, image, size);
	if (!err)
		err = put_user(t->mm, fp + size, &magic2);
out:
	free(image);
	return err;
}

/* For the handler; only when all of the frame is written, since a frame that fails leaves the task as it was. */
static int reset_fp(struct task *t)
{
	u8 *image = malloc(xstate_size());
	int err;

	if (!image)
		return -ENOMEM;
	xstate_init_image(image);
	err = platform->fp_write(t->ctx, image);
	free(image);
	return err;
}

static void save_regs(struct task *t, struct sigcontext_frame *sc)
{
	const struct guest_regs *r = &t->regs;

	*sc = (struct sigcontext_frame){
		.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
		.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
		.rdi = r->rdi, .rsi = r->rsi, .rbp = r->rbp, .rbx = r->rbx,
		.rdx = r->rdx, .rax = r->rax, .rcx = r->rcx, .rsp = r->rsp,
		.rip = r->rip, .eflags = r->eflags, .cs = USER_CS, .ss = USER_SS,
		.err = t->trap_error, .trapno = t->trapno, .cr2 = t->trap_addr,
	};
}

static void enter_handler(struct task *t, const struct delivery *d, gva_t frame)
{
	struct guest_regs *r = &t->regs;

	r->rdi = d->signo;
	r->rsi = frame + offsetof(struct rt_frame, info);
	r->rdx = frame + offsetof(struct rt_frame, uc_flags);
	r->rax = 0;		/* number of vector arguments, should the handler be declared without a prototype */
	r->rip = d->action.handler;
	r->rsp = frame;
	r->eflags &= ~(FLAG_DF | FLAG_RF | FLAG_TF);
	r->cs = USER_CS;
	r->ss = USER_SS;
}

int sigframe_push(struct task *t, const struct delivery *d, sigset64 mask)
{
	struct rt_frame f;
	struct layout at;
	u64 len = offsetof(struct rt_frame, info);
	bool initial;
	int err;

	if (!(d->action.flags & GUEST_SA_RESTORER))
		return -EFAULT;
	err = place_frame(t, &d->action, &at);
	if (!err)
		err = push_fp(t, at.fp, &initial);
	if (err)
		return err;

	memset(&f, 0, sizeof(f));
	f.pretcode = d->action.restorer;
	f.uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	altstack_save(t, &f.uc_stack);
	save_regs(t, &f.sc);
	f.sc.oldmask = mask;
	f.sc.fpstate = at.fp;
	f.uc_mask = mask;
	if (d->action.flags & SA_SIGINFO) {
		f.info = d->info;
		len = sizeof(f);
	}
	err = copy_out(t->mm, at.frame, &f, len);
	if (!err && !initial)
		err = reset_fp(t);
	if (err)
		return err;
	enter_handler(t, d, at.frame);
	if (t->altstack.flags & SS_AUTODISARM_BIT)
		signal_altstack_reset(t);
	return 0;
}

/* ---- the way back ---- */

/*
 * Read an image of the size that its own software bytes claim. Without credible ones it is a plain FXSAVE area, as
 * written by old programs: the rest of the state is then the initial one.
 */
static int read_fp(struct task *t, gva_t fp, u8 *image)
{
	size_t size = xstate_size();
	struct fp_software sw;
	u32 magic2;

	if (copy_in(t->mm, image, fp, FP_LEGACY))
		return -EFAULT;
	memcpy(&sw, image + FP_SOFTWARE, sizeof(sw));
	memset(image + FP_SOFTWARE, 0, sizeof(sw));
	if (sw.magic1 != FP_MAGIC1 || sw.xstate_size < FP_LEGACY + FP_HEADER || sw.xstate_size > size ||
	    sw.xstate_size > sw.extended_size)
		goto legacy;
	if (get_user(t->mm, &magic2, fp + sw.xstate_size))
		return -EFAULT;
	if (magic2 != FP_MAGIC2)
		goto legacy;
	if (fp % XRSTOR_ALIGN)
		return -EFAULT;
	if (copy_in(t->mm, image + FP_LEGACY, fp + FP_LEGACY, sw.xstate_size - FP_LEGACY))
		return -EFAULT;
	if (xstate_check(image))
		return -EINVAL;
	*fp_header_features(image) &= sw.features;
	return 0;
legacy:
	if (fp % FXRSTOR_ALIGN)
		return -EFAULT;
	*fp_header_features(image) = FEATURES_FPSSE;
	return xstate_check(image);
}

static int pop_fp(struct task *t, gva_t fp)
{
	u8 *image = malloc(xstate_size());
	int err = 0;

	if (!image)
		return -ENOMEM;
	xstate_init_image(image);
	if (fp)
		err = read_fp(t, fp, image);
	if (!err)
		err = platform->fp_write(t->ctx, image);
	free(image);
	return err;
}

static bool canonical(gva_t addr)
{
	return (u64)((s64)(addr << 16) >> 16) == addr;
}

static void restore_regs(struct task *t, const struct sigcontext_frame *sc)
{
	struct guest_regs *r = &t->regs;

	r->r8 = sc->r8;
	r->r9 = sc->r9;
	r->r10 = sc->r10;
	r->r11 = sc->r11;
	r->r12 = sc->r12;
	r->r13 = sc->r13;
	r->r14 = sc->r14;
	r->r15 = sc->r15;
	r->rdi = sc->rdi;
	r->rsi = sc->rsi;
	r->rbp = sc->rbp;
	r->rbx = sc->rbx;
	r->rdx = sc->rdx;
	r->rax = sc->rax;
	r->rcx = sc->rcx;
	r->rsp = sc->rsp;
	r->rip = sc->rip;
	r->eflags = (r->eflags & ~FLAGS_FREE) | (sc->eflags & FLAGS_FREE);
	r->cs = USER_CS;
	r->ss = USER_SS;
	r->orig_rax = (u64)-1;		/* what is resumed is no call to restart */
}

/* Natively a bad selector or address only faults at the IRET that uses it, with the same SIGSEGV. */
static bool resumable(const struct sigcontext_frame *sc, u64 uc_flags)
{
	if ((sc->cs | 3) != USER_CS || !canonical(sc->rip))
		return false;
	return !(uc_flags & UC_STRICT_RESTORE_SS) || (sc->ss | 3) == USER_SS;
}

int sigframe_pop(struct task *t)
{
	struct rt_frame f;

	if (copy_in(t->mm, &f, t->regs.rsp - sizeof(f.pretcode), offsetof(struct rt_frame, info)))
		return -EFAULT;
	signal_set_blocked(t, f.uc_mask);
	/* Its errors are ignored, as the kernel does; that it is in use counts by the handler's stack pointer. */
	altstack_set(t, &f.uc_stack, t->regs.rsp);
	restore_regs(t, &f.sc);
	return pop_fp(t, f.sc.fpstate) || !resumable(&f.sc, f.uc_flags) ? -EFAULT : 0;
}
