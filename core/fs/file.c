/*
 * Open files: life, and the defaults for operations that a file leaves out.
 *
 * A struct file is never given back to the allocator, only to a list of free ones: fd_get() may look at the
 * reference count of a file that another thread is just closing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fs/async.h"
#include "fs/dentry.h"
#include "fs/fs.h"
#include "fs/notify.h"
#include "fs/special.h"
#include "lib/log.h"

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *free_files;		/* linked by `data`; locked by free_lock */

static struct super *anon_super;
static struct mount *anon_mount;
static pthread_once_t anon_once = PTHREAD_ONCE_INIT;
static const struct inode_ops anon_inode_ops;

static struct file *file_alloc(void)
{
	struct file *f;

	pthread_mutex_lock(&free_lock);
	f = free_files;
	if (f)
		free_files = f->data;
	pthread_mutex_unlock(&free_lock);
	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (f)
		pthread_mutex_init(&f->pos_lock, NULL);
	return f;
}

static void file_free(struct file *f)
{
	pthread_mutex_lock(&free_lock);
	f->data = free_files;
	free_files = f;
	pthread_mutex_unlock(&free_lock);
}

struct file *file_new(struct inode *in, const struct file_ops *ops, u32 flags)
{
	struct file *f = file_alloc();

	if (!f)
		return NULL;
	f->ops = ops;
	f->flags = flags;
	f->path = (struct path){ NULL, NULL };
	f->inode = in;
	f->pos = 0;
	f->data = NULL;
	f->epoll = NULL;
	f->owner = (struct file_owner){ 0 };
	f->async = NULL;
	f->counted = 0;
	inode_get(in);
	/* Last: from here on a stale fd_get() may take and drop a reference of its own. */
	atomic_store(&f->refs, 1);
	return f;
}

/* Files without a name live on one super; its mount is in no namespace. */
static void make_anon(void)
{
	struct inode *root;

	anon_super = super_new("anon_inodefs", "anon_inodefs", 0);
	root = anon_super ? inode_new(anon_super, &anon_inode_ops, S_IFDIR | 0500) : NULL;
	if (!root || super_set_root(anon_super, root))
		die("no memory for anonymous files");
	anon_mount = mount_new(anon_super, anon_super->root, 0);
	if (!anon_mount)
		die("no memory for anonymous files");
}

struct file *file_new_anon(const struct file_ops *ops, u32 flags, void *data)
{
	struct inode *in;
	struct file *f;

	pthread_once(&anon_once, make_anon);
	in = inode_new(anon_super, &anon_inode_ops, 0600);
	if (!in)
		return NULL;
	f = file_new(in, ops, flags);
	inode_put(in);
	if (f)
		f->data = data;
	return f;
}

int file_to_path(struct file *f, struct path *out)
{
	const char *kind = f->ops->anon_name ? f->ops->anon_name : "file";
	char name[64];
	int len;

	if (f->path.dentry) {
		*out = f->path;
		path_get(out);
		return 0;
	}
	pthread_once(&anon_once, make_anon);
	if (kind[0] == '[')
		len = snprintf(name, sizeof(name), "anon_inode:%s", kind);
	else
		len = snprintf(name, sizeof(name), "%s:[%llu]", kind, (unsigned long long)f->inode->ino);
	inode_get(f->inode);
	out->dentry = dentry_new(f->inode->super, NULL, name, MIN(len, 63), f->inode);
	if (!out->dentry)
		return -ENOMEM;
	out->mnt = anon_mount;
	mount_get(anon_mount);
	return 0;
}

void file_get(struct file *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void file_put(struct file *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	if (f->epoll)
		epoll_file_released(f);
	file_locks_released(f);
	if (f->path.dentry)
		notify_close(f);
	if (f->counted)
		file_uncount(f);
	file_owner_released(f);
	if (f->ops->release)
		f->ops->release(f);
	path_put(&f->path);
	inode_put(f->inode);
	file_free(f);
}

s64 file_read_at(struct file *f, void *buf, u64 len, u64 pos)
{
	u64 done = 0;
	s64 n = 0;

	if (!f->ops->read)
		return -EINVAL;
	while (done < len) {
		struct iovec iov = { (u8 *)buf + done, len - done };
		struct uio u = { .iov = &iov, .iovcnt = 1, .len = len - done };
		u64 at = pos + done;

		n = f->ops->read(f, &u, &at);
		if (n <= 0)
			break;
		done += n;
	}
	return done ? (s64)done : n;
}

u32 file_poll(struct file *f)
{
	return f->ops->poll ? f->ops->poll(f) : EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
}

struct waitq *file_waitq(struct file *f)
{
	return f->ops->waitq ? f->ops->waitq(f) : NULL;
}
