/*
 * Signals of open files. The owner is a number with the credentials of who set it, as in Linux: it may be dead, or
 * somebody else's by the time of the signal, so permission is asked for then.
 *
 * file->owner is guarded by owner_lock, one for all files: it is held for a copy only.
 */
#include "fs/async.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "task/signal.h"
#include "task/task.h"

static pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER;

/* Guards file->async. Taken before a queue's lock, so never by a wake-up. */
static pthread_mutex_t async_lock = PTHREAD_MUTEX_INITIALIZER;

struct file_async {			/* file->async */
	struct waiter w;
	struct file *f;
};

int file_set_owner(struct task *t, struct file *f, int type, int pid)
{
	struct cred *old;
	bool found = !pid;

	if (pid) {
		pthread_rwlock_rdlock(&tasklist);
		found = type == F_OWNER_PGRP ? pgrp_find(pid) != NULL :
			type == F_OWNER_PID ? thread_group_find(pid) || task_find(pid) : task_find(pid) != NULL;
		pthread_rwlock_unlock(&tasklist);
	}
	if (!found)
		return -ESRCH;
	cred_get(t->cred);
	pthread_mutex_lock(&owner_lock);
	old = f->owner.cred;
	f->owner.cred = t->cred;
	f->owner.type = type;
	f->owner.pid = pid;
	pthread_mutex_unlock(&owner_lock);
	if (old)
		cred_put(old);
	return 0;
}

static void fill(union guest_siginfo *info, int signo, int reason, int fd)
{
	static const u32 bands[] = {
		[POLL_IN] = EPOLLIN | EPOLLRDNORM, [POLL_OUT] = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND,
		[POLL_MSG] = EPOLLIN | EPOLLRDNORM | EPOLLMSG, [POLL_ERR] = EPOLLERR,
		[POLL_PRI] = EPOLLPRI | EPOLLRDBAND, [POLL_HUP] = EPOLLHUP | EPOLLERR,
	};

	signal_info(info, signo ? signo : SIGIO, SI_KERNEL, NULL);
	if (!signo)
		return;
	info->si.si_code = reason;
	info->si.si_band = bands[reason];
	info->si.si_fd = fd;
}

void file_signal(struct file *f, int reason)
{
	struct file_owner o;
	union guest_siginfo info;

	pthread_mutex_lock(&owner_lock);
	o = f->owner;
	if (o.cred)
		cred_get(o.cred);
	pthread_mutex_unlock(&owner_lock);
	if (!o.cred)
		return;
	fill(&info, o.signo, reason, o.fd);
	if (o.pid)
		signal_kill_for(o.cred, o.type, o.pid, &info);
	cred_put(o.cred);
}

/* ---- O_ASYNC ---- */

/*
 * Under the queue's lock: signals take locks of tasks only, and no task lock is ever held around such a queue's
 * wake-up.
 */
static void async_wake(struct waiter *w, u32 events)
{
	struct file_async *a = CONTAINER_OF(w, struct file_async, w);
	int reason = events & EPOLLPRI ? POLL_PRI : events & EPOLLIN ? POLL_IN : events & EPOLLOUT ? POLL_OUT :
		     events & EPOLLERR ? POLL_ERR : POLL_HUP;

	file_signal(a->f, reason);
}

static void file_async_released(struct file *f)
{
	struct file_async *a;

	pthread_mutex_lock(&async_lock);
	a = f->async;
	f->async = NULL;
	if (a)
		waitq_remove(&a->w);
	pthread_mutex_unlock(&async_lock);
	free(a);
}

int file_set_async(struct file *f, int fd, bool on)
{
	struct waitq *q = S_ISFIFO(f->inode->mode) || S_ISSOCK(f->inode->mode) ? file_waitq(f) : NULL;
	struct file_async *a;

	if (!on) {
		file_async_released(f);
		return 0;
	}
	a = q ? calloc(1, sizeof(*a)) : NULL;
	if (!a)
		return q ? -ENOMEM : 0;
	a->w.wake = async_wake;
	a->f = f;
	pthread_mutex_lock(&owner_lock);
	f->owner.fd = fd;
	pthread_mutex_unlock(&owner_lock);
	pthread_mutex_lock(&async_lock);
	if (!f->async) {
		waitq_add(q, &a->w);
		f->async = a;
		a = NULL;
	}
	pthread_mutex_unlock(&async_lock);
	free(a);
	return 0;
}

void file_owner_get(struct file *f, struct file_owner *out)
{
	pthread_mutex_lock(&owner_lock);
	*out = f->owner;
	pthread_mutex_unlock(&owner_lock);
}

void file_set_signal(struct file *f, int fd, int signo)
{
	pthread_mutex_lock(&owner_lock);
	f->owner.signo = signo;
	f->owner.fd = fd;
	pthread_mutex_unlock(&owner_lock);
}

void file_owner_released(struct file *f)
{
	struct cred *old;

	if (f->async)
		file_async_released(f);
	if (!f->owner.cred && !f->owner.signo)
		return;
	pthread_mutex_lock(&owner_lock);
	old = f->owner.cred;
	f->owner = (struct file_owner){ 0 };
	pthread_mutex_unlock(&owner_lock);
	if (old)
		cred_put(old);
}
