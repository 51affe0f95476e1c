/*
 * Regular files of bind mounts. The host file is the truth: read and write go to it directly as long as nobody maps the
 * file. Once pages of it are cached for a mapping, reads come from them and writes go through them, so that read, write
 * and mmap agree. Pages written through a mapping reach the host at msync, fsync, and when the last file is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/hostfs.h"
#include "task/task.h"

/* Both are called with the cache's lock held and take no other. */
static int hfs_fill(struct page_cache *pc, u64 index, u64 n, void *dst)
{
	struct hfs_node *node = hfs_node(pc->owner);

	return MIN(host_pread_full(node->fd, dst, n << PAGE_SHIFT, index << PAGE_SHIFT), (s64)0);
}

static int hfs_writeback(struct page_cache *pc, u64 pos, const void *src, u64 len)
{
	return host_pwrite_full(hfs_node(pc->owner)->fd, src, len, pos);
}

const struct page_cache_ops hfs_cache_ops = { .fill = hfs_fill, .writeback = hfs_writeback };

/* A descriptor for the node, writable if it can be had. in->lock held. */
static int open_host(struct inode *in, bool write)
{
	struct hfs_node *node = hfs_node(in);
	struct hostnode *host = node->host.node;
	bool ro = in->super->flags & 1;
	struct host_stat st;
	int fd, err;

	fd = ro ? -EACCES : hostnode_open(host, O_RDWR | O_NONBLOCK | O_NOCTTY);
	node->fd_writable = fd >= 0;
	if (fd < 0 && !write)
		fd = hostnode_open(host, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	/* Files that may be written but not read. */
	if (fd == -EACCES && write && !ro) {
		fd = hostnode_open(host, O_WRONLY | O_NONBLOCK | O_NOCTTY);
		node->fd_writable = fd >= 0;
	}
	if (fd < 0)
		return fd;
	err = host_stat_fd(fd, &st);
	if (!err && !S_ISREG(st.st.st_mode))
		err = -EIO;
	if (!err && st.dev != hfs_tree(in->super)->dev && host_fd_is_pseudo(fd))
		err = -EACCES;
	if (!err)
		hfs_refresh(in, &st);
	if (!err && node->fd >= 0)
		return host_replace_fd(node->fd, fd);
	if (err)
		host_close(fd);
	else
		node->fd = fd;
	return err;
}

int hfs_open(struct inode *in, struct task *t, struct file *f)
{
	struct hfs_node *node = hfs_node(in);
	bool write = (f->flags & O_ACCMODE) != O_RDONLY;
	int err = 0;

	pthread_mutex_lock(&in->lock);
	if (!node->opens || (write && !node->fd_writable))
		err = open_host(in, write);
	if (!err) {
		node->opens++;
		f->data = node;
	}
	pthread_mutex_unlock(&in->lock);
	return err;
}

/* The last file is closed, so nothing maps it: write back, and forget the pages, which the host may change now. */
static void hfs_release(struct file *f)
{
	struct inode *in = f->inode;
	struct hfs_node *node = f->data;

	if (!node)
		return;
	pthread_mutex_lock(&in->lock);
	if (!--node->opens) {
		u64 size = in->cache->size;

		if (in->cache->npages) {
			page_cache_destroy(in->cache);
			page_cache_init(in->cache, &hfs_cache_ops, in, size);
		}
		host_close(node->fd);
		node->fd = -1;
	}
	pthread_mutex_unlock(&in->lock);
}

/* While no pages are cached: under the cache's lock, so that none come in between. *done: it was so. */
static s64 write_direct(struct page_cache *pc, struct uio *u, u64 pos, bool *done)
{
	s64 n = 0;

	pthread_mutex_lock(&pc->lock);
	*done = !pc->npages;
	if (*done)
		n = host_pwritev(hfs_node(pc->owner)->fd, u->iov, u->iovcnt, pos);
	if (n > 0 && pos + n > pc->size)
		pc->size = pos + n;
	pthread_mutex_unlock(&pc->lock);
	return n;
}

static s64 hfs_read(struct file *f, struct uio *u, u64 *pos)
{
	struct page_cache *pc = f->inode->cache;
	s64 n;

	if (page_cache_resident(pc))
		n = page_cache_read(pc, u->iov, u->iovcnt, *pos);
	else
		n = host_preadv(hfs_node(f->inode)->fd, u->iov, u->iovcnt, *pos);
	if (n > 0) {
		uio_advance(u, n);
		*pos += n;
	}
	return n;
}

static u64 host_end(struct inode *in)
{
	struct host_stat st;

	if (host_stat_fd(hfs_node(in)->fd, &st))
		return in->cache->size;
	return MAX((u64)st.st.st_size, (u64)in->cache->size);
}

static s64 hfs_write(struct file *f, struct uio *u, u64 *pos)
{
	struct inode *in = f->inode;
	bool done;
	u64 at;
	s64 n;

	pthread_mutex_lock(&in->lock);
	at = (f->flags & O_APPEND) || u->append ? host_end(in) : *pos;
	n = write_direct(in->cache, u, at, &done);
	if (!done)
		n = page_cache_write(in->cache, u->iov, u->iovcnt, at);
	pthread_mutex_unlock(&in->lock);
	if (n > 0) {
		uio_advance(u, n);
		*pos = at + n;
	}
	return n;
}

int hfs_set_size(struct inode *in, u64 size)
{
	struct hfs_node *node = hfs_node(in);
	int fd, err;

	pthread_mutex_lock(&in->lock);
	fd = hostnode_open(node->host.node, O_WRONLY | O_NONBLOCK | O_NOCTTY);
	err = fd < 0 ? fd : host_truncate_fd(fd, size);
	host_close(fd);
	if (!err)
		err = page_cache_truncate(in->cache, size);
	pthread_mutex_unlock(&in->lock);
	return err;
}

static int hfs_fsync(struct file *f, bool data_only)
{
	int err = page_cache_sync(f->inode->cache);

	return err ? err : host_fsync_fd(hfs_node(f->inode)->fd, data_only);
}

static int hfs_fallocate(struct file *f, int mode, u64 pos, u64 len)
{
	struct inode *in = f->inode;
	struct host_stat st;
	int err;

	pthread_mutex_lock(&in->lock);
	err = page_cache_sync(in->cache);
	if (!err)
		err = host_fallocate_fd(hfs_node(in)->fd, mode, pos, len);
	if (!err && in->cache->npages)
		page_cache_punch(in->cache, pos, len);
	if (!err && !host_stat_fd(hfs_node(in)->fd, &st))
		in->cache->size = st.st.st_size;
	pthread_mutex_unlock(&in->lock);
	return err;
}

static s64 hfs_seek(struct file *f, s64 offset, int whence)
{
	u64 size;

	if (whence == SEEK_SET || whence == SEEK_CUR)
		return file_seek_generic(f, offset, whence);
	size = host_end(f->inode);
	if (whence == SEEK_END) {
		if (__builtin_add_overflow((s64)size, offset, &offset))
			return -EOVERFLOW;
		return file_seek_generic(f, offset, SEEK_SET);
	}
	if (offset < 0 || (u64)offset >= size)
		return -ENXIO;
	f->pos = whence == SEEK_DATA ? (u64)offset : size;
	return f->pos;
}

const struct file_ops hfs_file_ops = {
	.read		= hfs_read,
	.write		= hfs_write,
	.seek		= hfs_seek,
	.fsync		= hfs_fsync,
	.fallocate	= hfs_fallocate,
	.release	= hfs_release,
};
