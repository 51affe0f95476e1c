/* name_to_handle_at, open_by_handle_at. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>

#include "fs/handles.h"
#include "syscall/file_calls.h"

#define HANDLE_TYPE	0x7467
#define HANDLE_MAX	128		/* MAX_HANDLE_SZ */

struct handle_head {			/* struct file_handle, without its bytes */
	u32 bytes;
	s32 type;
};

long sys_name_to_handle_at(struct task *t, const u64 *arg)
{
	u32 flags = arg[4];
	u32 walk = (flags & AT_SYMLINK_FOLLOW ? 0 : WALK_NOFOLLOW) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
	struct handle_head head;
	struct handle_data data;
	struct path p;
	long ret;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	ret = walk_in(t, arg[0], arg[1], walk, &p);
	if (ret)
		return ret;
	if (get_user(t->mm, &head, arg[2]))
		ret = -EFAULT;
	else if (head.bytes > HANDLE_MAX)
		ret = -EINVAL;
	else if (!p.dentry->super->xattrs)	/* made up anew at every look: proc and its kin */
		ret = -EOPNOTSUPP;
	else
		ret = handle_make(p.dentry, &data);
	if (!ret && head.bytes < sizeof(data))
		ret = -EOVERFLOW;
	if (!ret && copy_out(t->mm, arg[2] + sizeof(head), &data, sizeof(data)))
		ret = -EFAULT;
	if (!ret || ret == -EOVERFLOW) {
		head = (struct handle_head){ sizeof(data), HANDLE_TYPE };
		if (put_user(t->mm, arg[3], &p.mnt->id) || put_user(t->mm, arg[2], &head))
			ret = -EFAULT;
	}
	path_put(&p);
	return ret;
}

/* The mount that a descriptor is on, or the working directory's. */
static int mount_of(struct task *t, int fd, struct path *out)
{
	return path_walk(t, fd, "", WALK_EMPTY, out);
}

static long open_data(struct task *t, int mount_fd, const struct handle_data *data, u32 flags)
{
	struct path at, p;
	struct file *f;
	int err = mount_of(t, mount_fd, &at);

	if (err)
		return err;
	err = handle_find(data, at.mnt->super, &p.dentry);
	if (!err) {
		p.mnt = at.mnt;
		mount_get(p.mnt);
		err = vfs_open_path(t, &p, flags, &f);
		path_put(&p);
	}
	path_put(&at);
	return err ? err : fd_install(t, f, 0, flags & O_CLOEXEC);
}

long sys_open_by_handle_at(struct task *t, const u64 *arg)
{
	struct handle_head head;
	struct handle_data data;

	if (!cred_capable(t->cred, CAP_DAC_READ_SEARCH))
		return -EPERM;
	if (get_user(t->mm, &head, arg[1]))
		return -EFAULT;
	if (!head.bytes || head.bytes > HANDLE_MAX)
		return -EINVAL;
	if (head.bytes != sizeof(data) || head.type != HANDLE_TYPE)
		return -ESTALE;
	if (get_user(t->mm, &data, arg[1] + sizeof(head)))
		return -EFAULT;
	return open_data(t, arg[0], &data, arg[2]);
}
