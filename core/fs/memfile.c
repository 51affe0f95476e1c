/* Regular files in memory: the page cache is their store. Also memfd_create and seals. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "fs/dentry.h"
#include "fs/memfs.h"
#include "task/task.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x10
#endif
#define SEALS_ALL	(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
#define SEALS_WRITE	(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

s64 mem_read(struct file *f, struct uio *u, u64 *pos)
{
	s64 n = page_cache_read(f->inode->cache, u->iov, u->iovcnt, *pos);

	if (n > 0) {
		uio_advance(u, n);
		*pos += n;
	}
	if (n >= 0 && !(f->flags & O_NOATIME))
		inode_accessed(f->inode);
	return n;
}

void mem_kill_privs(struct inode *in, struct task *t)
{
	if (!(in->mode & (S_ISUID | S_ISGID)) || (t && cred_capable(t->cred, CAP_FSETID)))
		return;
	in->mode &= ~S_ISUID;
	if (in->mode & S_IXGRP)
		in->mode &= ~S_ISGID;
}

s64 mem_write(struct file *f, struct uio *u, u64 *pos)
{
	struct inode *in = f->inode;
	struct memnode *node = memnode(in);
	u64 at;
	s64 n;

	pthread_mutex_lock(&in->lock);
	at = (f->flags & O_APPEND) || u->append ? in->cache->size : *pos;
	n = -EPERM;
	if (node->seals & SEALS_WRITE)
		goto out;
	if (node->seals & F_SEAL_GROW && at + u->len > in->cache->size)
		goto out;
	n = page_cache_write(in->cache, u->iov, u->iovcnt, at);
	if (n == -ENOMEM)
		n = -ENOSPC;
	if (n <= 0)
		goto out;
	in->mtime = in->ctime = fs_now();
	mem_kill_privs(in, u->task);
	uio_advance(u, n);
	*pos = at + n;
out:
	pthread_mutex_unlock(&in->lock);
	return n;
}

static int allocate(struct inode *in, int mode, u64 pos, u64 len)
{
	u64 size = in->cache->size;
	int err = 0;

	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		err = pos < size ? page_cache_punch(in->cache, pos, MIN(len, size - pos)) : 0;
	if (!err && !(mode & FALLOC_FL_PUNCH_HOLE))
		err = page_cache_allocate(in->cache, pos, len);
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE) && pos + len > size)
		err = page_cache_truncate(in->cache, pos + len);
	return err;
}

int mem_fallocate(struct file *f, int mode, u64 pos, u64 len)
{
	struct inode *in = f->inode;
	u32 seals;
	int err = -EPERM;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	pthread_mutex_lock(&in->lock);
	seals = memnode(in)->seals;
	if ((seals & SEALS_WRITE) && (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
		goto out;
	if ((seals & F_SEAL_GROW) && !(mode & FALLOC_FL_KEEP_SIZE) && pos + len > in->cache->size)
		goto out;
	err = allocate(in, mode, pos, len);
	if (!err)
		in->mtime = in->ctime = fs_now();
out:
	pthread_mutex_unlock(&in->lock);
	return err == -ENOMEM ? -ENOSPC : err;
}

int mem_mmap(struct file *f, struct vma *v)
{
	bool writable = (f->flags & O_ACCMODE) != O_RDONLY;

	if (!(v->flags & MAP_SHARED) || !writable || !(memnode(f->inode)->seals & SEALS_WRITE))
		return 0;
	if (v->prot & PROT_WRITE)
		return -EPERM;
	v->flags |= VMA_NOWRITE;
	return 0;
}

const struct file_ops mem_file_ops = {
	.read		= mem_read,
	.write		= mem_write,
	.seek		= file_seek_generic,
	.fallocate	= mem_fallocate,
	.mmap		= mem_mmap,
};

/* One file system for all files that never had a name. */
static struct super *unnamed_super(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct super *s;

	pthread_mutex_lock(&lock);
	if (!s)
		tmpfs_create("tmpfs", 0755, &s);
	pthread_mutex_unlock(&lock);
	return s;
}

int mem_unnamed_file(struct task *t, const char *label, u32 flags, struct file **out)
{
	struct super *s = unnamed_super();
	struct inode *root, *in = NULL;
	int err;

	if (!s)
		return -ENOMEM;
	root = s->root->inode;
	err = root->ops->tmpfile(root, S_IFREG | 0777, t->cred, &in);
	if (err)
		return err;
	memnode(in)->seals = F_SEAL_SEAL;
	*out = file_new(in, &mem_file_ops, flags);
	inode_put(in);
	if (!*out)
		return -ENOMEM;
	inode_get(in);
	(*out)->path.dentry = dentry_new(s, NULL, label, strlen(label), in);
	(*out)->path.mnt = (*out)->path.dentry ? mount_new(s, s->root, 0) : NULL;
	if ((*out)->path.mnt)
		return 0;
	file_put(*out);
	return -ENOMEM;
}

int memfd_open(struct task *t, const char *name, bool sealable, u32 flags, struct file **out)
{
	char label[300];
	int err;

	snprintf(label, sizeof(label), "/memfd:%s (deleted)", name);
	err = mem_unnamed_file(t, label, flags, out);
	if (!err && sealable)
		memnode((*out)->inode)->seals = 0;
	return err;
}

/* Could anyone write through a mapping? */
static bool mapped_writable(struct page_cache *pc)
{
	bool found = false;
	struct vma *v;

	pthread_mutex_lock(&pc->lock);
	LIST_FOREACH(v, &pc->maps, cache_link)
		found |= (v->flags & MAP_SHARED) && !(v->flags & VMA_NOWRITE);
	pthread_mutex_unlock(&pc->lock);
	return found;
}

long mem_seals(struct file *f, int cmd, u32 arg)
{
	struct inode *in = f->inode;
	struct memnode *node = memnode(in);
	long ret = 0;

	if (f->ops->mmap != mem_mmap)
		return -EINVAL;
	if (cmd == F_GET_SEALS)
		return node->seals;
	if (arg & ~SEALS_ALL)
		return -EINVAL;
	if ((f->flags & O_ACCMODE) == O_RDONLY)
		return -EPERM;
	pthread_mutex_lock(&in->lock);
	if (node->seals & F_SEAL_SEAL)
		ret = -EPERM;
	else if ((arg & F_SEAL_WRITE) && !(node->seals & F_SEAL_WRITE) && mapped_writable(in->cache))
		ret = -EBUSY;
	else
		node->seals |= arg;
	pthread_mutex_unlock(&in->lock);
	return ret;
}
