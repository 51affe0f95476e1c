/* open(2) in all its forms: walk, create, check, make the file. Also stat, and opening what exec runs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/memfs.h"
#include "fs/namei.h"
#include "fs/notify.h"
#include "fs/special.h"
#include "task/task.h"

#define OPEN_ONLY	(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)	/* not kept in the file's flags */

static const struct file_ops plain_file_ops;	/* O_PATH files, and what only its open() can bring to life */

static u32 wanted(u32 flags)
{
	static const u8 want[] = { R_OK, W_OK, R_OK | W_OK, R_OK | W_OK };

	return want[flags & O_ACCMODE] | (flags & O_TRUNC ? W_OK : 0);
}

static int may_open(const struct walk *w, u32 flags, bool created)
{
	struct inode *in = w->cur.dentry->inode;
	struct mount *m = w->cur.mnt;
	u32 want = wanted(flags);

	if (S_ISLNK(in->mode))
		return -ELOOP;
	if (S_ISDIR(in->mode) && (want & W_OK))
		return -EISDIR;
	if ((S_ISCHR(in->mode) || S_ISBLK(in->mode)) && (m->flags & ST_NODEV))
		return -EACCES;
	if ((want & W_OK) && S_ISREG(in->mode) && !created && mount_readonly(m))
		return -EROFS;
	if ((flags & O_NOATIME) && !cred_owns(w->cred, in))
		return -EPERM;
	return created ? 0 : inode_permission(w->cred, in, want);
}

static int open_by_type(struct task *t, struct file *f)
{
	struct inode *in = f->inode;

	if (in->ops->open)
		return in->ops->open(in, t, f);
	switch (in->mode & S_IFMT) {
	case S_IFIFO:
		return fifo_open(in, t, f);
	case S_IFCHR:
	case S_IFBLK:
		return devfs_open_rdev(in, t, f);
	case S_IFSOCK:
		return -ENXIO;
	default:
		return 0;
	}
}

static const struct file_ops *default_ops(const struct inode *in, u32 flags)
{
	if (flags & O_PATH)
		return &plain_file_ops;
	if (in->file_ops)
		return in->file_ops;
	return S_ISDIR(in->mode) ? &dir_file_ops : &plain_file_ops;
}

/* Against running programs and leases. O_TRUNC writes too. */
static int open_conflicts(struct task *t, struct file *f, u32 flags, u32 count)
{
	bool write = wanted(flags) & W_OK;
	int err = file_count(f, write ? count | COUNT_WRITE : count);

	return err || !S_ISREG(f->inode->mode) ? err : lease_break(t, f->inode, write, flags & O_NONBLOCK);
}

/* The file for a place, without asking for permission. `count`: COUNT_EXEC or 0. */
static int file_at(struct task *t, const struct path *p, u32 flags, u32 count, struct file **out)
{
	struct file *f = file_new(p->dentry->inode, default_ops(p->dentry->inode, flags), flags);
	int err = 0;

	if (!f)
		return -ENFILE;
	f->path = *p;
	path_get(&f->path);
	if (!(flags & O_PATH)) {
		err = open_conflicts(t, f, flags, count);
		if (!err)
			err = open_by_type(t, f);
		/* A file that did not come to be must not be released as one. */
		if (err)
			f->ops = &plain_file_ops;
	}
	if (!err && (flags & O_TRUNC) && S_ISREG(p->dentry->inode->mode))
		err = vfs_truncate(t, p->dentry->inode, 0);
	if (err) {
		/* Nobody has seen it: no event of its closing. */
		f->flags |= O_PATH;
		file_put(f);
		return err;
	}
	f->flags = f->flags & ~OPEN_ONLY;
	if (flags & O_TRUNC)
		notify_file(f, IN_MODIFY);
	notify_file(f, IN_OPEN);
	*out = f;
	return 0;
}

static u32 masked(const struct walk *w, u32 mode)
{
	return inode_new_mode(w->cur.dentry->inode, mode, w->cred) & ~(w->t->place->umask & 07777);
}

/* In the directory w->cur. */
static int create_name(const struct walk *w, const char *name, u32 mode, struct inode **out)
{
	struct inode *dir = w->cur.dentry->inode;

	return dir->ops->create ? dir->ops->create(dir, name, masked(w, mode), 0, w->cred, out) : -EACCES;
}

/* The last name is to be made if it is not there. As walk_last(), and *created. */
static int last_or_create(struct walk *w, u32 flags, u32 mode, bool *created)
{
	struct dentry *dir = w->cur.dentry, *d;
	struct inode *in;
	int err;

	if (w->kind != LAST_NAME)
		return walk_last(w, true);
	if (w->trailing)
		return -EISDIR;
	pthread_mutex_lock(&dir->lock);
	err = dentry_lookup_locked(dir, w->last, w->last_len, &d);
	if (err == -ENOENT) {
		char name[NAME_LEN_MAX + 1];

		memcpy(name, w->last, w->last_len);
		name[w->last_len] = 0;
		err = dir->deleted ? -ENOENT : may_change_dir(w);
		if (!err)
			err = create_name(w, name, mode, &in);
		if (!err)
			err = dentry_add(dir, name, w->last_len, in, &d);
		*created = !err;
	}
	pthread_mutex_unlock(&dir->lock);
	if (err)
		return err;
	if (*created)
		notify_name(dir->inode, w->last, w->last_len, IN_CREATE, 0);
	if ((flags & O_EXCL) && !*created) {
		dentry_put(d);
		return -EEXIST;
	}
	return walk_last_dentry(w, d, !(flags & (O_NOFOLLOW | O_EXCL)));
}

static int open_walk(struct walk *w, u32 flags, u32 mode, bool *created)
{
	int err;

	do {
		err = walk_parent(w);
		if (err)
			return err;
		if (flags & O_CREAT)
			err = last_or_create(w, flags, mode, created);
		else
			err = walk_last(w, !(flags & O_NOFOLLOW));
	} while (err > 0);
	return err;
}

/* O_TMPFILE: `w->cur` is the directory. Replaces it by a dentry that no name leads to. */
static int make_tmpfile(struct walk *w, u32 flags, u32 mode)
{
	struct dentry *dir = w->cur.dentry, *d;
	struct inode *in;
	char name[32];
	int err;

	if (!S_ISDIR(dir->inode->mode))
		return -ENOTDIR;
	err = may_change_dir(w);
	if (err)
		return err;
	if (!dir->inode->ops->tmpfile)
		return -EOPNOTSUPP;
	err = dir->inode->ops->tmpfile(dir->inode, masked(w, S_IFREG | mode), w->cred, &in);
	if (err)
		return err;
	snprintf(name, sizeof(name), "#%llu", (unsigned long long)in->ino);
	d = dentry_new(dir->super, dir, name, strlen(name), in);
	if (!d)
		return -ENOMEM;
	/* vfs_link() takes what has no name yet but is not deleted; O_EXCL says that it shall never have one. */
	d->deleted = flags & O_EXCL;
	dentry_put(dir);
	w->cur.dentry = d;
	return 0;
}

static int check_flags(u32 flags)
{
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return (flags & O_ACCMODE) == O_RDONLY || (flags & O_CREAT) ? -EINVAL : 0;
	if (flags & O_TMPFILE & ~O_DIRECTORY)
		return -EINVAL;
	if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY))
		return -EINVAL;
	return 0;
}

static u32 walk_flags(u32 flags, u64 resolve)
{
	return (flags & O_DIRECTORY ? WALK_DIRECTORY : 0) |
	       (resolve & RESOLVE_NO_XDEV ? WALK_NO_XDEV : 0) |
	       (resolve & RESOLVE_NO_MAGICLINKS ? WALK_NO_MAGIC : 0) |
	       (resolve & RESOLVE_NO_SYMLINKS ? WALK_NO_SYMLINKS : 0) |
	       (resolve & RESOLVE_BENEATH ? WALK_BENEATH : 0) |
	       (resolve & RESOLVE_IN_ROOT ? WALK_IN_ROOT : 0);
}

int vfs_open_how(struct task *t, int dirfd, const char *name, const struct open_how_kernel *how, struct file **out)
{
	u32 flags = how->flags, mode = how->mode & 07777;
	bool created = false;
	struct walk w;
	int err;

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	err = check_flags(flags);
	if (err)
		return err;
	err = walk_begin(&w, t, t->cred, dirfd, name, walk_flags(flags, how->resolve));
	if (!err)
		err = open_walk(&w, flags, S_IFREG | mode, &created);
	if (err)
		goto out;
	if ((flags & O_TMPFILE) == O_TMPFILE) {
		err = make_tmpfile(&w, flags, mode);
		if (!err)
			err = file_at(t, &w.cur, flags & ~(O_TMPFILE | O_TRUNC), 0, out);
		goto out;
	}
	if (!created && (flags & O_CREAT))
		err = flags & O_EXCL ? -EEXIST : S_ISDIR(w.cur.dentry->inode->mode) ? -EISDIR : 0;
	if (!err && !(flags & O_PATH))
		err = may_open(&w, flags, created);
	if (!err)
		err = file_at(t, &w.cur, created ? flags & ~O_TRUNC : flags, 0, out);
out:
	walk_end(&w);
	return err;
}

int vfs_open(struct task *t, int dirfd, const char *name, int flags, u32 mode, struct file **out)
{
	struct open_how_kernel how = { .flags = (u32)flags, .mode = mode };

	return vfs_open_how(t, dirfd, name, &how, out);
}

int vfs_open_path(struct task *t, const struct path *p, u32 flags, struct file **out)
{
	struct walk w = { .t = t, .cred = t->cred, .cur = *p };
	int err = (flags & (O_CREAT | O_EXCL)) || (flags & O_TMPFILE) == O_TMPFILE ? -EINVAL : 0;

	if (!err && (flags & O_DIRECTORY) && !S_ISDIR(p->dentry->inode->mode))
		err = -ENOTDIR;
	if (!err && !(flags & O_PATH))
		err = may_open(&w, flags, false);
	return err ? err : file_at(t, p, flags, 0, out);
}

int vfs_open_exec(struct task *t, int dirfd, const char *name, int at_flags, struct file **out)
{
	u32 flags = (at_flags & AT_EMPTY_PATH ? WALK_EMPTY : 0) | (at_flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0);
	struct inode *in;
	struct path p;
	int err = path_walk(t, dirfd, name, flags, &p);

	if (err)
		return err;
	in = p.dentry->inode;
	if (S_ISLNK(in->mode))
		err = -ELOOP;
	else if (!S_ISREG(in->mode) || ((p.mnt->flags | p.mnt->super->flags) & ST_NOEXEC))
		err = -EACCES;
	else
		err = inode_permission(t->cred, in, X_OK);
	if (!err)
		err = file_at(t, &p, O_RDONLY, COUNT_EXEC, out);
	path_put(&p);
	return err;
}

int vfs_stat_inode(struct task *t, struct inode *in, struct stat *st)
{
	if (in->ops->getattr)
		return in->ops->getattr(in, st);
	inode_stat(in, st);
	if (S_ISLNK(in->mode) && in->ops->readlink && !st->st_size) {
		char buf[PATH_LEN_MAX];
		s64 len = in->ops->follow ? 0 : in->ops->readlink(in, t, buf, sizeof(buf));

		st->st_size = MAX(len, 0);
	}
	return 0;
}

int vfs_stat(struct task *t, const struct path *p, struct stat *st)
{
	return vfs_stat_inode(t, p->dentry->inode, st);
}
