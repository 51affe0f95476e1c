/*
 * read, write and their relatives: the one place where a task waits for a file.
 *
 * A transfer goes through windows: guest memory is pinned, the file's operation moves what it can, the window is
 * unpinned. Nothing stays pinned while the task sleeps. A window takes up several of the guest's buffers, so that a
 * datagram that is written from many of them arrives as one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "fs/notify.h"
#include "syscall/file_calls.h"

#define WINDOW_BYTES	(1u << 20)
#define WINDOW_SEGS	64
#define WINDOW_PINS	16
#define INLINE_IOV	8
#define GUEST_IOV_MAX	1024

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND	0x20
#endif

struct guest_iovec {
	u64 base, len;
};

/* Where a transfer stands in the guest's buffers. */
struct cursor {
	struct guest_iovec *iov;
	u64 n;				/* buffers left */
	u64 left;			/* bytes left */
};

struct window {
	struct uaccess_pin pin[WINDOW_PINS];
	int npins;
	struct iovec iov[WINDOW_SEGS];
	int nsegs;
	u64 len;
};

struct transfer {
	struct task *t;
	struct file *f;
	bool write;
	bool nonblock;
	bool append;
	u64 *pos;			/* NULL for streams */
};

static void window_close(struct window *w)
{
	while (w->npins)
		uaccess_unpin(&w->pin[--w->npins]);
}

/* 0, or -EFAULT if not even the first byte can be reached. */
static int window_open(struct window *w, struct transfer *x, const struct cursor *c)
{
	enum access want = x->write ? ACCESS_READ : ACCESS_WRITE;

	w->npins = w->nsegs = 0;
	w->len = 0;
	for (u64 i = 0; i < c->n && w->npins < WINDOW_PINS && w->nsegs < WINDOW_SEGS && w->len < WINDOW_BYTES; i++) {
		u64 ask = MIN(c->iov[i].len, WINDOW_BYTES - w->len);
		struct uaccess_pin *pin = &w->pin[w->npins];
		s64 got;

		if (!ask)
			continue;
		pin->iov = &w->iov[w->nsegs];
		got = uaccess_pin(x->t->mm, c->iov[i].base, ask, want, pin, WINDOW_SEGS - w->nsegs);
		if (got < 0)
			return w->len ? 0 : got;
		w->npins++;
		w->nsegs += pin->iovcnt;
		w->len += got;
		if ((u64)got < ask)
			break;
	}
	return 0;
}

static void cursor_advance(struct cursor *c, u64 n)
{
	c->left -= n;
	while (n) {
		u64 step = MIN(n, c->iov->len);

		c->iov->base += step;
		c->iov->len -= step;
		n -= step;
		if (!c->iov->len) {
			c->iov++;
			c->n--;
		}
	}
}

static s64 call_op(struct transfer *x, struct uio *u)
{
	if (x->write)
		return x->f->ops->write ? x->f->ops->write(x->f, u, x->pos) : -EINVAL;
	return x->f->ops->read ? x->f->ops->read(x->f, u, x->pos) : -EINVAL;
}

/* One window. *whole: the operation took all of it. */
static s64 move_window(struct transfer *x, struct cursor *c, bool *whole)
{
	struct iovec iov[WINDOW_SEGS];
	struct window w;
	struct uio u;
	s64 n = window_open(&w, x, c);

	if (n)
		goto out;
	/* The operation eats its iovec; unpinning needs it as it was. */
	memcpy(iov, w.iov, w.nsegs * sizeof(iov[0]));
	u = (struct uio){ .iov = iov, .iovcnt = w.nsegs, .len = w.len, .task = x->t, .append = x->append };
	n = call_op(x, &u);
	*whole = n == (s64)w.len;
	if (n > 0)
		cursor_advance(c, n);
out:
	window_close(&w);
	return n;
}

static void raise_sigpipe(struct task *t)
{
	union guest_siginfo info;

	signal_info(&info, SIGPIPE, SI_USER, t);
	signal_send_task(t, &info);
}

static int wait_ready(struct transfer *x)
{
	u32 events = (x->write ? EPOLLOUT : EPOLLIN | EPOLLRDHUP) | EPOLLERR | EPOLLHUP;

	if (x->nonblock || !x->f->ops->waitq)
		return -EAGAIN;
	return task_wait_file(x->t, x->f, events, TIME_FOREVER) == -EINTR ? -ERESTARTSYS : 0;
}

/* After `n` bytes: is there reason to go on? A read that had to stop ends the call, unless nothing can block it. */
static bool go_on(const struct transfer *x, const struct cursor *c, bool whole)
{
	if (!c->left)
		return false;
	if (!x->write && (!whole || x->f->ops->waitq))
		return false;
	return x->f->ops->waitq || !task_interrupted(x->t);
}

static s64 transfer(struct transfer *x, struct cursor *c)
{
	bool empty = !c->left;
	s64 done = 0, n;

	for (;;) {
		bool whole = false;

		n = move_window(x, c, &whole);
		if (n > 0) {
			done += n;
			if (!go_on(x, c, whole))
				return done;
			continue;
		}
		if (n == -EAGAIN && empty)
			return 0;
		if (n == -EAGAIN && !(done && !x->write)) {
			n = wait_ready(x);
			if (!n)
				continue;
		}
		break;
	}
	if (n == -EPIPE && x->write)
		raise_sigpipe(x->t);
	return done ? done : n;
}

/* ---- sizes and positions ---- */

int file_size_limit(struct task *t, struct file *f, u64 pos, u64 *len)
{
	union guest_siginfo info;
	u64 limit;

	if (!S_ISREG(f->inode->mode) || !*len)
		return 0;
	limit = MIN(task_rlimit(t, RLIMIT_FSIZE), (u64)INT64_MAX);
	if (f->flags & O_APPEND && f->inode->cache)
		pos = f->inode->cache->size;
	if (pos < limit) {
		*len = MIN(*len, limit - pos);
		return 0;
	}
	if (limit < INT64_MAX) {
		signal_info(&info, SIGXFSZ, SI_KERNEL, NULL);
		signal_send_task(t, &info);
	}
	return -EFBIG;
}

static s64 transfer_at(struct transfer *x, struct cursor *c)
{
	u64 len = c->left;
	int err = x->write && x->pos ? file_size_limit(x->t, x->f, *x->pos, &len) : 0;

	if (err)
		return err;
	/* Cut from the end, so that the cursor never passes the limit. */
	for (u64 cut = c->left - len, i = c->n; cut && i--;) {
		u64 step = MIN(cut, c->iov[i].len);

		c->iov[i].len -= step;
		c->left -= step;
		cut -= step;
	}
	return transfer(x, c);
}

/* `pos` NULL: at the file's own position. */
static s64 file_transfer(struct task *t, struct file *f, bool write, struct cursor *c, const u64 *pos, int rwf)
{
	struct transfer x = { .t = t, .f = f, .write = write, .nonblock = (f->flags & O_NONBLOCK) || (rwf & RWF_NOWAIT),
			      .append = rwf & RWF_APPEND };
	u64 at;
	s64 n;

	if (pos) {
		at = *pos;
		x.pos = &at;
		n = transfer_at(&x, c);
	} else if (!file_positional(f)) {
		n = transfer_at(&x, c);
	} else {
		pthread_mutex_lock(&f->pos_lock);
		x.pos = &f->pos;
		n = transfer_at(&x, c);
		pthread_mutex_unlock(&f->pos_lock);
	}
	if (n > 0)
		notify_file(f, write ? IN_MODIFY : IN_ACCESS);
	return n;
}

/* What a positional call says of a pipe comes before what it says of how that is open. */
static int file_for(struct task *t, int fd, bool write, bool positional, struct file **out)
{
	struct file *f = fd_get_io(t->files, fd);
	int err = 0;

	if (!f)
		return -EBADF;
	if (positional && !file_positional(f))
		err = -ESPIPE;
	else if ((f->flags & O_ACCMODE) == (write ? O_RDONLY : O_WRONLY))
		err = -EBADF;
	if (err)
		file_put(f);
	else
		*out = f;
	return err;
}

long file_rw(struct task *t, int fd, bool write, u64 addr, u64 len, const u64 *pos, int rwf)
{
	struct guest_iovec one = { addr, MIN(len, RW_MAX) };
	struct cursor c = { &one, 1, one.len };
	struct file *f;
	s64 n;

	if (pos && (s64)*pos < 0)
		return -EINVAL;
	n = file_for(t, fd, write, pos, &f);
	if (n)
		return n;
	if (!guest_range_ok(addr, len))
		n = -EFAULT;
	else
		n = file_transfer(t, f, write, &c, pos, rwf);
	file_put(f);
	return n;
}

long sys_read(struct task *t, const u64 *arg)
{
	return file_rw(t, arg[0], false, arg[1], arg[2], NULL, 0);
}

long sys_write(struct task *t, const u64 *arg)
{
	return file_rw(t, arg[0], true, arg[1], arg[2], NULL, 0);
}

long sys_pread64(struct task *t, const u64 *arg)
{
	return file_rw(t, arg[0], false, arg[1], arg[2], &arg[3], 0);
}

long sys_pwrite64(struct task *t, const u64 *arg)
{
	return file_rw(t, arg[0], true, arg[1], arg[2], &arg[3], 0);
}

/* ---- vectors ---- */

/* The guest's iovec array, checked; `c->iov` is `local` or must be freed. */
static int cursor_in(struct task *t, struct cursor *c, struct guest_iovec *local, u64 addr, u64 n)
{
	if (n > GUEST_IOV_MAX)
		return -EINVAL;
	c->iov = n > INLINE_IOV ? calloc(n, sizeof(*c->iov)) : local;
	c->n = n;
	c->left = 0;
	if (!c->iov)
		return -ENOMEM;
	if (n && copy_in(t->mm, c->iov, addr, n * sizeof(*c->iov)))
		return -EFAULT;
	for (u64 i = 0; i < n; i++) {
		if ((s64)c->iov[i].len < 0)
			return -EINVAL;
		if (!guest_range_ok(c->iov[i].base, c->iov[i].len))
			return -EFAULT;
		c->iov[i].len = MIN(c->iov[i].len, RW_MAX - c->left);
		c->left += c->iov[i].len;
	}
	return 0;
}

long file_rwv(struct task *t, int fd, bool write, u64 addr, u64 n, const u64 *pos, int rwf)
{
	struct guest_iovec local[INLINE_IOV], *array;
	struct cursor c = { .iov = NULL };
	struct file *f;
	s64 ret;

	if (pos && (s64)*pos < 0)
		return -EINVAL;
	ret = file_for(t, fd, write, pos, &f);
	if (ret)
		return ret;
	ret = cursor_in(t, &c, local, addr, n);
	array = c.iov;
	if (!ret)
		ret = n ? file_transfer(t, f, write, &c, pos, rwf) : 0;
	if (array != local)
		free(array);
	file_put(f);
	return ret;
}

long sys_readv(struct task *t, const u64 *arg)
{
	return file_rwv(t, arg[0], false, arg[1], arg[2], NULL, 0);
}

long sys_writev(struct task *t, const u64 *arg)
{
	return file_rwv(t, arg[0], true, arg[1], arg[2], NULL, 0);
}

long sys_preadv(struct task *t, const u64 *arg)
{
	return file_rwv(t, arg[0], false, arg[1], arg[2], &arg[3], 0);
}

long sys_pwritev(struct task *t, const u64 *arg)
{
	return file_rwv(t, arg[0], true, arg[1], arg[2], &arg[3], 0);
}

static long rwv2_call(struct task *t, const u64 *arg, bool write)
{
	u32 rwf = arg[5], known = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | (write ? RWF_APPEND : 0);

	if (rwf & ~known)
		return -EOPNOTSUPP;
	return file_rwv(t, arg[0], write, arg[1], arg[2], (s64)arg[3] == -1 ? NULL : &arg[3], rwf);
}

long sys_preadv2(struct task *t, const u64 *arg) { return rwv2_call(t, arg, false); }
long sys_pwritev2(struct task *t, const u64 *arg) { return rwv2_call(t, arg, true); }

/* ---- the sentry's own buffers ---- */

static s64 move_kernel(struct transfer *x, u8 *buf, u64 len)
{
	u64 done = 0;
	s64 n = 0;

	while (done < len) {
		struct iovec iov = { buf + done, len - done };
		struct uio u = { .iov = &iov, .iovcnt = 1, .len = len - done, .task = x->t };

		n = call_op(x, &u);
		done += MAX(n, 0);
		if (n > 0 && x->write)
			continue;
		if (n != -EAGAIN)
			break;
		n = wait_ready(x);
		if (n)
			break;
	}
	if (n == -EPIPE && x->write)
		raise_sigpipe(x->t);
	return done ? (s64)done : n;
}

s64 file_read_wait(struct task *t, struct file *f, void *buf, u64 len, u64 *pos)
{
	struct transfer x = { .t = t, .f = f, .nonblock = f->flags & O_NONBLOCK, .pos = pos };
	s64 n = move_kernel(&x, buf, len);

	if (n > 0)
		notify_file(f, IN_ACCESS);
	return n;
}

s64 file_write_wait(struct task *t, struct file *f, const void *buf, u64 len, u64 *pos)
{
	struct transfer x = { .t = t, .f = f, .write = true, .nonblock = f->flags & O_NONBLOCK, .pos = pos };
	s64 n = move_kernel(&x, (u8 *)buf, len);

	if (n > 0)
		notify_file(f, IN_MODIFY);
	return n;
}

/* ---- lseek ---- */

long sys_lseek(struct task *t, const u64 *arg)
{
	struct file *f = fd_get_io(t->files, arg[0]);
	s64 ret = -ESPIPE;

	if (!f)
		return -EBADF;
	if ((u32)arg[2] > SEEK_HOLE) {
		ret = -EINVAL;
	} else if (f->ops->seek) {
		pthread_mutex_lock(&f->pos_lock);
		ret = f->ops->seek(f, arg[1], (u32)arg[2]);
		pthread_mutex_unlock(&f->pos_lock);
	}
	file_put(f);
	return ret;
}
