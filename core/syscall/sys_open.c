/* open, close and their relatives; memfd_create. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/memfd.h>
#include <linux/openat2.h>
#include <string.h>

#include "fs/memfs.h"
#include "syscall/file_calls.h"

#define MFD_FLAGS	(MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x8u | 0x10u)	/* MFD_NOEXEC_SEAL, MFD_EXEC */
#define LARGEFILE	0100000		/* x86-64 sets it in every file; libc's O_LARGEFILE is 0 */
#define OPEN_FLAGS	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | \
			 O_ASYNC | O_DIRECT | LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE)

static long open_install(struct task *t, int dirfd, u64 name_gva, const struct open_how_kernel *how)
{
	char name[PATH_LEN_MAX];
	struct file *f;
	int err = path_in(t, name, name_gva);

	if (!err)
		err = vfs_open_how(t, dirfd, name, how, &f);
	return err ? err : fd_install(t, f, 0, how->flags & O_CLOEXEC);
}

static long open_call(struct task *t, int dirfd, u64 name, u32 flags, u32 mode)
{
	struct open_how_kernel how = { .flags = (flags & OPEN_FLAGS) | LARGEFILE, .mode = mode };

	return open_install(t, dirfd, name, &how);
}

long sys_open(struct task *t, const u64 *arg) { return open_call(t, AT_FDCWD, arg[0], arg[1], arg[2]); }
long sys_openat(struct task *t, const u64 *arg) { return open_call(t, arg[0], arg[1], arg[2], arg[3]); }

long sys_creat(struct task *t, const u64 *arg)
{
	return open_call(t, AT_FDCWD, arg[0], O_CREAT | O_WRONLY | O_TRUNC, arg[1]);
}

/* A struct that may grow: a longer one than ours is fine as long as the rest is zero. */
static int how_in(struct task *t, struct open_how_kernel *how, u64 gva, u64 size)
{
	u8 more[256];

	if (size < sizeof(*how))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (copy_in(t->mm, how, gva, sizeof(*how)))
		return -EFAULT;
	for (u64 at = sizeof(*how); at < size;) {
		u64 n = MIN(size - at, sizeof(more));

		if (copy_in(t->mm, more, gva + at, n))
			return -EFAULT;
		for (u64 i = 0; i < n; i++)
			if (more[i])
				return -E2BIG;
		at += n;
	}
	return 0;
}

long sys_openat2(struct task *t, const u64 *arg)
{
	u64 known = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT |
		    RESOLVE_CACHED;
	struct open_how_kernel how;
	int err = how_in(t, &how, arg[2], arg[3]);

	if (err)
		return err;
	if ((how.flags & ~(u64)OPEN_FLAGS) || (how.resolve & ~known) || (how.mode & ~07777ull))
		return -EINVAL;
	if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT))
		return -EINVAL;
	if (how.mode && !(how.flags & O_CREAT) && (how.flags & O_TMPFILE) != O_TMPFILE)
		return -EINVAL;
	if ((how.flags & O_PATH) && (how.flags & ~(u64)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
		return -EINVAL;
	if (how.resolve & RESOLVE_CACHED)
		return -EAGAIN;
	how.flags |= LARGEFILE;
	return open_install(t, arg[0], arg[1], &how);
}

long sys_close(struct task *t, const u64 *arg)
{
	return fd_close(t, arg[0]);
}

/* CLOSE_RANGE_UNSHARE: a table of our own first, so that siblings keep theirs. */
static int unshare_files(struct task *t)
{
	struct fd_table *copy = fd_table_copy(t->files), *old = t->files;

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&t->tg->lock);
	t->files = copy;
	pthread_mutex_unlock(&t->tg->lock);
	fd_table_put(old);
	return 0;
}

long sys_close_range(struct task *t, const u64 *arg)
{
	u32 first = arg[0], last = arg[1], flags = arg[2];
	int err = 0;

	if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
		return -EINVAL;
	if (flags & CLOSE_RANGE_UNSHARE)
		err = unshare_files(t);
	if (err || first > INT32_MAX)
		return err;
	for (int fd = fd_next(t->files, first); fd >= 0 && (u32)fd <= last; fd = fd_next(t->files, fd + 1)) {
		if (flags & CLOSE_RANGE_CLOEXEC)
			fd_set_cloexec(t->files, fd, true);
		else
			fd_close(t, fd);
	}
	return 0;
}

long sys_memfd_create(struct task *t, const u64 *arg)
{
	u32 flags = arg[1];
	char name[250];
	struct file *f;
	s64 len;
	int err;

	if (flags & ~(flags & MFD_HUGETLB ? MFD_FLAGS | MFD_HUGETLB | (u32)MFD_HUGE_MASK << MFD_HUGE_SHIFT : MFD_FLAGS))
		return -EINVAL;
	len = copy_in_str(t->mm, name, arg[0], sizeof(name));
	if (len < 0)
		return len == -ENAMETOOLONG ? -EINVAL : len;
	if (flags & MFD_HUGETLB)
		return -ENODEV;			/* there are no huge pages of any size */
	err = memfd_open(t, name, flags & (MFD_ALLOW_SEALING | 0x8u), O_RDWR | LARGEFILE, &f);
	return err ? err : fd_install(t, f, 0, flags & MFD_CLOEXEC);
}
