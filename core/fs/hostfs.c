/*
 * hostfs: a host directory passed through (--bind, --rootfs-rw). Every name is looked up again each time, since the
 * host may change it; the index keeps one inode a host file as long as someone uses it.
 *
 * Threat: with a writable bind the guest controls names on the host, and may rename and link while we work. All it can
 * reach is what the invoker could reach below the bind's source: directories are opened by openat2 beneath the root
 * descriptor without symlinks, other calls name one component there and never follow it (host/hostfs_calls.c). Device
 * nodes cannot be made, and those that exist are not opened on the host. setuid bits are not passed on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs/dentry.h"
#include "fs/hostfs.h"
#include "fs/memfs.h"
#include "host/ids.h"
#include "task/task.h"

static const struct inode_ops hfs_ops, hfs_file_inode_ops;

/* ---- inodes ---- */

void hfs_refresh(struct inode *in, const struct host_stat *st)
{
	in->mode = (in->mode & S_IFMT) | (st->st.st_mode & 07777);
	in->uid = st->st.st_uid;
	in->gid = st->st.st_gid;
	in->nlink = st->st.st_nlink;
	in->rdev = st->st.st_rdev;
	in->atime = st->st.st_atim;
	in->mtime = st->st.st_mtim;
	in->ctime = st->st.st_ctim;
	in->btime = st->btime;
	/* Pages that a mapping has written may lie behind the host's end for a moment. */
	if (in->cache && (!in->cache->npages || in->cache->size < (u64)st->st.st_size))
		in->cache->size = st->st.st_size;
}

static bool pseudo(struct host_tree *tree, struct hostnode *n, const struct host_stat *st)
{
	bool is = true;
	int fd;

	if (st->dev == tree->dev || !S_ISDIR(st->st.st_mode))
		return false;
	if (!hostnode_dir(n, &fd)) {
		is = host_fd_is_pseudo(fd);
		hostnode_dir_done(n);
	}
	return is;
}

/* Consumes the node. */
static int hfs_from_host(struct super *s, struct hostnode *n, const struct host_stat *st, struct inode **out)
{
	bool regular = S_ISREG(st->st.st_mode);
	struct hfs_node *node = calloc(1, sizeof(*node));
	struct inode *in = NULL, *first;

	if (pseudo(hfs_tree(s), n, st)) {
		free(node);
		hostnode_put(n);
		return -EACCES;
	}
	if (node)
		in = inode_new(s, regular ? &hfs_file_inode_ops : &hfs_ops, st->st.st_mode);
	if (!in) {
		free(node);
		hostnode_put(n);
		return -ENOMEM;
	}
	in->data = node;
	in->ino = host_ino(hfs_tree(s), st->dev, st->st.st_ino);
	node->fd = -1;
	if (regular) {
		page_cache_init(&node->cache, &hfs_cache_ops, in, st->st.st_size);
		in->cache = &node->cache;
		in->file_ops = &hfs_file_ops;
	}
	node->host = (struct hostref){ .node = n, .in = in, .dev = st->dev, .ino = st->st.st_ino };
	hfs_refresh(in, st);
	first = host_index_add(hfs_tree(s), &node->host);
	if (first)
		inode_put(in);
	*out = first ? first : in;
	return 0;
}

static void hfs_free(struct inode *in)
{
	struct hfs_node *node = hfs_node(in);

	host_index_remove(hfs_tree(in->super), &node->host);
	if (in->cache)
		page_cache_destroy(in->cache);
	hostnode_put(node->host.node);
	free(node);
}

/* ---- names; the directory is held open while one is worked on ---- */

static int dir_fd(struct inode *dir, int *fd)
{
	return hostnode_dir(hfs_node(dir)->host.node, fd);
}

static void dir_done(struct inode *dir)
{
	hostnode_dir_done(hfs_node(dir)->host.node);
}

static int find_at(struct inode *dir, int fd, const char *name, struct inode **out)
{
	struct hostnode *parent = hfs_node(dir)->host.node, *n;
	struct host_stat st;
	int err = host_stat_at(fd, name, &st);

	if (err)
		return err;
	*out = host_index_find(hfs_tree(dir->super), &st);
	if (!*out) {
		n = hostnode_new(parent, name);
		return n ? hfs_from_host(dir->super, n, &st, out) : -ENOMEM;
	}
	/* It may have another name by now; the newest one is the likeliest to be there. */
	n = hfs_node(*out)->host.node;
	if (n->parent && (n->parent != parent || strcmp(n->name, name)))
		hostnode_move(n, parent, name);
	pthread_mutex_lock(&(*out)->lock);
	hfs_refresh(*out, &st);
	pthread_mutex_unlock(&(*out)->lock);
	return 0;
}

static int hfs_lookup(struct inode *dir, const char *name, struct inode **out)
{
	int fd, err = dir_fd(dir, &fd);

	if (err)
		return err;
	*out = NULL;
	err = find_at(dir, fd, name, out);
	dir_done(dir);
	return err == -ENOENT ? 0 : err;
}

static int refresh_dir(struct inode *dir, int fd)
{
	struct host_stat st;
	int err = host_stat_fd(fd, &st);

	if (err)
		return err;
	pthread_mutex_lock(&dir->lock);
	hfs_refresh(dir, &st);
	pthread_mutex_unlock(&dir->lock);
	return 0;
}

static int make_at(int fd, const char *name, u32 mode)
{
	int made;

	switch (mode & S_IFMT) {
	case S_IFDIR:
		return host_mkdir_at(fd, name, mode & 01777);
	case S_IFIFO:
	case S_IFSOCK:
		return host_mknod_at(fd, name, mode & (S_IFMT | 0777));
	case S_IFREG:
		made = host_open_beneath(fd, name, 0301 /* O_WRONLY | O_CREAT | O_EXCL */, mode & 0777);
		host_close(made);
		return MIN(made, 0);
	default:
		return -EPERM;
	}
}

/* The owner that the guest expects, where the invoker may give it. */
static void own_at(struct inode *dir, int fd, const char *name, const struct cred *c)
{
	u32 gid = dir->mode & S_ISGID ? UINT32_MAX : c->fsgid;

	if (c->fsuid != host_ids()->uid || (gid != UINT32_MAX && gid != host_ids()->gid))
		host_chown_at(fd, name, c->fsuid, gid);
}

static int hfs_create(struct inode *dir, const char *name, u32 mode, u64 rdev, const struct cred *c, struct inode **out)
{
	int fd, err = dir_fd(dir, &fd);

	if (err)
		return err;
	err = make_at(fd, name, mode);
	if (!err) {
		own_at(dir, fd, name, c);
		refresh_dir(dir, fd);
		err = find_at(dir, fd, name, out);
	}
	dir_done(dir);
	return err;
}

static int hfs_symlink(struct inode *dir, const char *name, const char *target, const struct cred *c,
		       struct inode **out)
{
	int fd, err = dir_fd(dir, &fd);

	if (err)
		return err;
	err = host_symlink_at(target, fd, name);
	if (!err) {
		own_at(dir, fd, name, c);
		refresh_dir(dir, fd);
		err = find_at(dir, fd, name, out);
	}
	dir_done(dir);
	return err;
}

/* A name of a host file may have become another file's: calls on an inode's own name check that first. */
static int own_name(struct inode *in, struct host_at *at)
{
	struct hfs_node *node = hfs_node(in);
	struct host_stat st;
	int err = hostnode_at(node->host.node, at);

	if (err)
		return err;
	err = host_stat_at(at->fd, at->name, &st);
	if (!err && (st.dev != node->host.dev || st.st.st_ino != node->host.ino))
		err = -ENOENT;
	if (err)
		host_at_done(at);
	return err;
}

static void refresh_at(struct inode *in, const struct host_at *at)
{
	struct host_stat st;

	if (host_stat_at(at->fd, at->name, &st) || st.st.st_ino != hfs_node(in)->host.ino)
		return;
	pthread_mutex_lock(&in->lock);
	hfs_refresh(in, &st);
	pthread_mutex_unlock(&in->lock);
}

static int hfs_link(struct inode *dir, const char *name, struct inode *target)
{
	struct host_at at;
	int fd, err = own_name(target, &at);

	if (err)
		return err;
	err = dir_fd(dir, &fd);
	if (!err) {
		err = host_link_at(at.fd, at.name, fd, name);
		refresh_dir(dir, fd);
		dir_done(dir);
	}
	refresh_at(target, &at);
	host_at_done(&at);
	return err;
}

static int hfs_unlink(struct inode *dir, const char *name, struct inode *victim)
{
	int fd, err = dir_fd(dir, &fd);

	if (err)
		return err;
	err = host_unlink_at(fd, name, S_ISDIR(victim->mode));
	if (!err) {
		inode_set_nlink(victim, S_ISDIR(victim->mode) ? -(int)victim->nlink : -1);
		refresh_dir(dir, fd);
	}
	dir_done(dir);
	return err;
}

static int hfs_rename(struct inode *from, const char *name, struct inode *moved, struct inode *to, const char *new_name,
		      struct inode *replaced, u32 flags)
{
	int fd, to_fd, err = dir_fd(from, &fd);

	if (err)
		return err;
	err = dir_fd(to, &to_fd);
	if (err)
		goto out;
	err = host_rename_at(fd, name, to_fd, new_name, flags);
	if (!err) {
		hostnode_move(hfs_node(moved)->host.node, hfs_node(to)->host.node, new_name);
		if (flags & RENAME_EXCHANGE)
			hostnode_move(hfs_node(replaced)->host.node, hfs_node(from)->host.node, name);
		else if (replaced)
			inode_set_nlink(replaced, S_ISDIR(replaced->mode) ? -(int)replaced->nlink : -1);
		refresh_dir(from, fd);
		refresh_dir(to, to_fd);
	}
	dir_done(to);
out:
	dir_done(from);
	return err;
}

/* ---- reading directories and links ---- */

struct listing {
	struct dirent_sink *sink;
	const struct inode *dir;
};

/* The host's positions moved up by POS_BASE, so that 2 can mean its 0. */
#define POS_BASE	16

static bool emit_host(void *arg, const char *name, size_t len, u64 ino, u64 next_pos, u8 type)
{
	struct listing *l = arg;

	ino = host_ino(hfs_tree(l->dir->super), hfs_node((struct inode *)l->dir)->host.dev, ino);
	return l->sink->emit(l->sink, name, len, ino, next_pos + POS_BASE, type);
}

static int hfs_readdir(struct inode *dir, struct file *f, u64 pos, struct dirent_sink *s)
{
	struct listing l = { s, dir };

	return hostnode_list(hfs_node(dir)->host.node, pos <= POS_BASE ? 0 : pos - POS_BASE, emit_host, &l);
}

static s64 hfs_readlink(struct inode *in, struct task *t, char *buf, size_t len)
{
	struct host_at at;
	s64 n = own_name(in, &at);

	if (n)
		return n;
	n = host_readlink_at(at.fd, at.name, buf, len);
	host_at_done(&at);
	return n;
}

/* ---- attributes ---- */

static int hfs_getattr(struct inode *in, struct stat *st)
{
	struct hfs_node *node = hfs_node(in);
	struct host_stat now;
	struct host_at at;
	int err = -ENOENT;

	pthread_mutex_lock(&in->lock);
	if (node->fd >= 0)
		err = host_stat_fd(node->fd, &now);
	if (!err)
		hfs_refresh(in, &now);
	pthread_mutex_unlock(&in->lock);
	if (err && !own_name(in, &at)) {
		err = host_stat_at(at.fd, at.name, &now);
		host_at_done(&at);
	}
	*st = (struct stat){ .st_dev = in->super->dev, .st_ino = in->ino, .st_blksize = PAGE_SIZE };
	pthread_mutex_lock(&in->lock);
	st->st_mode = in->mode;
	st->st_nlink = in->nlink;
	st->st_uid = in->uid;
	st->st_gid = in->gid;
	st->st_rdev = in->rdev;
	st->st_atim = in->atime;
	st->st_mtim = in->mtime;
	st->st_ctim = in->ctime;
	pthread_mutex_unlock(&in->lock);
	st->st_size = in->cache ? in->cache->size : err ? 0 : (u64)now.st.st_size;
	st->st_blocks = err ? 0 : now.st.st_blocks;
	return 0;
}

static int set_at(const struct host_at *at, const struct attr *a)
{
	struct timespec times[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	int err = 0;

	if (a->valid & ATTR_ATIME)
		times[0] = a->atime;
	if (a->valid & ATTR_MTIME)
		times[1] = a->mtime;
	if (a->valid & (ATTR_UID | ATTR_GID))
		err = host_chown_at(at->fd, at->name, a->valid & ATTR_UID ? a->uid : UINT32_MAX,
				    a->valid & ATTR_GID ? a->gid : UINT32_MAX);
	if (!err && (a->valid & ATTR_MODE))
		err = host_chmod_at(at->fd, at->name, a->mode & 01777);
	if (!err && (a->valid & (ATTR_ATIME | ATTR_MTIME)))
		err = host_utimes_at(at->fd, at->name, times);
	return err;
}

static int hfs_setattr(struct inode *in, const struct attr *a)
{
	struct host_at at;
	int err = a->valid & ATTR_SIZE ? hfs_set_size(in, a->size) : 0;

	if (!err)
		err = own_name(in, &at);
	if (err)
		return err;
	err = set_at(&at, a);
	refresh_at(in, &at);
	host_at_done(&at);
	return err;
}

static const struct inode_ops hfs_ops = {
	.lookup		= hfs_lookup,
	.create		= hfs_create,
	.symlink	= hfs_symlink,
	.link		= hfs_link,
	.unlink		= hfs_unlink,
	.rename		= hfs_rename,
	.readdir	= hfs_readdir,
	.readlink	= hfs_readlink,
	.getattr	= hfs_getattr,
	.setattr	= hfs_setattr,
	.release	= hfs_free,
};

static const struct inode_ops hfs_file_inode_ops = {
	.getattr	= hfs_getattr,
	.setattr	= hfs_setattr,
	.open		= hfs_open,
	.release	= hfs_free,
};

/* ---- the super ---- */

static int hfs_statfs(struct super *s, void *buf)
{
	int err = mem_statfs(s, buf);
	struct statfs host;

	if (err || fstatfs(hfs_tree(s)->root->dirfd, &host))
		return err;
	host.f_fsid = (fsid_t){ { 0, 0 } };
	memcpy(buf, &host, sizeof(host));
	return 0;
}

static void hfs_destroy(struct super *s)
{
	host_tree_destroy(hfs_tree(s));
}

int hostfs_create(const char *path, bool writable, struct super **out, char *why, size_t len)
{
	struct host_tree *tree;
	struct host_stat st;
	struct inode *root;
	struct super *s;
	int err = host_tree_create(path, &tree, why, len);

	if (err)
		return err;
	s = super_new("hostfs", path, writable ? 0 : ST_RDONLY);
	if (!s) {
		host_tree_destroy(tree);
		return -ENOMEM;
	}
	s->data = tree;
	s->destroy = hfs_destroy;
	s->statfs = hfs_statfs;
	s->dentry_uncached = 1;
	err = host_stat_fd(tree->root->dirfd, &st);
	if (!err)
		err = hfs_from_host(s, tree->root, &st, &root);
	if (!err)
		err = super_set_root(s, root);
	if (err)
		super_put(s);
	else
		*out = s;
	return err;
}
