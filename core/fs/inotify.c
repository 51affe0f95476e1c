/*
 * inotify(7): watches on inodes, events in queues.
 *
 * A watch holds a reference on its inode, so that what is watched is found again by its name, until one of the two
 * ends: the inode has neither name nor open file, its file system is unmounted, or the inotify descriptor is closed.
 *
 * Locks: watch_lock guards all watches and inode->watches; a group's lock its queue. Taken after the locks of inodes
 * and dentries; references are dropped after both.
 *
 * Threat: queues and watches are sentry memory that guests fill; both are bounded by sysctls whose values are read
 * at each use, and the queue keeps one place for IN_Q_OVERFLOW.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "fs/dentry.h"
#include "fs/notify.h"
#include "fs/sysctl.h"
#include "task/task.h"

#define WATCHABLE	(IN_ALL_EVENTS | IN_UNMOUNT | IN_EXCL_UNLINK | IN_ONESHOT)

struct note {
	TAILQ_ENTRY(note) link;
	struct inotify_event e;		/* e.len: as the reader gets it; the name is behind, zero padded */
};

struct watch {
	LIST_ENTRY(watch) in_inode;
	TAILQ_ENTRY(watch) in_group, in_all;
	struct inode *in;
	struct inotify *group;
	int wd;
	u32 mask;
};
TAILQ_HEAD(watches, watch);

struct watch_list {			/* inode->watches, as long as there is one */
	LIST_HEAD(watch_head, watch) head;
};

struct inotify {			/* file->data */
	struct watches watches;		/* watch_lock */
	int next_wd;			/* watch_lock */
	pthread_mutex_t lock;		/* all below */
	TAILQ_HEAD(note_queue, note) events;
	s64 nevents;
	u64 bytes;			/* what FIONREAD says */
	struct waitq wq;
};

atomic_int notify_watches;
static atomic_int instances;
static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static struct watches all_watches = TAILQ_HEAD_INITIALIZER(all_watches);	/* watch_lock */

static const struct file_ops inotify_ops;

/* ---- queues ---- */

static bool same(const struct note *a, const struct inotify_event *e, const char *name)
{
	return a->e.wd == e->wd && a->e.mask == e->mask && a->e.cookie == e->cookie && a->e.len == e->len &&
	       (!e->len || !strcmp(a->e.name, name));
}

/* g->lock held. The same thing twice in a row is told once; too much is told as IN_Q_OVERFLOW, once. */
static void enqueue(struct inotify *g, struct inotify_event *e, const char *name)
{
	struct note *last = TAILQ_LAST(&g->events, note_queue), *new;
	size_t len = name ? strlen(name) : 0;

	if (g->nevents >= sysctl_inotify_events.value) {
		*e = (struct inotify_event){ .wd = -1, .mask = IN_Q_OVERFLOW };
		len = 0;
	}
	/* The name and a zero byte, in units of the header. */
	e->len = len ? (len + sizeof(*e)) / sizeof(*e) * sizeof(*e) : 0;
	if (last && (same(last, e, name) || last->e.mask == IN_Q_OVERFLOW))
		return;
	new = calloc(1, sizeof(*new) + e->len);
	if (!new)
		return;
	memcpy(&new->e, e, sizeof(*e));
	if (len)
		memcpy(new->e.name, name, len);
	TAILQ_INSERT_TAIL(&g->events, new, link);
	g->nevents++;
	g->bytes += sizeof(*e) + e->len;
}

static void tell(struct watch *w, u32 mask, u32 cookie, const char *name)
{
	struct inotify_event e = { .wd = w->wd, .mask = mask, .cookie = cookie };
	struct inotify *g = w->group;

	pthread_mutex_lock(&g->lock);
	enqueue(g, &e, name);
	pthread_mutex_unlock(&g->lock);
	waitq_wake(&g->wq, EPOLLIN | EPOLLRDNORM);
}

/* ---- watches; watch_lock held ---- */

static struct watch *find(struct inode *in, struct inotify *g)
{
	struct watch *w;

	if (in->watches)
		LIST_FOREACH(w, &in->watches->head, in_inode)
			if (w->group == g)
				return w;
	return NULL;
}

/* Out of all lists and onto `dead`: the inode's reference goes after the lock. */
static void unlink_watch(struct watch *w, struct watches *dead)
{
	struct watch_list *l = w->in->watches;

	LIST_REMOVE(w, in_inode);
	if (LIST_EMPTY(&l->head)) {
		w->in->watches = NULL;
		free(l);
	}
	TAILQ_REMOVE(&w->group->watches, w, in_group);
	TAILQ_REMOVE(&all_watches, w, in_all);
	TAILQ_INSERT_TAIL(dead, w, in_all);
	atomic_fetch_sub(&notify_watches, 1);
}

static void end_watch(struct watch *w, struct watches *dead)
{
	tell(w, IN_IGNORED, 0, NULL);
	unlink_watch(w, dead);
}

/* No lock held. */
static void bury(struct watches *dead)
{
	struct watch *w;

	while ((w = TAILQ_FIRST(dead))) {
		TAILQ_REMOVE(dead, w, in_all);
		inode_put(w->in);
		free(w);
	}
}

/* ---- events ---- */

/* `name` NULL: the inode itself is what the event is about. */
static void event(struct inode *in, const char *name, u32 mask, u32 cookie, bool unlinked)
{
	struct watches dead = TAILQ_HEAD_INITIALIZER(dead);
	struct watch *w, *next;

	if (!in->watches)
		return;
	pthread_mutex_lock(&watch_lock);
	for (w = in->watches ? LIST_FIRST(&in->watches->head) : NULL; w; w = next) {
		next = LIST_NEXT(w, in_inode);
		if (!(w->mask & mask & IN_ALL_EVENTS) || (unlinked && (w->mask & IN_EXCL_UNLINK)))
			continue;
		tell(w, mask, cookie, name);
		if (w->mask & IN_ONESHOT)
			end_watch(w, &dead);
	}
	pthread_mutex_unlock(&watch_lock);
	bury(&dead);
}

void notify_inode_slow(struct inode *in, u32 mask)
{
	event(in, NULL, mask, 0, false);
}

void notify_name_slow(struct inode *dir, const char *name, size_t len, u32 mask, u32 cookie)
{
	char copy[NAME_LEN_MAX + 1];

	if (len > NAME_LEN_MAX)
		return;
	memcpy(copy, name, len);
	copy[len] = 0;
	event(dir, copy, mask, cookie, false);
}

void notify_dentry_slow(struct dentry *d, u32 mask)
{
	char name[NAME_LEN_MAX + 1];
	struct inode *dir = NULL;

	pthread_rwlock_rdlock(&tree_lock);
	if (d->parent && d->parent->inode->watches && d->node.len <= NAME_LEN_MAX) {
		dir = d->parent->inode;
		inode_get(dir);
		memcpy(name, d->node.name, d->node.len);
		name[d->node.len] = 0;
	}
	pthread_rwlock_unlock(&tree_lock);
	if (S_ISDIR(d->inode->mode))
		mask |= IN_ISDIR;
	if (dir) {
		event(dir, name, mask, 0, d->deleted);
		inode_put(dir);
	}
	event(d->inode, NULL, mask, 0, false);
}

void notify_close(struct file *f)
{
	notify_file(f, (f->flags & O_ACCMODE) == O_RDONLY ? IN_CLOSE_NOWRITE : IN_CLOSE_WRITE);
}

u32 notify_cookie(void)
{
	static _Atomic u32 last;

	return atomic_fetch_add(&last, 1) + 1;
}

void notify_gone(struct inode *in)
{
	struct watches dead = TAILQ_HEAD_INITIALIZER(dead);
	struct watch *w, *next;

	if (!notify_wanted() || !in->watches)
		return;
	pthread_mutex_lock(&watch_lock);
	for (w = in->watches ? LIST_FIRST(&in->watches->head) : NULL; w; w = next) {
		next = LIST_NEXT(w, in_inode);
		if (w->mask & IN_DELETE_SELF)
			tell(w, IN_DELETE_SELF, 0, NULL);
		end_watch(w, &dead);
	}
	pthread_mutex_unlock(&watch_lock);
	bury(&dead);
}

void notify_unmounted(struct super *s)
{
	struct watches dead = TAILQ_HEAD_INITIALIZER(dead);
	struct watch *w, *next;

	if (!notify_wanted())
		return;
	pthread_mutex_lock(&watch_lock);
	for (w = TAILQ_FIRST(&all_watches); w; w = next) {
		next = TAILQ_NEXT(w, in_all);
		if (w->in->super != s)
			continue;
		tell(w, IN_UNMOUNT, 0, NULL);
		end_watch(w, &dead);
	}
	pthread_mutex_unlock(&watch_lock);
	bury(&dead);
}

/* ---- the calls ---- */

bool inotify_full(void)
{
	return atomic_load(&instances) >= sysctl_inotify_instances.value;
}

struct file *inotify_new(struct task *t, u32 flags)
{
	struct inotify *g = calloc(1, sizeof(*g));
	struct file *f;

	if (!g)
		return NULL;
	TAILQ_INIT(&g->watches);
	TAILQ_INIT(&g->events);
	pthread_mutex_init(&g->lock, NULL);
	waitq_init(&g->wq);
	f = file_new_anon(&inotify_ops, O_RDONLY | flags, g);
	if (!f) {
		free(g);
		return NULL;
	}
	atomic_fetch_add(&instances, 1);
	return f;
}

static int change(struct watch *w, u32 mask)
{
	if (mask & IN_MASK_CREATE)
		return -EEXIST;
	w->mask = (mask & IN_MASK_ADD ? w->mask : 0) | (mask & WATCHABLE);
	return w->wd;
}

/* watch_lock held. */
static int add(struct inotify *g, struct inode *in, u32 mask)
{
	struct watch_list *l = in->watches;
	struct watch *w;

	if (atomic_load(&notify_watches) >= sysctl_inotify_watches.value)
		return -ENOSPC;
	w = calloc(1, sizeof(*w));
	if (w && !l)
		l = calloc(1, sizeof(*l));
	if (!w || !l) {
		free(w);
		return -ENOMEM;
	}
	w->in = in;
	w->group = g;
	w->wd = ++g->next_wd;
	w->mask = mask & WATCHABLE;
	inode_get(in);
	in->watches = l;
	LIST_INSERT_HEAD(&l->head, w, in_inode);
	TAILQ_INSERT_TAIL(&g->watches, w, in_group);
	TAILQ_INSERT_TAIL(&all_watches, w, in_all);
	atomic_fetch_add(&notify_watches, 1);
	return w->wd;
}

int inotify_add(struct file *f, struct inode *in, u32 mask)
{
	struct inotify *g = f->data;
	struct watch *w;
	int wd;

	if (f->ops != &inotify_ops)
		return -EINVAL;
	pthread_mutex_lock(&watch_lock);
	w = find(in, g);
	wd = w ? change(w, mask) : add(g, in, mask);
	pthread_mutex_unlock(&watch_lock);
	return wd;
}

int inotify_remove(struct file *f, int wd)
{
	struct watches dead = TAILQ_HEAD_INITIALIZER(dead);
	struct inotify *g = f->data;
	struct watch *w;

	if (f->ops != &inotify_ops)
		return -EINVAL;
	pthread_mutex_lock(&watch_lock);
	TAILQ_FOREACH(w, &g->watches, in_group)
		if (w->wd == wd)
			break;
	if (w)
		end_watch(w, &dead);
	pthread_mutex_unlock(&watch_lock);
	bury(&dead);
	return w ? 0 : -EINVAL;
}

/* ---- the file ---- */

static s64 inotify_read(struct file *f, struct uio *u, u64 *pos)
{
	struct inotify *g = f->data;
	struct note *e;
	s64 done = 0;

	pthread_mutex_lock(&g->lock);
	if (TAILQ_EMPTY(&g->events))
		done = -EAGAIN;
	while ((e = TAILQ_FIRST(&g->events))) {
		u64 size = sizeof(e->e) + e->e.len;

		if (u->len < size) {
			done = done ? done : -EINVAL;
			break;
		}
		done += uio_put(u, &e->e, size);
		TAILQ_REMOVE(&g->events, e, link);
		g->nevents--;
		g->bytes -= size;
		free(e);
	}
	pthread_mutex_unlock(&g->lock);
	return done;
}

static u32 inotify_poll(struct file *f)
{
	struct inotify *g = f->data;
	bool any;

	pthread_mutex_lock(&g->lock);
	any = g->nevents;
	pthread_mutex_unlock(&g->lock);
	return any ? EPOLLIN | EPOLLRDNORM : 0;
}

static struct waitq *inotify_waitq(struct file *f)
{
	return &((struct inotify *)f->data)->wq;
}

static s64 inotify_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	struct inotify *g = f->data;
	int n;

	if (cmd != FIONREAD)
		return -ENOTTY;
	pthread_mutex_lock(&g->lock);
	n = MIN(g->bytes, (u64)INT32_MAX);
	pthread_mutex_unlock(&g->lock);
	return put_user(t->mm, arg, &n);
}

static s64 inotify_show(struct file *f, char *buf, size_t len)
{
	struct inotify *g = f->data;
	struct watch *w;
	size_t at = 0;

	pthread_mutex_lock(&watch_lock);
	TAILQ_FOREACH(w, &g->watches, in_group)
		if (at < len)
			at += snprintf(buf + at, len - at, "inotify wd:%x ino:%llx sdev:%llx mask:%x ignored_mask:0\n",
				       w->wd, (unsigned long long)w->in->ino,
				       (unsigned long long)w->in->super->dev, w->mask);
	pthread_mutex_unlock(&watch_lock);
	return MIN(at, len);
}

static void inotify_release(struct file *f)
{
	struct watches dead = TAILQ_HEAD_INITIALIZER(dead);
	struct inotify *g = f->data;
	struct watch *w;
	struct note *e;

	pthread_mutex_lock(&watch_lock);
	while ((w = TAILQ_FIRST(&g->watches)))
		unlink_watch(w, &dead);
	pthread_mutex_unlock(&watch_lock);
	bury(&dead);
	while ((e = TAILQ_FIRST(&g->events))) {
		TAILQ_REMOVE(&g->events, e, link);
		free(e);
	}
	pthread_mutex_destroy(&g->lock);
	free(g);
	atomic_fetch_sub(&instances, 1);
}

static const struct file_ops inotify_ops = {
	.read		= inotify_read,
	.poll		= inotify_poll,
	.waitq		= inotify_waitq,
	.ioctl		= inotify_ioctl,
	.release	= inotify_release,
	.show		= inotify_show,
	.anon_name	= "inotify",
};
