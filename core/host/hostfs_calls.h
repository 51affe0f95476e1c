/*
 * Host file calls for the overlay and for bind mounts. Each takes a directory descriptor and a name: a single
 * component, or a path that openat2 keeps beneath the descriptor. None follows a symlink. 0 or a value, or -errno;
 * EINTR ends here.
 */
#ifndef TG_HOSTFS_CALLS_H
#define TG_HOSTFS_CALLS_H

#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "lib/types.h"

struct host_stat {
	struct stat st;
	struct timespec btime;
	u64 dev;
};

int host_open_root(const char *path);			/* start-up only: a path of the user's, as it is */
int host_open_beneath(int dirfd, const char *path, int flags, u32 mode);
int host_stat_at(int dirfd, const char *name, struct host_stat *out);
int host_stat_fd(int fd, struct host_stat *out);	/* O_PATH descriptors too */
s64 host_readlink_at(int dirfd, const char *name, char *buf, size_t len);
s64 host_getdents(int fd, void *buf, size_t len);
s64 host_seek(int fd, s64 pos);
s64 host_preadv(int fd, const struct iovec *iov, int n, u64 pos);
s64 host_pwritev(int fd, const struct iovec *iov, int n, u64 pos);
s64 host_pread_full(int fd, void *buf, size_t len, u64 pos);	/* short only at the end of the file */
int host_pwrite_full(int fd, const void *buf, size_t len, u64 pos);
/* on procfs, sysfs and other file systems that show the kernel or the sentry */
bool host_fd_is_pseudo(int fd);
void host_close(int fd);

int host_mkdir_at(int dirfd, const char *name, u32 mode);
int host_mknod_at(int dirfd, const char *name, u32 mode);
int host_symlink_at(const char *target, int dirfd, const char *name);
int host_link_at(int old_fd, const char *old, int new_fd, const char *name);
int host_unlink_at(int dirfd, const char *name, bool dir);
int host_rename_at(int old_fd, const char *old, int new_fd, const char *name, u32 flags);
int host_chmod_at(int dirfd, const char *name, u32 mode);
int host_chown_at(int dirfd, const char *name, u32 uid, u32 gid);	/* UINT32_MAX: keep */
int host_utimes_at(int dirfd, const char *name, const struct timespec times[2]);
int host_truncate_fd(int fd, u64 size);
int host_fallocate_fd(int fd, int mode, u64 pos, u64 len);
int host_fsync_fd(int fd, bool data_only);
int host_replace_fd(int fd, int with);			/* fd becomes what `with` is; `with` is closed */

#endif
