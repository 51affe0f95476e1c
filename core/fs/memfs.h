/*
 * Inodes whose contents live in memory: what tmpfs is, and what the overlay adds to a host tree.
 *
 * Directory tables are guarded by the directory's dentry lock, which the VFS holds over every directory operation.
 */
#ifndef TG_FS_MEMFS_H
#define TG_FS_MEMFS_H

#include <bsd/sys/tree.h>

#include "fs/fs.h"
#include "fs/name_table.h"

enum mementry_kind {
	ENTRY_UPPER,			/* stands for `inode` */
	/* overlay: seen by readdir in the host directory; looked up there when it is wanted */
	ENTRY_LOWER,
	ENTRY_WHITEOUT,			/* overlay: hides what the host directory has */
};

struct mementry {
	struct name_node node;
	RB_ENTRY(mementry) by_pos;
	u64 pos;			/* of this entry for readdir and lseek; never reused in a directory */
	struct inode *inode;		/* UPPER: holds a reference */
	u64 ino;			/* LOWER */
	u8 kind, type;			/* DT_* */
	bool seen;			/* LOWER: for a reload */
};
RB_HEAD(mementry_tree, mementry);

struct memdir {
	struct name_table names;
	struct mementry_tree order;
	u64 next_pos;
	u32 visible;			/* entries that are no whiteouts */
	struct memdir *next_doomed;	/* while its tree is freed */
};

struct memnode {			/* inode->data of memory inodes; the overlay's node starts with one */
	struct page_cache cache;	/* regular files */
	struct memdir dir;		/* directories */
	char *target;			/* symlinks */
	u32 seals;			/* F_SEAL_*; in->lock */
	u64 charged;
};

static inline struct memnode *memnode(struct inode *in) { return in->data; }

/*
 * Sentry memory for names and inodes is bounded for all guests together, so that a guest that makes files without end
 * gets ENOSPC.
 */
int fsmem_charge(u64 bytes);
void fsmem_uncharge(u64 bytes);

struct mementry *memdir_find(struct memdir *d, const char *name);
struct mementry *memdir_add(struct memdir *d, const char *name, enum mementry_kind kind);	/* NULL: no memory */
void memdir_remove(struct memdir *d, struct mementry *e);	/* frees it; drops its inode */
void memdir_set(struct mementry *e, struct inode *in);		/* makes it UPPER; takes a reference on `in` */
void memdir_destroy(struct memdir *d);
struct mementry *mementry_first(struct memdir *d);
struct mementry *mementry_next(struct memdir *d, struct mementry *e);
int memdir_emit(struct memdir *d, u64 pos, struct dirent_sink *s);

/* A new memory inode. `node_size` >= sizeof(struct memnode). Owner and setgid from dir and c. */
int mem_inode_new(struct super *s, const struct inode_ops *ops, size_t node_size, struct inode *dir, u32 mode, u64 rdev,
		  const struct cred *c, struct inode **out);
/* a new entry, times, the parent's nlink */
int mem_link_name(struct inode *dir, const char *name, struct inode *in);
int mem_replace_name(struct inode *dir, const char *name, struct inode *in, struct inode *replaced);	/* for rename */
void mem_exchange(struct inode *from, struct mementry *a, struct inode *to, struct mementry *b);
int mem_symlink_set(struct inode *in, const char *target);
void mem_unlink_name(struct inode *dir, struct mementry *e, struct inode *victim, bool whiteout);
void mem_free(struct inode *in);				/* inode_ops.release */
int mem_setattr(struct inode *in, const struct attr *a);
s64 mem_readlink(struct inode *in, struct task *t, char *buf, size_t len);

s64 mem_read(struct file *f, struct uio *u, u64 *pos);
s64 mem_write(struct file *f, struct uio *u, u64 *pos);
int mem_fallocate(struct file *f, int mode, u64 pos, u64 len);
int mem_mmap(struct file *f, struct vma *v);
/* setuid and setgid bits go when an unprivileged task writes; in->lock held */
void mem_kill_privs(struct inode *in, struct task *t);
extern const struct file_ops mem_file_ops, dir_file_ops;

int mem_statfs(struct super *s, void *buf);

/* A file of its own without a name in any directory; `label` is what /proc shows for it. Not sealable. */
int mem_unnamed_file(struct task *t, const char *label, u32 flags, struct file **out);
/* memfd_create: a file of its own, sealable if `sealable`. */
int memfd_open(struct task *t, const char *name, bool sealable, u32 flags, struct file **out);
long mem_seals(struct file *f, int cmd, u32 arg);	/* F_ADD_SEALS, F_GET_SEALS; -EINVAL for other files */

#endif
