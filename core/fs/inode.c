/* Inodes and supers: life, attributes, time stamps. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#include "fs/dentry.h"
#include "fs/fs.h"
#include "fs/notify.h"
#include "fs/special.h"
#include "fs/xattr.h"
#include "task/task.h"

static _Atomic u64 next_dev = 0x20;	/* minor numbers of major 0, as the kernel's own unnamed devices */
static _Atomic u64 next_ino = 2;

struct super *super_new(const char *type, const char *source, u32 flags)
{
	struct super *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->type = type;
	s->source = source;
	s->flags = flags;
	s->dev = atomic_fetch_add(&next_dev, 1);
	atomic_init(&s->active, 1);
	atomic_init(&s->refs, 1);
	return s;
}

int super_set_root(struct super *s, struct inode *root)
{
	s->root = dentry_new(s, NULL, "/", 1, root);
	return s->root ? 0 : -ENOMEM;
}

void super_get(struct super *s)
{
	atomic_fetch_add_explicit(&s->active, 1, memory_order_relaxed);
}

/* All active references hold one of `refs` together, each inode holds another. */
static void super_release(struct super *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	if (s->destroy)
		s->destroy(s);
	free(s);
}

void super_put(struct super *s)
{
	if (atomic_fetch_sub(&s->active, 1) != 1)
		return;
	notify_unmounted(s);
	if (s->root) {
		dentry_forget(s);
		dentry_put(s->root);
	}
	super_release(s);
}

struct inode *inode_new(struct super *s, const struct inode_ops *ops, u32 mode)
{
	struct inode *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->ops = ops;
	in->super = s;
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	in->ino = atomic_fetch_add_explicit(&next_ino, 1, memory_order_relaxed);
	atomic_init(&in->refs, 1);
	pthread_mutex_init(&in->lock, NULL);
	in->mode = mode;
	in->nlink = S_ISDIR(mode) ? 2 : 1;
	in->atime = in->mtime = in->ctime = in->btime = fs_now();
	return in;
}

void inode_get(struct inode *in)
{
	atomic_fetch_add_explicit(&in->refs, 1, memory_order_relaxed);
}

bool inode_get_live(struct inode *in)
{
	int n = atomic_load(&in->refs);

	while (n > 0)
		if (atomic_compare_exchange_weak(&in->refs, &n, n + 1))
			return true;
	return false;
}

void inode_put(struct inode *in)
{
	struct super *s;

	if (!in || atomic_fetch_sub(&in->refs, 1) != 1)
		return;
	s = in->super;
	if (in->ops->release)
		in->ops->release(in);
	if (in->locks)
		inode_locks_free(in);
	inode_xattrs_free(in);
	inode_leases_free(in);
	pthread_mutex_destroy(&in->lock);
	free(in);
	super_release(s);
}

/* The kernel stamps files with its tick's time, not the finest clock; so do we, and it is cheap. */
struct timespec fs_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now;
}

u32 inode_new_mode(const struct inode *dir, u32 mode, const struct cred *c)
{
	bool runs_as_group = (mode & S_ISGID) && (mode & S_IXGRP);

	if (!runs_as_group || !(dir->mode & S_ISGID) || !c || cred_in_group(c, dir->gid) || cred_capable(c, CAP_FSETID))
		return mode;
	return mode & ~S_ISGID;
}

void inode_init_owner(struct inode *in, struct inode *dir, const struct cred *c)
{
	in->uid = c ? c->fsuid : 0;
	in->gid = c ? c->fsgid : 0;
	if (!dir)
		return;
	pthread_mutex_lock(&dir->lock);
	if (dir->mode & S_ISGID) {
		in->gid = dir->gid;
		if (S_ISDIR(in->mode))
			in->mode |= S_ISGID;
		else
			in->mode = inode_new_mode(dir, in->mode, c);
	}
	pthread_mutex_unlock(&dir->lock);
}

void inode_stat(struct inode *in, struct stat *st)
{
	*st = (struct stat){ .st_dev = in->super->dev, .st_ino = in->ino, .st_blksize = PAGE_SIZE };
	pthread_mutex_lock(&in->lock);
	st->st_mode = in->mode;
	st->st_nlink = in->nlink;
	st->st_uid = in->uid;
	st->st_gid = in->gid;
	st->st_rdev = in->rdev;
	st->st_atim = in->atime;
	st->st_mtim = in->mtime;
	st->st_ctim = in->ctime;
	pthread_mutex_unlock(&in->lock);
	if (in->cache && S_ISREG(st->st_mode)) {
		st->st_size = in->cache->size;
		st->st_blocks = page_cache_resident(in->cache) * (PAGE_SIZE / 512);
	}
}

void inode_touch(struct inode *in, u32 which)
{
	struct timespec now = fs_now();

	pthread_mutex_lock(&in->lock);
	if (which & TOUCH_ATIME)
		in->atime = now;
	if (which & TOUCH_MTIME)
		in->mtime = now;
	if (which & TOUCH_CTIME)
		in->ctime = now;
	pthread_mutex_unlock(&in->lock);
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

void inode_accessed(struct inode *in)
{
	struct timespec now = fs_now();

	pthread_mutex_lock(&in->lock);
	if (!later(&in->atime, &in->mtime) || !later(&in->atime, &in->ctime) || now.tv_sec - in->atime.tv_sec >= 86400)
		in->atime = now;
	pthread_mutex_unlock(&in->lock);
}

void inode_set_nlink(struct inode *in, int delta)
{
	struct timespec now = fs_now();

	pthread_mutex_lock(&in->lock);
	in->nlink += delta;
	in->ctime = now;
	pthread_mutex_unlock(&in->lock);
}
