/*
 * What the VFS core and the special files say to each other: pipes, fifos, devices, epoll, locks, proc, sys, and the
 * host's standard streams. Each hook says who calls it.
 */
#ifndef TG_SPECIAL_H
#define TG_SPECIAL_H

#include "fs/fs.h"

/* ---- called by the VFS core on open ---- */

/* S_IFIFO inodes. Blocks as fifo(7) says: 0, -ERESTARTSYS when a signal ends the wait, -ENXIO. Sets f->ops and f->data. */
int fifo_open(struct inode *in, struct task *t, struct file *f);
/* S_IFCHR inodes of any file system, by in->rdev: -ENXIO when there is no such device. S_IFBLK likewise ends here. */
int devfs_open_rdev(struct inode *in, struct task *t, struct file *f);
/* Block device 7:number, fs/loop.c: sets f->ops and f->data; -ENXIO beyond LOOP_DEVICES. */
enum { LOOP_DEVICES = 8 };
int loop_open(u32 number, struct file *f);
extern const struct file_ops loop_control_ops;
struct loop_facts {		/* for sysfs */
	struct file *file;	/* with a reference; NULL: no file is attached */
	u64 sectors, offset, limit;
	bool readonly, autoclear, partscan;
};
void loop_facts(u32 number, struct loop_facts *out);	/* below LOOP_DEVICES */
/* S_IFSOCK cannot be opened: -ENXIO in the VFS core. */

/* ---- called by file_put() with the last reference, before ops->release; only if f->epoll is set ---- */
void epoll_file_released(struct file *f);

/* ---- record locks (fs/locks.c) ---- */

/* fcntl(F_GETLK, F_SETLK, F_SETLKW, F_OFD_*): `arg` is the guest's struct flock. */
long locks_fcntl(struct task *t, struct file *f, int cmd, gva_t arg);
/* A descriptor of `f` in `table` was closed: that table's POSIX locks on the inode go. Called by close, dup2, exec, exit. */
void file_locks_closed(struct fd_table *table, struct file *f);
/* The last reference of `f` goes: flock and OFD locks of it. Called by file_put before ops->release. */
void file_locks_released(struct file *f);
/* The inode is being freed. */
void inode_locks_free(struct inode *in);

/* ---- opens, running programs, leases (fs/lease.c) ---- */

enum { COUNT_OPEN = 1, COUNT_WRITE = 2, COUNT_EXEC = 4 };
int file_count(struct file *f, u32 what);	/* at open, regular files only: 0, -ETXTBSY */
void file_uncount(struct file *f);		/* by file_put */
void file_exec_done(struct file *f);		/* counted with COUNT_EXEC: from now on the file may be written */
bool inode_runs(struct inode *in);		/* is a program run from it? Then truncate is ETXTBSY */
/* Before an open or a truncate that goes against leases: waits for them to go. 0, -EAGAIN, -ERESTARTSYS. */
int lease_break(struct task *t, struct inode *in, bool write, bool nonblock);
long lease_fcntl(struct task *t, struct file *f, int cmd, u64 arg);	/* F_SETLEASE, F_GETLEASE */
void inode_leases_free(struct inode *in);

/* ---- pipes ---- */
long pipe_fcntl(struct file *f, struct task *t, int cmd, u64 arg);	/* F_SETPIPE_SZ, F_GETPIPE_SZ; -EBADF if no pipe */
int pipe_create(struct task *t, struct file **rd, struct file **wr, u32 flags);		/* O_NONBLOCK, O_DIRECT */

/* ---- the host's descriptors ---- */
struct file *hostfile_new(int host_fd, u32 flags);	/* takes the descriptor over; NULL and errno-like fd closed on failure */

int proc_file_pid(const struct file *f);	/* of an open /proc/PID: its number; 0 for other files */

/* ---- mounts: each makes a new instance; called once by fs_init ---- */
int procfs_create(struct super **out);
int sysfs_create(struct super **out);
int devpts_create(struct super **out);
/* Fills an empty tmpfs with device nodes, fd, stdin, pts/, shm/ and so on. `dir` is its root inode. */
int devfs_populate(struct inode *dir);

#endif
