/*
 * File system events for inotify. The VFS tells of what it did, after it did it; with no watch in the sandbox that
 * costs one load. Any thread, no lock of a task held; inode and dentry locks may be.
 */
#ifndef TG_FS_NOTIFY_H
#define TG_FS_NOTIFY_H

#include <sys/inotify.h>

#include "fs/fs.h"

extern atomic_int notify_watches;		/* in the whole sandbox */

void notify_inode_slow(struct inode *in, u32 mask);
void notify_name_slow(struct inode *dir, const char *name, size_t len, u32 mask, u32 cookie);
void notify_dentry_slow(struct dentry *d, u32 mask);

static inline bool notify_wanted(void)
{
	return __builtin_expect(atomic_load_explicit(&notify_watches, memory_order_relaxed), 0);
}

/* `in` itself is watched. */
static inline void notify_inode(struct inode *in, u32 mask)
{
	if (notify_wanted())
		notify_inode_slow(in, mask);
}

/* Something happened to a name in a directory that is watched. IN_ISDIR is the caller's to add; cookies pair renames. */
static inline void notify_name(struct inode *dir, const char *name, size_t len, u32 mask, u32 cookie)
{
	if (notify_wanted())
		notify_name_slow(dir, name, len, mask, cookie);
}

/* To a file by its name: for who watches it, and who watches its directory. */
static inline void notify_dentry(struct dentry *d, u32 mask)
{
	if (notify_wanted())
		notify_dentry_slow(d, mask);
}

static inline void notify_file(struct file *f, u32 mask)
{
	if (notify_wanted() && f->path.dentry && !(f->flags & 010000000 /* O_PATH */))
		notify_dentry_slow(f->path.dentry, mask);
}

void notify_close(struct file *f);
u32 notify_cookie(void);
/* It has no name and no open file any more: IN_DELETE_SELF, and its watches end. */
void notify_gone(struct inode *in);
/* The last mount is gone: IN_UNMOUNT. */
void notify_unmounted(struct super *s);

/* ---- what the system calls use ---- */

struct file *inotify_new(struct task *t, u32 flags);			/* NULL: no memory */
bool inotify_full(void);						/* max_user_instances are there */
int inotify_add(struct file *f, struct inode *in, u32 mask);		/* the watch's number; -EINVAL, -EEXIST, -ENOSPC */
int inotify_remove(struct file *f, int wd);

#endif
