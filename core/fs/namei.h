/* The path walk in steps, for calls that do something of their own with the last name: open, mkdir, rename, ... */
#ifndef TG_FS_NAMEI_H
#define TG_FS_NAMEI_H

#include "fs/dentry.h"

#define WALK_LINKS_MAX	40

enum last_kind { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT };	/* ROOT: nothing is left, as in "/" */

struct walk {
	struct task *t;
	const struct cred *cred;
	struct path root;		/* ".." stops here */
	struct path cur;
	u32 flags;			/* WALK_* */
	int links;			/* symlinks followed */

	enum last_kind kind;		/* set by walk_parent */
	const char *last;
	size_t last_len;
	bool trailing;			/* a slash follows the last name: it must be a directory */

	/* what is left of the current string, which is in `buf` if it is a link's target */
	const char *rest;
	char *buf;
	int depth;
	struct { const char *rest; char *buf; } saved[WALK_LINKS_MAX + 1];
};

int walk_begin(struct walk *w, struct task *t, const struct cred *c, int dirfd, const char *name, u32 flags);
/* All but the last name: w->cur is its directory, which may be searched. */
int walk_parent(struct walk *w);
/* The last name too. 0: w->cur is the place. 1: it was a symlink, call walk_parent() again for its target. */
int walk_last(struct walk *w, bool follow);
/* The same for a dentry that was already looked up in w->cur; consumes it. */
int walk_last_dentry(struct walk *w, struct dentry *d, bool follow);
void walk_end(struct walk *w);
int path_walk_cred(struct task *t, const struct cred *c, int dirfd, const char *name, u32 flags, struct path *out);

/* permission.c */
bool cred_owns(const struct cred *c, struct inode *in);		/* or has CAP_FOWNER */
int may_change_dir(const struct walk *w);			/* EROFS, EACCES */
int may_delete(const struct walk *w, struct dentry *victim);	/* and EPERM for sticky directories */

/* names.c; each as the call of that name, modes without umask */
int vfs_mknod(struct task *t, int dirfd, const char *name, u32 mode, u64 rdev);
int vfs_symlink(struct task *t, const char *target, int dirfd, const char *name);
int vfs_link(struct task *t, int old_fd, const char *old, int new_fd, const char *name, int at_flags);
int vfs_unlink(struct task *t, int dirfd, const char *name, bool dir);
int vfs_rename(struct task *t, int old_fd, const char *old, int new_fd, const char *name, u32 flags);

/* attr.c */
int vfs_setattr(struct inode *in, const struct attr *a);
int vfs_chmod(struct task *t, const struct path *p, u32 mode);
int vfs_chown(struct task *t, const struct path *p, u32 uid, u32 gid);
int vfs_utimes(struct task *t, const struct path *p, const struct timespec *times);	/* NULL: now */
int vfs_truncate(struct task *t, struct inode *in, u64 size);

struct open_how_kernel {
	u64 flags, mode, resolve;
};
int vfs_open_how(struct task *t, int dirfd, const char *name, const struct open_how_kernel *how, struct file **out);

#endif
