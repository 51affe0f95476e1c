/* Changing attributes: chmod, chown, utimes, truncate, fallocate. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/inotify.h>
#include <sys/time.h>

#include "fs/notify.h"
#include "fs/special.h"
#include "syscall/file_calls.h"

/* ---- chmod ---- */

static long chmod_at(struct task *t, int dirfd, u64 name, u32 mode, u32 at)
{
	struct path p;
	long ret = walk_at(t, dirfd, name, at, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &p);

	if (ret)
		return ret;
	ret = vfs_chmod(t, &p, mode);
	path_put(&p);
	return ret;
}

long sys_chmod(struct task *t, const u64 *arg) { return chmod_at(t, AT_FDCWD, arg[0], arg[1], 0); }
long sys_fchmodat(struct task *t, const u64 *arg) { return chmod_at(t, arg[0], arg[1], arg[2], 0); }
long sys_fchmodat2(struct task *t, const u64 *arg) { return chmod_at(t, arg[0], arg[1], arg[2], arg[3]); }

/* A place for calls on descriptors; O_PATH files don't count. */
static int fd_path(struct task *t, int fd, struct path *out)
{
	struct file *f = fd_get_io(t->files, fd);
	int err;

	if (!f)
		return -EBADF;
	err = file_to_path(f, out);
	file_put(f);
	return err;
}

long sys_fchmod(struct task *t, const u64 *arg)
{
	struct path p;
	long ret = fd_path(t, arg[0], &p);

	if (ret)
		return ret;
	ret = vfs_chmod(t, &p, arg[1]);
	path_put(&p);
	return ret;
}

/* ---- chown ---- */

static long chown_at(struct task *t, int dirfd, u64 name, u32 uid, u32 gid, u32 at)
{
	struct path p;
	long ret = walk_at(t, dirfd, name, at, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &p);

	if (ret)
		return ret;
	ret = vfs_chown(t, &p, uid, gid);
	path_put(&p);
	return ret;
}

long sys_chown(struct task *t, const u64 *arg)
{
	return chown_at(t, AT_FDCWD, arg[0], arg[1], arg[2], 0);
}

long sys_lchown(struct task *t, const u64 *arg)
{
	return chown_at(t, AT_FDCWD, arg[0], arg[1], arg[2], AT_SYMLINK_NOFOLLOW);
}

long sys_fchownat(struct task *t, const u64 *arg)
{
	return chown_at(t, arg[0], arg[1], arg[2], arg[3], arg[4]);
}

long sys_fchown(struct task *t, const u64 *arg)
{
	struct path p;
	long ret = fd_path(t, arg[0], &p);

	if (ret)
		return ret;
	ret = vfs_chown(t, &p, arg[1], arg[2]);
	path_put(&p);
	return ret;
}

/* ---- times ---- */

static long utimes_at(struct task *t, int dirfd, u64 name, const struct timespec *times, u32 at)
{
	struct path p;
	long ret = name ? walk_at(t, dirfd, name, at, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &p) : fd_path(t, dirfd, &p);

	if (ret)
		return ret;
	ret = vfs_utimes(t, &p, times);
	path_put(&p);
	return ret;
}

static bool time_ok(const struct timespec *ts)
{
	return ts->tv_nsec == UTIME_NOW || ts->tv_nsec == UTIME_OMIT || (ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000);
}

long sys_utimensat(struct task *t, const u64 *arg)
{
	struct timespec times[2];

	if (arg[2] && copy_in(t->mm, times, arg[2], sizeof(times)))
		return -EFAULT;
	if (arg[2] && (!time_ok(&times[0]) || !time_ok(&times[1])))
		return -EINVAL;
	if (arg[2] && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
		return 0;
	if (!arg[1] && (int)arg[0] == AT_FDCWD)
		return -EFAULT;
	return utimes_at(t, arg[0], arg[1], arg[2] ? times : NULL, arg[3]);
}

/* Two struct timeval, as utimes(2) and futimesat(2) have them. */
static long utimes_micro(struct task *t, int dirfd, u64 name, u64 gva)
{
	struct timespec times[2];
	struct timeval tv[2];

	if (gva && copy_in(t->mm, tv, gva, sizeof(tv)))
		return -EFAULT;
	for (int i = 0; gva && i < 2; i++) {
		if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
			return -EINVAL;
		times[i] = (struct timespec){ tv[i].tv_sec, tv[i].tv_usec * 1000 };
	}
	return utimes_at(t, dirfd, name, gva ? times : NULL, 0);
}

long sys_utimes(struct task *t, const u64 *arg)
{
	return arg[0] ? utimes_micro(t, AT_FDCWD, arg[0], arg[1]) : -EFAULT;
}

long sys_futimesat(struct task *t, const u64 *arg)
{
	return utimes_micro(t, arg[0], arg[1], arg[2]);
}

long sys_utime(struct task *t, const u64 *arg)
{
	struct timespec times[2] = { { 0, 0 }, { 0, 0 } };
	s64 sec[2];

	if (!arg[0] || (arg[1] && copy_in(t->mm, sec, arg[1], sizeof(sec))))
		return -EFAULT;
	if (arg[1]) {
		times[0].tv_sec = sec[0];
		times[1].tv_sec = sec[1];
	}
	return utimes_at(t, AT_FDCWD, arg[0], arg[1] ? times : NULL, 0);
}

/* ---- sizes ---- */

long sys_truncate(struct task *t, const u64 *arg)
{
	struct path p;
	long ret;

	if ((s64)arg[1] < 0)
		return -EINVAL;
	ret = walk_in(t, AT_FDCWD, arg[0], 0, &p);
	if (ret)
		return ret;
	if (S_ISDIR(p.dentry->inode->mode))
		ret = -EISDIR;
	else if (!S_ISREG(p.dentry->inode->mode))
		ret = -EINVAL;
	else if (mount_readonly(p.mnt))
		ret = -EROFS;
	else
		ret = inode_permission(t->cred, p.dentry->inode, 2);
	if (!ret && inode_runs(p.dentry->inode))
		ret = -ETXTBSY;
	if (!ret)
		ret = lease_break(t, p.dentry->inode, true, false);
	if (!ret)
		ret = vfs_truncate(t, p.dentry->inode, arg[1]);
	if (!ret)
		notify_dentry(p.dentry, IN_MODIFY);
	path_put(&p);
	return ret;
}

long sys_ftruncate(struct task *t, const u64 *arg)
{
	struct file *f;
	long ret;

	if ((s64)arg[1] < 0)
		return -EINVAL;
	f = fd_get_io(t->files, arg[0]);
	if (!f)
		return -EBADF;
	if (!S_ISREG(f->inode->mode) || (f->flags & O_ACCMODE) == O_RDONLY)
		ret = -EINVAL;
	else
		ret = vfs_truncate(t, f->inode, arg[1]);
	if (!ret)
		notify_file(f, IN_MODIFY);
	file_put(f);
	return ret;
}

long sys_fallocate(struct task *t, const u64 *arg)
{
	s64 pos = arg[2], len = arg[3], end;
	struct file *f;
	long ret;

	if (pos < 0 || len <= 0)
		return -EINVAL;
	f = file_writable(t, arg[0]);
	if (!f)
		return -EBADF;
	if (__builtin_add_overflow(pos, len, &end))
		ret = -EFBIG;
	else if (S_ISFIFO(f->inode->mode))
		ret = -ESPIPE;
	else if (!S_ISREG(f->inode->mode))
		ret = S_ISDIR(f->inode->mode) ? -EISDIR : -ENODEV;
	else if (!f->inode->cache)
		ret = -EOPNOTSUPP;
	else if (!((u32)arg[1] & FALLOC_FL_KEEP_SIZE) && (u64)end > f->inode->cache->size &&
		 (u64)end > task_rlimit(t, RLIMIT_FSIZE))
		ret = -EFBIG;
	else
		ret = f->ops->fallocate ? f->ops->fallocate(f, arg[1], pos, len) : -EOPNOTSUPP;
	if (!ret)
		notify_file(f, IN_MODIFY);
	file_put(f);
	return ret;
}
