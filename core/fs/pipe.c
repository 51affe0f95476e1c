/*
 * Pipes: the ring, its two kinds of open file, and pipe_create().
 *
 * A waiter is woken on the edge that it waits for (empty to non-empty, less than PIPE_BUF of room to more) and, if
 * it left something for the next one, it passes the wake-up on. Only when epoll watches does every transfer wake.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "fs/pipe.h"
#include "fs/special.h"
#include "fs/sysctl.h"
#include "task/task.h"

/* As fs.pipe-user-pages-soft: past it, new pipes are small, so that descriptors alone cannot eat the sentry's memory. */
#define PIPE_PAGES_SOFT	16384
#define PIPE_PAGES_HARD	(4 * PIPE_PAGES_SOFT)	/* F_SETPIPE_SZ goes no further, over all pipes */

static _Atomic u64 pipe_pages;

static struct super pipefs_super = {
	.type = "pipefs", .source = "none", .dev = 13, .refs = 1,
};
static const struct inode_ops pipe_inode_ops = { .release = NULL };

static bool pipe_unlimited(struct task *t)
{
	return cred_capable(t->cred, CAP_SYS_RESOURCE);
}

struct pipe *pipe_new(struct task *t)
{
	struct pipe *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	waitq_init(&p->wq);
	p->cap = atomic_load(&pipe_pages) >= PIPE_PAGES_SOFT ? 2 * PIPE_CHUNK : PIPE_DEFAULT;
	if (p->cap > sysctl_pipe_max_size.value && !pipe_unlimited(t))
		p->cap = sysctl_pipe_max_size.value;
	atomic_fetch_add(&pipe_pages, p->cap / PIPE_CHUNK);
	return p;
}

void pipe_free(struct pipe *p)
{
	atomic_fetch_sub(&pipe_pages, p->cap / PIPE_CHUNK);
	pthread_mutex_destroy(&p->lock);
	free(p->packets);
	free(p->buf);
	free(p);
}

struct pipe *file_pipe(const struct file *f)
{
	return f->ops == &pipe_file_ops ? f->data : NULL;
}

bool inode_is_pipe(const struct inode *in)
{
	return in->super == &pipefs_super;
}

void pipe_count(struct pipe *p, u32 flags, int delta)
{
	u32 mode = flags & O_ACCMODE;

	if (mode != O_WRONLY) {
		p->readers += delta;
		p->reader_opens += delta > 0;
	}
	if (mode != O_RDONLY) {
		p->writers += delta;
		p->writer_opens += delta > 0;
	}
}

/* ---- the ring; p->lock held ---- */

static void ring_copy_out(const struct pipe *p, u8 *dst, u64 n)
{
	u64 off = p->tail & (p->size - 1), run = MIN(n, p->size - off);

	memcpy(dst, p->buf + off, run);
	memcpy(dst + run, p->buf, n - run);
}

static int ring_resize(struct pipe *p, u32 size)
{
	u64 used = ring_used(p), off;
	u8 *buf = malloc(size);

	if (!buf)
		return -ENOMEM;
	if (used) {
		u64 first;

		/* Absolute positions stay: put each byte where the new modulus wants it. */
		off = p->tail & (size - 1);
		first = MIN(used, size - off);
		ring_copy_out(p, buf + off, first);
		p->tail += first;
		if (used > first)
			ring_copy_out(p, buf, used - first);
		p->tail -= first;
	}
	free(p->buf);
	p->buf = buf;
	p->size = size;
	return 0;
}

/* Make the ring hold `more` bytes beyond what it has; the caller has checked `cap`. */
int gate_pipe_reserve(struct pipe *p, u64 more)
{
	u64 need = ring_used(p) + more;
	u32 size = p->size ? p->size : PIPE_CHUNK;

	if (need <= p->size)
		return 0;
	while (size < need)
		size *= 2;
	return ring_resize(p, size);
}

int gate_pipe_packets(struct pipe *p)
{
	if (!p->packets)
		p->packets = calloc(PIPE_PACKETS, sizeof(*p->packets));
	return p->packets ? 0 : -ENOMEM;
}

/* ---- file operations ---- */

static u32 pipe_poll(struct file *f)
{
	struct pipe *p = f->data;
	u32 mode = atomic_load(&f->flags) & O_ACCMODE, ev = 0;

	pthread_mutex_lock(&p->lock);
	if (f->epoll)
		p->polled = true;
	if (mode != O_WRONLY) {
		if (ring_used(p))
			ev |= EPOLLIN | EPOLLRDNORM;
		/* A fifo's reader that came first sees no hang-up until a writer has been there: f->pos has the count. */
		if (!p->writers && p->writer_opens != f->pos)
			ev |= EPOLLHUP;
	}
	if (mode != O_RDONLY) {
		if (ring_room(p) >= PIPE_CHUNK)
			ev |= EPOLLOUT | EPOLLWRNORM;
		if (!p->readers)
			ev |= EPOLLERR;
	}
	pthread_mutex_unlock(&p->lock);
	return ev;
}

static struct waitq *pipe_waitq(struct file *f)
{
	return &((struct pipe *)f->data)->wq;
}

static s64 pipe_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	struct pipe *p = f->data;
	int n;

	if (cmd != FIONREAD)
		return -ENOTTY;
	pthread_mutex_lock(&p->lock);
	n = ring_used(p);
	pthread_mutex_unlock(&p->lock);
	return put_user(t->mm, arg, &n);
}

static int pipe_setfl(struct file *f, u32 flags)
{
	return 0;
}

static void pipe_release(struct file *f)
{
	struct pipe *p = f->data;
	struct inode *in = f->inode;
	bool last;

	pthread_mutex_lock(&in->lock);
	pthread_mutex_lock(&p->lock);
	pipe_count(p, atomic_load(&f->flags), -1);
	last = --p->files == 0;
	if (last)
		in->pipe = NULL;
	pthread_mutex_unlock(&p->lock);
	/* A fifo's next open may not find it between the count and the wake-up: so wake before the inode is let go. */
	if (!last)
		waitq_wake(&p->wq, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDNORM | EPOLLWRNORM);
	pthread_mutex_unlock(&in->lock);
	if (last)
		pipe_free(p);
}

const struct file_ops pipe_file_ops = {
	.inside = true,
	.read = pipe_read,
	.write = pipe_write,
	.poll = pipe_poll,
	.waitq = pipe_waitq,
	.ioctl = pipe_ioctl,
	.setfl = pipe_setfl,
	.release = pipe_release,
	.anon_name = "pipe",
};

/* ---- splice, tee ---- */

/* Bytes at the front, copied but left there; never past a packet's end. -EAGAIN, or 0 at the end. */
s64 pipe_peek(struct pipe *p, void *dst, u64 n)
{
	struct pipe_packet *k;
	s64 got;

	pthread_mutex_lock(&p->lock);
	n = MIN(n, ring_used(p));
	k = packet_first(p);
	if (k)
		n = MIN(n, p->tail < k->start ? k->start - p->tail : k->end - p->tail);
	if (n)
		ring_copy_out(p, dst, n);
	got = n ? (s64)n : p->writers ? -EAGAIN : 0;
	pthread_mutex_unlock(&p->lock);
	return got;
}

void pipe_consume(struct pipe *p, u64 n)
{
	struct pipe_packet *k;

	pthread_mutex_lock(&p->lock);
	p->tail += MIN(n, ring_used(p));
	k = packet_first(p);
	if (k && p->tail > k->start)
		packet_drop(p);
	pthread_mutex_unlock(&p->lock);
	waitq_wake(&p->wq, EPOLLOUT | EPOLLWRNORM);
}

u64 pipe_room(struct pipe *p)
{
	u64 room;

	pthread_mutex_lock(&p->lock);
	room = ring_room(p);
	pthread_mutex_unlock(&p->lock);
	return room;
}

/* ---- pipe(2), fcntl(2) ---- */

/* One end; takes over nothing: the inode's reference stays the caller's. */
static struct file *pipe_end(struct inode *in, struct pipe *p, u32 flags)
{
	struct file *f = file_new(in, &pipe_file_ops, flags);

	if (!f)
		return NULL;
	f->data = p;
	pthread_mutex_lock(&p->lock);
	pipe_count(p, flags, 1);
	p->files++;
	pthread_mutex_unlock(&p->lock);
	return f;
}

int pipe_create(struct task *t, struct file **rd, struct file **wr, u32 flags)
{
	struct inode *in = inode_new(&pipefs_super, &pipe_inode_ops, S_IFIFO | 0600);
	struct pipe *p = pipe_new(t);
	int err = -ENFILE;

	if (!in || !p)
		goto out;
	in->pipe = p;
	*rd = pipe_end(in, p, O_RDONLY | flags);
	if (!*rd)
		goto out;
	*wr = pipe_end(in, p, O_WRONLY | flags);
	if (!*wr) {
		file_put(*rd);
		p = NULL;
		goto out;
	}
	p = NULL;
	err = 0;
out:
	if (p)
		pipe_free(p);
	if (in)
		inode_put(in);
	return err;
}

static int pipe_set_size(struct task *t, struct pipe *p, u64 arg)
{
	u32 size = PIPE_CHUNK;
	int err = 0;

	if (arg > 1u << 31)
		return -EINVAL;
	if (arg > PIPE_MAX || (arg > (u64)sysctl_pipe_max_size.value && !pipe_unlimited(t)))
		return -EPERM;
	while (size < arg)
		size *= 2;

	pthread_mutex_lock(&p->lock);
	if (size > p->cap && atomic_load(&pipe_pages) + size / PIPE_CHUNK > PIPE_PAGES_HARD)
		err = -EPERM;
	else if (ring_used(p) > size || p->packet_count > size / PIPE_CHUNK)
		err = -EBUSY;
	else if (p->size > size)
		err = ring_resize(p, size);
	if (!err) {
		atomic_fetch_add(&pipe_pages, (s64)(size / PIPE_CHUNK) - (s64)(p->cap / PIPE_CHUNK));
		p->cap = size;
	}
	pthread_mutex_unlock(&p->lock);
	if (!err)
		waitq_wake(&p->wq, EPOLLOUT | EPOLLWRNORM);
	return err ? err : (int)size;
}

long pipe_fcntl(struct file *f, struct task *t, int cmd, u64 arg)
{
	struct pipe *p = file_pipe(f);

	if (!p)
		return -EBADF;
	if (cmd == F_SETPIPE_SZ)
		return pipe_set_size(t, p, (u32)arg);
	return p->cap;
}
