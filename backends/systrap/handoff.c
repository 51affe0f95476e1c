/*
 * Handing over between a task thread and its stub thread.
 *
 * Two ways. Spin: the two sit on different CPUs and watch each other's cache line, bounded in time. Futex: both sit on
 * one CPU, and the waker's sleep is the other's wake-up. What never happens on the syscall path is to sleep on one CPU
 * and be woken from another: idle CPUs take tens of microseconds to wake.
 *
 * Which way is decided per context from its own waits. It starts by futex, the safe way. Eight waits in a row that end
 * within the spin budget make it try to spin; one that outlasts the budget (the guest computes, or the machine is busy and
 * the other side was not running) sends it back, and the next try takes four times as many. Each spinning pair
 * needs two CPUs, so it takes one of ncpus / 2 permits; without one, or on one CPU, it is futex.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/systrap/systrap.h"

enum { SHORT_FIRST = 8, SHORT_MAX = 8192, SPIN_PAID = 256 };

static atomic_int spin_permits;
static int ncpus;

void handoff_start(void)
{
	ncpus = systrap_ncpus;
	place_init(systrap_pin, systrap_balance);
	atomic_store(&spin_permits, systrap_handoff == HANDOFF_FUTEX ? 0 : ncpus / 2);
}

void handoff_stop(void) { place_exit(); }

static inline u64 ticks(void)
{
	return __builtin_ia32_rdtsc();
}

static bool take_permit(void)
{
	int n = atomic_load_explicit(&spin_permits, memory_order_relaxed);

	while (n > 0)
		if (atomic_compare_exchange_weak(&spin_permits, &n, n - 1))
			return true;
	return false;
}

static void set_spinning(struct context *ctx, bool on)
{
	if (on == ctx->spinning)
		return;
	if (on && !take_permit())
		return;
	if (!on)
		atomic_fetch_add(&spin_permits, 1);
	ctx->spinning = on;
	ctx->short_waits = 0;
	__atomic_store_n(&ctx->slot->ch->spin, on ? (u32)(systrap_spin_us * systrap_ticks_per_us) : 0, __ATOMIC_RELAXED);
	place_apart(ctx->place, on);
}

void handoff_bind(struct context *ctx)
{
	ctx->spin_ticks = systrap_spin_us * systrap_ticks_per_us;
	__atomic_store_n(&ctx->slot->ch->spin, 0, __ATOMIC_RELAXED);
	place_worker(ctx->place, ctx->slot->tid);
	if (!ctx->short_wanted)
		ctx->short_wanted = SHORT_FIRST;
	if (ncpus > 1 && systrap_handoff == HANDOFF_SPIN)
		set_spinning(ctx, true);
}

void handoff_unbind(struct context *ctx)
{
	set_spinning(ctx, false);
	place_worker(ctx->place, 0);
}

/* Its stub stops spinning as well, and the permit is another's. A pair that spun well may try again soon. */
void handoff_idle(struct context *ctx)
{
	if (!ctx->spinning || systrap_handoff != HANDOFF_AUTO)
		return;
	if (ctx->short_waits > SPIN_PAID)
		ctx->short_wanted = SHORT_FIRST;
	set_spinning(ctx, false);
}

/* A spin outlasted its budget. */
static void spin_failed(struct context *ctx)
{
	if (systrap_handoff != HANDOFF_AUTO)
		return;
	ctx->short_wanted = ctx->short_waits > SPIN_PAID ? SHORT_FIRST : MIN(ctx->short_wanted * 4, SHORT_MAX);
	set_spinning(ctx, false);
}

/* A wait by futex is over. */
static void slept(struct context *ctx, bool was_short)
{
	if (systrap_handoff != HANDOFF_AUTO || ncpus == 1)
		return;
	ctx->short_waits = was_short ? ctx->short_waits + 1 : 0;
	if (ctx->short_waits >= ctx->short_wanted)
		set_spinning(ctx, true);
}

static bool arrived(struct context *ctx, u32 *seq)
{
	*seq = __atomic_load_n(&ctx->slot->ch->seq, __ATOMIC_ACQUIRE);
	return *seq != ctx->slot->seq;
}

static bool spin(struct context *ctx, u32 *seq, u64 start)
{
	do {
		for (int i = 0; i < 16; i++) {
			if (arrived(ctx, seq))
				return true;
			__builtin_ia32_pause();
		}
	} while (ticks() - start < ctx->spin_ticks);
	return false;
}

/*
 * ---- guests that do not come back ----
 *
 * A guest can return through a signal frame that blocks our signal, or send its thread to sleep in the stub, and no interrupt
 * ends that. Between an interrupt and its event a thread of good faith neither sleeps nor computes for long; one that
 * does, by the kernel's word, is ended. One that merely has no CPU is left alone.
 */
struct look {
	bool before;			/* the rest is of an earlier look */
	char state;
	u64 ticks;			/* of CPU time, CLK_TCK */
};

enum { LOOK_MS = 500, BUSY_TICKS = 20 };

static bool look_at(pid_t tid, struct look *l)
{
	unsigned long user, system;
	char path[40];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fscanf(f, "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &l->state, &user, &system) == 3;
	l->ticks = user + system;
	fclose(f);
	return ok;
}

static bool astray(struct context *ctx, struct look *last)
{
	struct look now = { .before = true };
	bool bad;

	if (!atomic_load(&ctx->interrupted) || !look_at(ctx->slot->tid, &now)) {
		last->before = false;
		return false;
	}
	bad = last->before && ((now.state == 'S' && last->state == 'S') || now.ticks - last->ticks >= BUSY_TICKS);
	if (last->before)
		now.ticks = last->ticks;	/* it all counts, since the first look */
	*last = now;
	return bad;
}

/* Sleep until the event or the thread's death. */
static void sleep_for(struct context *ctx, u32 *seq)
{
	const struct timespec patience = { .tv_nsec = LOOK_MS * 1000000l };
	struct channel_slot *slot = ctx->slot;
	struct look last = { 0 };

	while (!arrived(ctx, seq) && !slot->dead) {
		COUNT(host_calls);
		if (!syscall(SYS_futex, &slot->ch->seq, FUTEX_WAIT, slot->seq, &patience, NULL, 0) || errno != ETIMEDOUT)
			continue;
		if (!arrived(ctx, seq) && astray(ctx, &last)) {
			kill(slot->tid, SIGKILL);
			slot->dead = true;
		}
	}
}

int handoff_wait(struct context *ctx)
{
	struct channel *ch = ctx->slot->ch;
	u64 start = ticks();
	u32 seq;

	if (ctx->spinning) {
		if (spin(ctx, &seq, start)) {
			ctx->short_waits++;
			goto out;
		}
		spin_failed(ctx);
	}
	__atomic_store_n(&ch->sentry_sleeps, 1, __ATOMIC_SEQ_CST);
	sleep_for(ctx, &seq);
	__atomic_store_n(&ch->sentry_sleeps, 0, __ATOMIC_RELAXED);
	slept(ctx, ticks() - start < ctx->spin_ticks);
out:
	ctx->slot->seq = seq;
	return ctx->slot->dead || ctx->as->dead ? -ESRCH : 0;
}

int handoff_answer_and_wait(struct context *ctx, u32 command)
{
	struct channel *ch = ctx->slot->ch;

	ch->command = command;
	__atomic_store_n(&ch->ack, ctx->slot->seq, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ch->stub_sleeps, __ATOMIC_SEQ_CST)) {
		COUNT(host_calls);
		syscall(SYS_futex, &ch->ack, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	return handoff_wait(ctx);
}
