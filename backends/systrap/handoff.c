/*
 * Handing over between a task thread and its stub thread.
 *
 * Two ways. Spin: the two sit on different CPUs and watch each other's cache line, bounded in time. Futex: both sit on
 * one CPU, and the waker's sleep is the other's wake-up. What never happens on the syscall path is to sleep on one CPU
 * and be woken from another: idle CPUs take tens of microseconds to wake.
 *
 * Which way is decided per context from its own waits. It starts by futex, the safe way. Eight waits in a row that end
 * within the spin budget make it try to spin; one that outlasts the budget (the guest computes, or the machine is busy and
 * the other side was not running) sends it back, and the next try takes four times as many. On one CPU it is futex.
 *
 * Spinning needs two CPUs, one for guest threads and one for task threads. There are ncpus / 2 such pairs of CPUs. One that
 * nobody uses is free for the taking; one whose contexts all sleep in the sentry may be joined. Tasks that hand work to
 * each other never run at the same time, so this brings them together, and their wake-ups stay on one CPU: the
 * sleeping task's stub goes on spinning, which keeps its CPU from idling, until the woken task's stub is there to run on it.
 * Contexts that do run at the same time outlast each other's budgets and part.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/systrap/systrap.h"
#include "lib/host_proc.h"

enum { SHORT_FIRST = 8, SHORT_MAX = 8192, SPIN_PAID = 256 };

struct pair {
	pthread_mutex_t lock;		/* a leaf; guards all below */
	int members, awake;		/* contexts that spin here; of them, those whose task does not sleep in the sentry */
	int guest, sentry;		/* CPUs */
	struct context *lingers;	/* its task sleeps, its stub may still spin */
};

enum { PAIRS_MAX = 64 };

static struct pair pairs[PAIRS_MAX];
static int npairs, ncpus;

void handoff_start(void)
{
	ncpus = systrap_ncpus;
	place_init(systrap_pin, systrap_balance);
	npairs = systrap_handoff == HANDOFF_FUTEX ? 0 : MIN(ncpus / 2, PAIRS_MAX);
	for (int i = 0; i < npairs; i++)
		pairs[i] = (struct pair){ .lock = PTHREAD_MUTEX_INITIALIZER };
}

void handoff_stop(void) { place_exit(); }

static inline u64 ticks(void)
{
	return __builtin_ia32_rdtsc();
}

static void set_stub_spin(struct context *ctx, bool on)
{
	__atomic_store_n(&ctx->slot->ch->spin, on ? (u32)ctx->spin_ticks : 0, __ATOMIC_RELAXED);
}

/* ---- pairs of CPUs ---- */

/* Both ways in: to one whose members all sleep, or else to a free one. */
static bool pair_enter(struct pair *p, struct context *ctx, bool join)
{
	bool ok;

	pthread_mutex_lock(&p->lock);
	ok = join ? p->members && !p->awake && systrap_join : !p->members;
	if (ok && !join) {
		p->guest = place_cpu(ctx->place);
		p->sentry = place_next_cpu(ctx->place);
	}
	p->members += ok;
	p->awake += ok;
	pthread_mutex_unlock(&p->lock);
	return ok;
}

static void start_spinning(struct context *ctx)
{
	for (int i = 0; i < 2 * npairs && !ctx->pair; i++)
		if (pair_enter(&pairs[i % npairs], ctx, i < npairs))
			ctx->pair = &pairs[i % npairs];
	if (!ctx->pair)
		return;
	ctx->short_waits = 0;
	set_stub_spin(ctx, true);
	place_apart(ctx->place, ctx->pair->guest, ctx->pair->sentry);
}

static void stop_spinning(struct context *ctx)
{
	struct pair *p = ctx->pair;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->members--;
	p->awake -= !ctx->resting;
	if (p->lingers == ctx)
		p->lingers = NULL;
	pthread_mutex_unlock(&p->lock);
	ctx->pair = NULL;
	ctx->resting = false;
	ctx->short_waits = 0;
	set_stub_spin(ctx, false);
	place_together(ctx->place);
}

/* The guest's CPU is wanted by another context's stub: this one is to leave it. p->lock held. */
static void stop_lingering(struct pair *p)
{
	if (p->lingers)
		set_stub_spin(p->lingers, false);
	p->lingers = NULL;
}

static void rest(struct context *ctx)
{
	struct pair *p = ctx->pair;

	pthread_mutex_lock(&p->lock);
	p->awake--;
	stop_lingering(p);
	p->lingers = ctx;
	ctx->resting = true;
	pthread_mutex_unlock(&p->lock);
}

static void end_rest(struct context *ctx)
{
	struct pair *p = ctx->pair;

	pthread_mutex_lock(&p->lock);
	p->awake++;
	if (p->lingers == ctx)
		p->lingers = NULL;
	ctx->resting = false;
	set_stub_spin(ctx, true);
	pthread_mutex_unlock(&p->lock);
}

/* Our stub has been woken and waits for its CPU. */
static void make_room(struct context *ctx)
{
	struct pair *p = ctx->pair;

	pthread_mutex_lock(&p->lock);
	if (p->lingers != ctx)
		stop_lingering(p);
	pthread_mutex_unlock(&p->lock);
}

/* ---- when to spin ---- */

void handoff_bind(struct context *ctx)
{
	ctx->spin_ticks = systrap_spin_us * systrap_ticks_per_us;
	set_stub_spin(ctx, false);
	__atomic_store_n(&ctx->slot->ch->stamp, stamp_ring != NULL, __ATOMIC_RELAXED);
	place_worker(ctx->place, ctx->slot->tid);
	if (!ctx->short_wanted)
		ctx->short_wanted = SHORT_FIRST;
	if (ncpus > 1 && systrap_handoff == HANDOFF_SPIN)
		start_spinning(ctx);
}

void handoff_unbind(struct context *ctx)
{
	stop_spinning(ctx);
	place_worker(ctx->place, 0);
}

/*
 * The task sleeps, or makes another one. If its sleeps are short it keeps its place; else the CPUs are others', and
 * a context that spun well may try again soon.
 */
void handoff_idle(struct context *ctx, bool sleeps)
{
	ctx->idle_since = sleeps ? ticks() : 0;
	if (!ctx->pair || ctx->resting || systrap_handoff != HANDOFF_AUTO)
		return;
	if (sleeps && !ctx->sleeps_long && systrap_join) {
		rest(ctx);
		return;
	}
	if (ctx->short_waits > SPIN_PAID)
		ctx->short_wanted = SHORT_FIRST;
	stop_spinning(ctx);
}

/* Back from such a sleep, and about to answer. */
static void awake(struct context *ctx)
{
	ctx->sleeps_long = ticks() - ctx->idle_since > ctx->spin_ticks;
	ctx->idle_since = 0;
	if (!ctx->resting)
		return;
	if (ctx->sleeps_long)
		stop_spinning(ctx);
	else
		end_rest(ctx);
}

/* A spin outlasted its budget. */
static void spin_failed(struct context *ctx)
{
	if (systrap_handoff != HANDOFF_AUTO)
		return;
	ctx->short_wanted = ctx->short_waits > SPIN_PAID ? SHORT_FIRST : MIN(ctx->short_wanted * 4, SHORT_MAX);
	stop_spinning(ctx);
}

/* A wait by futex is over. */
static void slept(struct context *ctx, bool was_short)
{
	if (systrap_handoff != HANDOFF_AUTO || ncpus == 1)
		return;
	ctx->short_waits = was_short ? ctx->short_waits + 1 : 0;
	if (ctx->short_waits >= ctx->short_wanted)
		start_spinning(ctx);
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
	int fd;

	snprintf(path, sizeof(path), "%d/stat", tid);
	fd = host_proc_open(path);
	f = fd < 0 ? NULL : fdopen(fd, "re");
	if (!f) {
		if (fd >= 0)
			close(fd);
		return false;
	}
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

	if (ctx->pair) {
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

/* Its frame is filled in, its bases are in the channel. */
static int leave_park(struct context *ctx)
{
	struct channel_slot *slot = ctx->slot;
	u64 id = slot->parked;

	slot->parked = 0;
	if (helper_answer(slot->as, id, 0)) {
		slot->dead = true;
		return -ESRCH;
	}
	return handoff_wait(ctx);
}

int handoff_answer_and_wait(struct context *ctx, u32 command)
{
	struct channel *ch = ctx->slot->ch;
	int err;

	if (ctx->idle_since)
		awake(ctx);
	stamp_mark(STAMP_BACK);
	if (ctx->slot->parked) {
		err = leave_park(ctx);
		goto out;
	}
	ch->command = command;
	__atomic_store_n(&ch->ack, ctx->slot->seq, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ch->stub_sleeps, __ATOMIC_SEQ_CST)) {
		COUNT(host_calls);
		syscall(SYS_futex, &ch->ack, FUTEX_WAKE, 1, NULL, NULL, 0);
		if (ctx->pair)
			make_room(ctx);
	}
	err = handoff_wait(ctx);
out:
	stamp_mark_event(&ch->stamp_resumed, &ch->stamp_stub);
	return err;
}
