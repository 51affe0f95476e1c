/* Sending a signal on someone's behalf: permission, and the many targets of kill(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>

#include "task/internal.h"
#include "task/signal.h"

static bool permitted_by_ids(const struct cred *from, const struct cred *to)
{
	return from->euid == to->suid || from->euid == to->uid || from->uid == to->suid || from->uid == to->uid ||
	       cred_capable(from, CAP_KILL);
}

/* tasklist held. A zombie takes anything: the signal goes nowhere. Group 1 has no thread, and is root's. */
static int check_ids(const struct cred *from, struct thread_group *tg)
{
	static const struct cred root;
	struct cred *to = NULL;
	struct task *t;
	bool ok;

	if (tg == init_group)
		return permitted_by_ids(from, &root) ? 0 : -EPERM;
	pthread_mutex_lock(&tg->lock);
	t = TAILQ_FIRST(&tg->threads);
	if (t) {
		to = t->cred;
		cred_get(to);
	}
	pthread_mutex_unlock(&tg->lock);
	if (!to)
		return 0;
	ok = permitted_by_ids(from, to);
	cred_put(to);
	return ok ? 0 : -EPERM;
}

/* tasklist held. */
static int check_permission(struct task *from, struct thread_group *tg, int signo)
{
	if (from->tg == tg || (signo == SIGCONT && from->tg->session == tg->session))
		return 0;
	return check_ids(from->cred, tg);
}

/* tasklist held. `from` NULL: the kernel, which may always. */
static int kill_group_locked(struct task *from, struct thread_group *tg, const union guest_siginfo *info)
{
	int err = from ? check_permission(from, tg, info->si.si_signo) : 0;

	/* Group 1 has no thread to take a signal, and is not to be killed. */
	return err || !info->si.si_signo || tg == init_group ? err : signal_send_group(tg, info);
}

int signal_kill_group(struct task *from, struct thread_group *tg, const union guest_siginfo *info)
{
	int err;

	pthread_rwlock_rdlock(&tasklist);
	err = kill_group_locked(from, tg, info);
	pthread_rwlock_unlock(&tasklist);
	return err;
}

int signal_kill_task(struct task *from, struct task *to, const union guest_siginfo *info)
{
	int err;

	pthread_rwlock_rdlock(&tasklist);
	err = check_permission(from, to->tg, info->si.si_signo);
	pthread_rwlock_unlock(&tasklist);
	return err || !info->si.si_signo ? err : signal_send_task(to, info);
}

/* Success if one signal was sent; else the last failure, or -ESRCH if there was nobody. */
int signal_kill_pgrp(struct task *from, int pgid, const union guest_siginfo *info)
{
	struct thread_group *tg;
	int result = -ESRCH, err;
	struct pgrp *g;

	pthread_rwlock_rdlock(&tasklist);
	g = pgrp_find(pgid);
	if (g) {
		TAILQ_FOREACH(tg, &g->members, pgrp_link) {
			err = kill_group_locked(from, tg, info);
			if (result)
				result = err;
		}
	}
	pthread_rwlock_unlock(&tasklist);
	return result;
}

int signal_kill_all(struct task *from, const union guest_siginfo *info)
{
	int result = -ESRCH, err;

	pthread_rwlock_rdlock(&tasklist);
	for (int id = INIT_PID + 1; id < PID_MAX; id++) {
		struct thread_group *tg = thread_group_find(id);

		if (!tg || tg == from->tg)
			continue;
		err = kill_group_locked(from, tg, info);
		if (result)
			result = err;
	}
	pthread_rwlock_unlock(&tasklist);
	return result;
}

void signal_kill_for(const struct cred *c, int type, int pid, const union guest_siginfo *info)
{
	struct thread_group *tg;
	struct task *t = NULL;
	struct pgrp *g;

	pthread_rwlock_rdlock(&tasklist);
	if (type == F_OWNER_PGRP) {
		g = pgrp_find(pid);
		if (g)
			TAILQ_FOREACH(tg, &g->members, pgrp_link)
				if (tg != init_group && !check_ids(c, tg))
					signal_send_group(tg, info);
	} else {
		t = task_find(pid);
		tg = t ? t->tg : thread_group_find(pid);
		if (tg && tg != init_group && !check_ids(c, tg)) {
			if (type == F_OWNER_TID && t)
				signal_send_task(t, info);
			else
				signal_send_group(tg, info);
		}
	}
	pthread_rwlock_unlock(&tasklist);
}

int signal_send_pgrp(int pgid, const union guest_siginfo *info)
{
	return signal_kill_pgrp(NULL, pgid, info);
}
