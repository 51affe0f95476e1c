/* Futexes: sleeping on a word of guest memory. Times are CLOCK_MONOTONIC deadlines in ns, TIME_FOREVER for none. */
#ifndef TG_TASK_FUTEX_H
#define TG_TASK_FUTEX_H

#include "task/task.h"

#define FUTEX_WAITV_LIMIT	128

struct futex_wait_spec {		/* one word of futex_waitv(2) */
	gva_t addr;
	u32 val;
	bool shared;
};

/* 0 woken; -EAGAIN the word differs; -ETIMEDOUT; -EINTR; -EFAULT; -EINVAL. */
int futex_wait(struct task *t, gva_t addr, bool shared, u32 val, u64 deadline, u32 bitset);
/* Waits on all; returns the index of one that was woken. */
int futex_wait_many(struct task *t, const struct futex_wait_spec *spec, int n, u64 deadline);
/* Number woken. */
int futex_wake(struct task *t, gva_t addr, bool shared, int n, u32 bitset);
/* Wakes n and moves at most `move` to `to`; cmp: only if the word is still *cmp. Number woken and moved. */
int futex_requeue(struct task *t, gva_t addr, gva_t to, bool shared, int n, int move, const u32 *cmp);
/*
 * PI: 0 it is the caller's; -EDEADLK it was already; -ESRCH there is no such owner; -EWOULDBLOCK without `wait`; -ETIMEDOUT;
 * -EINTR. unlock: -EPERM if it is not the caller's.
 */
int futex_lock_pi(struct task *t, gva_t addr, bool shared, u64 deadline, bool wait);
int futex_unlock_pi(struct task *t, gva_t addr, bool shared);
int futex_wake_op(struct task *t, gva_t addr, gva_t addr2, bool shared, int n, int n2, u32 op);

/* Inside, private words only: 0, -EAGAIN, or -EHOST. */
int futex_wait_inside(struct task *t, gva_t addr, u32 val);
int futex_wake_inside(struct task *t, gva_t addr, u32 bitset);

#endif
