/* Changing attributes: who may, and what else changes with them. */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/namei.h"
#include "fs/notify.h"
#include "task/task.h"

int vfs_setattr(struct inode *in, const struct attr *a)
{
	return in->ops->setattr ? in->ops->setattr(in, a) : -EPERM;
}

static int setattr_at(const struct path *p, const struct attr *a, u32 event)
{
	int err = vfs_setattr(p->dentry->inode, a);

	if (!err)
		notify_dentry(p->dentry, event);
	return err;
}

static int writable(const struct path *p)
{
	return mount_readonly(p->mnt) ? -EROFS : 0;
}

int vfs_chmod(struct task *t, const struct path *p, u32 mode)
{
	struct inode *in = p->dentry->inode;
	struct attr a = { .valid = ATTR_MODE, .mode = mode & 07777 };
	int err = writable(p);

	if (err)
		return err;
	if (S_ISLNK(in->mode))
		return -EOPNOTSUPP;
	if (!cred_owns(t->cred, in))
		return -EPERM;
	if (!cred_in_group(t->cred, in->gid) && !cred_capable(t->cred, CAP_FSETID))
		a.mode &= ~S_ISGID;
	return setattr_at(p, &a, IN_ATTRIB);
}

static bool may_chown(const struct cred *c, struct inode *in, u32 uid, u32 gid)
{
	bool owner = in->uid == c->fsuid;

	if (cred_capable(c, CAP_CHOWN))
		return true;
	if (uid != UINT32_MAX && !(owner && uid == in->uid))
		return false;
	return gid == UINT32_MAX || (owner && (gid == in->gid || cred_in_group(c, gid)));
}

int vfs_chown(struct task *t, const struct path *p, u32 uid, u32 gid)
{
	struct inode *in = p->dentry->inode;
	struct attr a = { .uid = uid, .gid = gid };
	int err = writable(p);

	if (err)
		return err;
	if (!may_chown(t->cred, in, uid, gid))
		return -EPERM;
	a.valid = (uid != UINT32_MAX ? ATTR_UID : 0) | (gid != UINT32_MAX ? ATTR_GID : 0);
	a.mode = in->mode & 07777;
	if (!S_ISDIR(in->mode) && (a.mode & (S_ISUID | S_ISGID))) {
		a.mode &= ~(a.mode & S_IXGRP ? S_ISUID | S_ISGID : S_ISUID);
		a.valid |= ATTR_MODE;
	}
	return a.valid ? setattr_at(p, &a, IN_ATTRIB) : 0;
}

static u32 time_attr(struct timespec *to, const struct timespec *from, u32 bit)
{
	if (from->tv_nsec == UTIME_OMIT)
		return 0;
	*to = from->tv_nsec == UTIME_NOW ? fs_now() : *from;
	return bit;
}

int vfs_utimes(struct task *t, const struct path *p, const struct timespec *times)
{
	static const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	struct inode *in = p->dentry->inode;
	struct attr a = { .valid = 0 };
	bool both_now;
	int err = writable(p);

	if (err)
		return err;
	if (!times)
		times = now;
	both_now = times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW;
	a.valid = time_attr(&a.atime, &times[0], ATTR_ATIME) | time_attr(&a.mtime, &times[1], ATTR_MTIME);
	if (!a.valid)
		return 0;
	if (!cred_owns(t->cred, in)) {
		if (!both_now)
			return -EPERM;
		err = inode_permission(t->cred, in, W_OK);
		if (err)
			return err;
	}
	return setattr_at(p, &a, a.valid == ATTR_ATIME ? IN_ACCESS : a.valid == ATTR_MTIME ? IN_MODIFY : IN_ATTRIB);
}

int vfs_truncate(struct task *t, struct inode *in, u64 size)
{
	struct attr a = { .valid = ATTR_SIZE, .size = size };

	if (S_ISDIR(in->mode))
		return -EISDIR;
	if (!S_ISREG(in->mode))
		return -EINVAL;
	if (size > INT64_MAX)
		return -EINVAL;
	if (in->cache && size > in->cache->size && size > task_rlimit(t, RLIMIT_FSIZE)) {
		union guest_siginfo info;

		signal_info(&info, SIGXFSZ, SI_KERNEL, NULL);
		signal_send_task(t, &info);
		return -EFBIG;
	}
	if ((in->mode & S_ISUID || (in->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) &&
	    !cred_capable(t->cred, CAP_FSETID)) {
		a.mode = in->mode & 07777 & ~S_ISUID & ~(in->mode & S_IXGRP ? S_ISGID : 0);
		a.valid |= ATTR_MODE;
	}
	return vfs_setattr(in, &a);
}
