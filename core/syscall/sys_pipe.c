/* pipe, eventfd. */
#include <fcntl.h>
#include <sys/eventfd.h>

#include "fs/eventfd.h"
#include "fs/special.h"
#include "syscall/syscall.h"

static long do_pipe(struct task *t, gva_t addr, int flags)
{
	struct file *rd, *wr;
	int fd[2], err;

	if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
		return -EINVAL;
	err = pipe_create(t, &rd, &wr, flags & ~O_CLOEXEC);
	if (err)
		return err;
	fd[0] = fd_install(t, rd, 0, flags & O_CLOEXEC);
	if (fd[0] < 0) {
		file_put(wr);
		return fd[0];
	}
	fd[1] = fd_install(t, wr, 0, flags & O_CLOEXEC);
	if (fd[1] < 0) {
		fd_close(t, fd[0]);
		return fd[1];
	}
	err = put_user(t->mm, addr, &fd);
	if (err) {
		fd_close(t, fd[0]);
		fd_close(t, fd[1]);
	}
	return err;
}

long sys_pipe(struct task *t, const u64 *arg)
{
	return do_pipe(t, arg[0], 0);
}

long sys_pipe2(struct task *t, const u64 *arg)
{
	return do_pipe(t, arg[0], (int)arg[1]);
}

static long do_eventfd(struct task *t, u32 initial, int flags)
{
	struct file *f;
	int err;

	if (flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK))
		return -EINVAL;
	err = eventfd_create(initial, flags, &f);
	return err ? err : fd_install(t, f, 0, flags & EFD_CLOEXEC);
}

long sys_eventfd(struct task *t, const u64 *arg)
{
	return do_eventfd(t, (u32)arg[0], 0);
}

long sys_eventfd2(struct task *t, const u64 *arg)
{
	return do_eventfd(t, (u32)arg[0], (int)arg[1]);
}
