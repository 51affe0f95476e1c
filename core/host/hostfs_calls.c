/*
 * Host file calls: see hostfs_calls.h.
 *
 * Threat: guests with a writable bind mount change the names below it while we work on them. So every path is
 * walked by openat2 with RESOLVE_BENEATH and without symlinks or magic links, and every other call names one component
 * in a directory that was opened so, and does not follow it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "host/hostfs_calls.h"
#include "lib/host_proc.h"

#ifndef __NR_fchmodat2
#define __NR_fchmodat2	452
#endif

#define RETRY(call) ({ s64 r_; do r_ = (call); while (r_ < 0 && errno == EINTR); r_ < 0 ? -errno : r_; })

int host_open_root(const char *path)
{
	return RETRY(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

int host_open_beneath(int dirfd, const char *path, int flags, u32 mode)
{
	struct open_how how = {
		.flags = (u32)flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	s64 fd;

	/* -EAGAIN: a rename anywhere on the host came in between. */
	for (int tries = 0; tries < 100; tries++) {
		fd = RETRY(syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
		if (fd != -EAGAIN)
			break;
	}
	return fd;
}

static void from_statx(struct host_stat *out, const struct statx *x)
{
	*out = (struct host_stat){
		.st = {
			.st_ino = x->stx_ino,
			.st_mode = x->stx_mode,
			.st_nlink = x->stx_nlink,
			.st_uid = x->stx_uid,
			.st_gid = x->stx_gid,
			.st_rdev = (u64)(x->stx_rdev_major & 0xfff) << 8 | (x->stx_rdev_minor & 0xff) |
				   (u64)(x->stx_rdev_minor & ~0xffu) << 12,
			.st_size = x->stx_size,
			.st_blocks = x->stx_blocks,
			.st_blksize = x->stx_blksize,
			.st_atim = { x->stx_atime.tv_sec, x->stx_atime.tv_nsec },
			.st_mtim = { x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec },
			.st_ctim = { x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec },
		},
		.btime = { x->stx_btime.tv_sec, x->stx_btime.tv_nsec },
		.dev = (u64)x->stx_dev_major << 32 | x->stx_dev_minor,
	};
}

static int stat_how(int fd, const char *name, int flags, struct host_stat *out)
{
	struct statx x;
	int err;

	flags |= AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	err = RETRY(statx(fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &x));

	if (!err)
		from_statx(out, &x);
	return err;
}

int host_stat_at(int dirfd, const char *name, struct host_stat *out)
{
	return stat_how(dirfd, name, 0, out);
}

int host_stat_fd(int fd, struct host_stat *out)
{
	return stat_how(fd, "", AT_EMPTY_PATH, out);
}

s64 host_readlink_at(int dirfd, const char *name, char *buf, size_t len)
{
	return RETRY(readlinkat(dirfd, name, buf, len));
}

s64 host_getdents(int fd, void *buf, size_t len)
{
	return RETRY(syscall(SYS_getdents64, fd, buf, len));
}

s64 host_seek(int fd, s64 pos)
{
	return RETRY(lseek(fd, pos, SEEK_SET));
}

s64 host_preadv(int fd, const struct iovec *iov, int n, u64 pos)
{
	return RETRY(preadv2(fd, iov, n, pos, 0));
}

s64 host_pwritev(int fd, const struct iovec *iov, int n, u64 pos)
{
	return RETRY(pwritev2(fd, iov, n, pos, 0));
}

s64 host_pread_full(int fd, void *buf, size_t len, u64 pos)
{
	size_t done = 0;

	while (done < len) {
		struct iovec rest = { (u8 *)buf + done, len - done };
		s64 n = host_preadv(fd, &rest, 1, pos + done);

		if (n < 0)
			return n;
		if (!n)
			break;
		done += n;
	}
	return done;
}

int host_pwrite_full(int fd, const void *buf, size_t len, u64 pos)
{
	size_t done = 0;

	while (done < len) {
		struct iovec rest = { (u8 *)(uintptr_t)buf + done, len - done };
		s64 n = host_pwritev(fd, &rest, 1, pos + done);

		if (n < 0)
			return n;
		if (!n)
			return -EIO;
		done += n;
	}
	return 0;
}

bool host_fd_is_pseudo(int fd)
{
	static const u32 pseudo[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC, DEVPTS_SUPER_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC, NSFS_MAGIC, PSTOREFS_MAGIC,
		EFIVARFS_MAGIC, SELINUX_MAGIC, BINFMTFS_MAGIC, 0x62656570 /* configfs */, 0x65735543 /* fusectl */, 0x19800202 /* mqueue */,
	};
	struct statfs st;

	if (fstatfs(fd, &st))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(pseudo); i++)
		if ((u32)st.f_type == pseudo[i])
			return true;
	return false;
}

void host_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int host_mkdir_at(int dirfd, const char *name, u32 mode)
{
	return RETRY(mkdirat(dirfd, name, mode));
}

int host_mknod_at(int dirfd, const char *name, u32 mode)
{
	return RETRY(mknodat(dirfd, name, mode, 0));
}

int host_symlink_at(const char *target, int dirfd, const char *name)
{
	return RETRY(symlinkat(target, dirfd, name));
}

int host_link_at(int old_fd, const char *old, int new_fd, const char *name)
{
	return RETRY(linkat(old_fd, old, new_fd, name, 0));
}

int host_unlink_at(int dirfd, const char *name, bool dir)
{
	return RETRY(unlinkat(dirfd, name, dir ? AT_REMOVEDIR : 0));
}

int host_rename_at(int old_fd, const char *old, int new_fd, const char *name, u32 flags)
{
	return RETRY(syscall(SYS_renameat2, old_fd, old, new_fd, name, flags));
}

/* Kernels before 6.6 have no chmod that stops at a symlink: there the file is held by an O_PATH descriptor. */
int host_chmod_at(int dirfd, const char *name, u32 mode)
{
	char link[32];
	int fd, err = RETRY(syscall(__NR_fchmodat2, dirfd, name, mode, AT_SYMLINK_NOFOLLOW));

	if (err != -ENOSYS)
		return err;
	fd = host_open_beneath(dirfd, name, O_PATH, 0);
	if (fd < 0)
		return fd;
	snprintf(link, sizeof(link), "%d/fd/%d", getpid(), fd);
	err = RETRY(fchmodat(host_proc_fd(), link, mode, 0));
	close(fd);
	return err;
}

int host_chown_at(int dirfd, const char *name, u32 uid, u32 gid)
{
	return RETRY(fchownat(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW));
}

int host_utimes_at(int dirfd, const char *name, const struct timespec times[2])
{
	return RETRY(utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW));
}

int host_truncate_fd(int fd, u64 size)
{
	return RETRY(ftruncate(fd, size));
}

int host_fallocate_fd(int fd, int mode, u64 pos, u64 len)
{
	return RETRY(fallocate(fd, mode, pos, len));
}

int host_fsync_fd(int fd, bool data_only)
{
	return RETRY(data_only ? fdatasync(fd) : fsync(fd));
}

int host_replace_fd(int fd, int with)
{
	int err = RETRY(dup3(with, fd, O_CLOEXEC));

	close(with);
	return MIN(err, 0);
}
