/*
 * Scheduling: remembered and reported as the kernel would, with its checks; the host schedules the task threads as it
 * likes. Only sched_yield() does something.
 */
#include <linux/capability.h>
#include <sched.h>
#include <string.h>

#include "syscall/syscall.h"
#include "task/internal.h"

#define POLICY_MAX	6			/* SCHED_DEADLINE */
#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE	6
#endif
#define GUEST_SCHED_RESET_ON_FORK	0x40000000
#define GUEST_SCHED_FLAG_RESET	1

long sys_sched_yield(struct task *t, const u64 *arg)
{
	sched_yield();
	return 0;
}

static bool is_realtime(int policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

/* pid 0 is the caller. With a reference. */
static struct task *find(struct task *t, int pid)
{
	return task_get(pid ? pid : t->tid);
}

/* Same user, or CAP_SYS_NICE. */
static bool may_schedule(struct task *t, struct task *other)
{
	const struct cred *c = t->cred;
	bool ok;

	if (t == other || cred_capable(c, CAP_SYS_NICE))
		return true;
	pthread_mutex_lock(&other->tg->lock);
	ok = c->euid == other->cred->euid || c->euid == other->cred->uid;
	pthread_mutex_unlock(&other->tg->lock);
	return ok;
}

/* May the caller give `other` this policy, priority and nice value? tg->lock of `other` held. */
static int check_policy(struct task *t, struct task *other, int policy, int priority, int nice)
{
	const struct rlimit *rlim = other->tg->rlim;
	const struct task_sched *s = &other->sched;

	if (policy < 0 || policy >= POLICY_MAX || policy == 4)	/* SCHED_DEADLINE comes another way */
		return -EINVAL;
	if (is_realtime(policy) ? priority < 1 || priority > 99 : priority != 0)
		return -EINVAL;
	if (cred_capable(t->cred, CAP_SYS_NICE))
		return 0;
	if (is_realtime(policy)) {
		if (policy != s->policy && !rlim[RLIMIT_RTPRIO].rlim_cur)
			return -EPERM;
		if (priority > s->priority && (u64)priority > rlim[RLIMIT_RTPRIO].rlim_cur)
			return -EPERM;
	}
	if (nice < s->nice && (u64)(20 - nice) > rlim[RLIMIT_NICE].rlim_cur)
		return -EPERM;
	if (s->reset_on_fork)
		return -EPERM;
	return 0;
}

static long set_policy(struct task *t, int pid, int policy, int priority, const int *nice)
{
	bool reset = policy & GUEST_SCHED_RESET_ON_FORK;
	struct task *other;
	int err;

	if (pid < 0)
		return -EINVAL;
	other = find(t, pid);
	if (!other)
		return -ESRCH;
	policy &= ~GUEST_SCHED_RESET_ON_FORK;
	if (!may_schedule(t, other)) {
		task_put(other);
		return -EPERM;
	}
	pthread_mutex_lock(&other->tg->lock);
	err = check_policy(t, other, policy, priority, nice ? *nice : other->sched.nice);
	if (!err) {
		other->sched.policy = policy;
		other->sched.priority = priority;
		other->sched.reset_on_fork = reset;
		if (nice)
			other->sched.nice = *nice;
	}
	pthread_mutex_unlock(&other->tg->lock);
	task_put(other);
	return err;
}

static int get_sched(struct task *t, int pid, struct task_sched *out)
{
	struct task *other;

	if (pid < 0)
		return -EINVAL;
	other = find(t, pid);
	if (!other)
		return -ESRCH;
	pthread_mutex_lock(&other->tg->lock);
	*out = other->sched;
	pthread_mutex_unlock(&other->tg->lock);
	task_put(other);
	return 0;
}

long sys_sched_setscheduler(struct task *t, const u64 *arg)
{
	s32 policy = arg[1], priority;

	if (policy < 0 || !arg[2])
		return -EINVAL;
	if (get_user(t->mm, &priority, arg[2]))
		return -EFAULT;
	return set_policy(t, (int)arg[0], policy, priority, NULL);
}

long sys_sched_getscheduler(struct task *t, const u64 *arg)
{
	struct task_sched s;
	int err;

	err = get_sched(t, (int)arg[0], &s);
	return err ? err : s.policy | (s.reset_on_fork ? GUEST_SCHED_RESET_ON_FORK : 0);
}

long sys_sched_setparam(struct task *t, const u64 *arg)
{
	struct task_sched s;
	s32 priority;
	int err;

	if (!arg[1])
		return -EINVAL;
	if (get_user(t->mm, &priority, arg[1]))
		return -EFAULT;
	err = get_sched(t, (int)arg[0], &s);
	if (err)
		return err;
	return set_policy(t, (int)arg[0], s.policy | (s.reset_on_fork ? GUEST_SCHED_RESET_ON_FORK : 0), priority, NULL);
}

long sys_sched_getparam(struct task *t, const u64 *arg)
{
	struct task_sched s;
	int err;

	if (!arg[1])
		return -EINVAL;
	err = get_sched(t, (int)arg[0], &s);
	return err ? err : put_user(t->mm, arg[1], &s.priority);
}

struct guest_sched_attr {
	u32 size, policy;
	u64 flags;
	s32 nice;
	u32 priority;
	u64 runtime, deadline, period;
	u32 util_min, util_max;
};
#define SCHED_ATTR_SIZE_VER0	48

/* A reservation: runtime <= deadline <= period, at least a microsecond. Only the privileged may have one. */
static long set_deadline(struct task *t, int pid, const struct guest_sched_attr *a)
{
	u64 period = a->period ? a->period : a->deadline;
	struct task *other;

	if (a->priority || a->runtime < 1024 || a->runtime > a->deadline || a->deadline > period || (s64)period < 0)
		return -EINVAL;
	other = find(t, pid);
	if (!other)
		return -ESRCH;
	if (!cred_capable(t->cred, CAP_SYS_NICE)) {
		task_put(other);
		return -EPERM;
	}
	pthread_mutex_lock(&other->tg->lock);
	other->sched.policy = SCHED_DEADLINE;
	other->sched.priority = 0;
	other->sched.reset_on_fork = a->flags & GUEST_SCHED_FLAG_RESET;
	other->sched.runtime = a->runtime;
	other->sched.deadline = a->deadline;
	other->sched.period = period;
	pthread_mutex_unlock(&other->tg->lock);
	task_put(other);
	return 0;
}

long sys_sched_setattr(struct task *t, const u64 *arg)
{
	struct guest_sched_attr a = { 0 };
	u32 size;
	int nice;

	if (!arg[1] || (s32)arg[0] < 0 || (u32)arg[2])
		return -EINVAL;
	if (get_user(t->mm, &size, arg[1]))
		return -EFAULT;
	if (!size)
		size = SCHED_ATTR_SIZE_VER0;
	if (size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE)
		return -E2BIG;
	if (copy_in(t->mm, &a, arg[1], MIN(size, sizeof(a))))
		return -EFAULT;
	if ((s32)a.policy < 0 || (a.flags & ~(u64)GUEST_SCHED_FLAG_RESET))
		return -EINVAL;
	if (a.policy == SCHED_DEADLINE)
		return set_deadline(t, (int)arg[0], &a);
	nice = MAX(MIN(a.nice, 19), -20);
	return set_policy(t, (int)arg[0], a.policy | (a.flags & GUEST_SCHED_FLAG_RESET ? GUEST_SCHED_RESET_ON_FORK : 0),
			  a.priority, is_realtime(a.policy) ? NULL : &nice);
}

long sys_sched_getattr(struct task *t, const u64 *arg)
{
	struct guest_sched_attr a = { 0 };
	u32 size = arg[2];
	struct task_sched s;
	int err;

	if (!arg[1] || size > PAGE_SIZE || size < SCHED_ATTR_SIZE_VER0 || (u32)arg[3])
		return -EINVAL;
	err = get_sched(t, (int)arg[0], &s);
	if (err)
		return err;
	a.size = MIN(size, sizeof(a));
	a.policy = s.policy;
	a.flags = s.reset_on_fork ? GUEST_SCHED_FLAG_RESET : 0;
	a.priority = s.priority;
	if (s.policy == SCHED_DEADLINE) {
		a.runtime = s.runtime;
		a.deadline = s.deadline;
		a.period = s.period;
	} else if (!is_realtime(s.policy)) {
		a.nice = s.nice;
	}
	return copy_out(t->mm, arg[1], &a, a.size);
}

long sys_sched_get_priority_max(struct task *t, const u64 *arg)
{
	s32 policy = arg[0];

	if (policy < 0 || policy > POLICY_MAX || policy == 4)
		return -EINVAL;
	return is_realtime(policy) ? 99 : 0;
}

long sys_sched_get_priority_min(struct task *t, const u64 *arg)
{
	s32 policy = arg[0];

	if (policy < 0 || policy > POLICY_MAX || policy == 4)
		return -EINVAL;
	return is_realtime(policy);
}

long sys_sched_rr_get_interval(struct task *t, const u64 *arg)
{
	struct timespec ts = { 0 };
	struct task_sched s;
	int err;

	err = get_sched(t, (int)arg[0], &s);
	if (err)
		return err;
	if (s.policy == SCHED_RR)
		ts.tv_nsec = 100000000;
	else if (s.policy != SCHED_FIFO)
		ts.tv_nsec = 4000000;
	return put_user(t->mm, arg[1], &ts);
}

/* ---- affinity: the guest's CPUs are those that the sentry may use ---- */

long sys_sched_setaffinity(struct task *t, const u64 *arg)
{
	struct task_sched *s;
	u64 mask[ARRAY_SIZE(s->affinity)] = { 0 }, any = 0;
	u32 len = MIN((u32)arg[1], sizeof(mask));
	struct task *other;
	int err = 0;

	if (copy_in(t->mm, mask, arg[2], len))
		return -EFAULT;
	other = find(t, (int)arg[0]);
	if (!other)
		return -ESRCH;
	s = &other->sched;
	for (size_t i = 0; i < ARRAY_SIZE(mask); i++) {
		mask[i] &= sandbox_cpus.__bits[i];
		any |= mask[i];
	}
	if (!may_schedule(t, other)) {
		err = -EPERM;
	} else if (!any) {
		err = -EINVAL;
	} else {
		pthread_mutex_lock(&other->tg->lock);
		memcpy(s->affinity, mask, sizeof(mask));
		pthread_mutex_unlock(&other->tg->lock);
	}
	task_put(other);
	return err;
}

/* The kernel's mask is as long as its highest possible CPU needs, in whole words. */
long sys_sched_getaffinity(struct task *t, const u64 *arg)
{
	u32 len = arg[1];
	struct task_sched s;
	size_t words = 1;
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(s.affinity); i++)
		if (sandbox_cpus.__bits[i])
			words = i + 1;
	if (len % sizeof(u64) || len < words * sizeof(u64))
		return -EINVAL;
	err = get_sched(t, (int)arg[0], &s);
	if (err)
		return err == -EINVAL ? -ESRCH : err;
	if (copy_out(t->mm, arg[2], s.affinity, words * sizeof(u64)))
		return -EFAULT;
	return words * sizeof(u64);
}

/* ---- nice values and i/o priorities: of a process, a process group or a user ---- */

struct selection {
	u32 which;			/* PRIO_PROCESS, PRIO_PGRP, PRIO_USER; i/o priorities are numbered from 1 */
	u32 who;
};

static bool selected(struct task *t, const struct selection *s, struct task *other)
{
	switch (s->which) {
	case PRIO_PROCESS:
		return other->tid == (s->who ? (int)s->who : t->tid);
	case PRIO_PGRP:
		return other->tg->pgid == (s->who ? (int)s->who : t->tg->pgid);
	default:
		return other->cred->uid == (s->who ? s->who : t->cred->uid);
	}
}

typedef int selected_fn(struct task *t, struct task *other, long *data);

/* In one group, its lock held. *result: -ESRCH until somebody is selected. */
static void for_threads(struct task *t, const struct selection *s, struct thread_group *tg, selected_fn *fn, long *data,
			long *result)
{
	struct task *other;
	int err;

	TAILQ_FOREACH(other, &tg->threads, thread_link) {
		if (!selected(t, s, other))
			continue;
		err = fn(t, other, data);
		if (err || *result == -ESRCH)
			*result = err;
	}
}

/* Calls fn on every task that is selected, tasklist and its group's lock held; the last error, or -ESRCH for nobody. */
static long for_selected(struct task *t, const struct selection *s, selected_fn *fn, long *data)
{
	struct thread_group *tg;
	long result = -ESRCH;

	pthread_rwlock_rdlock(&tasklist);
	for (int id = 1; id < PID_MAX; id++) {
		tg = thread_group_find(id);
		if (!tg)
			continue;
		pthread_mutex_lock(&tg->lock);
		for_threads(t, s, tg, fn, data, &result);
		pthread_mutex_unlock(&tg->lock);
	}
	pthread_rwlock_unlock(&tasklist);
	return result;
}

static int set_nice(struct task *t, struct task *other, long *data)
{
	const struct cred *c = t->cred, *o = other->cred;
	bool able = cred_capable(c, CAP_SYS_NICE);
	int nice = *data;

	if (!able && c->euid != o->uid && c->euid != o->euid)
		return -EPERM;
	if (!able && nice < other->sched.nice && (u64)(20 - nice) > other->tg->rlim[RLIMIT_NICE].rlim_cur)
		return -EACCES;
	other->sched.nice = nice;
	return 0;
}

static int get_nice(struct task *t, struct task *other, long *data)
{
	*data = MAX(*data, 20 - other->sched.nice);	/* the kernel returns it so, to keep it positive */
	return 0;
}

long sys_setpriority(struct task *t, const u64 *arg)
{
	const struct selection s = { arg[0], arg[1] };
	long nice = MAX(MIN((s32)arg[2], 19), -20);

	if (s.which > PRIO_USER)
		return -EINVAL;
	return for_selected(t, &s, set_nice, &nice);
}

long sys_getpriority(struct task *t, const u64 *arg)
{
	const struct selection s = { arg[0], arg[1] };
	long best = 0, err;

	if (s.which > PRIO_USER)
		return -EINVAL;
	err = for_selected(t, &s, get_nice, &best);
	return err ? err : best;
}

#define IOPRIO_CLASS(p)	((p) >> 13)

static int set_ioprio(struct task *t, struct task *other, long *data)
{
	const struct cred *c = t->cred;

	if (c->uid != other->cred->uid && c->euid != other->cred->uid && !cred_capable(c, CAP_SYS_NICE))
		return -EPERM;
	other->sched.ioprio = *data;
	return 0;
}

static int get_ioprio(struct task *t, struct task *other, long *data)
{
	*data = *data ? MIN(*data, other->sched.ioprio) : other->sched.ioprio;
	return 0;
}

#define IOPRIO_LEVELS	0x1fff

long sys_ioprio_set(struct task *t, const u64 *arg)
{
	const struct selection s = { (u32)arg[0] - 1, arg[1] };
	long prio = (s32)arg[2];

	if (s.which > PRIO_USER || prio < 0 || IOPRIO_CLASS(prio) > 3)
		return -EINVAL;
	/* RT and BE have eight levels; no class, no level. */
	if ((prio & IOPRIO_LEVELS) > (IOPRIO_CLASS(prio) == 0 ? 0 : IOPRIO_CLASS(prio) < 3 ? 7 : IOPRIO_LEVELS))
		return -EINVAL;
	if (IOPRIO_CLASS(prio) == 1 && !cred_capable(t->cred, CAP_SYS_ADMIN) && !cred_capable(t->cred, CAP_SYS_NICE))
		return -EPERM;
	return for_selected(t, &s, set_ioprio, &prio);
}

long sys_ioprio_get(struct task *t, const u64 *arg)
{
	const struct selection s = { (u32)arg[0] - 1, arg[1] };
	long best = 0, err;

	if (s.which > PRIO_USER)
		return -EINVAL;
	err = for_selected(t, &s, get_ioprio, &best);
	return err ? err : best;
}
