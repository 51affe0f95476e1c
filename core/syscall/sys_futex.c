/* futex(2), futex_waitv(2), robust lists. Requeueing to PI futexes is not offered (ENOSYS). */
#include <linux/capability.h>
#include <linux/futex.h>
#include <string.h>

#include "syscall/syscall.h"
#include "task/clock.h"
#include "task/futex.h"

#define LOCK_PI2	13		/* FUTEX_LOCK_PI2 of newer headers */

/* restart_data: addr, val, deadline, bitset, shared */
static long restart_wait(struct task *t)
{
	const u64 *d = t->restart_data;
	int r = futex_wait(t, d[0], d[4], d[1], d[2], d[3]);

	return r == -EINTR ? -ERESTART_RESTARTBLOCK : r;
}

/* A relative time-out must not start anew after a signal, so the deadline is kept for restart_syscall(2). */
static long do_wait(struct task *t, gva_t addr, bool shared, u32 val, u64 deadline, u32 bitset)
{
	int r = futex_wait(t, addr, shared, val, deadline, bitset);

	if (r != -EINTR)
		return r;
	if (deadline == TIME_FOREVER)
		return -ERESTARTSYS;
	t->restart_fn = restart_wait;
	t->restart_data[0] = addr;
	t->restart_data[1] = val;
	t->restart_data[2] = deadline;
	t->restart_data[3] = bitset;
	t->restart_data[4] = shared;
	return -ERESTART_RESTARTBLOCK;
}

static int get_deadline(struct task *t, gva_t timeout, u32 op, u64 *deadline)
{
	u64 ns;
	int err;

	*deadline = TIME_FOREVER;
	if (!timeout)
		return 0;
	err = copy_in_timespec(t->mm, timeout, &ns);
	if (err)
		return err;
	if ((op & FUTEX_CMD_MASK) == FUTEX_WAIT)
		*deadline = deadline_after(ns);
	else
		*deadline = deadline_at(op & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, ns);
	return 0;
}

long sys_futex(struct task *t, const u64 *arg)
{
	gva_t addr = arg[0], addr2 = arg[4];
	u32 op = arg[1], cmd = op & FUTEX_CMD_MASK, val = arg[2], val2 = arg[3], val3 = arg[5];
	bool shared = !(op & FUTEX_PRIVATE_FLAG);
	u64 deadline;
	int err;

	if ((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET && cmd != FUTEX_WAIT && cmd != LOCK_PI2)
		return -ENOSYS;
	switch (cmd) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		err = get_deadline(t, arg[3], op, &deadline);
		if (err)
			return err;
		return do_wait(t, addr, shared, val, deadline, cmd == FUTEX_WAIT ? FUTEX_BITSET_MATCH_ANY : val3);
	case FUTEX_WAKE:
		return futex_wake(t, addr, shared, val, FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAKE_BITSET:
		return futex_wake(t, addr, shared, val, val3);
	case FUTEX_REQUEUE:
		return futex_requeue(t, addr, addr2, shared, val, val2, NULL);
	case FUTEX_CMP_REQUEUE:
		return futex_requeue(t, addr, addr2, shared, val, val2, &val3);
	case FUTEX_WAKE_OP:
		return futex_wake_op(t, addr, addr2, shared, val, val2, val3);
	case FUTEX_LOCK_PI:			/* its time-outs are of the real time, always */
		op |= FUTEX_CLOCK_REALTIME;
		/* fall through */
	case LOCK_PI2:
		err = get_deadline(t, arg[3], op, &deadline);
		if (!err)
			err = futex_lock_pi(t, addr, shared, deadline, true);
		return err == -EINTR ? -ERESTARTNOINTR : err;
	case FUTEX_TRYLOCK_PI:
		return futex_lock_pi(t, addr, shared, TIME_FOREVER, false);
	case FUTEX_UNLOCK_PI:
		return futex_unlock_pi(t, addr, shared);
	default:
		return -ENOSYS;
	}
}

struct guest_waitv {			/* struct futex_waitv of linux/futex.h */
	u64 val, addr;
	u32 flags, reserved;
};

#define WAITV_SIZE_U32	2
#define WAITV_PRIVATE	FUTEX_PRIVATE_FLAG

static int copy_waitv(struct task *t, gva_t src, u32 n, struct futex_wait_spec *spec)
{
	struct guest_waitv w;

	for (u32 i = 0; i < n; i++) {
		if (get_user(t->mm, &w, src + i * sizeof(w)))
			return -EFAULT;
		if ((w.flags & ~(u32)(WAITV_PRIVATE | 3)) || (w.flags & 3) != WAITV_SIZE_U32 || w.reserved ||
		    w.val > UINT32_MAX)
			return -EINVAL;
		spec[i] = (struct futex_wait_spec){ w.addr, w.val, !(w.flags & WAITV_PRIVATE) };
	}
	return 0;
}

long sys_futex_waitv(struct task *t, const u64 *arg)
{
	struct futex_wait_spec spec[FUTEX_WAITV_LIMIT];
	u32 n = arg[1], flags = arg[2];
	s32 clock = arg[4];
	u64 deadline = TIME_FOREVER, ns;
	int err;

	if (flags || !n || n > FUTEX_WAITV_LIMIT || !arg[0])
		return -EINVAL;
	if (arg[3]) {
		if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
			return -EINVAL;
		err = copy_in_timespec(t->mm, arg[3], &ns);
		if (err)
			return err;
		deadline = deadline_at(clock, ns);
	}
	err = copy_waitv(t, arg[0], n, spec);
	if (err)
		return err;
	err = futex_wait_many(t, spec, n, deadline);
	return err == -EINTR ? -ERESTARTSYS : err;
}

long sys_set_robust_list(struct task *t, const u64 *arg)
{
	if (arg[1] != sizeof(struct robust_list_head))
		return -EINVAL;
	t->robust_list = arg[0];
	t->robust_len = arg[1];
	return 0;
}

long sys_get_robust_list(struct task *t, const u64 *arg)
{
	s32 pid = arg[0];
	struct task *other = task_get(pid ? pid : t->tid);
	u64 len = sizeof(struct robust_list_head);
	gva_t head;
	bool ok;

	if (!other)
		return -ESRCH;
	ok = other->tg == t->tg || cred_capable(t->cred, CAP_SYS_PTRACE);
	head = other->robust_list;
	task_put(other);
	if (!ok)
		return -EPERM;
	if (put_user(t->mm, arg[2], &len) || put_user(t->mm, arg[1], &head))
		return -EFAULT;
	return 0;
}
