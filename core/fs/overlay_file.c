/*
 * Regular files of the overlay.
 *
 * A file that was not written is read from the host into the guest's memory directly; mappings of it use the page
 * cache, filled from the host. The first write, truncation or shared writable mapping makes the page cache the truth
 * ("copied up") without copying anything: pages that it lacks are still filled from the host file, up to host_size. So
 * appending a line to a large log costs a page.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/dentry.h"
#include "fs/overlay.h"

/*
 * Called with the cache's lock held, and perhaps an mm's: takes no lock. The file is open, or it could not be asked
 * for.
 */
static int ovl_fill(struct page_cache *pc, u64 index, u64 n, void *dst)
{
	struct ovl_node *node = ovl_node(pc->owner);
	u64 pos = index << PAGE_SHIFT, size = node->host_size;
	s64 got;

	if (pos >= size)
		return 0;
	got = host_pread_full(node->fd, dst, MIN(n << PAGE_SHIFT, size - pos), pos);
	return MIN(got, (s64)0);
}

const struct page_cache_ops ovl_cache_ops = { .fill = ovl_fill };

void ovl_copy_up(struct inode *in)
{
	ovl_node(in)->copied = true;
}

/* The first open. in->lock held. */
static int open_host(struct inode *in)
{
	struct ovl_node *node = ovl_node(in);
	struct host_stat st;
	int fd, err;

	fd = hostnode_open(node->host.node, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fd;
	err = host_stat_fd(fd, &st);
	if (!err && !S_ISREG(st.st.st_mode))
		err = -EIO;
	if (!err && st.dev != ovl_tree(in->super)->dev && host_fd_is_pseudo(fd))
		err = -EACCES;
	if (err) {
		host_close(fd);
		return err;
	}
	if (!node->dirty)
		ovl_refresh(in, &st);
	node->fd = fd;
	return 0;
}

int ovl_open(struct inode *in, struct task *t, struct file *f)
{
	struct ovl_node *node = ovl_node(in);
	int err = 0;

	/* Truncated to nothing: the host file is not needed any more. */
	if (!node->host.node || (node->copied && !node->host_size))
		return 0;
	pthread_mutex_lock(&in->lock);
	if (!node->opens)
		err = open_host(in);
	if (!err) {
		node->opens++;
		f->data = node;
	}
	pthread_mutex_unlock(&in->lock);
	return err;
}

static void ovl_release(struct file *f)
{
	struct ovl_node *node = f->data;

	if (!node)
		return;
	pthread_mutex_lock(&f->inode->lock);
	if (!--node->opens) {
		host_close(node->fd);
		node->fd = -1;
	}
	pthread_mutex_unlock(&f->inode->lock);
}

static s64 ovl_read(struct file *f, struct uio *u, u64 *pos)
{
	struct ovl_node *node = ovl_node(f->inode);
	s64 n;

	if (!node->host.node || node->copied)
		return mem_read(f, u, pos);
	n = host_preadv(node->fd, u->iov, u->iovcnt, *pos);
	if (n > 0) {
		uio_advance(u, n);
		*pos += n;
	}
	if (n >= 0 && !(f->flags & O_NOATIME))
		inode_accessed(f->inode);
	return n;
}

static void make_writable(struct inode *in)
{
	struct ovl_node *node = ovl_node(in);

	if (node->copied)
		return;
	if (node->host.node)
		ovl_dirty(in);
	pthread_mutex_lock(&in->lock);
	ovl_copy_up(in);
	pthread_mutex_unlock(&in->lock);
}

static s64 ovl_write(struct file *f, struct uio *u, u64 *pos)
{
	make_writable(f->inode);
	return mem_write(f, u, pos);
}

static int ovl_mmap(struct file *f, struct vma *v)
{
	if ((v->flags & MAP_SHARED) && (f->flags & O_ACCMODE) == O_RDWR)
		make_writable(f->inode);
	return mem_mmap(f, v);
}

/* A hole in host_size would show the host's bytes again, so zeros are written there. */
static int zero_host_part(struct file *f, u64 pos, u64 end)
{
	static const u8 zeros[64 << 10];
	struct page_cache *pc = f->inode->cache;

	while (pos < end) {
		struct iovec iov = { (void *)zeros, MIN(end - pos, sizeof(zeros)) };
		ssize_t n = page_cache_write(pc, &iov, 1, pos);

		if (n <= 0)
			return n ? n : -EIO;
		pos += n;
	}
	return 0;
}

static int ovl_fallocate(struct file *f, int mode, u64 pos, u64 len)
{
	struct ovl_node *node = ovl_node(f->inode);
	u64 limit = MIN((u64)node->host_size, (u64)f->inode->cache->size), end = pos + len;
	int err;

	make_writable(f->inode);
	if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) || pos >= limit)
		return mem_fallocate(f, mode, pos, len);
	err = zero_host_part(f, pos, MIN(end, limit));
	if (err || end <= limit)
		return err;
	return mem_fallocate(f, mode, limit, end - limit);
}

/* The host file's part counts as data. */
static s64 ovl_seek(struct file *f, s64 offset, int whence)
{
	struct ovl_node *node = ovl_node(f->inode);
	u64 size = f->inode->cache->size;

	if ((whence != SEEK_DATA && whence != SEEK_HOLE) || !node->host.node)
		return file_seek_generic(f, offset, whence);
	if (offset < 0 || (u64)offset >= size)
		return -ENXIO;
	f->pos = whence == SEEK_DATA ? (u64)offset : size;
	return f->pos;
}

static int ovl_fsync(struct file *f, bool data_only)
{
	return 0;
}

const struct file_ops ovl_file_ops = {
	.read		= ovl_read,
	.write		= ovl_write,
	.seek		= ovl_seek,
	.mmap		= ovl_mmap,
	.fsync		= ovl_fsync,
	.fallocate	= ovl_fallocate,
	.release	= ovl_release,
};
