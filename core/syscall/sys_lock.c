/* flock. fcntl's locks come through sys_file.c. */
#include <fcntl.h>
#include <sys/file.h>

#include "fs/locks.h"
#include "syscall/syscall.h"

static int flock_type(int op)
{
	switch (op & ~LOCK_NB) {
	case LOCK_SH:
		return F_RDLCK;
	case LOCK_EX:
		return F_WRLCK;
	case LOCK_UN:
		return F_UNLCK;
	default:
		return -EINVAL;
	}
}

long sys_flock(struct task *t, const u64 *arg)
{
	int op = (int)arg[1], type = flock_type(op);
	struct file *f;
	long r;

	if (type < 0)
		return type;
	f = fd_get_io(t->files, (int)arg[0]);
	if (!f)
		return -EBADF;
	r = locks_flock(t, f, type, !(op & LOCK_NB));
	file_put(f);
	return r;
}
