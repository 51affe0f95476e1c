/*
 * Controlling terminals: which session has which, who is in the foreground, and what happens to the others.
 *
 * session->tty, tty->sid and tty->fg_pgid change together under tasklist (write). Signals are sent after it is let go.
 */
#include "fs/ctty.h"

#include <errno.h>
#include <linux/capability.h>

#include "host/hostsig.h"
#include "host/hosttty.h"
#include "task/internal.h"
#include "task/signal.h"

/* ---- having one ---- */

struct tty *ctty_get(struct task *t)
{
	struct tty *tty;

	pthread_rwlock_rdlock(&tasklist);
	tty = t->tg->session->tty;
	if (tty)
		tty_get(tty);
	pthread_rwlock_unlock(&tasklist);
	return tty;
}

bool ctty_is(struct task *t, struct tty *tty)
{
	bool is;

	pthread_rwlock_rdlock(&tasklist);
	is = t->tg->session->tty == tty;
	pthread_rwlock_unlock(&tasklist);
	return is;
}

void tty_of_task(struct thread_group *tg, u64 *rdev, int *fg_pgid)
{
	struct tty *tty;

	*rdev = 0;
	*fg_pgid = -1;
	pthread_rwlock_rdlock(&tasklist);
	tty = tg->session ? tg->session->tty : NULL;
	if (tty) {
		*rdev = tty->rdev;
		*fg_pgid = tty->fg_pgid ? tty->fg_pgid : -1;
	}
	pthread_rwlock_unlock(&tasklist);
}

/* tasklist held for writing, as in the next two. */
static void attach(struct tty *tty, struct session *s, int pgid)
{
	tty_get(tty);
	s->tty = tty;
	tty->sid = s->sid;
	tty->fg_pgid = pgid;
}

/* The caller puts the reference that the session had, when it has let go of tasklist. */
static void detach(struct tty *tty, struct session *s)
{
	s->tty = NULL;
	tty->sid = 0;
	tty->fg_pgid = 0;
}

static bool leads_session(struct thread_group *tg)
{
	return tg->session && tg->session->sid == tg->tgid;
}

void ctty_open(struct task *t, struct tty *tty)
{
	struct thread_group *tg = t->tg;

	pthread_rwlock_wrlock(&tasklist);
	if (leads_session(tg) && !tg->session->tty && !tty->sid)
		attach(tty, tg->session, tg->pgid);
	pthread_rwlock_unlock(&tasklist);
}

int ctty_set(struct task *t, struct tty *tty, bool steal)
{
	struct session *s, *robbed = NULL;
	struct thread_group *tg = t->tg;
	int err = 0;

	pthread_rwlock_wrlock(&tasklist);
	s = tg->session;
	if (leads_session(tg) && s->tty == tty)
		goto out;
	err = -EPERM;
	if (!leads_session(tg) || s->tty)
		goto out;
	if (tty->sid) {
		if (!steal || !cred_capable(t->cred, CAP_SYS_ADMIN))
			goto out;
		robbed = session_find(tty->sid);
		if (robbed)
			detach(tty, robbed);
	}
	attach(tty, s, tg->pgid);
	err = 0;
out:
	pthread_rwlock_unlock(&tasklist);
	if (robbed)
		tty_put(tty);
	return err;
}

/* ---- losing it ---- */

static void send_pgrp(int pgid, int signo)
{
	union guest_siginfo info;

	if (pgid <= 0)
		return;
	signal_info(&info, signo, SI_KERNEL, NULL);
	signal_send_pgrp(pgid, &info);
}

static void send_group(int tgid, int signo)
{
	struct thread_group *tg = thread_group_get(tgid);
	union guest_siginfo info;

	if (!tg)
		return;
	signal_info(&info, signo, SI_KERNEL, NULL);
	signal_send_group(tg, &info);
	thread_group_put(tg);
}

void tty_signal_foreground(struct tty *tty, int signo)
{
	send_pgrp(tty->fg_pgid, signo);
}

/* A session lets go of its terminal; its foreground group hears of it. */
static void leave(struct thread_group *leader)
{
	struct tty *tty;
	int fg = 0;

	pthread_rwlock_wrlock(&tasklist);
	tty = leads_session(leader) ? leader->session->tty : NULL;
	if (tty) {
		fg = tty->fg_pgid;
		detach(tty, leader->session);
	}
	pthread_rwlock_unlock(&tasklist);
	if (!tty)
		return;
	send_pgrp(fg, SIGHUP);
	send_pgrp(fg, SIGCONT);
	tty_put(tty);
}

void tty_group_exit(struct thread_group *tg)
{
	leave(tg);
}

/* Only the leader's leaving means something here: the terminal belongs to the session, not to each of its processes. */
int ctty_leave(struct task *t, struct tty *tty)
{
	if (!ctty_is(t, tty))
		return -ENOTTY;
	leave(t->tg);
	return 0;
}

void ctty_hangup(struct tty *tty)
{
	struct session *s;
	int fg, sid;

	pthread_rwlock_wrlock(&tasklist);
	sid = tty->sid;
	fg = tty->fg_pgid;
	s = sid ? session_find(sid) : NULL;
	if (s)
		detach(tty, s);
	pthread_rwlock_unlock(&tasklist);
	if (!s)
		return;
	send_group(sid, SIGHUP);
	send_group(sid, SIGCONT);
	send_pgrp(fg, SIGHUP);
	tty_put(tty);
}

/* ---- foreground and background ---- */

static int set_foreground_locked(struct task *t, struct tty *tty, int pgid)
{
	struct session *s = t->tg->session;
	struct pgrp *g;

	if (s->tty != tty)
		return -ENOTTY;
	if (pgid < 0)
		return -EINVAL;
	g = pgrp_find(pgid);
	if (!g)
		return -ESRCH;
	if (g->session != s)
		return -EPERM;
	tty->fg_pgid = pgid;
	return 0;
}

int ctty_set_foreground(struct task *t, struct tty *tty, int pgid)
{
	int err = ctty_check_change(tty, t);

	if (err)
		return err == -EIO ? -ENOTTY : err;
	pthread_rwlock_wrlock(&tasklist);
	err = set_foreground_locked(t, tty, pgid);
	pthread_rwlock_unlock(&tasklist);
	return err;
}

static bool ignores(struct task *t, int signo)
{
	struct sigaction_entry a;

	pthread_mutex_lock(&t->tg->lock);
	a = signal_action_locked(t->tg, signo);
	pthread_mutex_unlock(&t->tg->lock);
	return (t->blocked & SIGBIT(signo)) || a.handler == HANDLER_IGN;
}

/*
 * True if `t` uses its controlling terminal from the background: of the guest's session, or with the whole sandbox from
 * the background of the host's.
 */
static bool in_background(struct tty *tty, struct task *t, bool *orphaned)
{
	struct thread_group *tg = t->tg;
	bool own, foreground;

	pthread_rwlock_rdlock(&tasklist);
	own = tg->session->tty == tty;
	foreground = !tty->fg_pgid || tty->fg_pgid == tg->pgid;
	*orphaned = own && pgrp_orphaned(tg->pgrp, NULL);
	pthread_rwlock_unlock(&tasklist);
	return own && (!foreground || (tty->host_fd >= 0 && !hosttty_foreground(tty->host_fd)));
}

static int check(struct tty *tty, struct task *t, int signo)
{
	bool orphaned;

	if (!t || !in_background(tty, t, &orphaned))
		return 0;
	if (ignores(t, signo))
		return signo == SIGTTIN ? -EIO : 0;
	if (orphaned)
		return -EIO;
	send_pgrp(t->tg->pgid, signo);
	/* Whoever of the group takes it: this call is to be restarted or interrupted. */
	atomic_fetch_or(&t->work, TASK_SIGNAL);
	return -ERESTARTSYS;
}

int ctty_check_change(struct tty *tty, struct task *t)
{
	return check(tty, t, SIGTTOU);
}

int ctty_check_read(struct tty *tty, struct task *t)
{
	return check(tty, t, SIGTTIN);
}

/* ---- the host's shell ---- */

static bool all_stopped(struct pgrp *g)
{
	struct thread_group *p;
	bool stopped = true;

	TAILQ_FOREACH(p, &g->members, pgrp_link) {
		pthread_mutex_lock(&p->lock);
		stopped &= p->zombie || p->stopped;
		pthread_mutex_unlock(&p->lock);
	}
	return stopped;
}

void tty_group_stopped(struct thread_group *tg, int signo)
{
	struct thread_group *first = thread_group_find(hostsig_first());
	struct tty *tty = tty_of_host();

	if (signo == SIGSTOP || !tty || !first || !first->pgrp || tg->pgrp != first->pgrp || tty->fg_pgid != first->pgid)
		return;
	if (all_stopped(first->pgrp))
		hostsig_stop_self();
}
