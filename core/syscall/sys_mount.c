/* mount and umount inside the sandbox: tmpfs, proc, sysfs, binds. Nothing here reaches the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "fs/dentry.h"
#include "fs/special.h"
#include "syscall/file_calls.h"

#define PROPAGATION	(MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)
#define MOUNT_FLAGS	(MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME)

static u32 mount_flags(u64 ms)
{
	return (ms & MS_RDONLY ? ST_RDONLY : 0) | (ms & MS_NOSUID ? ST_NOSUID : 0) | (ms & MS_NODEV ? ST_NODEV : 0) |
	       (ms & MS_NOEXEC ? ST_NOEXEC : 0) | (ms & MS_NOSYMFOLLOW ? ST_NOSYMFOLLOW : 0);
}

static int attach(struct super *s, struct dentry *root, u64 ms, const struct path *at)
{
	struct mount *m = mount_new(s, root, mount_flags(ms));
	int err;

	if (!m)
		return -ENOMEM;
	err = S_ISDIR(root->inode->mode) == S_ISDIR(at->dentry->inode->mode) ? mount_attach(m, at) : -ENOTDIR;
	mount_put(m);
	return err;
}

static int mount_new_super(const char *type, u64 ms, const struct path *at)
{
	struct super *s = NULL;
	int err;

	if (!strcmp(type, "tmpfs") || !strcmp(type, "ramfs"))
		err = tmpfs_create("tmpfs", 01777, &s);
	else if (!strcmp(type, "proc"))
		err = procfs_create(&s);
	else if (!strcmp(type, "sysfs"))
		err = sysfs_create(&s);
	else
		err = -ENODEV;
	if (err)
		return err;
	err = attach(s, s->root, ms, at);
	super_put(s);
	return err;
}

static int mount_bind(struct task *t, u64 source, u64 ms, const struct path *at)
{
	struct path from;
	int err = walk_in(t, AT_FDCWD, source, 0, &from);

	if (err)
		return err;
	err = attach(from.dentry->super, from.dentry, ms | (mount_readonly(from.mnt) ? MS_RDONLY : 0), at);
	path_put(&from);
	return err;
}

static int mount_remount(u64 ms, const struct path *at)
{
	if (at->dentry != at->mnt->root)
		return -EINVAL;
	at->mnt->flags = mount_flags(ms);
	return 0;
}

long sys_mount(struct task *t, const u64 *arg)
{
	u64 ms = arg[3] & 0xffffffff;
	char type[32] = "";
	struct path at;
	s64 err;

	if ((ms & MS_MGC_MSK) == MS_MGC_VAL)
		ms &= ~(u64)MS_MGC_MSK;
	if (arg[2] && !(ms & (MS_BIND | MS_REMOUNT | PROPAGATION | MS_MOVE))) {
		err = copy_in_str(t->mm, type, arg[2], sizeof(type));
		if (err < 0)
			return err == -ENAMETOOLONG ? -EINVAL : err;
	}
	err = walk_in(t, AT_FDCWD, arg[1], 0, &at);
	if (err)
		return err;
	if (!cred_capable(t->cred, CAP_SYS_ADMIN))
		err = -EPERM;
	else if (ms & MS_REMOUNT)
		err = mount_remount(ms, &at);
	else if (ms & MS_BIND)
		err = mount_bind(t, arg[0], ms, &at);
	else if (ms & PROPAGATION)
		err = 0;
	else
		err = ms & MS_MOVE ? -EINVAL : mount_new_super(type, ms, &at);
	path_put(&at);
	return err;
}

long sys_umount2(struct task *t, const u64 *arg)
{
	u32 flags = arg[1];
	struct mount *m;
	struct path at;
	int err;

	if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
		return -EINVAL;
	err = walk_in(t, AT_FDCWD, arg[0], flags & UMOUNT_NOFOLLOW ? WALK_NOFOLLOW : 0, &at);
	if (err)
		return err;
	m = at.mnt;
	mount_get(m);
	err = -EINVAL;
	if (at.dentry == m->root)
		err = cred_capable(t->cred, CAP_SYS_ADMIN) ? 0 : -EPERM;
	path_put(&at);
	if (!err)
		err = mount_detach(m, flags & MNT_DETACH);
	mount_put(m);
	return err;
}

long sys_pivot_root(struct task *t, const u64 *arg) { return -EPERM; }
