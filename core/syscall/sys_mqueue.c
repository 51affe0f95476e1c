/* POSIX message queues: arguments decoded for ipc/mqueue.c. */
#include <fcntl.h>

#include "ipc/mqueue.h"
#include "syscall/syscall.h"
#include "task/clock.h"

#define PRIO_END	32768
#define NAME_BUF	260

static long name_in(struct task *t, gva_t at, char name[NAME_BUF])
{
	s64 n = copy_in_str(t->mm, name, at, NAME_BUF);

	return n < 0 ? n : n ? 0 : -ENOENT;
}

long sys_mq_open(struct task *t, const u64 *arg)
{
	struct mq_attr_guest attr;
	char name[NAME_BUF];
	struct file *f;
	long r;

	if (arg[3] && ((int)arg[1] & O_CREAT) && get_user(t->mm, &attr, arg[3]))
		return -EFAULT;
	r = name_in(t, arg[0], name);
	if (!r)
		r = mqueue_open(t, name, (int)arg[1], (u32)arg[2], arg[3] && ((int)arg[1] & O_CREAT) ? &attr : NULL, &f);
	return r ? r : fd_install(t, f, 0, (int)arg[1] & O_CLOEXEC);
}

long sys_mq_unlink(struct task *t, const u64 *arg)
{
	char name[NAME_BUF];
	long r = name_in(t, arg[0], name);

	return r ? r : mqueue_unlink(t, name);
}

static int get(struct task *t, int fd, struct file **f)
{
	*f = fd_get_io(t->files, fd);
	if (!*f)
		return -EBADF;
	if (is_mqueue(*f))
		return 0;
	file_put(*f);
	return -EBADF;
}

/* Given as CLOCK_REALTIME. */
static long deadline_in(struct task *t, gva_t at, u64 *deadline)
{
	u64 ns;
	int err;

	*deadline = TIME_FOREVER;
	if (!at)
		return 0;
	err = copy_in_timespec(t->mm, at, &ns);
	if (!err)
		*deadline = ns > clock_real_offset() ? ns - clock_real_offset() : 1;
	return err;
}

long sys_mq_timedsend(struct task *t, const u64 *arg)
{
	struct file *f;
	u64 deadline;
	long r = deadline_in(t, arg[4], &deadline);

	if (!r && (u32)arg[3] >= PRIO_END)
		r = -EINVAL;
	if (!r)
		r = get(t, (int)arg[0], &f);
	if (r)
		return r;
	r = mqueue_send(t, f, arg[1], arg[2], (u32)arg[3], deadline);
	file_put(f);
	return r;
}

long sys_mq_timedreceive(struct task *t, const u64 *arg)
{
	struct file *f;
	u64 deadline;
	long r = deadline_in(t, arg[4], &deadline);

	if (!r)
		r = get(t, (int)arg[0], &f);
	if (r)
		return r;
	r = mqueue_receive(t, f, arg[1], arg[2], arg[3], deadline);
	file_put(f);
	return r;
}

long sys_mq_notify(struct task *t, const u64 *arg)
{
	struct mq_sigevent ev;
	struct file *f;
	long r;

	if (arg[1] && get_user(t->mm, &ev, arg[1]))
		return -EFAULT;
	if (arg[1] && !mqueue_event_good(&ev))
		return -EINVAL;
	r = get(t, (int)arg[0], &f);
	if (r)
		return r;
	r = mqueue_notify(t, f, arg[1] ? &ev : NULL);
	file_put(f);
	return r;
}

long sys_mq_getsetattr(struct task *t, const u64 *arg)
{
	struct mq_attr_guest new, old;
	struct file *f;
	long r;

	if (arg[1] && get_user(t->mm, &new, arg[1]))
		return -EFAULT;
	if (arg[1] && new.flags & ~(s64)O_NONBLOCK)
		return -EINVAL;
	r = get(t, (int)arg[0], &f);
	if (r)
		return r;
	mqueue_attr(f, &old);
	if (arg[1] && new.flags)
		atomic_fetch_or(&f->flags, O_NONBLOCK);
	else if (arg[1])
		atomic_fetch_and(&f->flags, ~(u32)O_NONBLOCK);
	file_put(f);
	return arg[2] ? put_user(t->mm, arg[2], &old) : 0;
}
