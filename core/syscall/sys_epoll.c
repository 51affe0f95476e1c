/* epoll_create, epoll_ctl, epoll_wait and their variants. */
#include <limits.h>
#include <stdlib.h>

#include "fs/epoll.h"
#include "syscall/syscall.h"
#include "task/clock.h"

enum {
	EVENTS_ON_STACK	= 64,
	EVENTS_MAX	= 1024,		/* a call may give fewer than it was asked for */
};

_Static_assert(sizeof(struct epoll_event) == 12, "packed, as the x86-64 ABI has it");

static long do_create(struct task *t, int flags)
{
	struct file *f;
	int err;

	if (flags & ~EPOLL_CLOEXEC)
		return -EINVAL;
	err = epoll_new(&f);
	return err ? err : fd_install(t, f, 0, flags & EPOLL_CLOEXEC);
}

long sys_epoll_create(struct task *t, const u64 *arg)
{
	return (int)arg[0] <= 0 ? -EINVAL : do_create(t, 0);
}

long sys_epoll_create1(struct task *t, const u64 *arg)
{
	return do_create(t, (int)arg[0]);
}

long sys_epoll_ctl(struct task *t, const u64 *arg)
{
	struct epoll_event ev = { 0 };
	int op = (int)arg[1], fd = (int)arg[2];
	struct file *f, *target = NULL;
	long err = -EBADF;

	if (op != EPOLL_CTL_DEL && get_user(t->mm, &ev, arg[3]))
		return -EFAULT;
	f = fd_get_io(t->files, (int)arg[0]);
	if (f)
		target = fd_get_io(t->files, fd);
	if (!f || !target)
		goto out;
	if (!target->ops->poll)
		err = -EPERM;
	else if (!file_epoll(f))
		err = -EINVAL;
	else
		err = epoll_control(file_epoll(f), op, fd, target, &ev);
out:
	if (target)
		file_put(target);
	if (f)
		file_put(f);
	return err;
}

static long wait_on(struct task *t, struct epoll *ep, gva_t events, int max, u64 deadline)
{
	struct epoll_event on_stack[EVENTS_ON_STACK], *ev = on_stack;
	long n;

	max = MIN(max, EVENTS_MAX);
	if (max > EVENTS_ON_STACK)
		ev = malloc(max * sizeof(*ev));
	if (!ev)
		return -ENOMEM;
	n = epoll_collect(t, ep, ev, max, deadline);
	if (n > 0 && copy_out(t->mm, events, ev, n * sizeof(*ev)))
		n = -EFAULT;
	if (ev != on_stack)
		free(ev);
	return n;
}

static long do_wait(struct task *t, int epfd, gva_t events, int max, u64 deadline)
{
	struct file *f;
	long n;

	if (max <= 0 || max > (int)(INT_MAX / sizeof(struct epoll_event)))
		return -EINVAL;
	if (!guest_range_ok(events, max * sizeof(struct epoll_event)))
		return -EFAULT;
	f = fd_get_io(t->files, epfd);
	if (!f)
		return -EBADF;
	n = file_epoll(f) ? wait_on(t, file_epoll(f), events, max, deadline) : -EINVAL;
	file_put(f);
	return n;
}

static u64 deadline_of_ms(int ms)
{
	return ms < 0 ? TIME_FOREVER : ms ? deadline_after((u64)ms * 1000000) : 0;
}

/* As Linux, epoll_wait is never restarted after a handler has run. */
long sys_epoll_wait(struct task *t, const u64 *arg)
{
	return do_wait(t, (int)arg[0], arg[1], (int)arg[2], deadline_of_ms((int)arg[3]));
}

static long wait_masked(struct task *t, const u64 *arg, u64 deadline)
{
	long n = signal_mask_begin(t, arg[4], arg[5]);

	if (n)
		return n;
	n = do_wait(t, (int)arg[0], arg[1], (int)arg[2], deadline);
	signal_mask_end(t, n == -EINTR);
	return n;
}

long sys_epoll_pwait(struct task *t, const u64 *arg)
{
	return wait_masked(t, arg, deadline_of_ms((int)arg[3]));
}

long sys_epoll_pwait2(struct task *t, const u64 *arg)
{
	u64 deadline = TIME_FOREVER, ns;

	if (arg[3]) {
		int err = copy_in_timespec(t->mm, arg[3], &ns);

		if (err)
			return err;
		deadline = ns ? deadline_after(ns) : 0;
	}
	return wait_masked(t, arg, deadline);
}
