/* Resource limits and usage. */
#include <linux/capability.h>

#include "fs/sysctl.h"
#include "syscall/syscall.h"
#include "syscall/usage.h"
#include "task/internal.h"


static struct timeval timeval_of(u64 ns)
{
	return (struct timeval){ .tv_sec = ns / 1000000000, .tv_usec = ns % 1000000000 / 1000 };
}

int copy_out_rusage(struct mm *mm, gva_t dst, const struct rusage_sum *sum)
{
	struct rusage ru = {
		.ru_utime = timeval_of(sum->utime_ns),
		.ru_stime = timeval_of(sum->stime_ns),
		.ru_maxrss = sum->maxrss_kb,
		.ru_minflt = sum->minflt,
		.ru_majflt = sum->majflt,
		.ru_nvcsw = sum->nvcsw,
		.ru_nivcsw = sum->nivcsw,
	};

	return put_user(mm, dst, &ru);
}

long sys_getrusage(struct task *t, const u64 *arg)
{
	struct rusage_sum sum = { 0 };

	switch ((s32)arg[0]) {
	case RUSAGE_SELF:
		thread_group_usage(t->tg, &sum);
		break;
	case RUSAGE_CHILDREN:
		pthread_mutex_lock(&t->tg->lock);
		sum = t->tg->children_usage;
		pthread_mutex_unlock(&t->tg->lock);
		break;
	case RUSAGE_THREAD:
		task_usage(t, &sum);
		sum.maxrss_kb = t->mm->peak_rss_pages * (PAGE_SIZE / 1024);
		break;
	default:
		return -EINVAL;
	}
	return copy_out_rusage(t->mm, arg[1], &sum);
}

/* On the path of every fault: a limit is one word, and a fault may see the old one. */
u64 task_rlimit(struct task *t, int resource)
{
	return __atomic_load_n(&t->tg->rlim[resource].rlim_cur, __ATOMIC_RELAXED);
}

static int check_new(struct task *t, int resource, const struct rlimit *old, const struct rlimit *new)
{
	if (new->rlim_cur > new->rlim_max)
		return -EINVAL;
	if (resource == RLIMIT_NOFILE && new->rlim_max > (u64)sysctl_nr_open.value)
		return -EPERM;
	if (new->rlim_max > old->rlim_max && !cred_capable(t->cred, CAP_SYS_RESOURCE))
		return -EPERM;
	return 0;
}

/* Swaps in *new if there is one; *old is what was. */
static int do_prlimit(struct task *t, struct thread_group *tg, u32 resource, const struct rlimit *new,
		      struct rlimit *old)
{
	int err = 0;

	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	pthread_mutex_lock(&tg->lock);
	*old = tg->rlim[resource];
	if (new)
		err = check_new(t, resource, old, new);
	if (new && !err) {
		__atomic_store_n(&tg->rlim[resource].rlim_cur, new->rlim_cur, __ATOMIC_RELAXED);
		tg->rlim[resource].rlim_max = new->rlim_max;
		if (resource == RLIMIT_CPU)
			cpu_limit_changed(tg);
	}
	pthread_mutex_unlock(&tg->lock);
	return err;
}

long sys_getrlimit(struct task *t, const u64 *arg)
{
	struct rlimit old;
	int err;

	err = do_prlimit(t, t->tg, arg[0], NULL, &old);
	return err ? err : put_user(t->mm, arg[1], &old);
}

long sys_setrlimit(struct task *t, const u64 *arg)
{
	struct rlimit new, old;

	if (get_user(t->mm, &new, arg[1]))
		return -EFAULT;
	return do_prlimit(t, t->tg, arg[0], &new, &old);
}

/* Another process's limits: same real, effective and saved ids, or CAP_SYS_RESOURCE. */
static bool may_limit(struct task *t, struct task *other)
{
	const struct cred *c = t->cred;
	struct cred *o;
	bool ok;

	if (t->tg == other->tg)
		return true;
	pthread_mutex_lock(&other->tg->lock);
	o = other->cred;
	ok = c->uid == o->euid && c->uid == o->suid && c->uid == o->uid &&
	     c->gid == o->egid && c->gid == o->sgid && c->gid == o->gid;
	pthread_mutex_unlock(&other->tg->lock);
	return ok || cred_capable(c, CAP_SYS_RESOURCE);
}

long sys_prlimit64(struct task *t, const u64 *arg)
{
	s32 pid = arg[0];
	struct rlimit new, old;
	struct task *other;
	int err;

	if (arg[2] && get_user(t->mm, &new, arg[2]))
		return -EFAULT;
	other = task_get(pid ? pid : t->tid);
	if (!other)
		return -ESRCH;
	err = may_limit(t, other) ? do_prlimit(t, other->tg, arg[1], arg[2] ? &new : NULL, &old) : -EPERM;
	task_put(other);
	if (!err && arg[3] && put_user(t->mm, arg[3], &old))
		err = -EFAULT;
	return err;
}
