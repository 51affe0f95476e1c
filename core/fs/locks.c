/*
 * Record locks: fcntl's (owned by a descriptor table, as Linux has it), open file description locks, and flock's
 * (both owned by a file). Ranges are inclusive and end at LOCK_END at most.
 *
 * Lock order: file_locks.lock, then wait_lock. inode->lock only to make inode->locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>

#include "fs/locks.h"
#include "fs/special.h"
#include "task/task.h"

#define LOCK_END	INT64_MAX
#define LOCKS_MAX	(1 << 18)	/* of the whole sandbox: -ENOLCK past it */
#define CHAIN_MAX	10		/* waits followed in search of a deadlock, as in Linux */

enum lock_kind { LOCK_POSIX, LOCK_OFD, LOCK_FLOCK };

struct record {
	TAILQ_ENTRY(record) link;
	enum lock_kind kind;
	int type;			/* F_RDLCK, F_WRLCK; F_UNLCK in requests */
	const void *owner;		/* fd_table or file */
	int pid;			/* what F_GETLK tells */
	s64 start, end;
};

struct file_locks {
	pthread_mutex_t lock;		/* guards records */
	TAILQ_HEAD(record_records_head, record) records;
	struct waitq wq;		/* something was released */
};

/* A POSIX lock's owner that sleeps, and whom it waits for: the edges of the deadlock search. */
struct wait_edge {
	TAILQ_ENTRY(wait_edge) link;
	const void *owner, *blocker;
};

static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(wait_edge_waits_head, wait_edge) waits = TAILQ_HEAD_INITIALIZER(waits);	/* wait_lock */
static atomic_int records_total;

static struct record *record_new(const struct record *like)
{
	struct record *r;

	if (atomic_fetch_add(&records_total, 1) >= LOCKS_MAX || !(r = malloc(sizeof(*r)))) {
		atomic_fetch_sub(&records_total, 1);
		return NULL;
	}
	*r = *like;
	return r;
}

static void record_free(struct record *r)
{
	if (!r)
		return;
	free(r);
	atomic_fetch_sub(&records_total, 1);
}

static struct file_locks *locks_of(struct inode *in)
{
	struct file_locks *l = in->locks;

	if (l)
		return l;
	pthread_mutex_lock(&in->lock);
	l = in->locks;
	if (!l) {
		l = calloc(1, sizeof(*l));
		if (l) {
			pthread_mutex_init(&l->lock, NULL);
			TAILQ_INIT(&l->records);
			waitq_init(&l->wq);
			in->locks = l;
		}
	}
	pthread_mutex_unlock(&in->lock);
	return l;
}

/* ---- ranges; l->lock held ---- */

static bool overlap(const struct record *a, const struct record *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static bool touch(const struct record *a, const struct record *b)
{
	return overlap(a, b) || (a->end != LOCK_END && a->end + 1 == b->start) ||
	       (b->end != LOCK_END && b->end + 1 == a->start);
}

static bool same_owner(const struct record *a, const struct record *b)
{
	return a->kind == b->kind && a->owner == b->owner;
}

/* The first one in the file: that is the one F_GETLK tells of. */
static struct record *conflict(struct file_locks *l, const struct record *want)
{
	struct record *r, *first = NULL;

	TAILQ_FOREACH(r, &l->records, link) {
		if ((r->kind == LOCK_FLOCK) != (want->kind == LOCK_FLOCK) || same_owner(r, want))
			continue;
		if (overlap(r, want) && (r->type == F_WRLCK || want->type == F_WRLCK) && (!first || r->start < first->start))
			first = r;
	}
	return first;
}

static void record_drop(struct file_locks *l, struct record *r)
{
	TAILQ_REMOVE(&l->records, r, link);
	record_free(r);
}

/* Take [cut->start, cut->end] out of `r`. Uses up *spare if that leaves two pieces. */
static void record_cut(struct file_locks *l, struct record *r, const struct record *cut, struct record **spare)
{
	if (r->start < cut->start && r->end > cut->end) {
		struct record *right = *spare;

		*spare = NULL;
		*right = *r;
		right->start = cut->end + 1;
		TAILQ_INSERT_AFTER(&l->records, r, right, link);
		r->end = cut->start - 1;
	} else if (r->start < cut->start) {
		r->end = cut->start - 1;
	} else if (r->end > cut->end) {
		r->start = cut->end + 1;
	} else {
		record_drop(l, r);
	}
}

/* The owner's range becomes what `want` says: neighbours of the same type merge, others shrink or split. */
static int apply(struct file_locks *l, const struct record *want)
{
	struct record *spare = record_new(want), *add = want->type == F_UNLCK ? NULL : record_new(want), *r, *next;
	struct record span = *want;

	if (!spare || (!add && want->type != F_UNLCK)) {
		record_free(spare);
		record_free(add);
		return -ENOLCK;
	}
	for (r = TAILQ_FIRST(&l->records); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!same_owner(r, want))
			continue;
		if (add && r->type == want->type && touch(r, want)) {
			span.start = MIN(span.start, r->start);
			span.end = MAX(span.end, r->end);
			record_drop(l, r);
		} else if (overlap(r, want)) {
			record_cut(l, r, want, &spare);
		}
	}
	if (add) {
		add->start = span.start;
		add->end = span.end;
		TAILQ_INSERT_TAIL(&l->records, add, link);
	}
	record_free(spare);
	return 0;
}

/* ---- waiting ---- */

static const void *waits_for(const void *owner)
{
	struct wait_edge *w;

	TAILQ_FOREACH(w, &waits, link)
		if (w->owner == owner)
			return w->blocker;
	return NULL;
}

/* Note that `w->owner` waits for `blocker`, unless that closes a circle. */
static int wait_note(struct wait_edge *w, const void *blocker)
{
	const void *o = blocker;
	int err = 0;

	pthread_mutex_lock(&wait_lock);
	for (int i = 0; o && i < CHAIN_MAX; i++) {
		if (o == w->owner)
			err = -EDEADLK;
		o = err ? NULL : waits_for(o);
	}
	if (!err) {
		if (!w->blocker)
			TAILQ_INSERT_TAIL(&waits, w, link);
		w->blocker = blocker;
	}
	pthread_mutex_unlock(&wait_lock);
	return err;
}

static void wait_forget(struct wait_edge *w)
{
	pthread_mutex_lock(&wait_lock);
	if (w->blocker)
		TAILQ_REMOVE(&waits, w, link);
	w->blocker = NULL;
	pthread_mutex_unlock(&wait_lock);
}

static int try_set(struct file_locks *l, const struct record *want, struct wait_edge *edge)
{
	struct record *other;
	int err;

	pthread_mutex_lock(&l->lock);
	other = want->type == F_UNLCK ? NULL : conflict(l, want);
	if (!other)
		err = apply(l, want);
	else if (want->kind == LOCK_POSIX && other->kind == LOCK_POSIX && edge)
		err = wait_note(edge, other->owner);
	else
		err = 0;
	pthread_mutex_unlock(&l->lock);
	if (other)
		return err ? err : -EAGAIN;
	/* Whatever was set may have been a release of something: an unlock, a downgrade. */
	waitq_wake(&l->wq, EPOLLIN);
	return err;
}

static int set_blocking(struct task *t, struct file_locks *l, const struct record *want)
{
	struct wait_edge edge = { .owner = want->owner };
	struct waiter w = { .task = t };
	int err;

	waitq_add(&l->wq, &w);
	for (;;) {
		err = try_set(l, want, &edge);
		if (err != -EAGAIN)
			break;
		err = task_block(t, TIME_FOREVER);
		if (err) {
			err = -ERESTARTSYS;
			break;
		}
	}
	waitq_remove(&w);
	wait_forget(&edge);
	return err;
}

/* ---- fcntl ---- */

struct guest_flock {
	int16_t type, whence;
	s32 pad;
	s64 start, len;
	s32 pid, pad2;
};
_Static_assert(sizeof(struct guest_flock) == 32, "struct flock of the x86-64 ABI");

static s64 lock_base(struct file *f, int whence)
{
	struct stat st;

	if (whence == SEEK_SET)
		return 0;
	if (whence == SEEK_CUR)
		return f->pos;
	if (whence != SEEK_END)
		return -1;
	if (f->inode->cache)
		return f->inode->cache->size;
	return f->inode->ops->getattr && !f->inode->ops->getattr(f->inode, &st) ? st.st_size : 0;
}

static int lock_range(struct file *f, const struct guest_flock *g, struct record *r)
{
	s64 base = lock_base(f, g->whence);

	if (base < 0)
		return -EINVAL;
	if (__builtin_add_overflow(base, g->start, &r->start))
		return -EOVERFLOW;
	if (r->start < 0)
		return -EINVAL;
	r->end = LOCK_END;
	if (g->len > 0) {
		if (__builtin_add_overflow(r->start, g->len - 1, &r->end))
			return -EOVERFLOW;
	} else if (g->len < 0) {
		r->end = r->start - 1;
		if (g->len == INT64_MIN || r->start < -g->len)
			return -EINVAL;
		r->start += g->len;
	}
	return 0;
}

static int lock_allowed(struct file *f, int type)
{
	u32 mode = atomic_load(&f->flags) & O_ACCMODE;

	if (type == F_UNLCK)
		return 0;
	if (type != F_RDLCK && type != F_WRLCK)
		return -EINVAL;
	return (type == F_RDLCK && mode == O_WRONLY) || (type == F_WRLCK && mode == O_RDONLY) ? -EBADF : 0;
}

static long get_lock(struct task *t, struct file_locks *l, const struct record *want, struct guest_flock *g, gva_t arg)
{
	struct record *r;

	if (want->type == F_UNLCK)
		return -EINVAL;
	pthread_mutex_lock(&l->lock);
	r = conflict(l, want);
	g->type = F_UNLCK;
	if (r) {
		g->type = r->type;
		g->whence = SEEK_SET;
		g->start = r->start;
		g->len = r->end == LOCK_END ? 0 : r->end - r->start + 1;
		g->pid = r->kind == LOCK_OFD ? -1 : r->pid;
	}
	pthread_mutex_unlock(&l->lock);
	return put_user(t->mm, arg, g);
}

long locks_fcntl(struct task *t, struct file *f, int cmd, gva_t arg)
{
	bool ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
	bool get = cmd == F_GETLK || cmd == F_OFD_GETLK;
	struct guest_flock g;
	struct file_locks *l;
	struct record want = {
		.kind = ofd ? LOCK_OFD : LOCK_POSIX,
		.owner = ofd ? (void *)f : (void *)t->files,
		.pid = t->tg->tgid,
	};
	int err;

	if (get_user(t->mm, &g, arg))
		return -EFAULT;
	if (ofd && g.pid)
		return -EINVAL;
	err = lock_range(f, &g, &want);
	if (!err)
		err = get ? (u16)g.type > F_UNLCK ? -EINVAL : 0 : lock_allowed(f, g.type);
	if (err)
		return err;
	want.type = g.type;
	l = locks_of(f->inode);
	if (!l)
		return -ENOLCK;
	if (get)
		return get_lock(t, l, &want, &g, arg);
	if (cmd == F_SETLKW || cmd == F_OFD_SETLKW)
		return set_blocking(t, l, &want);
	return try_set(l, &want, NULL);
}

/* ---- flock ---- */

long locks_flock(struct task *t, struct file *f, int type, bool wait)
{
	struct record want = { .kind = LOCK_FLOCK, .type = type, .owner = f, .pid = t->tg->tgid, .end = LOCK_END };
	struct record none = want;
	struct file_locks *l = locks_of(f->inode);
	int err;

	if (!l)
		return -ENOLCK;
	err = try_set(l, &want, NULL);
	if (err != -EAGAIN)
		return err;
	/* A conversion that cannot be had at once gives up what it had: flock(2) is not atomic here. */
	none.type = F_UNLCK;
	err = try_set(l, &none, NULL);
	if (err)
		return err;
	return wait ? set_blocking(t, l, &want) : -EAGAIN;
}

/* ---- releasing ---- */

static void drop_owned(struct inode *in, const void *owner, bool posix)
{
	struct file_locks *l = in->locks;
	struct record *r, *next;
	bool any = false;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	for (r = TAILQ_FIRST(&l->records); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->owner != owner || (r->kind == LOCK_POSIX) != posix)
			continue;
		record_drop(l, r);
		any = true;
	}
	pthread_mutex_unlock(&l->lock);
	if (any)
		waitq_wake(&l->wq, EPOLLIN);
}

void file_locks_closed(struct fd_table *table, struct file *f)
{
	drop_owned(f->inode, table, true);
}

void file_locks_released(struct file *f)
{
	drop_owned(f->inode, f, false);
}

void inode_locks_free(struct inode *in)
{
	struct file_locks *l = in->locks;
	struct record *r;

	if (!l)
		return;
	while ((r = TAILQ_FIRST(&l->records)))
		record_drop(l, r);
	pthread_mutex_destroy(&l->lock);
	free(l);
	in->locks = NULL;
}
