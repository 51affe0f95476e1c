/*
 * io_setup, io_submit, io_getevents, io_pgetevents, io_cancel, io_destroy.
 *
 * A request is done by the time io_submit returns, as Linux does it for most files without O_DIRECT; IOCB_CMD_POLL,
 * which needs to wait, is not supported, and so nothing can ever be cancelled.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/aio.h"
#include "fs/eventfd.h"
#include "syscall/file_calls.h"
#include "task/clock.h"

#define EVENTS_MAX	(1 << 22)	/* what Linux takes for a request at all */
#define TAKE_MAX	64		/* completions moved at a time */

long sys_io_setup(struct task *t, const u64 *arg)
{
	u32 events = arg[0];
	u64 ctx;
	s64 at;

	if (get_user(t->mm, &ctx, arg[1]))
		return -EFAULT;
	if (ctx || !events || events > EVENTS_MAX)
		return -EINVAL;
	at = aio_create(t, events);
	if (at < 0)
		return at;
	ctx = at;
	if (put_user(t->mm, arg[1], &ctx)) {
		mm_unmap(t->mm, at, PAGE_SIZE);
		return -EFAULT;
	}
	return 0;
}

long sys_io_destroy(struct task *t, const u64 *arg)
{
	struct file *f = aio_get(t, arg[0]);

	if (!f)
		return -EINVAL;
	mm_unmap(t->mm, arg[0], PAGE_SIZE);
	file_put(f);
	return 0;
}

/* ---- submitting ---- */

static long sync_call(struct task *t, int fd, bool data_only)
{
	struct file *f = file_writable(t, fd);
	long ret;

	if (!f)
		return -EBADF;
	ret = f->ops->fsync ? f->ops->fsync(f, data_only) : S_ISREG(f->inode->mode) ? 0 : -EINVAL;
	file_put(f);
	return ret;
}

static long run(struct task *t, const struct iocb *cb)
{
	struct file *f;
	bool positional;
	const u64 pos = cb->aio_offset;

	f = fd_get_io(t->files, cb->aio_fildes);
	if (!f)
		return -EBADF;
	positional = file_positional(f);
	file_put(f);
	switch (cb->aio_lio_opcode) {
	case IOCB_CMD_PREAD:
	case IOCB_CMD_PWRITE:
		return file_rw(t, cb->aio_fildes, cb->aio_lio_opcode == IOCB_CMD_PWRITE, cb->aio_buf, cb->aio_nbytes,
			       positional ? &pos : NULL, cb->aio_rw_flags);
	case IOCB_CMD_PREADV:
	case IOCB_CMD_PWRITEV:
		return file_rwv(t, cb->aio_fildes, cb->aio_lio_opcode == IOCB_CMD_PWRITEV, cb->aio_buf, cb->aio_nbytes,
				positional ? &pos : NULL, cb->aio_rw_flags);
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		return sync_call(t, cb->aio_fildes, cb->aio_lio_opcode == IOCB_CMD_FDSYNC);
	default:
		return -EINVAL;
	}
}

/* What is wrong with the request itself is the call's error; what goes wrong in doing it, the completion's. */
static bool is_request_error(long result)
{
	return result == -EBADF || result == -EINVAL || result == -EFAULT || result == -ENOSYS;
}

static int submit_one(struct task *t, struct file *ctx, gva_t at)
{
	struct file *event = NULL;
	struct iocb cb;
	const u32 key = 0;
	long result;
	int err;

	if (get_user(t->mm, &cb, at))
		return -EFAULT;
	if (cb.aio_reserved2 || (s64)cb.aio_nbytes < 0 || cb.aio_flags & ~(IOCB_FLAG_RESFD | IOCB_FLAG_IOPRIO))
		return -EINVAL;
	err = aio_reserve(ctx);
	if (err)
		return err;
	if (cb.aio_flags & IOCB_FLAG_RESFD) {
		event = fd_get_io(t->files, cb.aio_resfd);
		err = !event ? -EBADF : is_eventfd(event) ? 0 : -EINVAL;
	}
	if (!err && put_user(t->mm, at + offsetof(struct iocb, aio_key), &key))
		err = -EFAULT;
	result = err ? err : run(t, &cb);
	if (err || is_request_error(result)) {
		aio_unreserve(ctx);
		err = err ? err : result;
	} else {
		/* A signal ended it before it began: there is no restart of a request. */
		if (result <= -ERESTARTSYS)
			result = -EINTR;
		aio_complete(ctx, &(struct io_event){ .data = cb.aio_data, .obj = at, .res = result });
		if (event)
			eventfd_signal(event);
	}
	if (event)
		file_put(event);
	return err;
}

long sys_io_submit(struct task *t, const u64 *arg)
{
	s64 n = arg[1], done = 0;
	struct file *ctx;
	u64 cb;
	int err = 0;

	if (n < 0)
		return -EINVAL;
	ctx = aio_get(t, arg[0]);
	if (!ctx)
		return -EINVAL;
	for (; done < n; done++) {
		err = get_user(t->mm, &cb, arg[2] + done * sizeof(cb)) ? -EFAULT : submit_one(t, ctx, cb);
		if (err)
			break;
	}
	file_put(ctx);
	return done ? done : err;
}

/* ---- completions ---- */

static long get_events(struct task *t, struct file *ctx, s64 min, s64 n, gva_t out, u64 deadline)
{
	struct io_event e[TAKE_MAX];
	s64 done = 0, got;

	while (done < n) {
		s64 want = MIN(n - done, (s64)TAKE_MAX);

		got = aio_take(t, ctx, MAX(MIN(min - done, want), 0), want, e, deadline);
		if (got < 0)
			return done ? done : got;
		if (copy_out(t->mm, out + done * sizeof(e[0]), e, got * sizeof(e[0])))
			return done ? done : -EFAULT;
		done += got;
		if (got < want)
			break;
	}
	return done;
}

static long getevents(struct task *t, const u64 *arg)
{
	s64 min = arg[1], n = arg[2];
	u64 deadline = TIME_FOREVER, ns;
	struct file *ctx;
	long ret;

	if (arg[4]) {
		int err = copy_in_timespec(t->mm, arg[4], &ns);

		if (err)
			return err;
		deadline = clock_now(CLOCK_MONOTONIC) + ns;
	}
	ctx = aio_get(t, arg[0]);
	if (!ctx)
		return -EINVAL;
	ret = min < 0 || n < 0 || min > n ? -EINVAL : get_events(t, ctx, min, n, arg[3], deadline);
	file_put(ctx);
	return ret;
}

long sys_io_getevents(struct task *t, const u64 *arg)
{
	return getevents(t, arg);
}

long sys_io_pgetevents(struct task *t, const u64 *arg)
{
	struct { u64 set, size; } mask = { 0, 0 };
	long ret;

	if (arg[5] && get_user(t->mm, &mask, arg[5]))
		return -EFAULT;
	ret = signal_mask_begin(t, mask.set, mask.size);
	if (ret)
		return ret;
	ret = getevents(t, arg);
	signal_mask_end(t, ret == -EINTR);
	return ret == -EINTR ? -ERESTARTNOHAND : ret;
}

/* Nothing is ever under way. */
long sys_io_cancel(struct task *t, const u64 *arg)
{
	struct file *ctx;
	u32 key;

	if (get_user(t->mm, &key, arg[1] + offsetof(struct iocb, aio_key)))
		return -EFAULT;
	ctx = aio_get(t, arg[0]);
	if (!ctx)
		return -EINVAL;
	file_put(ctx);
	return -EINVAL;
}
