/*
 * Contexts: a worker thread of the address space's stub, traced by the task's own thread.
 *
 * The fast path is four host calls: PTRACE_SYSEMU, wait4, PTRACE_GETREGS, PTRACE_SETREGS; the last only if core
 * changed a register. Extended state stays in the worker. Workers only ever run guest code, under PTRACE_SYSEMU, so no
 * instruction of the guest reaches the host as a system call, wherever it stands.
 *
 * Threats. A worker's registers are the guest's, complete, and harmless: the host lets a tracer set only what user code
 * could. The guest may kill nothing and signal nobody. It may find the stub's two pages and run them, to no effect. From
 * outside the stub may be killed or signalled: EVENT_DEAD and nothing, respectively.
 */
#include "backends/ptrace/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(sizeof(struct guest_regs) == sizeof(struct user_regs_struct), "PTRACE_GETREGS fills it");
_Static_assert(offsetof(struct guest_regs, gs_base) == offsetof(struct user_regs_struct, gs_base), "same order");

enum {
	USER_CS = 0x33, USER_CS_COMPAT = 0x23, USER_DS = 0x2b,
	EFLAGS_INIT = 0x202,
};

static void count_host_calls(u64 n) { atomic_fetch_add_explicit(&stub_host_calls, n, memory_order_relaxed); }

int ptrace_context_create(struct context **out)
{
	struct context *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return -ENOMEM;
	ctx->fp = calloc(1, xstate_size());
	if (!ctx->fp) {
		free(ctx);
		return -ENOMEM;
	}
	ctx->place = place_create();
	*out = ctx;
	return 0;
}

/* ---- the worker ---- */

/* Killed: collect it, so that its process can be buried. */
static void worker_reap(struct context *ctx)
{
	int status;
	pid_t r;

	do {
		r = wait4(ctx->tid, &status, __WALL | __WNOTHREAD, NULL);
	} while ((r < 0 && errno == EINTR) || (r > 0 && WIFSTOPPED(status)));
	place_worker(ctx->place, 0);
	ctx->tid = 0;
	ctx->loaded = false;
}

/* The stub is gone, or the worker: nobody else in this address space can go on either. */
static void worker_dead(struct context *ctx)
{
	stub_kill(ctx->as->maps.stub);
	if (ctx->tid)
		worker_reap(ctx);
	if (ctx->fp_home == FP_WORKER)
		ctx->fp_home = FP_INITIAL;
}

/* 0 with the wait status of a stop, or -ESRCH. */
static int worker_wait(pid_t tid, int *status)
{
	pid_t r;

	do {
		r = wait4(tid, status, __WALL | __WNOTHREAD, NULL);
	} while (r < 0 && errno == EINTR);
	return r == tid && WIFSTOPPED(*status) ? 0 : -ESRCH;
}

static int worker_seize(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL))
		return errno == ESRCH ? -ESRCH : -EPERM;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) || worker_wait(tid, &status))
		return -ESRCH;
	/* A signal from outside may come first; it is dropped, and the interrupt's stop follows. */
	while (status >> 16 != PTRACE_EVENT_STOP)
		if (ptrace(PTRACE_CONT, tid, NULL, NULL) || worker_wait(tid, &status))
			return -ESRCH;
	return 0;
}

static int bind(struct context *ctx, struct address_space *as)
{
	bool fresh;
	u8 *image = ctx->fp;
	int err;

	atomic_fetch_add(&as->refs, 1);
	ctx->as = as;
	ctx->loaded = false;
	err = stub_maps_worker(&as->maps, &ctx->tid, &fresh);
	if (err)
		return err;
	err = worker_seize(ctx->tid);
	if (err) {
		ctx->tid = 0;
		return err;
	}
	place_worker(ctx->place, ctx->tid);
	if (ctx->fp_home == FP_INITIAL) {
		if (fresh)
			goto done;
		xstate_init_image(image);
	}
	err = fp_load(ctx->tid, image);
	if (err)
		return err;
done:
	ctx->fp_home = FP_WORKER;
	return 0;
}

/* Send the worker to the stub's own code and let it go. */
static int worker_release(struct context *ctx)
{
	struct user_regs_struct regs = { .cs = USER_CS, .ss = USER_DS, .eflags = EFLAGS_INIT, .orig_rax = ~0UL };

	bool let_go;

	regs.rip = stub_maps_worker_leave(&ctx->as->maps);
	let_go = !ptrace(PTRACE_SETREGS, ctx->tid, NULL, &regs) && !ptrace(PTRACE_DETACH, ctx->tid, NULL, NULL);
	stub_maps_worker_left(&ctx->as->maps, regs.rip, let_go ? ctx->tid : 0);
	return let_go ? 0 : -ESRCH;
}

static void unbind(struct context *ctx)
{
	struct address_space *as = ctx->as;

	if (!as)
		return;
	if (ctx->tid && ctx->fp_home == FP_WORKER) {
		if (!fp_save(ctx->tid, ctx->fp))
			ctx->fp_home = FP_IMAGE;
		else
			ctx->fp_home = FP_INITIAL;
	}
	if (ctx->tid && worker_release(ctx))
		worker_dead(ctx);
	place_worker(ctx->place, 0);
	ctx->tid = 0;
	ctx->as = NULL;
	address_space_put(as);
}

void ptrace_context_destroy(struct context *ctx)
{
	ctx->fp_home = FP_INITIAL;	/* nothing to save */
	unbind(ctx);
	place_destroy(ctx->place);
	free(ctx->fp);
	free(ctx);
}

/* ---- interrupts ---- */

/*
 * The flag is set before `target` is read, and the owner publishes `target` before it looks at the flag, so one of the
 * two sees the other. SIGURG finds the worker stopped or running, or (too late) parked: then it is ignored.
 */
void ptrace_interrupt(struct context *ctx)
{
	u64 target;

	atomic_store(&ctx->interrupted, true);
	target = atomic_load(&ctx->target);
	if (target)
		syscall(SYS_tgkill, (pid_t)(target >> 32), (pid_t)target, SIGURG);
}

/* ---- switch ---- */

static u64 data_selector(u64 sel) { return (sel & 0xffff) == USER_DS ? USER_DS : 0; }

/*
 * What a guest may not have, or PTRACE_SETREGS refuses: selectors of no user segment, bases that are no user address.
 * The host masks the flags itself. orig_rax: no call is under way, so the host has none to restart.
 */
static void sanitise(struct guest_regs *r)
{
	r->cs = r->cs == USER_CS_COMPAT ? USER_CS_COMPAT : USER_CS;
	r->ss = USER_DS;
	r->ds = data_selector(r->ds);
	r->es = data_selector(r->es);
	r->fs = data_selector(r->fs);
	r->gs = data_selector(r->gs);
	if (r->fs_base >= STUB_TASK_END)
		r->fs_base = 0;
	if (r->gs_base >= STUB_TASK_END)
		r->gs_base = 0;
	r->orig_rax = ~(u64)0;
}

static int load_regs(struct context *ctx, const struct guest_regs *regs)
{
	struct guest_regs r = *regs;

	sanitise(&r);
	if (ctx->loaded && !memcmp(&r, &ctx->held, sizeof(r)))
		return 0;
	count_host_calls(1);
	if (ptrace(PTRACE_SETREGS, ctx->tid, NULL, &r))
		return -ESRCH;
	ctx->held = r;
	ctx->loaded = true;
	return 0;
}

/* Until the worker stops for something that is the guest's. */
static int run_guest(struct context *ctx, struct guest_regs *regs, struct event *ev)
{
	int status;

	do {
		count_host_calls(3);
		stamp_mark(STAMP_BACK);
		if (ptrace(PTRACE_SYSEMU, ctx->tid, NULL, NULL) || worker_wait(ctx->tid, &status))
			return -ESRCH;
		stamp_mark(STAMP_WOKEN);
		ctx->loaded = false;
		if (ptrace(PTRACE_GETREGS, ctx->tid, NULL, regs))
			return -ESRCH;
	} while (!event_translate(ctx, status, regs, ev));
	return 0;
}

static int enter_guest(struct context *ctx, struct guest_regs *regs, struct event *ev)
{
	const pid_t tgid = ctx->as->maps.stub->pid;
	int err;

	place_enter(ctx->place);
	err = queue_enter(&ctx->as->maps.q);
	if (err)
		goto out;
	err = load_regs(ctx, regs);
	if (err)
		goto out;
	atomic_store(&ctx->target, (u64)tgid << 32 | (u32)ctx->tid);
	if (atomic_exchange(&ctx->interrupted, false))
		*ev = (struct event){ .kind = EVENT_INTERRUPT };
	else
		err = run_guest(ctx, regs, ev);
	atomic_store(&ctx->target, 0);
out:
	queue_leave(&ctx->as->maps.q);
	place_leave(ctx->place);
	return err;
}

int ptrace_switch_to(struct context *ctx, struct address_space *as, struct guest_regs *regs, struct event *ev)
{
	int err = 0;

	if (ctx->as != as || !ctx->tid) {
		unbind(ctx);
		err = bind(ctx, as);
	}
	if (!err)
		err = enter_guest(ctx, regs, ev);
	if (!err)
		return 0;
	if (err == -ESRCH || ctx->as->maps.stub->dead) {
		worker_dead(ctx);
		*ev = (struct event){ .kind = EVENT_DEAD };
		return 0;
	}
	return err;
}
