/* Directories: getdents, getcwd, chdir, chroot, mkdir, rmdir, mknod, umask. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/notify.h"
#include "syscall/file_calls.h"

/* ---- getdents ---- */

#define GETDENTS_MAX	(64u << 10)

struct listing {
	struct dirent_sink sink;	/* first */
	u8 *buf;
	u64 size, used;
	u64 next_pos;			/* behind what was taken last */
	bool old_layout;		/* getdents(2): the type is the record's last byte */
	bool full;
};

/* linux_dirent64: ino, off, reclen, type, name. linux_dirent: ino, off, reclen, name, ..., type. */
static bool take(struct dirent_sink *sink, const char *name, size_t len, u64 ino, u64 next_pos, u8 type)
{
	struct listing *l = (struct listing *)sink;
	u64 head = l->old_layout ? 18 : 19;
	u16 reclen = align_up(head + len + 1 + l->old_layout, 8);
	u8 *p = l->buf + l->used;

	if (l->size - l->used < reclen) {
		l->full = true;
		return false;
	}
	memset(p, 0, reclen);
	memcpy(p, &ino, 8);
	memcpy(p + 8, &next_pos, 8);
	memcpy(p + 16, &reclen, 2);
	memcpy(p + head, name, len);
	p[l->old_layout ? reclen - 1 : 18] = type;
	l->used += reclen;
	l->next_pos = next_pos;
	return true;
}

static u64 parent_ino(struct file *f)
{
	struct path p = f->path;
	struct dentry *parent;
	u64 ino;

	path_get(&p);
	mount_cross_up(&p);
	parent = dentry_parent(p.dentry);
	ino = parent->inode->ino;
	dentry_put(parent);
	path_put(&p);
	return ino;
}

/* f->pos_lock held. */
static int list(struct file *f, struct listing *l)
{
	struct inode *in = f->inode;
	struct dentry *d = f->path.dentry;
	int err = -ENOENT;

	l->next_pos = f->pos;
	if (f->pos == 0 && !take(&l->sink, ".", 1, in->ino, 1, DT_DIR))
		return 0;
	if (l->next_pos == 1 && !take(&l->sink, "..", 2, parent_ino(f), 2, DT_DIR))
		return 0;
	f->pos = l->next_pos;
	pthread_mutex_lock(&d->lock);
	if (d->deleted)
		l->used = 0;
	else if (f->ops->readdir)
		err = f->ops->readdir(f, &l->sink);
	else
		err = in->ops->readdir ? in->ops->readdir(in, f, f->pos, &l->sink) : -ENOTDIR;
	pthread_mutex_unlock(&d->lock);
	return err;
}

static long getdents(struct task *t, const u64 *arg, bool old_layout)
{
	u64 size = MIN((u64)(u32)arg[2], (u64)GETDENTS_MAX);
	struct listing l = { .sink.emit = take, .size = size, .old_layout = old_layout };
	struct file *f = fd_get_io(t->files, arg[0]);
	u64 start;
	long ret;

	if (!f)
		return -EBADF;
	ret = -ENOTDIR;
	if (!S_ISDIR(f->inode->mode) || !f->path.dentry)
		goto out;
	ret = -ENOMEM;
	l.buf = malloc(l.size + 1);
	if (!l.buf)
		goto out;
	pthread_mutex_lock(&f->pos_lock);
	start = f->pos;
	ret = list(f, &l);
	if (!ret && !l.used && l.full)
		ret = -EINVAL;
	if (!ret && l.used && copy_out(t->mm, arg[1], l.buf, l.used))
		ret = -EFAULT;
	f->pos = ret ? start : l.next_pos;
	pthread_mutex_unlock(&f->pos_lock);
	inode_accessed(f->inode);
	notify_file(f, IN_ACCESS);
	free(l.buf);
out:
	file_put(f);
	return ret ? ret : (long)l.used;
}

long sys_getdents(struct task *t, const u64 *arg) { return getdents(t, arg, true); }
long sys_getdents64(struct task *t, const u64 *arg) { return getdents(t, arg, false); }

/* ---- where a task is ---- */

long sys_getcwd(struct task *t, const u64 *arg)
{
	char buf[PATH_LEN_MAX];
	struct path cwd;
	s64 len = -ENOENT;

	pthread_mutex_lock(&t->place->lock);
	cwd = t->place->cwd;
	path_get(&cwd);
	pthread_mutex_unlock(&t->place->lock);
	if (!cwd.dentry->deleted)
		len = path_name(t, &cwd, buf, sizeof(buf));
	path_put(&cwd);
	if (len < 0)
		return len;
	if ((u64)len + 1 > arg[1])
		return -ERANGE;
	return copy_out(t->mm, arg[0], buf, len + 1) ? -EFAULT : len + 1;
}

/* Swaps one of the place's paths; consumes *p. */
static void place_set(struct fs_place *place, struct path *slot, struct path *p)
{
	struct path old;

	pthread_mutex_lock(&place->lock);
	old = *slot;
	*slot = *p;
	pthread_mutex_unlock(&place->lock);
	path_put(&old);
}

long sys_chdir(struct task *t, const u64 *arg)
{
	struct path p;
	int err = walk_in(t, AT_FDCWD, arg[0], WALK_DIRECTORY, &p);

	if (err)
		return err;
	err = inode_permission(t->cred, p.dentry->inode, X_OK);
	if (err)
		path_put(&p);
	else
		place_set(t->place, &t->place->cwd, &p);
	return err;
}

long sys_fchdir(struct task *t, const u64 *arg)
{
	struct file *f = fd_get(t->files, arg[0]);
	struct path p;
	int err = -ENOTDIR;

	if (!f)
		return -EBADF;
	if (!S_ISDIR(f->inode->mode) || !f->path.dentry)
		goto out;
	err = inode_permission(t->cred, f->inode, X_OK);
	if (err)
		goto out;
	p = f->path;
	path_get(&p);
	place_set(t->place, &t->place->cwd, &p);
out:
	file_put(f);
	return err;
}

long sys_chroot(struct task *t, const u64 *arg)
{
	struct path p;
	int err = walk_in(t, AT_FDCWD, arg[0], WALK_DIRECTORY, &p);

	if (err)
		return err;
	err = inode_permission(t->cred, p.dentry->inode, X_OK);
	if (!err && !cred_capable(t->cred, CAP_SYS_CHROOT))
		err = -EPERM;
	if (err)
		path_put(&p);
	else
		place_set(t->place, &t->place->root, &p);
	return err;
}

long sys_umask(struct task *t, const u64 *arg)
{
	u32 old;

	pthread_mutex_lock(&t->place->lock);
	old = t->place->umask;
	t->place->umask = arg[0] & 0777;
	pthread_mutex_unlock(&t->place->lock);
	return old;
}

/* ---- making and removing ---- */

static long make(struct task *t, int dirfd, u64 name_gva, u32 mode, u64 rdev)
{
	char name[PATH_LEN_MAX];
	int err = path_in(t, name, name_gva);

	return err ? err : vfs_mknod(t, dirfd, name, mode, rdev);
}

static long make_dir(struct task *t, int dirfd, u64 name, u32 mode)
{
	return make(t, dirfd, name, S_IFDIR | (mode & (0777 | S_ISVTX)), 0);
}

long sys_mkdir(struct task *t, const u64 *arg) { return make_dir(t, AT_FDCWD, arg[0], arg[1]); }
long sys_mkdirat(struct task *t, const u64 *arg) { return make_dir(t, arg[0], arg[1], arg[2]); }

static long make_node(struct task *t, int dirfd, u64 name, u32 mode, u64 rdev)
{
	u32 type = mode & S_IFMT;

	if (!type)
		mode |= type = S_IFREG;
	if (type == S_IFDIR)
		return -EPERM;
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR && type != S_IFBLK)
		return -EINVAL;
	/* Whiteouts (0, 0) need no capability. */
	if ((type == S_IFBLK || (type == S_IFCHR && rdev)) && !cred_capable(t->cred, CAP_MKNOD))
		return -EPERM;
	return make(t, dirfd, name, mode & (S_IFMT | 07777), rdev);
}

long sys_mknod(struct task *t, const u64 *arg) { return make_node(t, AT_FDCWD, arg[0], arg[1], (u32)arg[2]); }
long sys_mknodat(struct task *t, const u64 *arg) { return make_node(t, arg[0], arg[1], arg[2], (u32)arg[3]); }

long sys_rmdir(struct task *t, const u64 *arg)
{
	char name[PATH_LEN_MAX];
	int err = path_in(t, name, arg[0]);

	return err ? err : vfs_unlink(t, AT_FDCWD, name, true);
}
