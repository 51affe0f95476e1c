/* What the file calls share: names from the guest, and moving bytes between files and memory. */
#ifndef TG_FILE_CALLS_H
#define TG_FILE_CALLS_H

#include "fs/namei.h"
#include "syscall/syscall.h"

#define RW_MAX		0x7ffff000ull	/* most that one call moves, as the kernel's MAX_RW_COUNT */

/* A guest's path into `buf` of PATH_LEN_MAX bytes: 0, -EFAULT, -ENAMETOOLONG. */
int path_in(struct task *t, char *buf, u64 gva);
/* path_in and path_walk; `flags` are WALK_*. */
int walk_in(struct task *t, int dirfd, u64 gva, u32 flags, struct path *out);
/* The same from AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH of `at`; -EINVAL for flags not in `allowed`. */
int walk_at(struct task *t, int dirfd, u64 gva, u32 at, u32 allowed, struct path *out);
struct file *file_readable(struct task *t, int fd);	/* by descriptor, open for reading; NULL: -EBADF */
struct file *file_writable(struct task *t, int fd);

/* read and write, and their vectors, in all forms: `pos` NULL is the file's own, `rwf` are RWF_*. */
long file_rw(struct task *t, int fd, bool write, u64 addr, u64 len, const u64 *pos, int rwf);
long file_rwv(struct task *t, int fd, bool write, u64 addr, u64 n, const u64 *pos, int rwf);

/* Move all of a buffer of the sentry's, waiting as read(2) and write(2) do. Bytes, or -errno with nothing moved. */
s64 file_read_wait(struct task *t, struct file *f, void *buf, u64 len, u64 *pos);
s64 file_write_wait(struct task *t, struct file *f, const void *buf, u64 len, u64 *pos);
bool file_positional(const struct file *f);
/* RLIMIT_FSIZE: cuts *len to what may be written at pos, or -EFBIG and SIGXFSZ. */
int file_size_limit(struct task *t, struct file *f, u64 pos, u64 *len);

#endif
