/*
 * The VFS: inodes, dentries, mounts, open files, descriptor tables.
 *
 * Two tables of operations make a file system: inode_ops for names and attributes, file_ops for open files. No file
 * operation ever blocks on a guest or on the host: read and write return -EAGAIN when they would, and the callers in
 * syscall/sys_file.c wait on `waitq`/`poll` and try again. So every object gets blocking, O_NONBLOCK, signals,
 * time-outs and epoll from one place.
 *
 * Lock order: rename_lock (cross-directory renames), dir dentry locks (parent before child), inode->lock,
 * page_cache->lock. An open file's `pos_lock` comes first of all.
 */
#ifndef TG_FS_H
#define TG_FS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "lib/types.h"
#include "mm/mm.h"
#include "task/waitq.h"

struct task;
struct cred;
struct inode;
struct dentry;
struct file;
struct mount;
struct super;

/* ---- data in flight: host pointers, already checked; advanced by uio_* as it is used ---- */

struct uio {
	struct iovec *iov;
	int iovcnt;
	u64 len;			/* bytes left over all segments */
	bool append;			/* RWF_APPEND: as if the file had O_APPEND */
	struct task *task;		/* who asks: job control of terminals, SIGPIPE; NULL for the sentry itself */
};
u64 uio_put(struct uio *u, const void *src, u64 n);	/* copy out to the segments; returns bytes moved */
u64 uio_get(struct uio *u, void *dst, u64 n);
void uio_advance(struct uio *u, u64 n);

/* ---- inodes ---- */

struct attr {				/* for setattr; only what `valid` names */
	u32 valid;
	u32 mode, uid, gid;
	u64 size;
	struct timespec atime, mtime;
};
enum { ATTR_MODE = 1, ATTR_UID = 2, ATTR_GID = 4, ATTR_SIZE = 8, ATTR_ATIME = 16, ATTR_MTIME = 32, ATTR_CTIME = 64 };

struct dirent_sink {			/* readdir calls emit for each name; false: stop, this one was not taken */
	bool (*emit)(struct dirent_sink *s, const char *name, size_t len, u64 ino, u64 next_pos, u8 type);
};

struct inode_ops {
	/* `dir` operations run with the directory dentry's lock held. lookup: *out NULL when there is no such name. */
	int (*lookup)(struct inode *dir, const char *name, struct inode **out);
	int (*create)(struct inode *dir, const char *name, u32 mode, u64 rdev, const struct cred *c, struct inode **out);	/* regular, fifo, socket, device, directory by S_IFMT of mode */
	int (*symlink)(struct inode *dir, const char *name, const char *target, const struct cred *c, struct inode **out);
	int (*link)(struct inode *dir, const char *name, struct inode *target);
	int (*unlink)(struct inode *dir, const char *name, struct inode *victim);	/* files and empty directories */
	int (*rename)(struct inode *from, const char *name, struct inode *moved,
		      struct inode *to, const char *new_name, struct inode *replaced, u32 flags);	/* renameat2 flags */
	int (*readdir)(struct inode *dir, struct file *f, u64 pos, struct dirent_sink *s);	/* without . and .. ; positions from 2 */

	s64 (*readlink)(struct inode *in, struct task *t, char *buf, size_t len);
	/* /proc/PID/fd/N and kin: the place itself, not a path. Takes references for the caller. NULL for others. */
	int (*follow)(struct inode *in, struct task *t, struct mount **mnt, struct dentry **out);
	int (*getattr)(struct inode *in, struct stat *st);	/* NULL: from the inode's fields */
	int (*setattr)(struct inode *in, const struct attr *a);	/* permissions are already checked */
	int (*open)(struct inode *in, struct task *t, struct file *f);	/* may replace f->ops and set f->data */
	void (*release)(struct inode *in);			/* last reference gone */
	/* A regular file without a name (O_TMPFILE); NULL: -EOPNOTSUPP. */
	int (*tmpfile)(struct inode *dir, u32 mode, const struct cred *c, struct inode **out);
};

struct inode {
	const struct inode_ops *ops;	/* immutable */
	const struct file_ops *file_ops;/* default for open(); immutable */
	struct super *super;		/* immutable */
	u64 ino;			/* immutable */
	atomic_int refs;
	pthread_mutex_t lock;		/* guards the attributes below */
	u32 mode;			/* type and permissions; the type is immutable */
	u32 uid, gid, nlink;
	u64 rdev;
	struct timespec atime, mtime, ctime, btime;
	struct page_cache *cache;	/* regular files that can be mapped; its size is the file's size */
	void *data;			/* the file system's */
	struct file_locks *_Atomic locks;/* fcntl and flock records (fs/locks.c); locked by its own lock */
	void *pipe;			/* fifo: the shared pipe while open; socket: the bound socket */
	struct xattrs *xattrs;		/* extended attributes (fs/xattr.c); lock */
	int writers, opens;		/* regular files: open for writing, or -programs that run from it; open (fs/lease.c); lock */
	struct leases *leases;		/* fs/lease.c; lock to make it */
	struct watch_list *_Atomic watches;	/* inotify (fs/inotify.c); its own lock */
};

struct super {				/* one mounted file system instance */
	const char *type;		/* "tmpfs", "overlay", "proc", ... as in /proc/mounts */
	const char *source;
	u64 dev;			/* st_dev */
	u32 flags;			/* ST_RDONLY, ... */
	atomic_int active;		/* mounts, and whoever made it: without them its names are forgotten */
	atomic_int refs;		/* inodes */
	struct dentry *root;
	int (*statfs)(struct super *s, void *statfs_buf);
	u32 dentry_uncached;		/* names change under us (host, proc): look up every time; a dentry whose inode
					   comes back as the same object, or with the same ino, is used again */
	bool xattrs;			/* its inodes may have extended attributes */
	void *data;
	void (*destroy)(struct super *s);	/* last reference gone; may be NULL */
};

struct super *super_new(const char *type, const char *source, u32 flags);	/* static strings; a fresh dev; one reference; NULL: no memory */
int super_set_root(struct super *s, struct inode *root);	/* consumes the inode's reference, even on failure */
void super_get(struct super *s);
void super_put(struct super *s);

struct inode *inode_new(struct super *s, const struct inode_ops *ops, u32 mode);	/* one reference, fresh ino, times now */
void inode_get(struct inode *in);
void inode_put(struct inode *in);
bool inode_get_live(struct inode *in);			/* false if the last reference is already gone; for weak tables */
void inode_init_owner(struct inode *in, struct inode *dir, const struct cred *c);	/* dir may be NULL; c NULL is root. Inherits setgid */
u32 inode_new_mode(const struct inode *dir, u32 mode, const struct cred *c);	/* a file's, before the umask: without a setgid bit that `c` may not give */
void inode_stat(struct inode *in, struct stat *st);	/* from the fields; getattr implementations start with it */
enum { TOUCH_ATIME = 1, TOUCH_MTIME = 2, TOUCH_CTIME = 4 };
void inode_touch(struct inode *in, u32 which);		/* sets them to now; takes in->lock */
void inode_accessed(struct inode *in);			/* after a read: atime as relatime has it */
void inode_set_nlink(struct inode *in, int delta);	/* and ctime */
struct timespec fs_now(void);

/* ---- dentries: names; a path is a mount and a dentry ---- */

struct path {
	struct mount *mnt;
	struct dentry *dentry;
};
void path_get(const struct path *p);
void path_put(struct path *p);		/* and clears it */

/* The place of an open file, made up for anonymous ones ("pipe:[7]"): what /proc/PID/fd/N leads to. With references. */
int file_to_path(struct file *f, struct path *out);

/* Path walk: see fs/namei.c for flags. `dirfd` as in openat(2). The result holds references. */
enum { WALK_NOFOLLOW = 1, WALK_DIRECTORY = 2, WALK_EMPTY = 4, WALK_NO_MAGIC = 8, WALK_BENEATH = 16, WALK_IN_ROOT = 32, WALK_NO_XDEV = 64, WALK_NO_SYMLINKS = 128 };
int path_walk(struct task *t, int dirfd, const char *name, u32 flags, struct path *out);
/*
 * From the task's root, NUL-terminated; returns the length. " (deleted)" follows the name of what has none any more;
 * "(unreachable)" comes before what is not below the root; anonymous files give "pipe:[7]". -ENAMETOOLONG.
 */
s64 path_name(struct task *t, const struct path *p, char *buf, size_t len);

/* Open as openat2(2) does; the file is not yet in any table. `flags`: O_*; mode without umask. */
int vfs_open(struct task *t, int dirfd, const char *name, int flags, u32 mode, struct file **out);
int vfs_open_path(struct task *t, const struct path *p, u32 flags, struct file **out);	/* a place that was found already */
int vfs_open_exec(struct task *t, int dirfd, const char *name, int at_flags, struct file **out);	/* checks x permission and file type */
int vfs_stat(struct task *t, const struct path *p, struct stat *st);
int vfs_stat_inode(struct task *t, struct inode *in, struct stat *st);
int inode_permission(const struct cred *c, struct inode *in, u32 want);	/* want: R_OK W_OK X_OK; -EACCES */

/* ---- open files ---- */

struct file_ops {
	bool inside;		/* read and write may run inside: -EHOST, and nothing changed, where they can't */
	/* Move what can be moved now: bytes, 0 at the end, -EAGAIN, or another -errno. `pos` is NULL for streams. */
	s64 (*read)(struct file *f, struct uio *u, u64 *pos);
	s64 (*write)(struct file *f, struct uio *u, u64 *pos);
	u32 (*poll)(struct file *f);				/* EPOLL* bits that hold now; NULL: always in and out */
	struct waitq *(*waitq)(struct file *f);			/* what to sleep on; NULL: never blocks */
	s64 (*seek)(struct file *f, s64 offset, int whence);	/* NULL: -ESPIPE */
	s64 (*ioctl)(struct file *f, struct task *t, u32 cmd, u64 arg);	/* NULL: -ENOTTY */
	int (*readdir)(struct file *f, struct dirent_sink *s);	/* NULL: through the inode */
	int (*mmap)(struct file *f, struct vma *v);		/* may veto; NULL: inode->cache or -ENODEV */
	int (*fsync)(struct file *f, bool data_only);
	int (*fallocate)(struct file *f, int mode, u64 pos, u64 len);
	int (*setfl)(struct file *f, u32 flags);		/* fcntl(F_SETFL) beyond O_NONBLOCK, O_APPEND */
	void (*poll_start)(struct file *f);			/* someone is about to sleep on waitq (host files: arm the poller) */
	void (*flush)(struct file *f, struct task *t);		/* a descriptor was closed */
	void (*release)(struct file *f);			/* last reference gone */
	s64 (*show)(struct file *f, char *buf, size_t len);	/* extra lines of /proc/PID/fdinfo/N */
	const char *anon_name;					/* "pipe", "[eventfd]": shown by readlink of /proc/PID/fd/N when there is no path */
};

struct file_owner {
	int type, pid;			/* F_OWNER_*; 0: nobody */
	int signo, fd;			/* F_SETSIG: 0 is SIGIO; the descriptor it tells */
	struct cred *cred;		/* of who said so; holds a reference */
};

struct file {
	const struct file_ops *ops;
	atomic_int refs;
	_Atomic u32 flags;		/* O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, ... */
	struct path path;		/* empty for anonymous files */
	struct inode *inode;		/* never NULL */
	pthread_mutex_t pos_lock;	/* held over a read or write that uses and moves pos */
	u64 pos;
	void *data;			/* the file's own */
	struct epoll_links *_Atomic epoll;	/* epoll items that watch it (fs/epoll.c) */
	struct file_owner owner;	/* F_SETOWN (fs/async.c); locked there */
	struct file_async *async;	/* O_ASYNC; likewise */
	u8 counted;			/* COUNT_*: what its inode counts it as; set before anybody else sees it */
};

struct file *file_new(struct inode *in, const struct file_ops *ops, u32 flags);	/* takes a reference on the inode */
struct file *file_new_anon(const struct file_ops *ops, u32 flags, void *data);	/* on an anonymous inode of its own */
void file_get(struct file *f);
void file_put(struct file *f);
void inside_file_put(struct file *f);			/* the same, for code that runs inside too */
void gate_file_put(void *f);
s64 gate_page_cache_seek(struct page_cache *pc, u64 pos, bool data);
/* Seek for files whose size is inode->cache->size (or 0 without a cache); SEEK_DATA and SEEK_HOLE included. */
s64 file_seek_generic(struct file *f, s64 offset, int whence);
s64 file_read_at(struct file *f, void *buf, u64 len, u64 pos);	/* kernel buffer; short only at the end of the file */
u32 file_poll(struct file *f);
struct waitq *file_waitq(struct file *f);

/* ---- descriptor tables (fs/fd_table.c); fd_get is lock-free and may be called on any table one holds a reference of ---- */

struct fd_table;
struct fd_table *fd_table_new(void);
struct fd_table *fd_table_copy(struct fd_table *t);	/* fork; NULL when out of memory */
#define FD_FIRST_SIZE	64		/* descriptors that any table has room for */
u32 fd_table_span(struct fd_table *t);			/* the room that a copy must have */
void fd_table_get(struct fd_table *t);
bool fd_table_shared(struct fd_table *t);		/* has another reference now: exec and close_range then copy it */
void fd_table_put(struct fd_table *t);			/* closes all with the last reference */
void fd_table_exec(struct fd_table *t, struct task *task);	/* close-on-exec */
struct file *fd_get(struct fd_table *t, int fd);	/* with a reference, or NULL. O_PATH files too: callers that do i/o use fd_get_io */
struct file *fd_get_io(struct fd_table *t, int fd);	/* NULL for O_PATH files as well */
int fd_install(struct task *t, struct file *f, int lowest, bool cloexec);	/* consumes the reference, even on failure; -EMFILE */
int fd_replace(struct task *t, int fd, struct file *f, bool cloexec);		/* dup2; consumes the reference */
int fd_close(struct task *t, int fd);
bool fd_cloexec(struct fd_table *t, int fd);
void fd_set_cloexec(struct fd_table *t, int fd, bool on);
int fd_next(struct fd_table *t, int from);		/* lowest open descriptor >= from, or -1; for /proc and close_range */

/* ---- a task's place in the file system ---- */

struct fs_place {			/* root, cwd and umask; shared with CLONE_FS */
	pthread_mutex_t lock;
	atomic_int refs;
	struct path root, cwd;
	u32 umask;
	struct mount_ns *ns;
};
struct fs_place *fs_place_copy(struct fs_place *p);
void fs_place_get(struct fs_place *p);
void fs_place_put(struct fs_place *p);

/* Start-up: builds the guest's tree as the options ask and gives the first task's place and descriptors 0, 1, 2. */
struct bind {
	const char *src, *dst;
	bool rw;
};
struct fs_options {
	const char *rootfs;		/* host directory; "/" by default */
	bool rootfs_rw;			/* pass writes through instead of keeping them in the overlay */
	const struct bind *binds;
	int nbinds;
	const char *cwd;		/* guest path, or NULL for "/" */
};
int tmpfs_create(const char *source, u32 root_mode, struct super **out);	/* a new, empty one; root is 0:0 */
int fs_init(const struct fs_options *opt, struct fs_place **place, char *why, size_t len);
int fs_stdio(struct task *t);		/* installs host descriptors 0, 1, 2 into the first task's table */

#endif
