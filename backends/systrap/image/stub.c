/*
 * The stub's C: boot, the signal handler, and the hand-over. Freestanding, general registers only, no globals.
 *
 * Threat note. After boot this runs in guest threads, on memory that other guest threads can write. A guest that
 * changes the channel, the frame or this code's stack under it changes its own registers and nothing else: the filter
 * lets this thread make no call but futex on channels, rt_sigreturn, and the one that parks it, and the sentry checks
 * what it reads.
 */
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stdatomic.h>

#include "../abi.h"

void stub_boot(void);
void stub_handler(int signo, u8 *info, u8 *uc);
int stub_call(struct channel *ch);
_Noreturn void stub_park(struct channel *ch);
extern char stub_fast_entry[], stub_fast_marked[], stub_restorer[];

enum { NR_CLOSE = 3, NR_MMAP = 9, NR_MUNMAP = 11, NR_SIGACTION = 13, NR_SIGPROCMASK = 14, NR_SENDMSG = 46, NR_PRCTL = 157,
       NR_FUTEX = 202, NR_EXIT_GROUP = 231, NR_GETPPID = 110, NR_SECCOMP = 317 };

static inline long call6(long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	register u64 r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
	long ret;

	asm volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return ret;
}
#define call(nr, a, b, c)	call6(nr, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)

/* ---- boot: one thread, no guest code in sight; a failure ends the process with the line as exit status ---- */

#define MUST(cond)	do { if (!(cond)) call(NR_EXIT_GROUP, __LINE__ & 0xff, 0, 0); } while (0)

struct kernel_sigaction {
	u64 handler, flags, restorer, mask;
};

static void install_handlers(void)
{
	static const u8 signals[] = { 4, 5, 7, 8, 11, STUB_SIGNAL, 31 };	/* ILL TRAP BUS FPE SEGV, ours, SYS */
	struct kernel_sigaction sa = { .handler = (u64)stub_handler, .flags = 0x0c000004,	/* ONSTACK RESTORER SIGINFO */
				       .restorer = (u64)stub_restorer, .mask = ~0ull };
	u64 mask = ~SYNC_SIGNALS;

	for (unsigned int i = 0; i < sizeof(signals); i++)
		MUST(!call6(NR_SIGACTION, signals[i], (u64)&sa, 0, 8, 0, 0));
	/* The helper never takes STUB_SIGNAL; guest threads unblock it through their first frame. */
	MUST(!call6(NR_SIGPROCMASK, 2, (u64)&mask, 0, 8, 0, 0));
}

/* Give the sentry the listener of our filter. */
static void send_fd(int sock, int fd)
{
	struct { u64 len; int level, type; int fd, pad; } control = { 20, 1, 1, fd, 0 };	/* SOL_SOCKET, SCM_RIGHTS */
	u8 byte = SYSTRAP_ABI_VERSION;
	struct { void *base; u64 len; } iov = { &byte, 1 };
	struct { void *name; u64 namelen; void *iov; u64 iovlen; void *control; u64 controllen; u64 flags; } msg = {
		.iov = &iov, .iovlen = 1, .control = &control, .controllen = 24 };

	MUST(call(NR_SENDMSG, sock, &msg, 0) == 1);
}

void stub_boot(void)
{
	const struct stub_control *control = (void *)STUB_CONTROL;
	long listener;

	MUST(call6(NR_MMAP, STUB_CONTROL, STUB_CONTROL_SIZE, 1, 0x11, STUB_FD_SHARED, 0) == STUB_CONTROL);
	MUST(control->version == SYSTRAP_ABI_VERSION);
	MUST(!call(NR_PRCTL, 1, 9, 0) && (u64)call(NR_GETPPID, 0, 0, 0) == control->sentry_pid);	/* PR_SET_PDEATHSIG */
	call(NR_MUNMAP, 0, STUB_BASE, 0);
	call(NR_MUNMAP, STUB_CONTROL + STUB_CONTROL_SIZE, STUB_CHANNELS + (u64)CHANNEL_MAX * CHANNEL_SIZE - STUB_CONTROL - STUB_CONTROL_SIZE, 0);

	MUST(!call(NR_PRCTL, 38, 1, 0));	/* PR_SET_NO_NEW_PRIVS */
	install_handlers();
	listener = call(NR_SECCOMP, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &control->filter);
	MUST(listener >= 0);
	send_fd(STUB_FD_SOCKET, listener);
	call(NR_CLOSE, listener, 0, 0);
	call(NR_CLOSE, STUB_FD_SOCKET, 0, 0);
}

/* ---- in guest threads ---- */

static inline u64 ticks(void)
{
	u32 lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* Tell the sentry that there is an event, and wait until it has answered: spin as long as it says, then sleep. */
static void exchange(struct channel *ch, u32 kind)
{
	u32 seq = ch->seq + 1;
	u64 start;

	ch->kind = kind;
	__atomic_store_n(&ch->seq, seq, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ch->sentry_sleeps, __ATOMIC_SEQ_CST))
		call(NR_FUTEX, &ch->seq, FUTEX_WAKE, 1);
	if (__atomic_load_n(&ch->spin, __ATOMIC_RELAXED)) {
		start = ticks();
		do {
			for (int i = 0; i < 16; i++) {
				if (__atomic_load_n(&ch->ack, __ATOMIC_ACQUIRE) == seq)
					return;
				__builtin_ia32_pause();
			}
		} while (ticks() - start < __atomic_load_n(&ch->spin, __ATOMIC_RELAXED));
	}
	__atomic_store_n(&ch->stub_sleeps, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		u32 ack = __atomic_load_n(&ch->ack, __ATOMIC_SEQ_CST);

		if (ack == seq)
			break;
		call(NR_FUTEX, &ch->ack, FUTEX_WAIT, ack);
	}
	__atomic_store_n(&ch->stub_sleeps, 0, __ATOMIC_RELAXED);
}

static void hand_over(struct channel *ch, u32 kind)
{
	if (ch->stamp)
		ch->stamp_stub = ticks();
	exchange(ch, kind);
	if (ch->stamp)
		ch->stamp_resumed = ticks();
}

static inline u64 read_fs_base(void) { u64 v; asm volatile("rdfsbase %0" : "=r"(v)); return v; }
static inline u64 read_gs_base(void) { u64 v; asm volatile("rdgsbase %0" : "=r"(v)); return v; }

static inline void take_bases(struct channel *ch)
{
	if (!ch->set_bases)
		return;
	asm volatile("wrfsbase %0" : : "r"(ch->new_fs_base));
	asm volatile("wrgsbase %0" : : "r"(ch->new_gs_base));
}

_Noreturn void stub_make_frame(void);		/* a trap of our own making; returns through the frame, to the guest */
extern char stub_frame_trap[];

#define EFLAGS_TF	0x100ull

/* Called by stub_fast_entry with the guest's registers saved. 1: load all registers, 0: only rax changed. */
int stub_call(struct channel *ch)
{
	int all;

	__atomic_store_n(&ch->phase, PHASE_WAIT, __ATOMIC_RELAXED);
	if (ch->stepping) {
		ch->stepping = 0;
		ch->regs.eflags |= EFLAGS_TF;
	}
	ch->fs_base = read_fs_base();
	ch->gs_base = read_gs_base();
	hand_over(ch, CHANNEL_CALL);
	if (ch->command == COMMAND_FRAME)
		stub_make_frame();
	all = ch->command == COMMAND_RESUME;
	if (all)
		take_bases(ch);
	else
		ch->regs.rax = ch->result;
	__atomic_store_n(&ch->phase, PHASE_RESTORE, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst);
	if (ch->interrupted) {				/* an interrupt came while we waited */
		ch->interrupted = 0;
		stub_make_frame();
	}
	return all;
}

/* Offsets in the kernel's ucontext (asm/ucontext.h, asm/sigcontext.h): gregs start at 40. */
enum { UC_GREGS = 40, G_R8 = 0, G_R9, G_R10, G_R11, G_R12, G_R13, G_R14, G_R15, G_RDI, G_RSI, G_RBP, G_RBX, G_RDX, G_RAX, G_RCX,
       G_RSP, G_RIP, G_EFL };
enum { SI_ARCH = 28 };				/* of SIGSYS's siginfo */

static void frame_from_regs(u64 *g, const struct guest_regs *r)
{
	g[G_R8] = r->r8, g[G_R9] = r->r9, g[G_R10] = r->r10, g[G_R11] = r->r11, g[G_R12] = r->r12, g[G_R13] = r->r13;
	g[G_R14] = r->r14, g[G_R15] = r->r15, g[G_RDI] = r->rdi, g[G_RSI] = r->rsi, g[G_RBP] = r->rbp, g[G_RBX] = r->rbx;
	g[G_RDX] = r->rdx, g[G_RAX] = r->rax, g[G_RCX] = r->rcx, g[G_RSP] = r->rsp, g[G_RIP] = r->rip, g[G_EFL] = r->eflags;
}

static void regs_from_frame(struct guest_regs *r, const u64 *g)
{
	r->r8 = g[G_R8], r->r9 = g[G_R9], r->r10 = g[G_R10], r->r11 = g[G_R11], r->r12 = g[G_R12], r->r13 = g[G_R13];
	r->r14 = g[G_R14], r->r15 = g[G_R15], r->rdi = g[G_RDI], r->rsi = g[G_RSI], r->rbp = g[G_RBP], r->rbx = g[G_RBX];
	r->rdx = g[G_RDX], r->orig_rax = g[G_RAX], r->rcx = g[G_RCX], r->rsp = g[G_RSP], r->rip = g[G_RIP], r->eflags = g[G_EFL];
}

/* The way in does not save what SYSCALL destroys. */
static void show_regs(u64 *g, const struct channel *ch)
{
	frame_from_regs(g, &ch->regs);
	if (ch->command != COMMAND_RESUME) {
		g[G_RCX] = ch->regs.rip;
		g[G_R11] = ch->regs.eflags;
	}
}

/*
 * A signal stopped the thread inside the stub. True: go on, nothing to tell. False: the frame now shows the guest's
 * registers, publish it. An interrupt in the middle of a save is remembered; while registers are being restored the
 * channel's copy is the whole truth.
 */
static bool inside_stub(struct channel *ch, int signo, u64 *g, u32 *kind)
{
	u64 rip = g[G_RIP];
	u32 phase = rip >= (u64)stub_fast_entry && rip <= (u64)stub_fast_marked ? PHASE_SAVE : ch->phase;

	if (signo == 31 && rip == (u64)stub_frame_trap) {
		show_regs(g, ch);
		*kind = CHANNEL_FRAMED;
		return false;
	}
	if (signo == 31)
		return false;			/* a new thread's first trap, or a guest that jumped here */
	if (phase == PHASE_RESTORE) {
		/* An interrupt, a single step, or a return to where no code can be: the guest's own, at its own rip. */
		show_regs(g, ch);
		return false;
	}
	if (signo == 5) {			/* the guest single-steps: not through here, but on behind it */
		g[G_EFL] &= ~EFLAGS_TF;
		ch->stepping = 1;
		return true;
	}
	if (signo != STUB_SIGNAL) {
		ch->broken = signo;
		*kind = CHANNEL_BROKEN;
		return false;
	}
	ch->interrupted = 1;
	return true;
}

void stub_handler(int signo, u8 *info, u8 *uc)
{
	u64 base = (u64)__builtin_frame_address(0) & ~(u64)(CHANNEL_SIZE - 1);
	struct channel *ch = (void *)(base + CHANNEL_PAGE);
	u64 *g = (u64 *)(uc + UC_GREGS);
	u32 kind = CHANNEL_TRAP;

	if (g[G_RIP] - STUB_BASE < STUB_LIMIT - STUB_BASE && inside_stub(ch, signo, g, &kind))
		return;
	ch->fs_base = read_fs_base();
	ch->gs_base = read_gs_base();
	ch->frame = (u64)uc - base;
	ch->info = (u64)info - base;
	if (kind == CHANNEL_TRAP && signo == 31 && *(const u32 *)(info + SI_ARCH) == AUDIT_ARCH_X86_64) {
		/* The sentry and the next signal then fight for fewer cache lines. */
		regs_from_frame(&ch->regs, g);
		kind = CHANNEL_SIGSYS;
	}
	hand_over(ch, kind);
	if (ch->command == COMMAND_RESULT)
		g[G_RAX] = ch->result;
	else if (ch->command == COMMAND_PARK)
		stub_park(ch);
	else
		take_bases(ch);
}
