/* Devices by number: null, zero, full, random, and the doors to terminals and to loop devices. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/sysmacros.h>

#include "fs/special.h"
#include "fs/tty.h"
#include "task/task.h"

#define PTS_MAJOR_FIRST	136		/* /dev/pts/N is 136:N; eight majors of 2^20 minors stand for it */
#define PTS_MAJOR_LAST	143
#define LOOP_MAJOR	7

/* ---- null, zero, full ---- */

static s64 null_read(struct file *f, struct uio *u, u64 *pos)
{
	return 0;
}

static s64 sink_write(struct file *f, struct uio *u, u64 *pos)
{
	u64 n = u->len;

	uio_advance(u, n);
	return n;
}

static s64 zero_read(struct file *f, struct uio *u, u64 *pos)
{
	u64 n = u->len;

	while (u->len) {
		memset(u->iov->iov_base, 0, u->iov->iov_len);
		uio_advance(u, u->iov->iov_len);
	}
	return n;
}

static s64 full_write(struct file *f, struct uio *u, u64 *pos)
{
	return u->len ? -ENOSPC : 0;
}

static s64 dev_seek(struct file *f, s64 offset, int whence)
{
	return f->pos = 0;
}

/* No pages of its own: a private map is anonymous memory, a shared one fresh shared memory (mm's attach). */
static int zero_mmap(struct file *f, struct vma *v)
{
	return 0;
}

static const struct file_ops null_ops = { .read = null_read, .write = sink_write, .seek = dev_seek };
static const struct file_ops zero_ops = {
	.read = zero_read, .write = sink_write, .seek = dev_seek, .mmap = zero_mmap,
};
static const struct file_ops full_ops = { .read = zero_read, .write = full_write, .seek = dev_seek };

/* ---- random ---- */

static s64 random_read(struct file *f, struct uio *u, u64 *pos)
{
	u64 done = 0;

	while (u->len) {
		ssize_t n = u->iov->iov_len ? getrandom(u->iov->iov_base, u->iov->iov_len, 0) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (s64)done : -EIO;
		uio_advance(u, n);
		done += n;
	}
	return done;
}

static u32 random_poll(struct file *f)
{
	return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
}

static s64 random_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	enum { RNDGETENTCNT = 0x80045200 };
	int bits = 256;

	return cmd == RNDGETENTCNT ? put_user(t->mm, arg, &bits) : -EINVAL;
}

static const struct file_ops random_ops = {
	.read = random_read, .write = sink_write, .poll = random_poll, .seek = dev_seek, .ioctl = random_ioctl,
};

/* ---- by number ---- */

static int open_terminal(u32 maj, u32 min, struct task *t, struct file *f)
{
	if (maj >= PTS_MAJOR_FIRST && maj <= PTS_MAJOR_LAST)
		return pty_open_slave(t, min, f);
	if (maj == 5 && min <= 1)
		return tty_open_controlling(t, f);
	if (maj == 5 && min == 2)
		return pty_open_master(t, f);
	return -ENXIO;
}

static const struct file_ops *memory_device(u32 min)
{
	switch (min) {
	case 3:
		return &null_ops;
	case 5:
		return &zero_ops;
	case 7:
		return &full_ops;
	case 8:
	case 9:
		return &random_ops;
	default:
		return NULL;
	}
}

int devfs_open_rdev(struct inode *in, struct task *t, struct file *f)
{
	u32 maj = major(in->rdev), min = minor(in->rdev);
	const struct file_ops *ops;

	/* A device of the host's (standard streams): its own inode knows how. */
	if (in->ops->open)
		return in->ops->open(in, t, f);
	if (!S_ISCHR(in->mode))
		return maj == LOOP_MAJOR ? loop_open(min, f) : -ENXIO;
	if (maj == 10 && min == 237) {
		f->ops = &loop_control_ops;
		return 0;
	}
	if (maj != 1)
		return open_terminal(maj, min, t, f);
	ops = memory_device(min);
	if (!ops)
		return -ENXIO;
	f->ops = ops;
	return 0;
}
