/*
 * Who has a regular file open, and what that forbids others: a program that runs is not written (ETXTBSY), and the
 * holder of a lease is told before a conflicting open or truncate goes on.
 *
 * All of it is guarded by inode->lock; `leases.wq` has its own. A breaker waits at most lease-break-time for the
 * holder, then takes the lease away.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "fs/async.h"
#include "fs/notify.h"
#include "fs/special.h"
#include "fs/sysctl.h"
#include "task/clock.h"
#include "task/task.h"

struct lease {
	TAILQ_ENTRY(lease) link;
	struct file *file;		/* no reference: it takes its lease with it */
	int type;			/* F_RDLCK, F_WRLCK */
	int to;				/* while it is being broken: F_RDLCK, F_UNLCK; else -1 */
	u64 deadline;			/* likewise: CLOCK_MONOTONIC ns */
};

struct leases {				/* inode->leases; there is one as soon as the first was taken */
	TAILQ_HEAD(lease_list, lease) list;
	struct waitq wq;		/* a lease went or shrank */
};

/* ---- counts ---- */

int file_count(struct file *f, u32 what)
{
	struct inode *in = f->inode;
	int err = 0;

	if (!S_ISREG(in->mode))
		return 0;
	pthread_mutex_lock(&in->lock);
	if (((what & COUNT_WRITE) && in->writers < 0) || ((what & COUNT_EXEC) && in->writers > 0)) {
		err = -ETXTBSY;
	} else {
		in->writers += what & COUNT_WRITE ? 1 : what & COUNT_EXEC ? -1 : 0;
		in->opens++;
		f->counted = what | COUNT_OPEN;
	}
	pthread_mutex_unlock(&in->lock);
	return err;
}

void file_exec_done(struct file *f)
{
	if (!(f->counted & COUNT_EXEC))
		return;
	pthread_mutex_lock(&f->inode->lock);
	f->inode->writers++;
	f->counted &= ~COUNT_EXEC;
	pthread_mutex_unlock(&f->inode->lock);
}

/* in->lock held. */
static void lease_drop(struct leases *l, struct lease *x)
{
	TAILQ_REMOVE(&l->list, x, link);
	free(x);
}

static struct lease *lease_of(struct file *f)
{
	struct lease *x;

	if (f->inode->leases)
		TAILQ_FOREACH(x, &f->inode->leases->list, link)
			if (x->file == f)
				return x;
	return NULL;
}

void file_uncount(struct file *f)
{
	struct inode *in = f->inode;
	struct lease *x;
	bool gone;

	pthread_mutex_lock(&in->lock);
	in->writers += f->counted & COUNT_WRITE ? -1 : f->counted & COUNT_EXEC ? 1 : 0;
	in->opens--;
	f->counted = 0;
	gone = !in->opens && !in->nlink;
	x = lease_of(f);
	if (x)
		lease_drop(in->leases, x);
	pthread_mutex_unlock(&in->lock);
	if (x)
		waitq_wake(&in->leases->wq, EPOLLIN);
	if (gone)
		notify_gone(in);
}

bool inode_runs(struct inode *in)
{
	bool runs;

	pthread_mutex_lock(&in->lock);
	runs = in->writers < 0;
	pthread_mutex_unlock(&in->lock);
	return runs;
}

void inode_leases_free(struct inode *in)
{
	free(in->leases);
}

/* ---- breaking ---- */

/*
 * Ask the holders of what stands in the way to let go; take it from those whose time is up. True if something does;
 * *deadline is when to look again. in->lock held.
 */
static bool break_once(struct leases *l, bool write, u64 now, u64 *deadline)
{
	u64 grace = sysctl_lease_break_time.value * NSEC_PER_SEC;
	int to = write ? F_UNLCK : F_RDLCK;
	bool conflict = false;
	struct lease *x, *next;

	*deadline = TIME_FOREVER;
	for (x = TAILQ_FIRST(&l->list); x; x = next) {
		next = TAILQ_NEXT(x, link);
		if (!write && x->type == F_RDLCK)
			continue;
		if (x->to >= 0 && x->deadline <= now) {
			if (x->to == F_UNLCK) {
				lease_drop(l, x);
				continue;
			}
			x->type = x->to;
			x->to = -1;
			if (!write)
				continue;
		}
		if (x->to < 0) {
			x->deadline = grace ? now + grace : TIME_FOREVER;
			file_signal(x->file, POLL_MSG);
		}
		if (x->to != F_UNLCK)
			x->to = to;
		*deadline = MIN(*deadline, x->deadline);
		conflict = true;
	}
	return conflict;
}

int lease_break(struct task *t, struct inode *in, bool write, bool nonblock)
{
	struct waiter w = { .task = t };
	struct leases *l;
	u64 deadline;
	int err = 0;
	bool busy;

	pthread_mutex_lock(&in->lock);
	l = in->leases;
	pthread_mutex_unlock(&in->lock);
	if (!l)
		return 0;
	waitq_add(&l->wq, &w);
	for (;;) {
		pthread_mutex_lock(&in->lock);
		busy = break_once(l, write, clock_now(CLOCK_MONOTONIC), &deadline);
		pthread_mutex_unlock(&in->lock);
		if (!busy)
			break;
		err = nonblock ? -EAGAIN : task_block(t, deadline) == -EINTR ? -ERESTARTSYS : 0;
		if (err)
			break;
	}
	waitq_remove(&w);
	return err;
}

/* ---- fcntl ---- */

static long lease_get(struct file *f)
{
	struct lease *x;
	long type = F_UNLCK;

	pthread_mutex_lock(&f->inode->lock);
	x = lease_of(f);
	if (x)
		type = x->to >= 0 ? x->to : x->type;
	pthread_mutex_unlock(&f->inode->lock);
	return type;
}

/* in->lock held. */
static int change(struct leases *l, struct lease *x, int type)
{
	if (type == F_UNLCK) {
		lease_drop(l, x);
		return 0;
	}
	if (x->to >= 0 && (x->to == F_UNLCK || type == F_WRLCK))
		return -EAGAIN;
	x->type = type;
	x->to = -1;
	return 0;
}

/* A lease wants the file to itself: no writer, and for F_WRLCK nobody else at all. in->lock held. */
static int take(struct inode *in, struct file *f, int type)
{
	struct lease *x = lease_of(f);

	if (type == F_UNLCK)
		return x ? change(in->leases, x, type) : -EAGAIN;
	if (type == F_RDLCK ? in->writers > 0 : in->opens > 1)
		return -EAGAIN;
	if (x)
		return change(in->leases, x, type);
	x = calloc(1, sizeof(*x));
	if (!in->leases) {
		in->leases = calloc(1, sizeof(*in->leases));
		if (in->leases) {
			TAILQ_INIT(&in->leases->list);
			waitq_init(&in->leases->wq);
		}
	}
	if (!x || !in->leases) {
		free(x);
		return -ENOMEM;
	}
	*x = (struct lease){ .file = f, .type = type, .to = -1 };
	TAILQ_INSERT_TAIL(&in->leases->list, x, link);
	return 0;
}

long lease_fcntl(struct task *t, struct file *f, int cmd, u64 arg)
{
	struct inode *in = f->inode;
	int type = arg;
	long ret;

	if (cmd == F_GETLEASE)
		return lease_get(f);
	if (!S_ISREG(in->mode) || (type != F_RDLCK && type != F_WRLCK && type != F_UNLCK))
		return -EINVAL;
	if (in->uid != t->cred->fsuid && !cred_capable(t->cred, CAP_LEASE))
		return -EACCES;
	pthread_mutex_lock(&in->lock);
	ret = f->counted ? take(in, f, type) : -EINVAL;
	pthread_mutex_unlock(&in->lock);
	if (!ret && in->leases)
		waitq_wake(&in->leases->wq, EPOLLIN);
	if (ret)
		return ret;
	/* The lease's end ends the ownership, as in Linux. */
	if (type == F_UNLCK)
		file_owner_released(f);
	else if (!f->owner.pid)
		file_set_owner(t, f, F_OWNER_PID, t->tg->tgid);
	return 0;
}
