/* setxattr, getxattr, listxattr, removexattr: each by name, by name without following, and by descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "fs/notify.h"
#include "fs/xattr.h"
#include "syscall/file_calls.h"

/* ---- what a call is about; `walk` is NO_WALK for a descriptor ---- */

#define NO_WALK	UINT32_MAX

static int place_in(struct task *t, u64 where, u32 walk, struct path *out)
{
	struct file *f;
	int err;

	if (walk != NO_WALK)
		return walk_in(t, AT_FDCWD, where, walk, out);
	f = fd_get_io(t->files, where);
	if (!f)
		return -EBADF;
	err = file_to_path(f, out);
	file_put(f);
	return err;
}

static int name_in(struct task *t, char name[XATTR_NAME_LEN + 1], u64 gva)
{
	s64 len = copy_in_str(t->mm, name, gva, XATTR_NAME_LEN + 1);

	if (len == -ENAMETOOLONG || !len)
		return -ERANGE;
	return len < 0 ? len : 0;
}

/* ---- set ---- */

static long set_value(struct task *t, u64 where, u32 walk, const char *name, const void *value, size_t len, int flags)
{
	struct path p;
	long ret = place_in(t, where, walk, &p);

	if (ret)
		return ret;
	ret = mount_readonly(p.mnt) ? -EROFS : xattr_set(t->cred, p.dentry->inode, name, value, len, flags);
	if (!ret)
		notify_dentry(p.dentry, IN_ATTRIB);
	path_put(&p);
	return ret;
}

static long set_call(struct task *t, const u64 *arg, u32 walk)
{
	char name[XATTR_NAME_LEN + 1];
	u64 len = arg[3];
	u32 flags = arg[4];
	void *value;
	long ret;

	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	ret = name_in(t, name, arg[1]);
	if (ret)
		return ret;
	if (len > XATTR_VALUE_LEN)
		return -E2BIG;
	value = malloc(len + 1);
	if (!value)
		return -ENOMEM;
	ret = len && copy_in(t->mm, value, arg[2], len) ? -EFAULT : set_value(t, arg[0], walk, name, value, len, flags);
	free(value);
	return ret;
}

long sys_setxattr(struct task *t, const u64 *arg) { return set_call(t, arg, 0); }
long sys_lsetxattr(struct task *t, const u64 *arg) { return set_call(t, arg, WALK_NOFOLLOW); }
long sys_fsetxattr(struct task *t, const u64 *arg) { return set_call(t, arg, NO_WALK); }

/* ---- get, list ---- */

/* `name` NULL: the names. */
static long show(struct task *t, u64 where, u32 walk, const char *name, u64 gva, u64 size)
{
	struct path p;
	void *buf;
	s64 ret;

	size = MIN(size, (u64)XATTR_VALUE_LEN);
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	ret = place_in(t, where, walk, &p);
	if (ret)
		goto out;
	if (name)
		ret = xattr_get(t->cred, p.dentry->inode, name, buf, size);
	else
		ret = xattr_list(t->cred, p.dentry->inode, buf, size);
	path_put(&p);
	if (ret > 0 && size && copy_out(t->mm, gva, buf, ret))
		ret = -EFAULT;
out:
	free(buf);
	return ret;
}

static long get_call(struct task *t, const u64 *arg, u32 walk)
{
	char name[XATTR_NAME_LEN + 1];
	int err = name_in(t, name, arg[1]);

	return err ? err : show(t, arg[0], walk, name, arg[2], arg[3]);
}

long sys_getxattr(struct task *t, const u64 *arg) { return get_call(t, arg, 0); }
long sys_lgetxattr(struct task *t, const u64 *arg) { return get_call(t, arg, WALK_NOFOLLOW); }
long sys_fgetxattr(struct task *t, const u64 *arg) { return get_call(t, arg, NO_WALK); }

long sys_listxattr(struct task *t, const u64 *arg) { return show(t, arg[0], 0, NULL, arg[1], arg[2]); }
long sys_llistxattr(struct task *t, const u64 *arg) { return show(t, arg[0], WALK_NOFOLLOW, NULL, arg[1], arg[2]); }
long sys_flistxattr(struct task *t, const u64 *arg) { return show(t, arg[0], NO_WALK, NULL, arg[1], arg[2]); }

/* ---- remove ---- */

static long remove_call(struct task *t, const u64 *arg, u32 walk)
{
	char name[XATTR_NAME_LEN + 1];
	struct path p;
	long ret = name_in(t, name, arg[1]);

	if (!ret)
		ret = place_in(t, arg[0], walk, &p);
	if (ret)
		return ret;
	ret = mount_readonly(p.mnt) ? -EROFS : xattr_remove(t->cred, p.dentry->inode, name);
	if (!ret)
		notify_dentry(p.dentry, IN_ATTRIB);
	path_put(&p);
	return ret;
}

long sys_removexattr(struct task *t, const u64 *arg) { return remove_call(t, arg, 0); }
long sys_lremovexattr(struct task *t, const u64 *arg) { return remove_call(t, arg, WALK_NOFOLLOW); }
long sys_fremovexattr(struct task *t, const u64 *arg) { return remove_call(t, arg, NO_WALK); }
