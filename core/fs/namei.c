/*
 * The path walk: from a name that a guest gave to a mount and a dentry.
 *
 * It is one loop over components. A symlink's target becomes the current string, and what was left of the string
 * before is kept on a stack of at most WALK_LINKS_MAX.
 *
 * Threat: names and symlinks are the guest's, ".." and renames race with the walk. All of it stays inside the dentry
 * tree: the host sees single names relative to a descriptor (host/hostfs_calls.c), never a guest's path, so no
 * string, symlink or race can lead out of the tree that was built at start. The task's root (chroot) and openat2's
 * RESOLVE_BENEATH are held by comparing with `root` at every "..", and, since a directory can be moved out from under a
 * walk, by looking again from the reached place upwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/dentry.h"
#include "fs/namei.h"
#include "task/task.h"

static int start_at(struct walk *w, int dirfd, bool absolute)
{
	struct fs_place *place = w->t->place;
	bool scoped = w->flags & (WALK_BENEATH | WALK_IN_ROOT);
	struct file *f = NULL;
	int err = 0;

	if (dirfd != AT_FDCWD && (!absolute || scoped)) {
		f = fd_get(w->t->files, dirfd);
		if (!f)
			return -EBADF;
		err = file_to_path(f, &w->cur);
		file_put(f);
		if (err)
			return err;
	}
	pthread_mutex_lock(&place->lock);
	if (!f) {
		w->cur = absolute && !scoped ? place->root : place->cwd;
		path_get(&w->cur);
	}
	w->root = scoped ? w->cur : place->root;
	path_get(&w->root);
	pthread_mutex_unlock(&place->lock);
	return 0;
}

int walk_begin(struct walk *w, struct task *t, const struct cred *c, int dirfd, const char *name, u32 flags)
{
	bool absolute = name[0] == '/';

	w->t = t;
	w->cred = c;
	w->flags = flags;
	w->links = w->depth = 0;
	w->trailing = false;
	w->rest = name;
	w->buf = NULL;
	w->root = w->cur = (struct path){ NULL, NULL };
	if (!*name && !(flags & WALK_EMPTY))
		return -ENOENT;
	if (absolute && (flags & WALK_BENEATH))
		return -EXDEV;
	return start_at(w, dirfd, absolute);
}

void walk_end(struct walk *w)
{
	path_put(&w->cur);
	path_put(&w->root);
	free(w->buf);
	while (w->depth)
		free(w->saved[--w->depth].buf);
}

static bool only_slashes(const char *s, bool *slash)
{
	*slash |= *s == '/';
	return !s[strspn(s, "/")];
}

/* Does nothing but slashes follow, here and in the strings that wait? */
static bool is_last(struct walk *w, const char *next)
{
	bool slash = false;

	if (!only_slashes(next, &slash))
		return false;
	for (int i = 0; i < w->depth; i++)
		if (!only_slashes(w->saved[i].rest, &slash))
			return false;
	w->trailing |= slash;
	return true;
}

static enum last_kind name_kind(const char *s, size_t len)
{
	if (len == 1 && s[0] == '.')
		return LAST_DOT;
	if (len == 2 && s[0] == '.' && s[1] == '.')
		return LAST_DOTDOT;
	return LAST_NAME;
}

static int may_search(struct walk *w)
{
	if (!S_ISDIR(w->cur.dentry->inode->mode))
		return -ENOTDIR;
	return inode_permission(w->cred, w->cur.dentry->inode, X_OK);
}

static bool at_root(const struct walk *w)
{
	return w->cur.dentry == w->root.dentry && w->cur.mnt == w->root.mnt;
}

static int step_up(struct walk *w)
{
	struct dentry *parent;
	struct mount *before = w->cur.mnt;

	while (!at_root(w) && w->cur.dentry == w->cur.mnt->root)
		if (!mount_cross_up(&w->cur))
			break;
	if (at_root(w))
		return w->flags & WALK_BENEATH ? -EXDEV : 0;
	parent = dentry_parent(w->cur.dentry);
	dentry_put(w->cur.dentry);
	w->cur.dentry = parent;
	mount_cross_down(&w->cur);
	if (w->cur.mnt != before && (w->flags & WALK_NO_XDEV))
		return -EXDEV;
	if ((w->flags & (WALK_BENEATH | WALK_IN_ROOT)) && w->cur.mnt == w->root.mnt &&
	    !dentry_is_ancestor(w->root.dentry, w->cur.dentry))
		return -EAGAIN;
	return 0;
}

/* Take over `d`, which was found in w->cur. */
static int step_into(struct walk *w, struct dentry *d)
{
	struct mount *before = w->cur.mnt;

	dentry_put(w->cur.dentry);
	w->cur.dentry = d;
	if (atomic_load_explicit(&d->mounted, memory_order_acquire)) {
		mount_cross_down(&w->cur);
		if (w->cur.mnt != before && (w->flags & WALK_NO_XDEV))
			return -EXDEV;
	}
	return 0;
}

static int jump_to_root(struct walk *w)
{
	if (w->flags & WALK_BENEATH)
		return -EXDEV;
	if ((w->flags & WALK_NO_XDEV) && w->root.mnt != w->cur.mnt)
		return -EXDEV;
	path_put(&w->cur);
	w->cur = w->root;
	path_get(&w->cur);
	return 0;
}

static int follow_magic(struct walk *w, struct inode *in)
{
	struct path to = { NULL, NULL };
	int err;

	if (w->flags & WALK_NO_MAGIC)
		return -ELOOP;
	if (w->flags & (WALK_BENEATH | WALK_IN_ROOT))
		return -EXDEV;
	err = in->ops->follow(in, w->t, &to.mnt, &to.dentry);
	if (err)
		return err;
	if ((w->flags & WALK_NO_XDEV) && to.mnt != w->cur.mnt) {
		path_put(&to);
		return -EXDEV;
	}
	path_put(&w->cur);
	w->cur = to;
	return 0;
}

/* Make the link's target the current string. */
static int push_target(struct walk *w, struct inode *in)
{
	char *buf = malloc(PATH_LEN_MAX);
	s64 len;

	if (!buf)
		return -ENOMEM;
	len = in->ops->readlink ? in->ops->readlink(in, w->t, buf, PATH_LEN_MAX - 1) : -EINVAL;
	if (len <= 0) {
		free(buf);
		return len ? len : -ENOENT;
	}
	buf[len] = 0;
	w->saved[w->depth].rest = w->rest;
	w->saved[w->depth++].buf = w->buf;
	w->rest = w->buf = buf;
	inode_accessed(in);
	return buf[0] == '/' ? jump_to_root(w) : 0;
}

/* `d` is a symlink in w->cur. 0: w->cur is where it leads. 1: its target is next to be walked. Consumes d. */
static int follow_link(struct walk *w, struct dentry *d)
{
	int err;

	if ((w->flags & WALK_NO_SYMLINKS) || (w->cur.mnt->flags & ST_NOSYMFOLLOW) || w->links++ >= WALK_LINKS_MAX)
		err = -ELOOP;
	else if (d->inode->ops->follow)
		err = follow_magic(w, d->inode);
	else
		err = push_target(w, d->inode);
	if (!err && !d->inode->ops->follow)
		err = 1;
	dentry_put(d);
	return err;
}

static int step(struct walk *w, const char *name, size_t len)
{
	struct dentry *d;
	int err = may_search(w);

	if (err)
		return err;
	switch (name_kind(name, len)) {
	case LAST_DOT:
		return 0;
	case LAST_DOTDOT:
		return step_up(w);
	default:
		break;
	}
	err = dentry_lookup(w->cur.dentry, name, len, &d);
	if (err)
		return err;
	if (!S_ISLNK(d->inode->mode))
		return step_into(w, d);
	err = follow_link(w, d);
	return err > 0 ? 0 : err;
}

int walk_parent(struct walk *w)
{
	for (;;) {
		const char *name;
		int err;

		w->rest += strspn(w->rest, "/");
		if (!*w->rest && w->depth) {
			free(w->buf);
			w->rest = w->saved[--w->depth].rest;
			w->buf = w->saved[w->depth].buf;
			continue;
		}
		if (!*w->rest) {
			w->kind = LAST_ROOT;
			return 0;
		}
		name = w->rest;
		w->rest += strcspn(name, "/");
		if (is_last(w, w->rest)) {
			w->last = name;
			w->last_len = w->rest - name;
			w->kind = name_kind(name, w->last_len);
			return may_search(w);
		}
		err = step(w, name, w->rest - name);
		if (err)
			return err;
	}
}

static int check_directory(const struct walk *w)
{
	if ((w->trailing || (w->flags & WALK_DIRECTORY)) && !S_ISDIR(w->cur.dentry->inode->mode))
		return -ENOTDIR;
	return 0;
}

int walk_last_dentry(struct walk *w, struct dentry *d, bool follow)
{
	int err;

	if (S_ISLNK(d->inode->mode) && (follow || w->trailing))
		err = follow_link(w, d);
	else
		err = step_into(w, d);
	return err ? err : check_directory(w);
}

int walk_last(struct walk *w, bool follow)
{
	struct dentry *d;
	int err = 0;

	if (w->kind == LAST_NAME) {
		err = dentry_lookup(w->cur.dentry, w->last, w->last_len, &d);
		return err ? err : walk_last_dentry(w, d, follow);
	}
	if (w->kind == LAST_DOTDOT)
		err = step_up(w);
	return err ? err : check_directory(w);
}

int path_walk_cred(struct task *t, const struct cred *c, int dirfd, const char *name, u32 flags, struct path *out)
{
	struct walk w;
	int err = walk_begin(&w, t, c, dirfd, name, flags);

	if (err)
		goto out;
	do {
		err = walk_parent(&w);
		if (!err)
			err = walk_last(&w, !(flags & WALK_NOFOLLOW));
	} while (err > 0);
	if (!err) {
		*out = w.cur;
		w.cur = (struct path){ NULL, NULL };
	}
out:
	walk_end(&w);
	return err;
}

int path_walk(struct task *t, int dirfd, const char *name, u32 flags, struct path *out)
{
	return path_walk_cred(t, t->cred, dirfd, name, flags, out);
}
