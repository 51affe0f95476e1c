/*
 * tmpfs: directories, links and special files in memory. Regular files are in memfile.c, directory tables in
 * memdir.c. The overlay is built from the same parts.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

#include "fs/dentry.h"
#include "fs/memfs.h"
#include "task/task.h"

static _Atomic u64 fsmem_used;

static u64 fsmem_limit(void)
{
	u64 eighth = memory_limit() * PAGE_SIZE / 8;

	return MAX(eighth, (u64)64 << 20);
}

/* Names of the host that the overlay only remembers are given up before a guest is refused. */
int fsmem_charge(u64 bytes)
{
	do {
		if (atomic_fetch_add(&fsmem_used, bytes) + bytes <= fsmem_limit())
			return 0;
		atomic_fetch_sub(&fsmem_used, bytes);
	} while (dentry_reclaim());
	return -ENOSPC;
}

void fsmem_uncharge(u64 bytes)
{
	atomic_fetch_sub(&fsmem_used, bytes);
}

int mem_inode_new(struct super *s, const struct inode_ops *ops, size_t node_size, struct inode *dir, u32 mode, u64 rdev,
		  const struct cred *c, struct inode **out)
{
	u64 charge = sizeof(struct inode) + node_size;
	struct memnode *node;
	struct inode *in;

	if (fsmem_charge(charge))
		return -ENOSPC;
	node = calloc(1, node_size);
	in = node ? inode_new(s, ops, mode) : NULL;
	if (!in) {
		free(node);
		fsmem_uncharge(charge);
		return -ENOMEM;
	}
	node->charged = charge;
	node->seals = F_SEAL_SEAL;
	in->data = node;
	in->rdev = S_ISCHR(mode) || S_ISBLK(mode) ? rdev : 0;
	inode_init_owner(in, dir, c);
	if (S_ISREG(mode)) {
		page_cache_init(&node->cache, NULL, in, 0);
		in->cache = &node->cache;
		in->file_ops = &mem_file_ops;
	} else if (S_ISDIR(mode)) {
		RB_INIT(&node->dir.order);
		in->file_ops = &dir_file_ops;
	}
	*out = in;
	return 0;
}

/*
 * The last directory of a tree takes the whole tree with it, which may be deeper than our stack: so children are
 * put on a list, and the outermost call works it off.
 */
static void free_dir(struct memdir *d)
{
	static _Thread_local struct memdir *doomed;
	static _Thread_local bool busy;
	struct memdir *mine = malloc(sizeof(*mine));

	if (!mine || !mementry_first(d)) {
		free(mine);
		memdir_destroy(d);
		return;
	}
	*mine = *d;
	mine->next_doomed = doomed;
	doomed = mine;
	if (busy)
		return;
	busy = true;
	while ((mine = doomed)) {
		doomed = mine->next_doomed;
		memdir_destroy(mine);
		free(mine);
	}
	busy = false;
}

void mem_free(struct inode *in)
{
	struct memnode *node = memnode(in);

	if (in->cache)
		page_cache_destroy(&node->cache);
	if (S_ISDIR(in->mode))
		free_dir(&node->dir);
	free(node->target);
	fsmem_uncharge(node->charged);
	free(node);
}

int mem_link_name(struct inode *dir, const char *name, struct inode *in)
{
	struct memdir *d = &memnode(dir)->dir;
	struct mementry *e = memdir_find(d, name);

	if (e)
		d->visible += e->kind == ENTRY_WHITEOUT;
	else
		e = memdir_add(d, name, ENTRY_UPPER);
	if (!e)
		return -ENOSPC;
	memdir_set(e, in);
	if (S_ISDIR(in->mode))
		inode_set_nlink(dir, 1);
	inode_touch(dir, TOUCH_MTIME | TOUCH_CTIME);
	return 0;
}

/* The inode loses a name in `dir`. */
static void drop_link(struct inode *dir, struct inode *victim)
{
	if (S_ISDIR(victim->mode)) {
		inode_set_nlink(dir, -1);
		inode_set_nlink(victim, -(int)victim->nlink);
	} else {
		inode_set_nlink(victim, -1);
	}
	inode_touch(dir, TOUCH_MTIME | TOUCH_CTIME);
}

int mem_replace_name(struct inode *dir, const char *name, struct inode *in, struct inode *replaced)
{
	int err = mem_link_name(dir, name, in);

	if (!err && replaced)
		drop_link(dir, replaced);
	return err;
}

void mem_unlink_name(struct inode *dir, struct mementry *e, struct inode *victim, bool whiteout)
{
	struct memdir *d = &memnode(dir)->dir;

	drop_link(dir, victim);
	if (!whiteout) {
		memdir_remove(d, e);
		return;
	}
	d->visible -= e->kind != ENTRY_WHITEOUT;
	inode_put(e->inode);
	e->inode = NULL;
	e->kind = ENTRY_WHITEOUT;
}

int mem_symlink_set(struct inode *in, const char *target)
{
	struct memnode *node = memnode(in);

	node->target = strdup(target);
	if (!node->target || fsmem_charge(strlen(target)))
		return -ENOSPC;
	node->charged += strlen(target);
	return 0;
}

s64 mem_readlink(struct inode *in, struct task *t, char *buf, size_t len)
{
	const char *target = memnode(in)->target;
	size_t n = MIN(strlen(target), len);

	memcpy(buf, target, n);
	return n;
}

static int set_size(struct inode *in, u64 size)
{
	u32 seals = memnode(in)->seals;
	u64 old = in->cache->size;
	int err;

	if ((size < old && (seals & F_SEAL_SHRINK)) || (size > old && (seals & F_SEAL_GROW)))
		return -EPERM;
	err = page_cache_truncate(in->cache, size);
	if (!err)
		in->mtime = fs_now();
	return err == -ENOMEM ? -ENOSPC : err;
}

int mem_setattr(struct inode *in, const struct attr *a)
{
	int err = 0;

	pthread_mutex_lock(&in->lock);
	if (a->valid & ATTR_SIZE)
		err = set_size(in, a->size);
	if (err)
		goto out;
	if (a->valid & ATTR_MODE)
		in->mode = (in->mode & S_IFMT) | (a->mode & 07777);
	if (a->valid & ATTR_UID)
		in->uid = a->uid;
	if (a->valid & ATTR_GID)
		in->gid = a->gid;
	if (a->valid & ATTR_ATIME)
		in->atime = a->atime;
	if (a->valid & ATTR_MTIME)
		in->mtime = a->mtime;
	in->ctime = fs_now();
out:
	pthread_mutex_unlock(&in->lock);
	return err;
}

int mem_statfs(struct super *s, void *buf)
{
	u64 limit = memory_limit(), used = memory_used();

	*(struct statfs *)buf = (struct statfs){
		.f_type		= TMPFS_MAGIC,
		.f_bsize	= PAGE_SIZE,
		.f_frsize	= PAGE_SIZE,
		.f_blocks	= limit,
		.f_bfree	= limit - MIN(used, limit),
		.f_bavail	= limit - MIN(used, limit),
		.f_files	= fsmem_limit() / 512,
		.f_ffree	= (fsmem_limit() - MIN(fsmem_limit(), fsmem_used)) / 512,
		.f_namelen	= NAME_LEN_MAX,
	};
	return 0;
}

/* ---- the operations ---- */

static const struct inode_ops tmpfs_ops;

static int tmpfs_lookup(struct inode *dir, const char *name, struct inode **out)
{
	struct mementry *e = memdir_find(&memnode(dir)->dir, name);

	*out = e ? e->inode : NULL;
	if (e)
		inode_get(e->inode);
	return 0;
}

static int tmpfs_make(struct inode *dir, u32 mode, u64 rdev, const struct cred *c, struct inode **out)
{
	return mem_inode_new(dir->super, &tmpfs_ops, sizeof(struct memnode), dir, mode, rdev, c, out);
}

static int link_new(struct inode *dir, const char *name, struct inode *in, struct inode **out)
{
	int err = mem_link_name(dir, name, in);

	if (err)
		inode_put(in);
	else
		*out = in;
	return err;
}

static int tmpfs_inode_create(struct inode *dir, const char *name, u32 mode, u64 rdev, const struct cred *c,
			      struct inode **out)
{
	struct inode *in;
	int err = tmpfs_make(dir, mode, rdev, c, &in);

	return err ? err : link_new(dir, name, in, out);
}

static int tmpfs_symlink(struct inode *dir, const char *name, const char *target, const struct cred *c,
			 struct inode **out)
{
	struct inode *in;
	int err = tmpfs_make(dir, S_IFLNK | 0777, 0, c, &in);

	if (err)
		return err;
	err = mem_symlink_set(in, target);
	if (!err)
		return link_new(dir, name, in, out);
	inode_put(in);
	return err;
}

static int tmpfs_tmpfile(struct inode *dir, u32 mode, const struct cred *c, struct inode **out)
{
	int err = tmpfs_make(dir, mode, 0, c, out);

	if (!err)
		(*out)->nlink = 0;
	return err;
}

static int tmpfs_link(struct inode *dir, const char *name, struct inode *target)
{
	int err = mem_link_name(dir, name, target);

	if (!err)
		inode_set_nlink(target, 1);
	return err;
}

static int tmpfs_unlink(struct inode *dir, const char *name, struct inode *victim)
{
	if (S_ISDIR(victim->mode) && memnode(victim)->dir.visible)
		return -ENOTEMPTY;
	mem_unlink_name(dir, memdir_find(&memnode(dir)->dir, name), victim, false);
	return 0;
}

void mem_exchange(struct inode *from, struct mementry *a, struct inode *to, struct mementry *b)
{
	struct inode *in = a->inode;

	inode_get(in);
	memdir_set(a, b->inode);
	memdir_set(b, in);
	if (S_ISDIR(a->inode->mode) != S_ISDIR(b->inode->mode) && from != to) {
		inode_set_nlink(from, S_ISDIR(a->inode->mode) ? 1 : -1);
		inode_set_nlink(to, S_ISDIR(b->inode->mode) ? 1 : -1);
	}
	inode_touch(a->inode, TOUCH_CTIME);
	inode_touch(in, TOUCH_CTIME);
	inode_put(in);
	inode_touch(from, TOUCH_MTIME | TOUCH_CTIME);
	inode_touch(to, TOUCH_MTIME | TOUCH_CTIME);
}

static int tmpfs_rename(struct inode *from, const char *name, struct inode *moved, struct inode *to,
			const char *new_name, struct inode *replaced, u32 flags)
{
	struct memdir *fd = &memnode(from)->dir;
	struct mementry *e = memdir_find(fd, name);
	int err;

	if (flags & RENAME_EXCHANGE) {
		mem_exchange(from, e, to, memdir_find(&memnode(to)->dir, new_name));
		return 0;
	}
	if (replaced && S_ISDIR(replaced->mode) && memnode(replaced)->dir.visible)
		return -ENOTEMPTY;
	err = mem_replace_name(to, new_name, moved, replaced);
	if (err)
		return err;
	memdir_remove(fd, e);
	if (S_ISDIR(moved->mode))
		inode_set_nlink(from, -1);
	inode_touch(from, TOUCH_MTIME | TOUCH_CTIME);
	inode_touch(moved, TOUCH_CTIME);
	return 0;
}

static int tmpfs_readdir(struct inode *dir, struct file *f, u64 pos, struct dirent_sink *s)
{
	return memdir_emit(&memnode(dir)->dir, pos, s);
}

static const struct inode_ops tmpfs_ops = {
	.lookup		= tmpfs_lookup,
	.create		= tmpfs_inode_create,
	.symlink	= tmpfs_symlink,
	.link		= tmpfs_link,
	.unlink		= tmpfs_unlink,
	.rename		= tmpfs_rename,
	.readdir	= tmpfs_readdir,
	.readlink	= mem_readlink,
	.setattr	= mem_setattr,
	.tmpfile	= tmpfs_tmpfile,
	.release	= mem_free,
};

int tmpfs_create(const char *source, u32 root_mode, struct super **out)
{
	struct super *s = super_new("tmpfs", source, 0);
	struct inode *root;
	int err;

	if (!s)
		return -ENOMEM;
	s->statfs = mem_statfs;
	s->xattrs = true;
	err = mem_inode_new(s, &tmpfs_ops, sizeof(struct memnode), NULL, S_IFDIR | root_mode, 0, NULL, &root);
	if (!err)
		err = super_set_root(s, root);
	if (err) {
		super_put(s);
		return err;
	}
	*out = s;
	return 0;
}
