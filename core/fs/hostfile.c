/*
 * Host descriptors as guest files: the standard streams.
 *
 * What is behind them belongs to the outside as well, so nothing of it is changed: never O_NONBLOCK on the file
 * description, and the file offset is the one that the outside sees. No operation here may block: each first tries
 * RWF_NOWAIT, and where the host has none for that kind of file, asks poll(2) and then moves no more than what
 * cannot block. A sleeper's wake-up comes from host/poller.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/hostfile.h"
#include "fs/special.h"
#include "fs/tty.h"
#include "host/poller.h"
#include "lib/host_proc.h"
#include "task/task.h"

#define HOST_POLL_ALL	(POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND)

enum {
	HOST_WRITE_MAX	= 2048,		/* after POLLOUT, a pipe takes PIPE_BUF and a terminal about this much */
	HOST_IOV_MAX	= 64,
};

/* One a host descriptor; every guest file opened on it (through /proc/self/fd) shares it. */
struct hostfile {
	atomic_int refs;
	int fd;				/* immutable, as all but `no_nowait` and `waited` */
	u32 type;			/* S_IFMT of its mode */
	struct tty *tty;		/* NULL if it is no terminal; referenced */
	bool always_ready;		/* poll has nothing to say: regular files, /dev/null */
	atomic_bool no_nowait;		/* the host refuses RWF_NOWAIT here */
	struct waitq wq;
	struct host_watch watch;
};

static const struct inode_ops hostfile_inode_ops;
static const struct file_ops hostfile_stream_ops, hostfile_plain_ops;
static int hostfile_cache_fill(struct page_cache *pc, u64 index, u64 n, void *dst);
static int hostfile_cache_writeback(struct page_cache *pc, u64 pos, const void *src, u64 len);

static const struct page_cache_ops hostfile_cache_ops = {
	.fill = hostfile_cache_fill,
	.writeback = hostfile_cache_writeback,
};

static struct super hostfile_super = { .type = "host", .source = "none", .dev = 15, .refs = 1 };

static struct hostfile *hostfile_of(struct file *f)
{
	return f->data;
}

/* ---- moving bytes ---- */

static bool host_ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

static s64 host_result(ssize_t n)
{
	if (n >= 0)
		return n;
	/* The host's own signals are no news for the guest: it comes back after a look at its own. */
	return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

/* The first segments, at most `max` bytes, as a list of its own. */
static int iov_head(const struct uio *u, u64 max, struct iovec *out)
{
	int n = 0;

	for (int i = 0; i < u->iovcnt && n < HOST_IOV_MAX && max; i++) {
		if (!u->iov[i].iov_len)
			continue;
		out[n] = u->iov[i];
		out[n].iov_len = MIN(out[n].iov_len, max);
		max -= out[n++].iov_len;
	}
	return n;
}

static s64 stream_move(struct hostfile *h, struct uio *u, bool write)
{
	struct iovec iov[HOST_IOV_MAX];
	ssize_t n;

	if (h->type == S_IFSOCK) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = iov_head(u, u->len, iov) };

		n = write ? sendmsg(h->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) : recvmsg(h->fd, &m, MSG_DONTWAIT);
		return host_result(n);
	}
	if (!atomic_load(&h->no_nowait)) {
		int cnt = iov_head(u, u->len, iov);

		n = write ? pwritev2(h->fd, iov, cnt, -1, RWF_NOWAIT) : preadv2(h->fd, iov, cnt, -1, RWF_NOWAIT);
		if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS && errno != ESPIPE))
			return host_result(n);
		atomic_store(&h->no_nowait, true);
	}
	if (!host_ready(h->fd, write ? POLLOUT : POLLIN))
		return -EAGAIN;
	if (write)
		return host_result(pwritev2(h->fd, iov, iov_head(u, HOST_WRITE_MAX, iov), -1, 0));
	return host_result(preadv2(h->fd, iov, iov_head(u, u->len, iov), -1, 0));
}

static s64 stream_read(struct file *f, struct uio *u, u64 *pos)
{
	struct hostfile *h = hostfile_of(f);
	s64 n = h->tty ? tty_check_io(h->tty, u->task, false) : 0;

	if (n || !u->len)
		return n;
	n = stream_move(h, u, false);
	if (n > 0)
		uio_advance(u, n);
	return n;
}

static s64 stream_write(struct file *f, struct uio *u, u64 *pos)
{
	struct hostfile *h = hostfile_of(f);
	s64 n = h->tty ? tty_check_io(h->tty, u->task, true) : 0;

	if (n || !u->len)
		return n;
	n = stream_move(h, u, true);
	if (n > 0)
		uio_advance(u, n);
	return n;
}

/* Regular files and the like never block for long. At f->pos it is the outside's offset that counts and moves. */
static s64 plain_move(struct file *f, struct uio *u, u64 *pos, bool write)
{
	struct iovec iov[HOST_IOV_MAX];
	int fd = hostfile_of(f)->fd, cnt = iov_head(u, u->len, iov);
	bool shared = !pos || pos == &f->pos;
	ssize_t n;

	if (!cnt)
		return 0;
	do {
		if (shared)
			n = write ? pwritev2(fd, iov, cnt, -1, 0) : preadv2(fd, iov, cnt, -1, 0);
		else
			n = write ? pwritev2(fd, iov, cnt, *pos, 0) : preadv2(fd, iov, cnt, *pos, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (pos)
		*pos += n;
	uio_advance(u, n);
	return n;
}

static s64 plain_read(struct file *f, struct uio *u, u64 *pos)
{
	return plain_move(f, u, pos, false);
}

static s64 plain_write(struct file *f, struct uio *u, u64 *pos)
{
	return plain_move(f, u, pos, true);
}

static s64 plain_seek(struct file *f, s64 offset, int whence)
{
	off_t pos = lseek(hostfile_of(f)->fd, offset, whence);

	return pos < 0 ? -errno : pos;
}

/* ---- readiness ---- */

static u32 stream_poll(struct file *f)
{
	struct pollfd p = { .fd = hostfile_of(f)->fd, .events = HOST_POLL_ALL };

	/* POLL* and EPOLL* have the same values, in the kernel's ABI. */
	return poll(&p, 1, 0) > 0 ? (u32)(u16)p.revents & ~(u32)POLLNVAL : 0;
}

static struct waitq *stream_waitq(struct file *f)
{
	return &hostfile_of(f)->wq;
}

static void stream_ready(struct host_watch *w, u32 events)
{
	struct hostfile *h = CONTAINER_OF(w, struct hostfile, watch);

	waitq_wake(&h->wq, events | (events & EPOLLIN ? EPOLLRDNORM : 0) | (events & EPOLLOUT ? EPOLLWRNORM : 0));
}

/*
 * Watch only what is not there yet: an output that takes bytes, as it nearly always does, would otherwise report at
 * once and use up the shot that a reader waits for.
 */
static void stream_poll_start(struct file *f)
{
	u32 now = stream_poll(f), mode = atomic_load(&f->flags) & O_ACCMODE, want = 0;

	if (mode != O_WRONLY && !(now & EPOLLIN))
		want |= EPOLLIN | EPOLLRDHUP;
	if (mode != O_RDONLY && !(now & EPOLLOUT))
		want |= EPOLLOUT;
	poller_arm(&hostfile_of(f)->watch, want);
	/* What came since the sleeper looked is not watched for: tell it here. */
	if (now)
		waitq_wake(&hostfile_of(f)->wq, now);
}

/* ---- ioctl ---- */

static s64 hostfile_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	struct hostfile *h = hostfile_of(f);
	int n;

	if (h->tty)
		return tty_ioctl(h->tty, t, cmd, arg);
	if (cmd != FIONREAD)
		return -ENOTTY;
	if (ioctl(h->fd, FIONREAD, &n) < 0)
		return -errno;
	return put_user(t->mm, arg, &n);
}

/* ---- the rest of the file operations ---- */

static int hostfile_fsync(struct file *f, bool data_only)
{
	int fd = hostfile_of(f)->fd;

	return fsync(fd) < 0 ? -errno : 0;
}

static int plain_fallocate(struct file *f, int mode, u64 pos, u64 len)
{
	return fallocate(hostfile_of(f)->fd, mode, pos, len) < 0 ? -errno : 0;
}

/* The length may have changed outside; maps see what it is now. */
static int plain_mmap(struct file *f, struct vma *v)
{
	struct stat st;

	if (!f->inode->cache)
		return -ENODEV;
	if (fstat(hostfile_of(f)->fd, &st) < 0)
		return -errno;
	atomic_store(&f->inode->cache->size, (u64)st.st_size);
	return 0;
}

static int hostfile_setfl(struct file *f, u32 flags)
{
	return 0;
}

static void hostfile_put(struct hostfile *h)
{
	if (atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	poller_remove(&h->watch);
	if (h->tty)
		tty_put(h->tty);
	close(h->fd);
	free(h);
}

static void hostfile_release(struct file *f)
{
	hostfile_put(hostfile_of(f));
}

static const struct file_ops hostfile_stream_ops = {
	.read = stream_read,
	.write = stream_write,
	.poll = stream_poll,
	.waitq = stream_waitq,
	.poll_start = stream_poll_start,
	.ioctl = hostfile_ioctl,
	.setfl = hostfile_setfl,
	.release = hostfile_release,
};

static const struct file_ops hostfile_plain_ops = {
	.read = plain_read,
	.write = plain_write,
	.seek = plain_seek,
	.ioctl = hostfile_ioctl,
	.mmap = plain_mmap,
	.fsync = hostfile_fsync,
	.fallocate = plain_fallocate,
	.setfl = hostfile_setfl,
	.release = hostfile_release,
};

static const struct file_ops *hostfile_ops(const struct hostfile *h)
{
	return h->always_ready ? &hostfile_plain_ops : &hostfile_stream_ops;
}

/* ---- the inode ---- */

static int hostfile_cache_fill(struct page_cache *pc, u64 index, u64 n, void *dst)
{
	struct hostfile *h = ((struct inode *)pc->owner)->data;
	u64 len = n * PAGE_SIZE, done = 0;

	while (done < len) {
		ssize_t got = pread(h->fd, (u8 *)dst + done, len - done, index * PAGE_SIZE + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -EIO;
		if (!got)
			break;
		done += got;
	}
	return 0;
}

static int hostfile_cache_writeback(struct page_cache *pc, u64 pos, const void *src, u64 len)
{
	struct hostfile *h = ((struct inode *)pc->owner)->data;

	return pwrite(h->fd, src, len, pos) == (ssize_t)len ? 0 : -EIO;
}

static int hostfile_getattr(struct inode *in, struct stat *st)
{
	struct hostfile *h = in->data;

	return fstat(h->fd, st) < 0 ? -errno : 0;
}

static int hostfile_setattr(struct inode *in, const struct attr *a)
{
	struct hostfile *h = in->data;

	if (!(a->valid & ATTR_SIZE))
		return a->valid & ~(u32)(ATTR_ATIME | ATTR_MTIME | ATTR_CTIME) ? -EPERM : 0;
	if (ftruncate(h->fd, a->size) < 0)
		return -errno;
	return in->cache ? page_cache_truncate(in->cache, a->size) : 0;
}

/* Another file on the same host description, as /dev/stdin gives. */
static int hostfile_open(struct inode *in, struct task *t, struct file *f)
{
	struct hostfile *h = in->data;

	atomic_fetch_add(&h->refs, 1);
	f->ops = hostfile_ops(h);
	f->data = h;
	return 0;
}

static s64 hostfile_readlink(struct inode *in, struct task *t, char *buf, size_t len)
{
	return hostfile_name(in, buf, len);
}

static void hostfile_inode_release(struct inode *in)
{
	if (in->cache) {
		page_cache_destroy(in->cache);
		free(in->cache);
	}
	if (in->data)
		hostfile_put(in->data);
}

static const struct inode_ops hostfile_inode_ops = {
	.getattr = hostfile_getattr,
	.setattr = hostfile_setattr,
	.open = hostfile_open,
	.readlink = hostfile_readlink,
	.release = hostfile_inode_release,
};

s64 hostfile_name(struct inode *in, char *buf, size_t len)
{
	struct hostfile *h = in->data;
	char link[32];
	ssize_t n;

	if (in->ops != &hostfile_inode_ops)
		return -EINVAL;
	snprintf(link, sizeof(link), "%d/fd/%d", getpid(), h->fd);
	n = readlinkat(host_proc_fd(), link, buf, len);
	return n < 0 ? -errno : n;
}

/* ---- making them ---- */

static struct hostfile *hostfile_alloc(int fd, const struct stat *st)
{
	struct hostfile *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	atomic_init(&h->refs, 1);
	h->fd = h->watch.fd = fd;
	h->watch.ready = stream_ready;
	h->type = st->st_mode & S_IFMT;
	h->tty = h->type == S_IFCHR ? tty_of_host_fd(fd) : NULL;
	if (h->tty)
		tty_get(h->tty);
	h->always_ready = h->type == S_IFREG || h->type == S_IFDIR || h->type == S_IFBLK;
	if (h->type == S_IFCHR && !h->tty)
		h->always_ready = poller_arm(&h->watch, 0) == -EPERM;
	waitq_init(&h->wq);
	return h;
}

static void hostfile_add_cache(struct inode *in, const struct stat *st)
{
	in->cache = calloc(1, sizeof(*in->cache));
	if (in->cache)
		page_cache_init(in->cache, &hostfile_cache_ops, in, st->st_size);
}

struct file *hostfile_new(int host_fd, u32 flags)
{
	struct hostfile *h = NULL;
	struct inode *in = NULL;
	struct file *f = NULL;
	struct stat st;

	if (fstat(host_fd, &st) < 0)
		goto out;
	h = hostfile_alloc(host_fd, &st);
	if (!h)
		goto out;
	in = inode_new(&hostfile_super, &hostfile_inode_ops, st.st_mode);
	if (!in)
		goto out;
	in->data = h;
	in->uid = st.st_uid;
	in->gid = st.st_gid;
	in->rdev = st.st_rdev;
	if (S_ISREG(st.st_mode))
		hostfile_add_cache(in, &st);
	f = file_new(in, hostfile_ops(h), flags);
	if (f) {
		atomic_fetch_add(&h->refs, 1);
		f->data = h;
	}
out:
	if (in)
		inode_put(in);
	else if (h)
		hostfile_put(h);
	else
		close(host_fd);
	return f;
}

/* ---- the name of the terminal: /dev/pts/N inside as outside, so that ttyname() and ps find it ---- */

static struct inode *pts_inode;		/* set once by fs_stdio; a reference */

static void remember_pts(struct inode *in)
{
	struct hostfile *h = in->data;

	if (pts_inode || !h->tty || major(in->rdev) < 136 || major(in->rdev) > 143)
		return;
	inode_get(in);
	pts_inode = in;
}

int hostfile_pts_index(void)
{
	return pts_inode ? (int)minor(pts_inode->rdev) : -1;
}

struct inode *hostfile_pts_inode(void)
{
	if (pts_inode)
		inode_get(pts_inode);
	return pts_inode;
}

/* The guest's 0, 1 and 2; one that is closed outside stays closed inside. */
int fs_stdio(struct task *t)
{
	for (int i = 0; i < 3; i++) {
		int fd = fcntl(i, F_DUPFD_CLOEXEC, 3), flags = fcntl(i, F_GETFL), err;
		struct file *f;

		if (fd < 0)
			continue;
		f = hostfile_new(fd, flags & (O_ACCMODE | O_APPEND | O_NONBLOCK));
		if (!f)
			return -ENOMEM;
		remember_pts(f->inode);
		err = fd_replace(t, i, f, false);
		if (err < 0)
			return err;
	}
	return 0;
}
