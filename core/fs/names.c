/* Changing names: mknod and mkdir, symlink, link, unlink and rmdir, rename. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/namei.h"
#include "fs/notify.h"
#include "task/task.h"

/* ---- making ---- */

static void last_name(const struct walk *w, char name[NAME_LEN_MAX + 1])
{
	memcpy(name, w->last, w->last_len);
	name[w->last_len] = 0;
}

/* Walk to the directory of a name that must not exist, lock it and check. On success its dentry's lock is held. */
static int make_begin(struct walk *w, struct task *t, int dirfd, const char *path, bool dir, char *name)
{
	struct dentry *parent, *d;
	int err = walk_begin(w, t, t->cred, dirfd, path, 0);

	if (!err)
		err = walk_parent(w);
	if (err)
		return err;
	if (w->kind != LAST_NAME)
		return -EEXIST;
	parent = w->cur.dentry;
	pthread_mutex_lock(&parent->lock);
	err = dentry_lookup_locked(parent, w->last, w->last_len, &d);
	if (!err) {
		dentry_put(d);
		err = -EEXIST;
		goto fail;
	}
	if (err != -ENOENT)
		goto fail;
	if (parent->deleted || (w->trailing && !dir))
		goto fail;
	err = may_change_dir(w);
	if (err)
		goto fail;
	last_name(w, name);
	return 0;
fail:
	pthread_mutex_unlock(&parent->lock);
	return err;
}

/* The file system has answered: give the new inode its dentry and let go. */
static int make_end(struct walk *w, const char *name, int err, struct inode *in)
{
	struct dentry *parent = w->cur.dentry, *d = NULL;
	u32 isdir = !err && S_ISDIR(in->mode) ? IN_ISDIR : 0;

	/* Without memory for a dentry the name exists all the same, and a later lookup finds it. */
	if (!err)
		dentry_add(parent, name, w->last_len, in, &d);
	pthread_mutex_unlock(&parent->lock);
	if (d)
		dentry_put(d);
	if (!err)
		notify_name(parent->inode, name, w->last_len, IN_CREATE | isdir, 0);
	return err;
}

int vfs_mknod(struct task *t, int dirfd, const char *path, u32 mode, u64 rdev)
{
	char name[NAME_LEN_MAX + 1];
	const struct inode_ops *ops;
	struct inode *in = NULL;
	struct walk w;
	int err = make_begin(&w, t, dirfd, path, S_ISDIR(mode), name);

	if (err)
		goto out;
	ops = w.cur.dentry->inode->ops;
	mode &= ~t->place->umask;
	err = ops->create ? ops->create(w.cur.dentry->inode, name, mode, rdev, t->cred, &in) : -EPERM;
	err = make_end(&w, name, err, in);
out:
	walk_end(&w);
	return err;
}

int vfs_symlink(struct task *t, const char *target, int dirfd, const char *path)
{
	char name[NAME_LEN_MAX + 1];
	const struct inode_ops *ops;
	struct inode *in = NULL;
	struct walk w;
	int err = make_begin(&w, t, dirfd, path, false, name);

	if (err)
		goto out;
	ops = w.cur.dentry->inode->ops;
	err = ops->symlink ? ops->symlink(w.cur.dentry->inode, name, target, t->cred, &in) : -EPERM;
	err = make_end(&w, name, err, in);
out:
	walk_end(&w);
	return err;
}

static int link_in(struct walk *w, const char *name, const struct path *old)
{
	struct inode *in = old->dentry->inode, *dir = w->cur.dentry->inode;

	if (w->cur.mnt != old->mnt)
		return -EXDEV;
	if (S_ISDIR(in->mode) || !dir->ops->link)
		return -EPERM;
	/* Gone, as opposed to made by O_TMPFILE and never named. */
	if (!in->nlink && old->dentry->deleted)
		return -ENOENT;
	return dir->ops->link(dir, name, in);
}

int vfs_link(struct task *t, int old_fd, const char *old, int new_fd, const char *path, int at_flags)
{
	u32 flags = (at_flags & AT_SYMLINK_FOLLOW ? 0 : WALK_NOFOLLOW) | (at_flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
	char name[NAME_LEN_MAX + 1];
	struct path from;
	struct walk w;
	int err;

	if ((at_flags & AT_EMPTY_PATH) && !*old && !cred_capable(t->cred, CAP_DAC_READ_SEARCH))
		return -ENOENT;
	err = path_walk(t, old_fd, old, flags, &from);
	if (err)
		return err;
	err = make_begin(&w, t, new_fd, path, false, name);
	if (err)
		goto out;
	err = link_in(&w, name, &from);
	if (!err) {
		inode_get(from.dentry->inode);
		notify_inode(from.dentry->inode, IN_ATTRIB);
	}
	err = make_end(&w, name, err, from.dentry->inode);
out:
	walk_end(&w);
	path_put(&from);
	return err;
}

/* ---- removing ---- */

static int removal_kind(const struct walk *w, bool dir)
{
	if (!dir)
		return w->kind == LAST_NAME ? 0 : -EISDIR;
	switch (w->kind) {
	case LAST_DOT:
		return -EINVAL;
	case LAST_DOTDOT:
		return -ENOTEMPTY;
	case LAST_ROOT:
		return -EBUSY;
	default:
		return 0;
	}
}

/* `d` in w->cur, whose lock is held. */
static int remove_name(struct walk *w, struct dentry *d, bool dir)
{
	struct inode *parent = w->cur.dentry->inode;
	bool is_dir = S_ISDIR(d->inode->mode);
	char name[NAME_LEN_MAX + 1];
	int err;

	if (!dir && w->trailing)
		return is_dir ? -EISDIR : -ENOTDIR;
	err = may_delete(w, d);
	if (err)
		return err;
	if (dir != is_dir)
		return dir ? -ENOTDIR : -EISDIR;
	if (d->mounted)
		return -EBUSY;
	if (!parent->ops->unlink)
		return -EPERM;
	last_name(w, name);
	pthread_mutex_lock(&d->lock);
	err = parent->ops->unlink(parent, name, d->inode);
	if (!err)
		dentry_delete(d);
	pthread_mutex_unlock(&d->lock);
	return err;
}

/* A name of it went. Directories have no other, and are gone with it even if somebody has them open. */
static void notify_unlinked(struct inode *in)
{
	bool gone, dir = S_ISDIR(in->mode);

	if (!notify_wanted())
		return;
	if (!dir)
		notify_inode(in, IN_ATTRIB);
	pthread_mutex_lock(&in->lock);
	gone = !in->nlink && !in->opens;
	pthread_mutex_unlock(&in->lock);
	if (gone)
		notify_gone(in);
}

int vfs_unlink(struct task *t, int dirfd, const char *path, bool dir)
{
	struct dentry *parent, *d = NULL;
	struct walk w;
	int err = walk_begin(&w, t, t->cred, dirfd, path, 0);

	if (!err)
		err = walk_parent(&w);
	if (!err)
		err = removal_kind(&w, dir);
	if (err)
		goto out;
	parent = w.cur.dentry;
	pthread_mutex_lock(&parent->lock);
	err = dentry_lookup_locked(parent, w.last, w.last_len, &d);
	if (!err)
		err = remove_name(&w, d, dir);
	pthread_mutex_unlock(&parent->lock);
	if (!err) {
		notify_unlinked(d->inode);
		notify_name(parent->inode, w.last, w.last_len, IN_DELETE | (dir ? IN_ISDIR : 0), 0);
	}
	dentry_put(d);
out:
	walk_end(&w);
	return err;
}

/* ---- rename ---- */

struct rename {
	struct walk from, to;
	struct dentry *old, *new;	/* new is NULL if there is no such name yet */
	u32 flags;
};

/* Both directories, the upper one first; unrelated ones by address, under rename_lock. */
static void lock_dirs(struct dentry *a, struct dentry *b)
{
	if (a == b) {
		pthread_mutex_lock(&a->lock);
		return;
	}
	pthread_mutex_lock(&rename_lock);
	if (!dentry_is_ancestor(a, b) && (dentry_is_ancestor(b, a) || b < a)) {
		struct dentry *upper = b;

		b = a;
		a = upper;
	}
	pthread_mutex_lock(&a->lock);
	pthread_mutex_lock(&b->lock);
}

static void unlock_dirs(struct dentry *a, struct dentry *b)
{
	pthread_mutex_unlock(&a->lock);
	if (a == b)
		return;
	pthread_mutex_unlock(&b->lock);
	pthread_mutex_unlock(&rename_lock);
}

static int rename_lookup(struct rename *r)
{
	int err = dentry_lookup_locked(r->from.cur.dentry, r->from.last, r->from.last_len, &r->old);

	if (err)
		return err;
	err = dentry_lookup_locked(r->to.cur.dentry, r->to.last, r->to.last_len, &r->new);
	if (err == -ENOENT && !(r->flags & RENAME_EXCHANGE))
		return r->to.cur.dentry->deleted ? -ENOENT : 0;
	if (!err && (r->flags & RENAME_NOREPLACE))
		return -EEXIST;
	return err;
}

static bool is_dir(const struct dentry *d) { return S_ISDIR(d->inode->mode); }

static int rename_check_shape(struct rename *r)
{
	bool exchange = r->flags & RENAME_EXCHANGE;

	if (!is_dir(r->old) && (r->from.trailing || (!exchange && r->to.trailing)))
		return -ENOTDIR;
	if (exchange && r->to.trailing && !is_dir(r->new))
		return -ENOTDIR;
	if (dentry_is_ancestor(r->old, r->to.cur.dentry))
		return -EINVAL;
	if (r->new && dentry_is_ancestor(r->new, r->from.cur.dentry))
		return exchange ? -EINVAL : -ENOTEMPTY;
	return 0;
}

static int rename_check_permission(struct rename *r)
{
	bool exchange = r->flags & RENAME_EXCHANGE, across = r->from.cur.dentry != r->to.cur.dentry;
	int err = may_delete(&r->from, r->old);

	if (!err)
		err = r->new ? may_delete(&r->to, r->new) : may_change_dir(&r->to);
	if (!err && r->new && !exchange && is_dir(r->old) != is_dir(r->new))
		err = is_dir(r->old) ? -ENOTDIR : -EISDIR;
	/* ".." of a directory that moves is written. */
	if (!err && across && is_dir(r->old))
		err = inode_permission(r->from.cred, r->old->inode, W_OK);
	if (!err && across && exchange && is_dir(r->new))
		err = inode_permission(r->from.cred, r->new->inode, W_OK);
	if (!err && (r->old->mounted || (r->new && r->new->mounted)))
		err = -EBUSY;
	return err;
}

static int rename_do(struct rename *r)
{
	struct inode *from = r->from.cur.dentry->inode, *to = r->to.cur.dentry->inode;
	char name[NAME_LEN_MAX + 1], new_name[NAME_LEN_MAX + 1], *copy;
	bool lock = r->new && r->new != r->old;
	int err;

	if (!from->ops->rename)
		return -EPERM;
	last_name(&r->from, name);
	last_name(&r->to, new_name);
	copy = strdup(new_name);
	if (!copy)
		return -ENOMEM;
	if (lock)
		pthread_mutex_lock(&r->new->lock);
	err = from->ops->rename(from, name, r->old->inode, to, new_name, r->new ? r->new->inode : NULL, r->flags);
	if (!err && r->new && !(r->flags & RENAME_EXCHANGE))
		dentry_delete(r->new);
	if (lock)
		pthread_mutex_unlock(&r->new->lock);
	if (!err && (r->flags & RENAME_EXCHANGE))
		dentry_exchange(r->old, r->new);
	if (!err && !(r->flags & RENAME_EXCHANGE))
		dentry_move(r->old, r->to.cur.dentry, copy);
	else
		free(copy);
	return err;
}

static int rename_locked(struct rename *r)
{
	int err = rename_lookup(r);

	if (!err)
		err = rename_check_shape(r);
	if (!err)
		err = rename_check_permission(r);
	/* Two names of one file: POSIX wants nothing done. */
	if (err || (r->new && r->new->inode == r->old->inode))
		return err;
	return rename_do(r);
}

static void notify_moved(struct inode *in, const struct walk *from, const struct walk *to)
{
	u32 cookie = notify_cookie(), isdir = S_ISDIR(in->mode) ? IN_ISDIR : 0;

	notify_name(from->cur.dentry->inode, from->last, from->last_len, IN_MOVED_FROM | isdir, cookie);
	notify_name(to->cur.dentry->inode, to->last, to->last_len, IN_MOVED_TO | isdir, cookie);
	notify_inode(in, IN_MOVE_SELF);
}

static void notify_renamed(struct rename *r)
{
	if (r->new && r->new->inode == r->old->inode)
		return;
	notify_moved(r->old->inode, &r->from, &r->to);
	if (r->flags & RENAME_EXCHANGE)
		notify_moved(r->new->inode, &r->to, &r->from);
	else if (r->new)
		notify_unlinked(r->new->inode);
}

static int rename_kinds(const struct rename *r)
{
	if (r->from.cur.mnt != r->to.cur.mnt)
		return -EXDEV;
	if (r->from.kind != LAST_NAME)
		return -EBUSY;
	if (r->to.kind != LAST_NAME)
		return r->flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	return 0;
}

int vfs_rename(struct task *t, int old_fd, const char *old, int new_fd, const char *name, u32 flags)
{
	struct rename r = { .old = NULL, .new = NULL, .flags = flags };
	struct dentry *a, *b;
	int err;

	if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	err = walk_begin(&r.from, t, t->cred, old_fd, old, 0);
	if (!err)
		err = walk_parent(&r.from);
	if (err)
		goto out_from;
	err = walk_begin(&r.to, t, t->cred, new_fd, name, 0);
	if (!err)
		err = walk_parent(&r.to);
	if (!err)
		err = rename_kinds(&r);
	if (err)
		goto out;
	a = r.from.cur.dentry;
	b = r.to.cur.dentry;
	lock_dirs(a, b);
	err = rename_locked(&r);
	unlock_dirs(a, b);
	if (!err && notify_wanted())
		notify_renamed(&r);
	dentry_put(r.old);
	dentry_put(r.new);
out:
	walk_end(&r.to);
out_from:
	walk_end(&r.from);
	return err;
}
