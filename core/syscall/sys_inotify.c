/* inotify_init1, inotify_add_watch, inotify_rm_watch. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/notify.h"
#include "syscall/file_calls.h"

#define MASK_ADD_WATCH	(IN_ALL_EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | \
			 IN_MASK_ADD | IN_ISDIR | IN_ONESHOT | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED)

static long init(struct task *t, u32 flags)
{
	struct file *f;

	if (flags & ~(IN_CLOEXEC | IN_NONBLOCK))
		return -EINVAL;
	if (inotify_full())
		return -EMFILE;
	f = inotify_new(t, flags & IN_NONBLOCK);
	return f ? fd_install(t, f, 0, flags & IN_CLOEXEC) : -ENOMEM;
}

long sys_inotify_init(struct task *t, const u64 *arg) { return init(t, 0); }
long sys_inotify_init1(struct task *t, const u64 *arg) { return init(t, arg[0]); }

static long add_watch(struct task *t, struct file *f, u64 name, u32 mask)
{
	struct path p;
	long ret = walk_in(t, AT_FDCWD, name, (mask & IN_DONT_FOLLOW ? WALK_NOFOLLOW : 0) |
			   (mask & IN_ONLYDIR ? WALK_DIRECTORY : 0), &p);

	if (ret)
		return ret;
	ret = inode_permission(t->cred, p.dentry->inode, R_OK);
	if (!ret)
		ret = inotify_add(f, p.dentry->inode, mask);
	path_put(&p);
	return ret;
}

long sys_inotify_add_watch(struct task *t, const u64 *arg)
{
	u32 mask = arg[2];
	struct file *f;
	long ret;

	if (!(mask & MASK_ADD_WATCH) || (mask & ~MASK_ADD_WATCH) ||
	    (mask & (IN_MASK_ADD | IN_MASK_CREATE)) == (IN_MASK_ADD | IN_MASK_CREATE))
		return -EINVAL;
	f = fd_get_io(t->files, arg[0]);
	if (!f)
		return -EBADF;
	ret = add_watch(t, f, arg[1], mask);
	file_put(f);
	return ret;
}

long sys_inotify_rm_watch(struct task *t, const u64 *arg)
{
	struct file *f = fd_get_io(t->files, arg[0]);
	long ret;

	if (!f)
		return -EBADF;
	ret = inotify_remove(f, arg[1]);
	file_put(f);
	return ret;
}
