/* Descriptors: dup, fcntl, ioctl, fsync and what else acts on an open file as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "fs/async.h"
#include "fs/memfs.h"
#include "fs/special.h"
#include "syscall/file_calls.h"

/* ---- dup ---- */

long sys_dup(struct task *t, const u64 *arg)
{
	struct file *f = fd_get(t->files, arg[0]);

	return f ? fd_install(t, f, 0, false) : -EBADF;
}

static long dup_to(struct task *t, u32 old, u32 new, bool cloexec)
{
	struct file *f;

	if (new >= task_rlimit(t, RLIMIT_NOFILE))
		return -EBADF;
	f = fd_get(t->files, old);
	return f ? fd_replace(t, new, f, cloexec) : -EBADF;
}

long sys_dup2(struct task *t, const u64 *arg)
{
	struct file *f;

	if ((u32)arg[0] != (u32)arg[1])
		return dup_to(t, arg[0], arg[1], false);
	f = fd_get(t->files, arg[0]);
	if (!f)
		return -EBADF;
	file_put(f);
	return (u32)arg[0];
}

long sys_dup3(struct task *t, const u64 *arg)
{
	if (((u32)arg[2] & ~O_CLOEXEC) || (u32)arg[0] == (u32)arg[1])
		return -EINVAL;
	return dup_to(t, arg[0], arg[1], arg[2] & O_CLOEXEC);
}

/* ---- fcntl ---- */

#define SETFL_MASK	(O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT | O_ASYNC)

static long set_flags(struct task *t, struct file *f, int fd, u32 flags)
{
	int err = 0;

	if ((flags & O_NOATIME) && !(f->flags & O_NOATIME) && !cred_owns(t->cred, f->inode))
		return -EPERM;
	if (f->ops->setfl)
		err = f->ops->setfl(f, flags);
	if (!err && ((flags ^ f->flags) & O_ASYNC))
		err = file_set_async(f, fd, flags & O_ASYNC);
	if (!err)
		f->flags = (f->flags & ~SETFL_MASK) | (flags & SETFL_MASK);
	return err;
}

struct owner_ex {
	s32 type, pid;			/* F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP */
};

static long owner_ex(struct task *t, struct file *f, int cmd, gva_t gva)
{
	struct file_owner now;
	struct owner_ex o;

	if (cmd == F_GETOWN_EX) {
		file_owner_get(f, &now);
		o = (struct owner_ex){ now.pid ? now.type : F_OWNER_PID, now.pid };
		return put_user(t->mm, gva, &o);
	}
	if (get_user(t->mm, &o, gva))
		return -EFAULT;
	if (o.type < F_OWNER_TID || o.type > F_OWNER_PGRP || o.pid < 0)
		return -EINVAL;
	return file_set_owner(t, f, o.type, o.pid);
}

/* F_SETOWN and F_GETOWN: a process group is a negative number. */
static long owner_set(struct task *t, struct file *f, int who)
{
	if (who == INT_MIN)
		return -EINVAL;
	return file_set_owner(t, f, who < 0 ? F_OWNER_PGRP : F_OWNER_PID, who < 0 ? -who : who);
}

static long owner_get(struct file *f)
{
	struct file_owner o;

	file_owner_get(f, &o);
	return o.type == F_OWNER_PGRP ? -o.pid : o.pid;
}

static long dup_from(struct task *t, struct file *f, u64 lowest, bool cloexec)
{
	if (lowest >= task_rlimit(t, RLIMIT_NOFILE))
		return -EINVAL;
	file_get(f);
	return fd_install(t, f, lowest, cloexec);
}

/* What an O_PATH file can do too. */
static long fcntl_descriptor(struct task *t, struct file *f, int fd, int cmd, u64 arg)
{
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return dup_from(t, f, arg, cmd == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return fd_cloexec(t->files, fd) ? FD_CLOEXEC : 0;
	case F_SETFD:
		fd_set_cloexec(t->files, fd, arg & FD_CLOEXEC);
		return 0;
	case F_GETFL:
		return f->flags;
	default:
		return -ENOTTY;
	}
}

static long fcntl_file(struct task *t, struct file *f, int fd, int cmd, u64 arg)
{
	struct file_owner o;

	switch (cmd) {
	case F_SETFL:
		return set_flags(t, f, fd, arg);
	case F_GETLK: case F_SETLK: case F_SETLKW:
	case F_OFD_GETLK: case F_OFD_SETLK: case F_OFD_SETLKW:
		return locks_fcntl(t, f, cmd, arg);
	case F_GETPIPE_SZ: case F_SETPIPE_SZ:
		return pipe_fcntl(f, t, cmd, arg);
	case F_ADD_SEALS: case F_GET_SEALS:
		return mem_seals(f, cmd, arg);
	case F_GETOWN:
		return owner_get(f);
	case F_SETOWN:
		return owner_set(t, f, arg);
	case F_GETOWN_EX: case F_SETOWN_EX:
		return owner_ex(t, f, cmd, arg);
	case F_GETSIG:
		file_owner_get(f, &o);
		return o.signo;
	case F_SETSIG:
		if (arg > NSIG_GUEST)
			return -EINVAL;
		file_set_signal(f, fd, arg);
		return 0;
	case F_SETLEASE: case F_GETLEASE:
		return lease_fcntl(t, f, cmd, arg);
	default:
		return -EINVAL;
	}
}

long sys_fcntl(struct task *t, const u64 *arg)
{
	struct file *f = fd_get(t->files, arg[0]);
	long ret;

	if (!f)
		return -EBADF;
	ret = fcntl_descriptor(t, f, arg[0], (int)arg[1], arg[2]);
	if (ret == -ENOTTY)
		ret = f->flags & O_PATH ? -EBADF : fcntl_file(t, f, (int)arg[0], (int)arg[1], arg[2]);
	file_put(f);
	return ret;
}

/* ---- ioctl ---- */

static long ioctl_flag(struct task *t, struct file *f, int fd, u64 gva, u32 flag)
{
	int on;

	if (get_user(t->mm, &on, gva))
		return -EFAULT;
	return set_flags(t, f, fd, on ? f->flags | flag : f->flags & ~flag);
}

/* No file system here shares blocks between files: what is left are the errors, in their order. */
static long ioctl_clone(struct task *t, struct file *to, u32 cmd, u64 arg)
{
	struct file_clone_range r = { .src_fd = (int)arg };
	struct file *from;
	long err;

	if (cmd == FICLONERANGE && get_user(t->mm, &r, arg))
		return -EFAULT;
	from = fd_get_io(t->files, r.src_fd);
	if (!from)
		return -EBADF;
	if (from->inode->super != to->inode->super)
		err = -EXDEV;
	else if (S_ISDIR(from->inode->mode) || S_ISDIR(to->inode->mode))
		err = -EISDIR;
	else if (!S_ISREG(from->inode->mode) || !S_ISREG(to->inode->mode))
		err = -EINVAL;
	else if ((from->flags & O_ACCMODE) == O_WRONLY || (to->flags & O_ACCMODE) == O_RDONLY || (to->flags & O_APPEND))
		err = -EBADF;
	else
		err = -EOPNOTSUPP;
	file_put(from);
	return err;
}

/* What every file, or every regular one, answers. -ENOTTY: ask the file's own operation. */
static long ioctl_generic(struct task *t, struct file *f, int fd, u32 cmd, u64 gva)
{
	bool regular = S_ISREG(f->inode->mode) && f->inode->cache;
	int n = PAGE_SIZE;

	switch (cmd) {
	case FIOCLEX:
	case FIONCLEX:
		fd_set_cloexec(t->files, fd, cmd == FIOCLEX);
		return 0;
	case FIONBIO:
		return ioctl_flag(t, f, fd, gva, O_NONBLOCK);
	case FIOASYNC:
		return ioctl_flag(t, f, fd, gva, O_ASYNC);
	case FIGETBSZ:
		return regular ? put_user(t->mm, gva, &n) : -ENOTTY;
	case FICLONE:
	case FICLONERANGE:
		return ioctl_clone(t, f, cmd, gva);
	case FIONREAD:
		if (!regular)
			return -ENOTTY;
		n = MIN((u64)INT32_MAX, f->inode->cache->size - MIN(f->pos, (u64)f->inode->cache->size));
		return put_user(t->mm, gva, &n);
	default:
		return -ENOTTY;
	}
}

long sys_ioctl(struct task *t, const u64 *arg)
{
	struct file *f = fd_get_io(t->files, arg[0]);
	long ret;

	if (!f)
		return -EBADF;
	ret = ioctl_generic(t, f, arg[0], arg[1], arg[2]);
	if (ret == -ENOTTY && f->ops->ioctl)
		ret = f->ops->ioctl(f, t, arg[1], arg[2]);
	file_put(f);
	return ret;
}

/* ---- sync ---- */

static long fsync_call(struct task *t, int fd, bool data_only)
{
	struct file *f = fd_get_io(t->files, fd);
	long ret;

	if (!f)
		return -EBADF;
	if (f->ops->fsync)
		ret = f->ops->fsync(f, data_only);
	else
		ret = S_ISREG(f->inode->mode) || S_ISDIR(f->inode->mode) ? 0 : -EINVAL;
	file_put(f);
	return ret;
}

long sys_fsync(struct task *t, const u64 *arg) { return fsync_call(t, arg[0], false); }
long sys_fdatasync(struct task *t, const u64 *arg) { return fsync_call(t, arg[0], true); }

/* Bind mounts are written through at once; all else lives and dies with the sandbox. */
long sys_sync(struct task *t, const u64 *arg) { return 0; }

/* Calls that only say something about a file: right for a good descriptor, of any kind or of the kind they want. */
static long advice(struct task *t, int fd, bool regular, int otherwise)
{
	struct file *f = fd_get_io(t->files, fd);
	long ret;

	if (!f)
		return -EBADF;
	ret = regular && !S_ISREG(f->inode->mode) ? otherwise : 0;
	file_put(f);
	return ret;
}

long sys_syncfs(struct task *t, const u64 *arg)
{
	return advice(t, arg[0], false, 0);
}

long sys_sync_file_range(struct task *t, const u64 *arg)
{
	if (((u32)arg[3] & ~7u) || (s64)arg[1] < 0 || (s64)arg[2] < 0)
		return -EINVAL;
	return advice(t, arg[0], true, -ESPIPE);
}

long sys_readahead(struct task *t, const u64 *arg)
{
	struct file *f = file_readable(t, arg[0]);

	if (!f)
		return -EBADF;
	file_put(f);
	return advice(t, arg[0], true, -EINVAL);
}

long sys_fadvise64(struct task *t, const u64 *arg)
{
	struct file *f = fd_get_io(t->files, arg[0]);
	long ret = 0;

	if (!f)
		return -EBADF;
	if (S_ISFIFO(f->inode->mode))
		ret = -ESPIPE;
	else if ((u32)arg[3] > POSIX_FADV_NOREUSE || (s64)arg[2] < 0)
		ret = -EINVAL;
	file_put(f);
	return ret;
}
