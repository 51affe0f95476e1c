/* link, symlink, unlink, rename and their *at forms. */
#include <errno.h>
#include <fcntl.h>

#include "syscall/file_calls.h"

static long unlink_call(struct task *t, int dirfd, u64 name_gva, bool dir)
{
	char name[PATH_LEN_MAX];
	int err = path_in(t, name, name_gva);

	return err ? err : vfs_unlink(t, dirfd, name, dir);
}

long sys_unlink(struct task *t, const u64 *arg)
{
	return unlink_call(t, AT_FDCWD, arg[0], false);
}

long sys_unlinkat(struct task *t, const u64 *arg)
{
	if ((u32)arg[2] & ~AT_REMOVEDIR)
		return -EINVAL;
	return unlink_call(t, arg[0], arg[1], arg[2] & AT_REMOVEDIR);
}

static long symlink_call(struct task *t, u64 target_gva, int dirfd, u64 name_gva)
{
	char target[PATH_LEN_MAX], name[PATH_LEN_MAX];
	int err = path_in(t, target, target_gva);

	if (!err && !*target)
		err = -ENOENT;
	if (!err)
		err = path_in(t, name, name_gva);
	return err ? err : vfs_symlink(t, target, dirfd, name);
}

long sys_symlink(struct task *t, const u64 *arg) { return symlink_call(t, arg[0], AT_FDCWD, arg[1]); }
long sys_symlinkat(struct task *t, const u64 *arg) { return symlink_call(t, arg[0], arg[1], arg[2]); }

static long link_call(struct task *t, int old_fd, u64 old_gva, int new_fd, u64 new_gva, u32 at)
{
	char old[PATH_LEN_MAX], name[PATH_LEN_MAX];
	int err;

	if (at & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	err = path_in(t, old, old_gva);
	if (!err)
		err = path_in(t, name, new_gva);
	return err ? err : vfs_link(t, old_fd, old, new_fd, name, at);
}

long sys_link(struct task *t, const u64 *arg) { return link_call(t, AT_FDCWD, arg[0], AT_FDCWD, arg[1], 0); }
long sys_linkat(struct task *t, const u64 *arg) { return link_call(t, arg[0], arg[1], arg[2], arg[3], arg[4]); }

static long rename_call(struct task *t, int old_fd, u64 old_gva, int new_fd, u64 new_gva, u32 flags)
{
	char old[PATH_LEN_MAX], name[PATH_LEN_MAX];
	int err = path_in(t, old, old_gva);

	if (!err)
		err = path_in(t, name, new_gva);
	return err ? err : vfs_rename(t, old_fd, old, new_fd, name, flags);
}

long sys_rename(struct task *t, const u64 *arg)
{
	return rename_call(t, AT_FDCWD, arg[0], AT_FDCWD, arg[1], 0);
}

long sys_renameat(struct task *t, const u64 *arg)
{
	return rename_call(t, arg[0], arg[1], arg[2], arg[3], 0);
}

long sys_renameat2(struct task *t, const u64 *arg)
{
	return rename_call(t, arg[0], arg[1], arg[2], arg[3], arg[4]);
}
