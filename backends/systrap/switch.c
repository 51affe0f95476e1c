/*
 * switch_to: answer the last event with new registers, wait for the next, and say what it was.
 *
 * The stub thread waits either in a signal frame or in a patched call (slot->framed). In a frame all state lies in the
 * channel: registers and extended state are read and edited in place. In a patched call the extended state is still in the
 * thread's registers; whoever needs it first asks the stub to make a frame.
 *
 * Threat note. Frame, siginfo and registers are in memory that other threads of the guest can write at any time. Each
 * word is read once; offsets are checked against the channel; values only ever become that guest's own registers and
 * event. Counting `running` or "the thread has stopped" from here is good enough for that guest's own semantics,
 * never for the safety of another's memory: unmaps are vouched for by the kernel (helper.c).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "backends/systrap/systrap.h"

enum { TRAP_PF = 14, PF_WRITE = 2, PF_INSTR = 16, USER_CS = 0x33, USER_SS = 0x2b, UPROBE_NR = 335 };

static u8 *channel_base(const struct channel_slot *slot)
{
	return (u8 *)slot->ch - CHANNEL_PAGE;
}

/* The ucontext of a framed slot; the offset was checked when it was taken. */
static ucontext_t *frame_of(const struct channel_slot *slot)
{
	return (ucontext_t *)(channel_base(slot) + slot->frame);
}

/* Take the frame's place from the channel: once, and only if all of it lies on the signal stack. */
static int take_frame(struct channel_slot *slot)
{
	u32 frame = __atomic_load_n(&slot->ch->frame, __ATOMIC_RELAXED);
	u32 info = __atomic_load_n(&slot->ch->info, __ATOMIC_RELAXED);

	if (frame > CHANNEL_ALTSTACK_SIZE - sizeof(ucontext_t) || info > CHANNEL_ALTSTACK_SIZE - sizeof(siginfo_t) || (frame | info) & 7)
		return -EINVAL;
	slot->frame = frame;
	slot->info = info;
	slot->framed = true;
	return 0;
}

/* The frame's XSAVE image, or NULL if its place or size is not what the kernel would have made. */
static u8 *frame_xstate(const struct channel_slot *slot)
{
	u64 at = (u64)__atomic_load_n((u64 *)&frame_of(slot)->uc_mcontext.fpregs, __ATOMIC_RELAXED);
	u64 base = STUB_CHANNELS + (channel_base(slot) - slot->as->channels);

	if (at < base || at - base > CHANNEL_ALTSTACK_SIZE - xstate_size() || at & 63)
		return NULL;
	return channel_base(slot) + (at - base);
}

static void regs_from_frame(struct guest_regs *r, const ucontext_t *uc, const struct channel *ch)
{
	const volatile greg_t *g = uc->uc_mcontext.gregs;

	*r = (struct guest_regs){
		.r8 = g[REG_R8], .r9 = g[REG_R9], .r10 = g[REG_R10], .r11 = g[REG_R11], .r12 = g[REG_R12], .r13 = g[REG_R13],
		.r14 = g[REG_R14], .r15 = g[REG_R15], .rdi = g[REG_RDI], .rsi = g[REG_RSI], .rbp = g[REG_RBP], .rbx = g[REG_RBX],
		.rdx = g[REG_RDX], .rax = g[REG_RAX], .rcx = g[REG_RCX], .rsp = g[REG_RSP], .rip = g[REG_RIP],
		.eflags = g[REG_EFL], .cs = (u16)g[REG_CSGSFS], .ss = (u64)g[REG_CSGSFS] >> 48,
		.fs_base = ch->fs_base, .gs_base = ch->gs_base, .orig_rax = -1ull,
	};
}

static void frame_from_regs(ucontext_t *uc, const struct guest_regs *r)
{
	greg_t *g = uc->uc_mcontext.gregs;

	g[REG_R8] = r->r8, g[REG_R9] = r->r9, g[REG_R10] = r->r10, g[REG_R11] = r->r11, g[REG_R12] = r->r12, g[REG_R13] = r->r13;
	g[REG_R14] = r->r14, g[REG_R15] = r->r15, g[REG_RDI] = r->rdi, g[REG_RSI] = r->rsi, g[REG_RBP] = r->rbp, g[REG_RBX] = r->rbx;
	g[REG_RDX] = r->rdx, g[REG_RAX] = r->rax, g[REG_RCX] = r->rcx, g[REG_RSP] = r->rsp, g[REG_RIP] = r->rip;
	g[REG_EFL] = r->eflags;
	g[REG_CSGSFS] = (greg_t)(USER_CS | (u64)USER_SS << 48);
	memset(&uc->uc_sigmask, 0, 8);
	*(u64 *)&uc->uc_sigmask = ~GUEST_SIGNALS;
}

/* ---- events ---- */

static void syscall_event(struct guest_regs *r, struct event *ev)
{
	ev->kind = EVENT_SYSCALL;
	r->orig_rax = r->rax;
	r->rax = -ENOSYS;
}

static void fault_event(struct event *ev, u64 error_code, u64 cr2)
{
	ev->kind = EVENT_FAULT;
	ev->signo = SIGSEGV;
	ev->addr = cr2;
	ev->access = error_code & PF_INSTR ? ACCESS_EXEC : error_code & PF_WRITE ? ACCESS_WRITE : ACCESS_READ;
}

/* int $0x80: what a kernel without 32-bit support does. */
static void int80_event(struct guest_regs *r, struct event *ev)
{
	r->rip -= 2;
	*ev = (struct event){ .kind = EVENT_EXCEPTION, .signo = SIGSEGV, .code = SI_KERNEL, .trapno = 13, .error_code = 0x402 };
}

static void trap_event(struct channel_slot *slot, struct guest_regs *r, struct event *ev)
{
	const ucontext_t *uc = frame_of(slot);
	siginfo_t info;

	memcpy(&info, channel_base(slot) + slot->info, sizeof(info));
	regs_from_frame(r, uc, slot->ch);
	*ev = (struct event){ .kind = EVENT_EXCEPTION, .signo = info.si_signo, .code = info.si_code, .addr = (u64)info.si_addr,
			      .trapno = ((const volatile greg_t *)uc->uc_mcontext.gregs)[REG_TRAPNO],
			      .error_code = ((const volatile greg_t *)uc->uc_mcontext.gregs)[REG_ERR] };
	switch (info.si_signo) {
	case SIGSYS:
		int80_event(r, ev);
		break;
	case STUB_SIGNAL:
		ev->kind = EVENT_INTERRUPT;
		break;
	case SIGSEGV:
		if (ev->trapno == TRAP_PF)
			fault_event(ev, ev->error_code, ((const volatile greg_t *)uc->uc_mcontext.gregs)[REG_CR2]);
		break;
	case SIGILL:
		/*
		 * Calls 335 and 336 (uretprobe, uprobe) pass every filter since Linux 6.11 and end in a SIGILL of the kernel's
		 * own, with the number lost: to the guest both are calls that do not exist.
		 */
		if (info.si_code == SI_KERNEL && !ev->trapno) {
			r->rax = UPROBE_NR;
			syscall_event(r, ev);
		}
		break;
	case SIGTRAP: case SIGBUS: case SIGFPE:
		break;
	default:
		ev->kind = EVENT_DEAD;
	}
}

/* Its registers are in the channel; behind `ss` nothing there counts, and the last of these lines is the stub's own. */
static void call_event(struct context *ctx, struct guest_regs *r, struct event *ev, bool trapped)
{
	struct channel *ch = ctx->slot->ch;

	memcpy(r, &ch->regs, offsetof(struct guest_regs, fs_base));
	r->cs = USER_CS;
	r->ss = USER_SS;
	if (!trapped) {
		r->rcx = r->rip;
		r->r11 = r->eflags;
	}
	r->rax = r->orig_rax;
	r->ds = r->es = r->fs = r->gs = 0;
	r->fs_base = ch->fs_base;
	r->gs_base = ch->gs_base;
	syscall_event(r, ev);
	ev->trapped = trapped;
	ctx->last_valid = true;
}

static void take_event(struct context *ctx, struct guest_regs *r, struct event *ev)
{
	struct channel_slot *slot = ctx->slot;
	u32 kind = __atomic_load_n(&slot->ch->kind, __ATOMIC_RELAXED);

	*ev = (struct event){ .kind = EVENT_DEAD };
	slot->framed = false;
	ctx->last_valid = false;
	if (kind == CHANNEL_CALL) {
		call_event(ctx, r, ev, false);
	} else if (kind == CHANNEL_SIGSYS && !take_frame(slot)) {
		call_event(ctx, r, ev, true);
	} else if (kind == CHANNEL_TRAP && !take_frame(slot)) {
		trap_event(slot, r, ev);
	} else if (kind == CHANNEL_FRAMED && !take_frame(slot)) {
		/* An interrupt that met a patched call in the middle. */
		regs_from_frame(r, frame_of(slot), slot->ch);
		ev->kind = EVENT_INTERRUPT;
	}
	ctx->last = *r;
}

/* ---- binding ---- */

/* Make a patched call's state a frame, registers included. */
static int need_frame(struct context *ctx)
{
	int err;

	if (ctx->slot->framed)
		return 0;
	err = handoff_answer_and_wait(ctx, COMMAND_FRAME);
	if (err)
		return err;
	ctx->last_valid = false;
	if (ctx->slot->ch->kind != CHANNEL_FRAMED)
		return -EIO;
	return take_frame(ctx->slot);
}

static int fp_load(struct context *ctx)
{
	u8 *x;
	int err = need_frame(ctx);

	if (err)
		return err;
	x = frame_xstate(ctx->slot);
	if (!x)
		return -EIO;
	/* Bytes 464 to 511 say how large the frame is; they are the kernel's. */
	memcpy(x, ctx->fp, 464);
	memcpy(x + 512, ctx->fp + 512, xstate_size() - 512);
	ctx->fp_pending = false;
	return 0;
}

static int fp_save(struct context *ctx, u8 *buf)
{
	const u8 *x;
	u64 bv;
	int err = need_frame(ctx);

	if (err)
		return err;
	x = frame_xstate(ctx->slot);
	if (!x)
		return -EIO;
	memcpy(buf, x, xstate_size());
	memset(buf + 464, 0, 48);
	memcpy(&bv, buf + 512, sizeof(bv));
	bv &= xstate_features();	/* a kernel with MPX saves components that guests are not offered */
	memcpy(buf + 512, &bv, sizeof(bv));
	return 0;
}

static void set_slot(struct context *ctx, struct channel_slot *slot)
{
	pthread_mutex_lock(&ctx->bind_lock);
	ctx->slot = slot;
	pthread_mutex_unlock(&ctx->bind_lock);
}

static void unbind(struct context *ctx)
{
	struct channel_slot *slot = ctx->slot;

	if (!slot)
		return;
	handoff_unbind(ctx);
	set_slot(ctx, NULL);
	slot_release(ctx->as, slot);
	process_put(ctx->as);
	ctx->as = NULL;
	ctx->last_valid = false;
}

/* A new thread: its first event is the trap that it arrives with. */
static int first_event(struct context *ctx)
{
	int err = handoff_wait(ctx);

	if (err)
		return err;
	ctx->slot->fresh = false;
	err = take_frame(ctx->slot);
	if (!err)
		park_learn(ctx->as, ctx->slot);
	return err;
}

static int bind(struct context *ctx, struct address_space *as)
{
	struct channel_slot *slot;
	int err;

	if (ctx->slot && !ctx->fp_pending) {
		err = fp_save(ctx, ctx->fp);
		if (err == -ESRCH)
			xstate_init_image(ctx->fp);	/* that stub is gone; its guest's state with it */
		else if (err)
			return err;
	}
	unbind(ctx);
	err = slot_acquire(as, &slot);
	if (err)
		return err;
	set_slot(ctx, slot);
	atomic_fetch_add(&as->users, 1);
	ctx->as = as;
	ctx->fp_pending = true;
	handoff_bind(ctx);
	return slot->fresh ? first_event(ctx) : 0;
}

/* ---- the switch ---- */

static bool only_rax(struct context *ctx, const struct guest_regs *r)
{
	ctx->last.rax = r->rax;
	return !memcmp(r, &ctx->last, sizeof(*r));
}

static int prepare(struct context *ctx, const struct guest_regs *r, u32 *command)
{
	struct channel *ch = ctx->slot->ch;
	int err = ctx->fp_pending ? fp_load(ctx) : 0;

	if (err)
		return err;
	if (systrap_patch && (ctx->slot->fs_base != r->fs_base || !atomic_load_explicit(&ctx->slot->fs_known, memory_order_relaxed)))
		table_publish(ctx->as, ctx->slot, r->fs_base);
	if (ctx->last_valid && only_rax(ctx, r)) {
		ch->result = r->rax;
		*command = COMMAND_RESULT;
		return 0;
	}
	ch->set_bases = r->fs_base != ctx->last.fs_base || r->gs_base != ctx->last.gs_base || !ctx->last.rip;
	ch->new_fs_base = r->fs_base;
	ch->new_gs_base = r->gs_base;
	if (ctx->slot->framed) {
		frame_from_regs(frame_of(ctx->slot), r);
		*command = COMMAND_FRAME_RESUME;
	} else {
		memcpy(&ch->regs, r, sizeof(*r));
		*command = COMMAND_RESUME;
	}
	return 0;
}

static bool canonical(u64 addr)
{
	return (s64)(addr << 16) >> 16 == (s64)addr;
}

int systrap_switch_to(struct context *ctx, struct address_space *as, struct guest_regs *r, struct event *ev)
{
	u32 command;
	int err = 0;

	if (ctx->as != as) {
		err = bind(ctx, as);
		ctx->last.rip = 0;
	}
	if (err)
		goto failed;
	if (!canonical(r->fs_base) || !canonical(r->gs_base))
		return -EINVAL;
	err = queue_enter(&as->maps);
	if (!err)
		err = prepare(ctx, r, &command);
	if (err)
		goto out;

	place_enter(ctx->place);
	atomic_store(&ctx->running, 1);
	if (atomic_exchange(&ctx->interrupted, 0)) {
		atomic_store(&ctx->running, 0);
		ctx->last_valid = false;
		*ev = (struct event){ .kind = EVENT_INTERRUPT };
		goto out;
	}
	err = handoff_answer_and_wait(ctx, command);
	atomic_store_explicit(&ctx->running, 0, memory_order_relaxed);
	if (err)
		goto out;
	take_event(ctx, r, ev);
	if (ev->kind == EVENT_INTERRUPT)
		atomic_store(&ctx->interrupted, 0);
out:
	place_leave(ctx->place);
	queue_leave(&as->maps);
failed:
	if (err)
		*ev = (struct event){ .kind = EVENT_DEAD };
	return err == -ESRCH ? 0 : err;
}

int systrap_fp_read(struct context *ctx, void *buf)
{
	if (ctx->fp_pending || !ctx->slot) {
		memcpy(buf, ctx->fp, xstate_size());
		return 0;
	}
	return fp_save(ctx, buf);
}

int systrap_fp_write(struct context *ctx, const void *buf)
{
	int err = xstate_check(buf);

	if (err)
		return err;
	memcpy(ctx->fp, buf, xstate_size());
	ctx->fp_pending = true;
	return 0;
}

int systrap_context_create(struct context **out)
{
	struct context *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return -ENOMEM;
	ctx->fp = aligned_alloc(64, align_up(xstate_size(), 64));
	if (!ctx->fp) {
		free(ctx);
		return -ENOMEM;
	}
	xstate_init_image(ctx->fp);
	ctx->fp_pending = true;
	pthread_mutex_init(&ctx->bind_lock, NULL);
	ctx->place = place_create();
	*out = ctx;
	return 0;
}

void systrap_context_destroy(struct context *ctx)
{
	unbind(ctx);
	pthread_mutex_destroy(&ctx->bind_lock);
	place_destroy(ctx->place);
	free(ctx->fp);
	free(ctx);
}

/* A thread that is in the stub takes the signal when it leaves: an interrupt more than asked for, never one less. */
void systrap_interrupt(struct context *ctx)
{
	atomic_store(&ctx->interrupted, 1);
	if (!atomic_load(&ctx->running))
		return;
	pthread_mutex_lock(&ctx->bind_lock);
	if (ctx->slot)
		syscall(SYS_tgkill, ctx->slot->tid, ctx->slot->tid, STUB_SIGNAL);
	pthread_mutex_unlock(&ctx->bind_lock);
}
