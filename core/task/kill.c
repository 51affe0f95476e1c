/* Sending a signal on someone's behalf: permission, and the many targets of kill(2). */
#include <errno.h>
#include <linux/capability.h>

#include "task/signal.h"

static bool permitted_by_ids(const struct cred *from, const struct cred *to)
{
	return from->euid == to->suid || from->euid == to->uid || from->uid == to->suid || from->uid == to->uid ||
	       cred_capable(from, CAP_KILL);
}

static bool same_session(struct task *from, struct thread_group *tg)
{
	bool same;

	pthread_rwlock_rdlock(&tasklist);
	same = from->tg->session == tg->session;
	pthread_rwlock_unlock(&tasklist);
	return same;
}

static int check_permission(struct task *from, struct thread_group *tg, int signo)
{
	struct cred *to = NULL;
	struct task *t;
	bool ok;

	if (from->tg == tg)
		return 0;
	pthread_mutex_lock(&tg->lock);
	t = TAILQ_FIRST(&tg->threads);
	if (t) {
		to = t->cred;
		cred_get(to);
	}
	pthread_mutex_unlock(&tg->lock);
	if (!to)
		return 0;	/* a zombie: the signal goes nowhere */
	ok = permitted_by_ids(from->cred, to);
	cred_put(to);
	if (ok || (signo == SIGCONT && same_session(from, tg)))
		return 0;
	return -EPERM;
}

int signal_kill_group(struct task *from, struct thread_group *tg, const union guest_siginfo *info)
{
	int err = check_permission(from, tg, info->si.si_signo);

	return err || !info->si.si_signo ? err : signal_send_group(tg, info);
}

int signal_kill_task(struct task *from, struct task *to, const union guest_siginfo *info)
{
	int err = check_permission(from, to->tg, info->si.si_signo);

	return err || !info->si.si_signo ? err : signal_send_task(to, info);
}

/*
 * Every group that `pick` takes. Success if one signal was sent; else the last failure, or -ESRCH if there was nobody.
 * A group that is forked meanwhile may be missed: it was not there when the signal was sent.
 */
static int kill_each(struct task *from, bool (*pick)(struct task *from, struct thread_group *tg, int arg), int arg,
		     const union guest_siginfo *info)
{
	int result = -ESRCH;

	for (int id = task_next_tgid(1); id > 0; id = task_next_tgid(id + 1)) {
		struct thread_group *tg = thread_group_get(id);
		int err;

		if (!tg)
			continue;
		if (pick(from, tg, arg)) {
			err = from ? signal_kill_group(from, tg, info) : signal_send_group(tg, info);
			if (result)
				result = err;
		}
		thread_group_put(tg);
	}
	return result;
}

static bool in_pgrp(struct task *from, struct thread_group *tg, int pgid)
{
	bool in;

	(void)from;
	pthread_rwlock_rdlock(&tasklist);
	in = tg->pgid == pgid;
	pthread_rwlock_unlock(&tasklist);
	return in;
}

static bool other_than_self(struct task *from, struct thread_group *tg, int arg)
{
	(void)arg;
	return tg != from->tg && tg->tgid > 1;
}

int signal_kill_pgrp(struct task *from, int pgid, const union guest_siginfo *info)
{
	return kill_each(from, in_pgrp, pgid, info);
}

int signal_kill_all(struct task *from, const union guest_siginfo *info)
{
	return kill_each(from, other_than_self, 0, info);
}

int signal_send_pgrp(int pgid, const union guest_siginfo *info)
{
	return kill_each(NULL, in_pgrp, pgid, info);
}
