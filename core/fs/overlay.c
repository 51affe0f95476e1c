/*
 * The overlay: the default root. A guest sees a host tree, may change everything, and changes nothing outside.
 *
 * Inodes are memory inodes (memfs.h) that may stand for a host file. A directory's table holds what differs from
 * the host directory: new names, and whiteouts over names that are gone. Everything else is asked of the host when it
 * is wanted. An inode that was not changed can be forgotten and made again; one that was holds a reference on itself
 * (`pinned`) until its last name goes, and the index finds it again from the host's (device, inode). So two host
 * names of one file are one file here too.
 *
 * Threat: the guest can read whatever the invoker may read below the root directory, and write none of it. Host names
 * are taken one component at a time, symlinks are walked by the guest's own path walk, host devices and sockets are
 * never opened, and file systems that show the host's kernel or the sentry itself (procfs, sysfs, ...) appear empty.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "fs/dentry.h"
#include "fs/overlay.h"

#define GUEST_INO	(1ull << 40)	/* inode numbers of what the guest made start here, away from the host's */
#define OVERLAY_MAGIC	0x794c7630

static const struct inode_ops ovl_ops, ovl_file_inode_ops;

/* ---- inodes ---- */

void ovl_refresh(struct inode *in, const struct host_stat *st)
{
	in->mode = (in->mode & S_IFMT) | (st->st.st_mode & 07777);
	in->uid = st->st.st_uid;
	in->gid = st->st.st_gid;
	in->nlink = st->st.st_nlink;
	in->atime = st->st.st_atim;
	in->mtime = st->st.st_mtim;
	in->ctime = st->st.st_ctim;
	in->btime = st->btime;
	ovl_node(in)->host_blocks = st->st.st_blocks;
	ovl_node(in)->host_size = st->st.st_size;
	if (in->cache && in->cache->size != (u64)st->st.st_size)
		in->cache->size = st->st.st_size;
}

void ovl_dirty(struct inode *in)
{
	struct ovl_node *node = ovl_node(in);

	if (node->dirty)
		return;
	pthread_mutex_lock(&in->lock);
	if (!node->dirty && node->host.node && in->nlink) {
		inode_get(in);
		node->pinned = true;
	}
	node->dirty = true;
	pthread_mutex_unlock(&in->lock);
}

/* After a name of it went. */
static void ovl_unpin(struct inode *in)
{
	struct ovl_node *node = ovl_node(in);
	bool drop, gone;

	pthread_mutex_lock(&in->lock);
	gone = !in->nlink;
	drop = node->pinned && gone;
	if (drop)
		node->pinned = false;
	pthread_mutex_unlock(&in->lock);
	/* The host may give the number to another file one day. */
	if (gone && node->host.node)
		host_index_remove(ovl_tree(in->super), &node->host);
	if (drop)
		inode_put(in);
}

static int ovl_make(struct super *s, struct inode *dir, u32 mode, u64 rdev, const struct cred *c, struct inode **out)
{
	const struct inode_ops *ops = S_ISREG(mode) ? &ovl_file_inode_ops : &ovl_ops;
	int err = mem_inode_new(s, ops, sizeof(struct ovl_node), dir, mode, rdev, c, out);

	if (err)
		return err;
	ovl_node(*out)->fd = -1;
	(*out)->ino += GUEST_INO;
	if (S_ISREG(mode))
		(*out)->file_ops = &ovl_file_ops;
	return 0;
}

static void ovl_free(struct inode *in)
{
	struct ovl_node *node = ovl_node(in);

	if (node->host.node) {
		host_index_remove(ovl_tree(in->super), &node->host);
		hostnode_put(node->host.node);
	}
	mem_free(in);
}

/* Another device below the root may be a procfs: its directories are shown, but empty. */
static bool pseudo_dir(struct host_tree *tree, struct hostnode *n, const struct host_stat *st)
{
	bool pseudo = true;
	int fd;

	if (!S_ISDIR(st->st.st_mode) || st->dev == tree->dev)
		return false;
	if (!hostnode_dir(n, &fd)) {
		pseudo = host_fd_is_pseudo(fd);
		hostnode_dir_done(n);
	}
	return pseudo;
}

/* The inode for a host file; consumes the node. */
static int ovl_from_host(struct super *s, struct hostnode *n, const struct host_stat *st, struct inode **out)
{
	struct host_tree *tree = ovl_tree(s);
	struct inode *first;
	struct ovl_node *node;
	int err = ovl_make(s, NULL, st->st.st_mode, st->st.st_rdev, NULL, out);

	if (err) {
		hostnode_put(n);
		return err;
	}
	node = ovl_node(*out);
	(*out)->ino = host_ino(tree, st->dev, st->st.st_ino);
	if ((*out)->cache) {
		page_cache_destroy((*out)->cache);
		page_cache_init((*out)->cache, &ovl_cache_ops, *out, st->st.st_size);
	}
	ovl_refresh(*out, st);
	if (pseudo_dir(tree, n, st)) {
		hostnode_put(n);
		return 0;
	}
	node->host = (struct hostref){ .node = n, .in = *out, .dev = st->dev, .ino = st->st.st_ino };
	first = host_index_add(tree, &node->host);
	if (first) {
		inode_put(*out);
		*out = first;
	}
	return 0;
}

/* ---- lookup ---- */

/* What the host has under a name in a directory: 0, -ENOENT, ... */
static int host_has(struct inode *dir, const char *name, struct host_stat *st)
{
	struct hostnode *n = ovl_node(dir)->host.node;
	int fd, err;

	if (!n)
		return -ENOENT;
	err = hostnode_dir(n, &fd);
	if (err)
		return err;
	err = host_stat_at(fd, name, st);
	hostnode_dir_done(n);
	return err;
}

/* Does the host show something here that a removal must hide? When in doubt, yes. */
static bool must_hide(struct inode *dir, const char *name)
{
	struct host_stat st;
	int err = host_has(dir, name, &st);

	return err != -ENOENT && err != -ENOTDIR;
}

static int ovl_lookup(struct inode *dir, const char *name, struct inode **out)
{
	struct mementry *e = memdir_find(&memnode(dir)->dir, name);
	struct hostnode *n;
	struct host_stat st;
	int err;

	*out = NULL;
	if (e && e->kind == ENTRY_WHITEOUT)
		return 0;
	if (e && e->kind == ENTRY_UPPER) {
		inode_get(e->inode);
		*out = e->inode;
		return 0;
	}
	err = host_has(dir, name, &st);
	if (err)
		return err == -ENOENT || err == -ENOTDIR ? 0 : err;
	*out = host_index_find(ovl_tree(dir->super), &st);
	if (*out)
		return 0;
	n = hostnode_new(ovl_node(dir)->host.node, name);
	return n ? ovl_from_host(dir->super, n, &st, out) : -ENOMEM;
}

/* ---- directories' host names ---- */

struct loading {
	struct inode *dir;
	int err;
};

static bool load_name(void *arg, const char *name, size_t len, u64 ino, u64 next_pos, u8 type)
{
	struct loading *l = arg;
	struct inode *dir = l->dir;
	struct memdir *d = &memnode(dir)->dir;
	struct mementry *e = memdir_find(d, name);

	if (!e) {
		e = memdir_add(d, name, ENTRY_LOWER);
		if (!e) {
			l->err = -ENOMEM;
			return false;
		}
		e->type = type;
		e->ino = host_ino(ovl_tree(dir->super), ovl_node(dir)->host.dev, ino);
	}
	e->seen = true;
	return true;
}

static void drop_unseen(struct memdir *d)
{
	struct mementry *e, *next;

	for (e = mementry_first(d); e; e = next) {
		next = mementry_next(d, e);
		if (e->kind == ENTRY_LOWER && !e->seen)
			memdir_remove(d, e);
	}
}

/* Bring the table up to date with the host directory, if that changed. The dentry's lock held. */
static int ovl_load(struct inode *dir)
{
	struct ovl_node *node = ovl_node(dir);
	struct memdir *d = &node->mem.dir;
	struct loading l = { dir, 0 };
	struct host_stat st;
	int err;

	if (!node->host.node)
		return 0;
	err = host_has(dir, ".", &st);
	if (err)
		return err;
	if (node->loaded && st.st.st_mtim.tv_sec == node->loaded_mtime.tv_sec &&
	    st.st.st_mtim.tv_nsec == node->loaded_mtime.tv_nsec)
		return 0;
	for (struct mementry *e = mementry_first(d); e; e = mementry_next(d, e))
		e->seen = false;
	err = hostnode_list(node->host.node, 0, load_name, &l);
	if (err || l.err)
		return err ? err : l.err;
	drop_unseen(d);
	node->loaded = true;
	node->loaded_mtime = st.st.st_mtim;
	return 0;
}

static int ovl_readdir(struct inode *dir, struct file *f, u64 pos, struct dirent_sink *s)
{
	int err = pos <= 2 || !ovl_node(dir)->loaded ? ovl_load(dir) : 0;

	return err ? err : memdir_emit(&memnode(dir)->dir, pos, s);
}

static int check_empty(struct inode *dir)
{
	int err = ovl_load(dir);

	return err ? err : memnode(dir)->dir.visible ? -ENOTEMPTY : 0;
}

/* ---- making names ---- */

static int link_new(struct inode *dir, const char *name, struct inode *in, struct inode **out)
{
	int err;

	ovl_dirty(dir);
	err = mem_link_name(dir, name, in);
	if (err)
		inode_put(in);
	else
		*out = in;
	return err;
}

static int ovl_create(struct inode *dir, const char *name, u32 mode, u64 rdev, const struct cred *c, struct inode **out)
{
	struct inode *in;
	int err = ovl_make(dir->super, dir, mode, rdev, c, &in);

	return err ? err : link_new(dir, name, in, out);
}

static int ovl_symlink(struct inode *dir, const char *name, const char *target, const struct cred *c,
		       struct inode **out)
{
	struct inode *in;
	int err = ovl_make(dir->super, dir, S_IFLNK | 0777, 0, c, &in);

	if (err)
		return err;
	err = mem_symlink_set(in, target);
	if (!err)
		return link_new(dir, name, in, out);
	inode_put(in);
	return err;
}

static int ovl_tmpfile(struct inode *dir, u32 mode, const struct cred *c, struct inode **out)
{
	int err = ovl_make(dir->super, dir, mode, 0, c, out);

	if (!err)
		(*out)->nlink = 0;
	return err;
}

static int ovl_link(struct inode *dir, const char *name, struct inode *target)
{
	int err;

	ovl_dirty(dir);
	ovl_dirty(target);
	err = mem_link_name(dir, name, target);
	if (!err)
		inode_set_nlink(target, 1);
	return err;
}

/* ---- removing and moving them ---- */

/* An entry for a name that exists, so that it can become a whiteout or move. */
static struct mementry *entry_for(struct inode *dir, const char *name, struct inode *in)
{
	struct memdir *d = &memnode(dir)->dir;
	struct mementry *e = memdir_find(d, name);

	if (!e)
		e = memdir_add(d, name, ENTRY_LOWER);
	if (e && e->kind != ENTRY_UPPER)
		memdir_set(e, in);
	return e;
}

/* The link count is about to differ from the host's, for other names of it and for those who have it open. */
static void before_unlink(struct inode *dir, struct inode *victim)
{
	ovl_dirty(dir);
	ovl_dirty(victim);
}

static int ovl_unlink(struct inode *dir, const char *name, struct inode *victim)
{
	int err = S_ISDIR(victim->mode) ? check_empty(victim) : 0;
	struct mementry *e;

	if (err)
		return err;
	e = entry_for(dir, name, victim);
	if (!e)
		return -ENOSPC;
	before_unlink(dir, victim);
	mem_unlink_name(dir, e, victim, must_hide(dir, name));
	ovl_unpin(victim);
	return 0;
}

static void set_whiteout(struct memdir *d, struct mementry *e)
{
	d->visible--;
	inode_put(e->inode);
	e->inode = NULL;
	e->kind = ENTRY_WHITEOUT;
}

static int ovl_exchange(struct inode *from, const char *name, struct inode *a, struct inode *to, const char *new_name,
			struct inode *b)
{
	struct mementry *ea = entry_for(from, name, a), *eb = entry_for(to, new_name, b);

	if (!ea || !eb)
		return -ENOSPC;
	mem_exchange(from, ea, to, eb);
	return 0;
}

static int ovl_rename(struct inode *from, const char *name, struct inode *moved, struct inode *to, const char *new_name,
		      struct inode *replaced, u32 flags)
{
	struct mementry *e;
	int err;

	ovl_dirty(from);
	ovl_dirty(to);
	if (flags & RENAME_EXCHANGE)
		return ovl_exchange(from, name, moved, to, new_name, replaced);
	err = replaced && S_ISDIR(replaced->mode) ? check_empty(replaced) : 0;
	if (err)
		return err;
	e = entry_for(from, name, moved);
	if (!e)
		return -ENOSPC;
	if (replaced)
		before_unlink(to, replaced);
	err = mem_replace_name(to, new_name, moved, replaced);
	if (err)
		return err;
	if (replaced)
		ovl_unpin(replaced);
	if (must_hide(from, name))
		set_whiteout(&memnode(from)->dir, e);
	else
		memdir_remove(&memnode(from)->dir, e);
	if (S_ISDIR(moved->mode))
		inode_set_nlink(from, -1);
	inode_touch(from, TOUCH_MTIME | TOUCH_CTIME);
	inode_touch(moved, TOUCH_CTIME);
	return 0;
}

/* ---- attributes ---- */

static s64 ovl_readlink(struct inode *in, struct task *t, char *buf, size_t len)
{
	struct ovl_node *node = ovl_node(in);
	char target[PATH_LEN_MAX];
	struct host_at at;
	s64 n;

	if (node->mem.target)
		return mem_readlink(in, t, buf, len);
	n = hostnode_at(node->host.node, &at);
	if (n)
		return n;
	n = host_readlink_at(at.fd, at.name, target, sizeof(target) - 1);
	host_at_done(&at);
	if (n < 0)
		return n;
	target[n] = 0;
	pthread_mutex_lock(&in->lock);
	if (!node->mem.target)
		node->mem.target = strdup(target);
	pthread_mutex_unlock(&in->lock);
	n = MIN((size_t)n, len);
	memcpy(buf, target, n);
	return n;
}

/* An open file that was not changed shows what the host has now. */
static void refresh_open(struct inode *in)
{
	struct ovl_node *node = ovl_node(in);
	struct host_stat now;

	if (node->fd < 0 || node->dirty)
		return;
	pthread_mutex_lock(&in->lock);
	if (node->fd >= 0 && !node->dirty && !host_stat_fd(node->fd, &now))
		ovl_refresh(in, &now);
	pthread_mutex_unlock(&in->lock);
}

static int ovl_getattr(struct inode *in, struct stat *st)
{
	struct ovl_node *node = ovl_node(in);

	refresh_open(in);
	inode_stat(in, st);
	if (in->cache && node->host.node)
		st->st_blocks = node->copied ? ((u64)st->st_size + 511) / 512 : node->host_blocks;
	else if (S_ISDIR(in->mode))
		st->st_size = PAGE_SIZE;
	else if (S_ISLNK(in->mode))
		st->st_size = node->mem.target ? strlen(node->mem.target) : node->host_size;
	return 0;
}

static int ovl_setattr(struct inode *in, const struct attr *a)
{
	struct ovl_node *node = ovl_node(in);

	ovl_dirty(in);
	if (a->valid & ATTR_SIZE) {
		pthread_mutex_lock(&in->lock);
		ovl_copy_up(in);
		if (node->host_size > a->size)
			node->host_size = a->size;
		pthread_mutex_unlock(&in->lock);
	}
	return mem_setattr(in, a);
}

static const struct inode_ops ovl_ops = {
	.lookup		= ovl_lookup,
	.create		= ovl_create,
	.symlink	= ovl_symlink,
	.link		= ovl_link,
	.unlink		= ovl_unlink,
	.rename		= ovl_rename,
	.readdir	= ovl_readdir,
	.readlink	= ovl_readlink,
	.getattr	= ovl_getattr,
	.setattr	= ovl_setattr,
	.tmpfile	= ovl_tmpfile,
	.release	= ovl_free,
};

static const struct inode_ops ovl_file_inode_ops = {
	.getattr	= ovl_getattr,
	.setattr	= ovl_setattr,
	.open		= ovl_open,
	.release	= ovl_free,
};

/* ---- the super ---- */

static int ovl_statfs(struct super *s, void *buf)
{
	int err = mem_statfs(s, buf);

	((struct statfs *)buf)->f_type = OVERLAY_MAGIC;
	return err;
}

static void ovl_destroy(struct super *s)
{
	host_tree_destroy(ovl_tree(s));
}

int overlay_create(const char *rootfs, struct super **out, char *why, size_t len)
{
	struct host_tree *tree;
	struct inode *root;
	struct host_stat st;
	struct super *s;
	int err = host_tree_create(rootfs, &tree, why, len);

	if (err)
		return err;
	s = super_new("overlay", "overlay", 0);
	if (!s) {
		host_tree_destroy(tree);
		return -ENOMEM;
	}
	s->data = tree;
	s->destroy = ovl_destroy;
	s->statfs = ovl_statfs;
	s->xattrs = true;
	err = host_stat_fd(tree->root->dirfd, &st);
	if (!err)
		err = ovl_from_host(s, tree->root, &st, &root);
	if (!err)
		err = super_set_root(s, root);
	if (err)
		super_put(s);
	else
		*out = s;
	return err;
}
