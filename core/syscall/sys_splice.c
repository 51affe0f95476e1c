/*
 * splice, tee, vmsplice. The pages of a pipe are not shared with anything here: bytes go through a buffer of the
 * sentry. They leave a source pipe only after the sink has taken them.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "fs/pipe.h"
#include "syscall/file_calls.h"

#define SPLICE_BUF	65536
#define SPLICE_FLAGS	(SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

struct end {
	struct file *file;
	struct pipe *pipe;		/* NULL: no pipe */
	gva_t off_addr;			/* guest's offset, or 0: the file's own */
	u64 off;
};

static void raise_sigpipe(struct task *t)
{
	union guest_siginfo info;

	signal_info(&info, SIGPIPE, SI_USER, t);
	signal_send_task(t, &info);
}

static u64 *end_pos(struct end *e)
{
	if (e->off_addr)
		return &e->off;
	return file_positional(e->file) ? &e->file->pos : NULL;
}

static s64 end_move(struct task *t, struct end *e, void *buf, u64 n, bool write)
{
	struct iovec iov = { buf, n };
	struct uio u = { .iov = &iov, .iovcnt = 1, .len = n, .task = t };
	bool own_pos = end_pos(e) == &e->file->pos;
	s64 r;

	if (own_pos)
		pthread_mutex_lock(&e->file->pos_lock);
	if (write)
		r = e->file->ops->write ? e->file->ops->write(e->file, &u, end_pos(e)) : -EINVAL;
	else
		r = e->file->ops->read ? e->file->ops->read(e->file, &u, end_pos(e)) : -EINVAL;
	if (own_pos)
		pthread_mutex_unlock(&e->file->pos_lock);
	return r;
}

static bool may_block(const struct end *e, u32 flags)
{
	return !(flags & SPLICE_F_NONBLOCK) && !(atomic_load(&e->file->flags) & O_NONBLOCK);
}

/* 0: look again. */
static int wait_end(struct task *t, struct end *e, u32 events, u32 flags)
{
	int err = may_block(e, flags) ? task_wait_file(t, e->file, events, TIME_FOREVER) : -EAGAIN;

	return err == -EINTR ? -ERESTARTSYS : err;
}

/* One round from a pipe. The pipe's file has no position: its pos_lock keeps two splices from taking the same bytes. */
static s64 from_pipe_once(struct task *t, struct end *in, struct end *out, u8 *buf, u64 len, bool keep, u32 *blocked)
{
	s64 n, done;

	pthread_mutex_lock(&in->file->pos_lock);
	n = pipe_peek(in->pipe, buf, MIN(len, (u64)SPLICE_BUF));
	if (n <= 0) {
		*blocked = EPOLLIN;
		done = n;
	} else {
		*blocked = EPOLLOUT;
		if (out->pipe)
			n = MIN((u64)n, MAX(pipe_room(out->pipe), (u64)1));
		done = end_move(t, out, buf, n, true);
		if (done > 0 && !keep)
			pipe_consume(in->pipe, done);
	}
	pthread_mutex_unlock(&in->file->pos_lock);
	return done;
}

static s64 from_pipe(struct task *t, struct end *in, struct end *out, u8 *buf, u64 len, bool keep, u32 flags)
{
	u32 blocked;
	s64 n;
	int err;

	for (;;) {
		n = from_pipe_once(t, in, out, buf, len, keep, &blocked);
		if (n != -EAGAIN)
			return n;
		err = wait_end(t, blocked == EPOLLIN ? in : out, blocked, flags);
		if (err)
			return err;
	}
}

/* All of it goes into the pipe: it was taken from its source already. */
static s64 fill_pipe(struct task *t, struct end *out, u8 *buf, u64 len)
{
	u64 done = 0;

	while (done < len) {
		s64 n = end_move(t, out, buf + done, len - done, true);

		if (n == -EAGAIN) {
			if (task_wait_file(t, out->file, EPOLLOUT, TIME_FOREVER))
				break;
			continue;
		}
		if (n < 0)
			return done ? (s64)done : n;
		done += n;
	}
	return done ? (s64)done : -EINTR;
}

static s64 to_pipe(struct task *t, struct end *in, struct end *out, u8 *buf, u64 len, u32 flags)
{
	u64 room;
	s64 n;
	int err;

	while (!(room = pipe_room(out->pipe)) && file_poll(out->file) != EPOLLERR) {
		err = wait_end(t, out, EPOLLOUT, flags);
		if (err)
			return err;
	}
	for (;;) {
		n = end_move(t, in, buf, MIN(MIN(len, (u64)SPLICE_BUF), MAX(room, (u64)1)), false);
		if (n != -EAGAIN)
			break;
		err = wait_end(t, in, EPOLLIN, flags);
		if (err)
			return err;
	}
	return n > 0 ? fill_pipe(t, out, buf, n) : n;
}

static int end_open(struct task *t, struct end *e, int fd, gva_t off_addr, bool write)
{
	u32 mode;

	*e = (struct end){ .off_addr = off_addr };
	e->file = fd_get_io(t->files, fd);
	if (!e->file)
		return -EBADF;
	mode = atomic_load(&e->file->flags) & O_ACCMODE;
	if (mode == (write ? O_RDONLY : O_WRONLY))
		return -EBADF;
	e->pipe = file_pipe(e->file);
	if (!off_addr)
		return 0;
	if (e->pipe || !file_positional(e->file))
		return -ESPIPE;
	if (get_user(t->mm, &e->off, off_addr))
		return -EFAULT;
	return (s64)e->off < 0 ? -EINVAL : 0;
}

static long end_close(struct task *t, struct end *e, long result)
{
	if (result > 0 && e->off_addr && put_user(t->mm, e->off_addr, &e->off))
		result = -EFAULT;
	if (e->file)
		file_put(e->file);
	return result;
}

/* Directories and what has no inode of a file system (eventfd, epoll, ...) move no pages, empty pipe or not. */
static bool spliceable(const struct end *e)
{
	u32 mode = e->file->inode->mode;

	return e->pipe || S_ISREG(mode) || S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

static long splice_ends(struct task *t, struct end *in, struct end *out, u64 len, bool keep, u32 flags)
{
	u8 *buf;
	long r;

	if ((!in->pipe && !out->pipe) || (in->pipe && in->pipe == out->pipe))
		return -EINVAL;
	if (!spliceable(in) || !spliceable(out) || (!out->pipe && (atomic_load(&out->file->flags) & O_APPEND)))
		return -EINVAL;
	if (!len)
		return 0;
	buf = malloc(SPLICE_BUF);
	if (!buf)
		return -ENOMEM;
	r = in->pipe ? from_pipe(t, in, out, buf, len, keep, flags) : to_pipe(t, in, out, buf, len, flags);
	free(buf);
	if (r == -EPIPE)
		raise_sigpipe(t);
	return r;
}

long sys_splice(struct task *t, const u64 *arg)
{
	struct end in = { 0 }, out = { 0 };
	long r;

	if ((u32)arg[5] & ~(u32)SPLICE_FLAGS)
		return -EINVAL;
	r = end_open(t, &in, (int)arg[0], arg[1], false);
	if (!r)
		r = end_open(t, &out, (int)arg[2], arg[3], true);
	if (!r)
		r = splice_ends(t, &in, &out, arg[4], false, (u32)arg[5]);
	r = end_close(t, &out, r);
	return end_close(t, &in, r);
}

long sys_tee(struct task *t, const u64 *arg)
{
	struct end in = { 0 }, out = { 0 };
	long r;

	if ((u32)arg[3] & ~(u32)SPLICE_FLAGS)
		return -EINVAL;
	r = end_open(t, &in, (int)arg[0], 0, false);
	if (!r)
		r = end_open(t, &out, (int)arg[1], 0, true);
	if (!r)
		r = in.pipe && out.pipe ? splice_ends(t, &in, &out, arg[2], true, (u32)arg[3]) : -EINVAL;
	r = end_close(t, &out, r);
	return end_close(t, &in, r);
}

/* Pages are copied, not given: readv or writev on a pipe that takes what there is, and waits only for the first byte. */
static long vmsplice_pipe(struct task *t, int fd, struct file *f, u64 iov, u64 n, u32 flags)
{
	bool write = (atomic_load(&f->flags) & O_ACCMODE) != O_RDONLY;
	struct end e = { .file = f };
	long r;
	int err;

	for (;;) {
		r = file_rwv(t, fd, write, iov, n, NULL, RWF_NOWAIT);
		if (r != -EAGAIN)
			return r;
		err = wait_end(t, &e, write ? EPOLLOUT : EPOLLIN, flags);
		if (err)
			return err;
	}
}

long sys_vmsplice(struct task *t, const u64 *arg)
{
	u32 flags = arg[3];
	struct file *f;
	long r;

	if (flags & ~(u32)SPLICE_FLAGS)
		return -EINVAL;
	f = fd_get_io(t->files, (int)arg[0]);
	if (!f)
		return -EBADF;
	r = file_pipe(f) ? vmsplice_pipe(t, arg[0], f, arg[1], arg[2], flags) : -EBADF;
	file_put(f);
	return r;
}
