/* Process groups and sessions: setpgid(2), setsid(2), and who is allowed what. */
#include "task/pgrp.h"

#include <errno.h>

#include "task/internal.h"

/* tasklist held for writing. The kernel's order of checks. */
static int setpgid_locked(struct thread_group *self, int pid, int pgid)
{
	struct thread_group *tg = thread_group_find(pid);
	struct pgrp *to;

	if (!tg || tg->zombie)
		return -ESRCH;
	if (tg->parent == self) {
		if (tg->session != self->session)
			return -EPERM;
		if (tg->exec_done)
			return -EACCES;
	} else if (tg != self) {
		return -ESRCH;
	}
	if (tg->session->sid == tg->tgid)
		return -EPERM;
	if (pgid != tg->tgid) {
		to = pgrp_find(pgid);
		if (!to || to->session != self->session)
			return -EPERM;
	}
	if (tg->pgid == pgid)
		return 0;
	pgrp_leave(tg);
	return pgrp_join(tg, pgid, tg->session);
}

int thread_group_setpgid(struct thread_group *self, int pid, int pgid)
{
	int err;

	if (pgid < 0)
		return -EINVAL;
	if (!pid)
		pid = self->tgid;
	if (!pgid)
		pgid = pid;
	pthread_rwlock_wrlock(&tasklist);
	err = setpgid_locked(self, pid, pgid);
	pthread_rwlock_unlock(&tasklist);
	return err;
}

/* tasklist held for writing. */
static int setsid_locked(struct thread_group *tg)
{
	struct session *s;

	if (tg->session->sid == tg->tgid || pgrp_find(tg->tgid))
		return -EPERM;
	s = session_new(tg->tgid);
	if (!s)
		return -ENOMEM;
	pgrp_leave(tg);
	session_leave(tg);
	session_join(tg, s);
	pgrp_join(tg, tg->tgid, s);
	return tg->tgid;
}

int thread_group_setsid(struct thread_group *tg)
{
	int r;

	pthread_rwlock_wrlock(&tasklist);
	r = setsid_locked(tg);
	pthread_rwlock_unlock(&tasklist);
	return r;
}

/* 0 names the caller's own. */
int thread_group_ids(struct thread_group *self, int pid, int *pgid, int *sid)
{
	struct thread_group *tg;
	struct task *t;
	int err = -ESRCH;

	pthread_rwlock_rdlock(&tasklist);
	t = pid ? task_find(pid) : NULL;
	tg = !pid ? self : t ? t->tg : thread_group_find(pid);
	if (tg && tg->session) {
		*pgid = tg->pgid;
		*sid = tg->session->sid;
		err = 0;
	}
	pthread_rwlock_unlock(&tasklist);
	return err;
}
