/*
 * Sleeping, waking, kicking.
 *
 * wake_word is 0 (nobody asleep, nothing to tell), 1 (a wake-up is stored) or 2 (the owner sleeps or is about to). The
 * owner goes 0 -> 2 and sleeps on the value 2; a waker exchanges it for 1 and calls the host only if it was 2. So a
 * wake-up that comes before the sleep is kept, and one for a task that runs costs no host call.
 *
 * No wake-up is lost on the way into the guest either. The owner stores in_guest, then reads `work`; a kicker sets its
 * bits in `work`, then reads in_guest. Both pairs are sequentially consistent, so at least one of the two sees
 * the other: either the owner does not enter, or the kicker calls interrupt(), which sticks to the next switch if this
 * one is not under way yet. A sleeping owner is told by task_wake(), and looks at `work` after storing 2.
 *
 * A kicker may use t->ctx only while it is counted in `kickers` and has seen in_guest afterwards. The owner
 * destroys its context with in_guest false, after `kickers` fell to zero (task_quiesce): later kickers then see
 * in_guest false.
 */
#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>

#include "fs/fs.h"
#include "host/futex.h"
#include "task/internal.h"

enum { WAKE_NONE, WAKE_STORED, WAKE_ASLEEP };

void task_wake(struct task *t)
{
	if (atomic_exchange(&t->wake_word, WAKE_STORED) == WAKE_ASLEEP)
		host_futex_wake(&t->wake_word, 1);
}

void task_kick(struct task *t, u32 work)
{
	atomic_fetch_or(&t->work, work);
	atomic_fetch_add(&t->kickers, 1);
	if (atomic_load(&t->in_guest))
		platform->interrupt(t->ctx);
	atomic_fetch_sub(&t->kickers, 1);
	task_wake(t);
}

/* Own thread, in_guest false: when this returns nobody uses ctx, nor will. */
void task_quiesce(struct task *t)
{
	while (atomic_load(&t->kickers))
		sched_yield();
}

bool task_interrupted(struct task *t)
{
	u32 work = atomic_load(&t->work);

	if (work & (TASK_EXIT | TASK_STOP | TASK_TRAP))
		return true;
	return (work & TASK_SIGNAL) && signal_pending(t);
}

static bool killed(struct task *t)
{
	return atomic_load(&t->work) & TASK_EXIT;
}

static int sleep_once(struct task *t, u64 deadline)
{
	unsigned int expected = WAKE_ASLEEP;
	int err;

	if (platform && platform->idle && t->ctx)
		platform->idle(t->ctx, true);
	err = host_futex_wait(&t->wake_word, WAKE_ASLEEP, deadline);
	atomic_compare_exchange_strong(&t->wake_word, &expected, WAKE_NONE);
	if (expected == WAKE_STORED) {
		atomic_store(&t->wake_word, WAKE_NONE);
		return 0;
	}
	return err == -ETIMEDOUT ? err : 0;
}

static int block(struct task *t, u64 deadline, bool (*interrupted)(struct task *t))
{
	unsigned int expected = WAKE_NONE;
	u64 from;
	int err;

	if (!atomic_compare_exchange_strong(&t->wake_word, &expected, WAKE_ASLEEP)) {
		atomic_store(&t->wake_word, WAKE_NONE);
		return interrupted(t) ? -EINTR : 0;
	}
	if (interrupted(t)) {
		atomic_store(&t->wake_word, WAKE_NONE);
		return -EINTR;
	}
	atomic_store_explicit(&t->state, 'S', memory_order_relaxed);
	count_up(&t->nvcsw);
	from = usage_tick();
	err = sleep_once(t, deadline);
	t->tick += usage_tick() - from;		/* time asleep is nobody's CPU time */
	atomic_store_explicit(&t->state, 'R', memory_order_relaxed);
	if (interrupted(t))
		return -EINTR;
	return err;
}

int task_block(struct task *t, u64 deadline)
{
	return block(t, deadline, task_interrupted);
}

static bool never(struct task *t) { return false; }

void task_block_deaf(struct task *t)
{
	block(t, TIME_FOREVER, never);
}

int task_block_killable(struct task *t, u64 deadline)
{
	return block(t, deadline, killed);
}

int task_wait_file(struct task *t, struct file *f, u32 events, u64 deadline)
{
	struct waitq *q = file_waitq(f);
	struct waiter w = { .events = events | EPOLLERR | EPOLLHUP, .task = t };
	int err = 0;

	if (!q)
		return 0;
	waitq_add(q, &w);
	while (!(file_poll(f) & w.events)) {
		if (f->ops->poll_start)
			f->ops->poll_start(f);
		err = task_block(t, deadline);
		if (err)
			break;
	}
	waitq_remove(&w);
	return err;
}
