/* pidfds: a file that names a thread group and polls readable once it has ended. */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "fs/fs.h"
#include "task/internal.h"
#include "task/wait.h"

static u32 pidfd_poll(struct file *f)
{
	struct thread_group *tg = f->data;
	u32 events = tg->zombie ? EPOLLIN | EPOLLRDNORM : 0;

	return tg->reaped ? events | EPOLLHUP : events;
}

static struct waitq *pidfd_waitq(struct file *f)
{
	struct thread_group *tg = f->data;

	return &tg->wait_children;
}

static s64 pidfd_show(struct file *f, char *buf, size_t len)
{
	struct thread_group *tg = f->data;

	return snprintf(buf, len, "Pid:\t%d\nNSpid:\t%d\n", tg->reaped ? -1 : tg->tgid, tg->reaped ? -1 : tg->tgid);
}

static void pidfd_release(struct file *f)
{
	thread_group_put(f->data);
}

static s64 pidfd_io(struct file *f, struct uio *u, u64 *pos)
{
	return -EINVAL;
}

static const struct file_ops pidfd_ops = {
	.read = pidfd_io,
	.write = pidfd_io,
	.poll = pidfd_poll,
	.waitq = pidfd_waitq,
	.show = pidfd_show,
	.release = pidfd_release,
	.anon_name = "anon_inode:[pidfd]",
};

struct file *pidfd_file(struct thread_group *tg, u32 flags)
{
	struct file *f = file_new_anon(&pidfd_ops, flags, tg);

	if (f)
		thread_group_ref(tg);
	return f;
}

struct thread_group *pidfd_group(struct file *f)
{
	struct thread_group *tg = f->ops == &pidfd_ops ? f->data : NULL;

	if (tg)
		thread_group_ref(tg);
	return tg;
}
