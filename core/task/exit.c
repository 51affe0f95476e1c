/*
 * The end of tasks and thread groups: what is given back in which order, who is told, who inherits the children.
 *
 * A task ends on its own thread in task_finish(). It gives back memory and files first, so that whoever hears of its
 * end finds them free. The group becomes a zombie when its last thread is gone.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "fs/fs.h"
#include "fs/tty.h"
#include "host/hostsig.h"
#include "ipc/ipc.h"
#include "mm/mm.h"
#include "stamp.h"
#include "stats.h"
#include "task/internal.h"
#include "task/posix_timer.h"
#include "task/ptrace.h"

void task_exit(struct task *t, int status)
{
	t->exit_status = status;
	atomic_fetch_or(&t->work, TASK_EXIT);
}

void thread_group_kill_others(struct task *self)
{
	struct task *t;

	TAILQ_FOREACH(t, &self->tg->threads, thread_link)
		if (t != self)
			task_kick(t, TASK_EXIT);
}

/* tg->lock held. The first status is final. */
static void begin_exit(struct thread_group *tg, int status)
{
	struct task *t;

	if (tg->exiting)
		return;
	tg->exiting = true;
	tg->exit_status = status;
	tg->stop_signal = 0;
	TAILQ_FOREACH(t, &tg->threads, thread_link)
		task_kick(t, TASK_EXIT);
	waitq_wake(&tg->stopped_wait, EPOLLIN);
	if (tg->tgid == INIT_PID + 1)
		sandbox_first_ending(status);
}

void task_exit_group(struct task *t, int status)
{
	struct thread_group *tg = t->tg;

	task_exit(t, status);
	pthread_mutex_lock(&tg->lock);
	if (!tg->exec_task || tg->exec_task == t)
		begin_exit(tg, status);		/* otherwise another thread's execve has already won */
	pthread_mutex_unlock(&tg->lock);
}

void task_kill_group(struct thread_group *tg, int signo)
{
	pthread_mutex_lock(&tg->lock);
	begin_exit(tg, signo);
	pthread_mutex_unlock(&tg->lock);
}

/* ---- orphans ---- */

/* No member has a parent in another group of the same session: nobody could continue it if it were stopped. */
bool pgrp_orphaned(struct pgrp *g, struct thread_group *ignored)
{
	struct thread_group *p;

	TAILQ_FOREACH(p, &g->members, pgrp_link) {
		if (p == ignored || p->zombie || !p->parent)
			continue;
		if (p->parent == init_group) {
			if (p->tgid == hostsig_first() && !hostsig_orphaned())
				return false;		/* the host's shell can */
			continue;
		}
		if (p->parent->pgrp != g && p->parent->session == p->session)
			return false;
	}
	return true;
}

static bool has_stopped(struct pgrp *g)
{
	struct thread_group *p;
	bool stopped = false;

	TAILQ_FOREACH(p, &g->members, pgrp_link) {
		pthread_mutex_lock(&p->lock);
		stopped |= p->stop_signal != 0;
		pthread_mutex_unlock(&p->lock);
	}
	return stopped;
}

static void send_all(struct pgrp *g, int signo)
{
	union guest_siginfo info;
	struct thread_group *p;

	signal_info(&info, signo, SI_KERNEL, NULL);
	TAILQ_FOREACH(p, &g->members, pgrp_link)
		signal_send_group(p, &info);
}

void pgrp_check_orphaned(struct pgrp *g, struct thread_group *ignored)
{
	if (pgrp_orphaned(g, ignored) && has_stopped(g)) {
		send_all(g, SIGHUP);
		send_all(g, SIGCONT);
	}
}

/* `tg` loses its parent `parent`, or is that parent's child and ends itself: its process group may become an orphan. */
static void check_tie(struct thread_group *tg, struct thread_group *parent, struct thread_group *ignored)
{
	if (tg->pgrp && parent && parent->pgrp != tg->pgrp && parent->session == tg->session)
		pgrp_check_orphaned(tg->pgrp, ignored);
}

static struct thread_group *find_reaper(struct thread_group *tg)
{
	struct thread_group *p;

	for (p = tg->parent; p && p != init_group; p = p->parent)
		if (p->subreaper && p->nthreads)
			return p;
	return init_group;
}

/* PR_SET_PDEATHSIG: to each thread of the child that asked for it. */
static void send_pdeath(struct thread_group *child)
{
	union guest_siginfo info;
	struct task *t;
	int signo[8], n = 0;

	pthread_mutex_lock(&child->lock);
	TAILQ_FOREACH(t, &child->threads, thread_link)
		if (t->pdeath_signal && n < (int)ARRAY_SIZE(signo))
			signo[n++] = t->pdeath_signal;
	pthread_mutex_unlock(&child->lock);
	while (n--) {
		signal_info(&info, signo[n], SI_USER, NULL);
		signal_send_group(child, &info);
	}
}

/* ---- telling the parent ---- */

static void chld_info(struct thread_group *tg, int signo, int code, int status, union guest_siginfo *info)
{
	struct rusage_sum sum;

	thread_group_usage(tg, &sum);
	signal_info(info, signo, code, NULL);
	info->si.si_pid = tg->tgid;
	info->si.si_uid = tg->leader->cred->uid;
	info->si.si_status = status;
	info->si.si_utime = sum.utime_ns / (1000000000 / 100);
	info->si.si_stime = sum.stime_ns / (1000000000 / 100);
}

struct sigaction_entry sigchld_action(struct thread_group *tg)
{
	struct sigaction_entry a = { 0 };
	struct task *t;

	pthread_mutex_lock(&tg->lock);
	t = TAILQ_FIRST(&tg->threads);
	if (t) {
		pthread_mutex_lock(&t->sighand->lock);
		a = t->sighand->action[SIGCHLD - 1];
		pthread_mutex_unlock(&t->sighand->lock);
	}
	pthread_mutex_unlock(&tg->lock);
	return a;
}

void thread_group_notify(struct thread_group *tg, int code, int status)
{
	struct thread_group *parent = tg->parent;
	struct sigaction_entry a;
	union guest_siginfo info;

	if (code == CLD_STOPPED)
		tty_group_stopped(tg, status);
	if (!parent || parent == init_group || !tg->leader)
		return;
	a = sigchld_action(parent);
	if (a.handler != (u64)SIG_IGN && !(a.flags & SA_NOCLDSTOP)) {
		chld_info(tg, SIGCHLD, code, status, &info);
		signal_send_group(parent, &info);
	}
	waitq_wake(&parent->wait_children, EPOLLIN);
}

/* True if nobody is going to wait for it. */
static bool notify_exit(struct thread_group *tg)
{
	struct thread_group *parent = tg->parent;
	int status = tg->exit_status, signo = tg->exit_signal;
	bool autoreap = false, killed = status & 0x7f;
	union guest_siginfo info;

	if (parent == init_group)
		return true;
	if (signo == SIGCHLD) {
		struct sigaction_entry a = sigchld_action(parent);

		autoreap = a.handler == (u64)SIG_IGN || (a.flags & SA_NOCLDWAIT);
		if (a.handler == (u64)SIG_IGN)
			signo = 0;
	}
	if (signo) {
		chld_info(tg, signo, !killed ? CLD_EXITED : status & 0x80 ? CLD_DUMPED : CLD_KILLED,
			  killed ? status & 0x7f : (status >> 8) & 0xff, &info);
		signal_send_group(parent, &info);
	}
	waitq_wake(&parent->wait_children, EPOLLIN);
	return autoreap;
}

/* ---- the zombie ---- */

void thread_group_reap(struct thread_group *tg)
{
	struct task *leader = tg->leader;

	ptrace_forget(leader);
	TAILQ_REMOVE(&tg->parent->children, tg, sibling);
	pgrp_leave(tg);
	session_leave(tg);
	pid_set_task(tg->tgid, NULL);
	pid_set_group(tg->tgid, NULL);
	pthread_mutex_lock(&tg->lock);
	tg->reaped = true;
	tg->leader = NULL;
	pthread_mutex_unlock(&tg->lock);
	task_put(leader);
	thread_group_put(tg);
}

/* Nobody traces it (any more): now its parent hears of its end. */
void thread_group_zombie_seen(struct thread_group *tg)
{
	if (notify_exit(tg))
		thread_group_reap(tg);
}

static void reparent_children(struct thread_group *tg)
{
	struct thread_group *reaper = find_reaper(tg), *c;

	while ((c = TAILQ_FIRST(&tg->children))) {
		TAILQ_REMOVE(&tg->children, c, sibling);
		TAILQ_INSERT_TAIL(&reaper->children, c, sibling);
		c->parent = reaper;
		c->parent_tid = reaper->tgid;
		c->exit_signal = SIGCHLD;
		send_pdeath(c);
		check_tie(c, tg, NULL);
		if (c->zombie && !(c->leader && ptraced(c->leader)))
			thread_group_zombie_seen(c);
	}
}

/* The last thread is gone. */
static void become_zombie(struct thread_group *tg)
{
	bool first;

	tty_group_exit(tg);
	pthread_rwlock_wrlock(&tasklist);
	first = tg->tgid == INIT_PID + 1;
	tg->zombie = true;
	reparent_children(tg);
	check_tie(tg, tg->parent, tg);
	if (first)
		sandbox_first_gone(tg, tg->exit_status);
	waitq_wake(&tg->wait_children, EPOLLIN);	/* pidfds */
	if (!ptrace_zombie(tg))
		thread_group_zombie_seen(tg);
	pthread_rwlock_unlock(&tasklist);
}

/* Children made by this thread pass to the group's oldest; only the thread's own death signal is told. */
static void hand_over_children(struct task *t)
{
	struct thread_group *tg = t->tg, *c;
	struct task *heir = TAILQ_FIRST(&tg->threads);

	TAILQ_FOREACH(c, &tg->children, sibling) {
		if (!heir || c->parent_tid != t->tid)
			continue;
		c->parent_tid = heir->tid;
		send_pdeath(c);
	}
}

/* tasklist and tg->lock held. */
static void leave_group(struct task *t)
{
	struct thread_group *tg = t->tg;
	struct rusage_sum sum;

	task_usage(t, &sum);
	usage_add(&tg->dead_usage, &sum);
	TAILQ_REMOVE(&tg->threads, t, thread_link);
	tg->nthreads--;
	t->dead = true;
	atomic_store(&t->state, 'Z');
	if (t == tg->leader && !tg->exiting)
		tg->exit_status = t->exit_status;
	if (tg->exiting)
		t->exit_status = tg->exit_status;
	if (t != tg->leader && !ptraced(t))
		pid_set_task(t->tid, NULL);
	if (tg->exec_task)
		task_wake(tg->exec_task);
}

/* True if it was the last one. *kept: its tracer still has to hear of it. */
static bool unlink_task(struct task *t, bool *kept)
{
	struct thread_group *tg = t->tg;
	bool last, stopped;

	pthread_rwlock_wrlock(&tasklist);
	ptrace_exit_tracer(t);
	pthread_mutex_lock(&tg->lock);
	leave_group(t);
	last = !tg->nthreads;
	stopped = stop_settle(tg);
	pthread_mutex_unlock(&tg->lock);
	if (stopped)
		thread_group_notify(tg, CLD_STOPPED, tg->stop_signal);
	hand_over_children(t);
	*kept = ptrace_keep_dead(t);
	pthread_rwlock_unlock(&tasklist);
	return last;
}

void task_release_mm(struct task *t)
{
	u32 zero = 0;

	futex_exit_robust(t);
	if (t->clear_child_tid && atomic_load(&t->mm->refs) > 1) {
		if (!put_user(t->mm, t->clear_child_tid, &zero))
			futex_wake_addr(t, t->clear_child_tid, 1);
	}
	t->clear_child_tid = 0;
	t->robust_list = 0;
	vfork_release(t);
}

static void drop_resources(struct task *t)
{
	struct thread_group *tg = t->tg;
	struct mm *mm = t->mm;
	struct fd_table *files = t->files;
	struct fs_place *place = t->place;

	task_release_mm(t);
	sem_exit(t);
	task_quiesce(t);
	if (t->ctx)			/* NULL if there was no memory for one */
		platform->context_destroy(t->ctx);
	pthread_mutex_lock(&tg->lock);
	tg->dead_usage.maxrss_kb = MAX(tg->dead_usage.maxrss_kb, mm->peak_rss_pages * (PAGE_SIZE / 1024));
	t->ctx = NULL;
	t->mm = NULL;
	t->files = NULL;
	t->place = NULL;
	pthread_mutex_unlock(&tg->lock);
	mm_put(mm);
	fd_table_put(files);
	fs_place_put(place);
}

void task_finish(struct task *t)
{
	struct thread_group *tg = t->tg;
	bool leader, last, kept;

	drop_resources(t);
	user_charge(t->cred->uid, -1);
	stats_task_end(t);
	stamps_task_end();
	leader = t == tg->leader;
	thread_group_ref(tg);
	last = unlink_task(t, &kept);
	if (!last)
		signal_thread_exit(t);
	if (!leader && !kept)
		task_put(t);		/* the table's */
	task_put(t);			/* this thread's */
	if (last) {
		posix_timers_exit(tg);
		cpu_limit_end(tg);
		become_zombie(tg);
	}
	thread_group_put(tg);
	sandbox_remove_task();
}
