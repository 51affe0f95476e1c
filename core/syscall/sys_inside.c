/*
 * Calls inside (lib/inside.h): the short way through those that can be done without the host, most of the time. Each
 * returns what its namesake in sys_*.c would, or -EHOST before it has changed anything.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <time.h>

#include "lib/inside.h"
#include "loader/vdso/vvar.h"
#include "syscall/inside.h"
#include "syscall/syscall.h"
#include "task/clock.h"
#include "task/futex.h"
#include "task/signal.h"

enum { SEGMENTS = 3, READ_MAX = 8192, YIELDS = 8 };
enum { WRITE_MAX = 4096 };			/* PIPE_BUF: a longer write might be done in part */

/* Who yields time and again waits for somebody, who may need our CPU: every now and then the host hears of it. */
long inside_sched_yield(struct task *t, const u64 *arg)
{
	return ++t->yields % YIELDS ? 0 : -EHOST;
}

long inside_clock_gettime(struct task *t, const u64 *arg)
{
	struct timespec ts;
	u64 ns;

	/* An emulator may have no LFENCE. */
	if (inside_emulated || !vvar_read(clock_line, (u32)arg[0], &ns))
		return -EHOST;
	ts.tv_sec = ns / 1000000000;
	ts.tv_nsec = ns % 1000000000;
	return inside_copy_out(t->mm, arg[1], &ts, sizeof(ts));
}

static long new_mask(const struct task *t, const u64 *arg, sigset64 *set)
{
	sigset64 given;

	*set = t->blocked;
	if (!arg[1])
		return 0;
	if (inside_copy_in(t->mm, &given, arg[1], sizeof(given)))
		return -EHOST;
	switch ((int)arg[0]) {
	case SIG_BLOCK:
		*set |= given;
		break;
	case SIG_UNBLOCK:
		*set &= ~given;
		break;
	case SIG_SETMASK:
		*set = given;
		break;
	default:
		return -EINVAL;
	}
	*set &= ~SIGSET_KERNEL;
	return 0;
}

/* With signals pending, what a new mask means is the host's to find out. */
long inside_rt_sigprocmask(struct task *t, const u64 *arg)
{
	struct thread_group *tg = t->tg;
	sigset64 old = t->blocked, set;
	long err;

	if (arg[3] != sizeof(set))
		return -EINVAL;
	err = new_mask(t, arg, &set);
	if (err)
		return err;
	if (set != old && !inside_lock(&tg->lock))
		return -EHOST;
	if (set != old && (t->pending.set | tg->pending.set))
		err = -EHOST;
	if (!err && arg[2])
		err = inside_copy_out(t->mm, arg[2], &old, sizeof(old));
	if (set == old)
		return err;
	if (!err)
		t->blocked = set;
	inside_unlock(&tg->lock);
	return err;
}

long inside_futex(struct task *t, const u64 *arg)
{
	const u32 op = arg[1];

	switch (op) {
	case FUTEX_WAIT | FUTEX_PRIVATE_FLAG:
		return arg[3] ? -EHOST : futex_wait_inside(t, arg[0], arg[2]);
	case FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG:
		return arg[3] || !(u32)arg[5] ? -EHOST : futex_wait_inside(t, arg[0], arg[2]);
	case FUTEX_WAKE | FUTEX_PRIVATE_FLAG:
		return futex_wake_inside(t, arg[0], FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG:
		return futex_wake_inside(t, arg[0], arg[5]);
	default:
		return -EHOST;
	}
}

/* ---- files ---- */

/* The guest's memory stays as it is while the file moves bytes: mm->lock is held, and nobody waits for it inside. */
static long move(struct task *t, struct file *f, bool write, gva_t addr, u64 len)
{
	struct iovec iov[SEGMENTS];
	struct uio u = { .iov = iov, .len = len, .task = t };
	long n;

	u.iovcnt = uaccess_open(t->mm, addr, len, write ? ACCESS_READ : ACCESS_WRITE, iov, SEGMENTS);
	if (u.iovcnt < 0)
		return -EHOST;
	n = write ? f->ops->write(f, &u, NULL) : f->ops->read(f, &u, NULL);
	uaccess_close(t->mm);
	/* What would sleep, and what comes with a signal or a check of its own. */
	return n < 0 && !(n == -EAGAIN && f->flags & O_NONBLOCK) ? -EHOST : n;
}

static bool may_move(const struct file *f, bool write)
{
	const u32 flags = f->flags;

	return f->ops->inside && !(flags & O_PATH) && (flags & O_ACCMODE) != (write ? O_RDONLY : O_WRONLY) &&
	       !f->path.dentry;
}

static long read_write(struct task *t, const u64 *arg, bool write)
{
	struct file *f;
	long n = -EHOST;

	if (!arg[2] || arg[2] > (write ? WRITE_MAX : READ_MAX))
		return -EHOST;
	f = fd_get(t->files, arg[0]);
	if (!f)
		return -EHOST;
	if (may_move(f, write))
		n = move(t, f, write, arg[1], arg[2]);
	inside_file_put(f);
	return n;
}

long inside_read(struct task *t, const u64 *arg) { return read_write(t, arg, false); }
long inside_write(struct task *t, const u64 *arg) { return read_write(t, arg, true); }

long inside_lseek(struct task *t, const u64 *arg)
{
	struct file *f = fd_get(t->files, arg[0]);
	long ret = -EHOST;

	if (!f)
		return -EHOST;
	if (f->ops->seek == file_seek_generic && !(f->flags & O_PATH) && (u32)arg[2] <= SEEK_END &&
	    inside_lock(&f->pos_lock)) {
		ret = file_seek_generic(f, arg[1], (u32)arg[2]);
		inside_unlock(&f->pos_lock);
	}
	inside_file_put(f);
	return ret;
}
