/* Making, ending and waiting for tasks: clone(2) and its kin, exit, wait4, waitid. */
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/wait.h>

#include "fs/fs.h"
#include "ipc/ipc.h"
#include "syscall/syscall.h"
#include "syscall/usage.h"
#include "task/wait.h"

long sys_clone(struct task *t, const u64 *arg)
{
	const struct clone_args_kernel a = {
		.flags = (u32)arg[0] & ~(u32)CSIGNAL,
		.exit_signal = (u32)arg[0] & CSIGNAL,
		.stack = arg[1],
		.parent_tid = arg[2],
		.pidfd = arg[2],
		.child_tid = arg[3],
		.tls = arg[4],
	};

	if ((a.flags & CLONE_PIDFD) && (a.flags & (CLONE_PARENT_SETTID | CLONE_DETACHED)))
		return -EINVAL;
	return task_clone(t, &a);
}

long sys_fork(struct task *t, const u64 *arg)
{
	const struct clone_args_kernel a = { .exit_signal = SIGCHLD };

	return task_clone(t, &a);
}

long sys_vfork(struct task *t, const u64 *arg)
{
	const struct clone_args_kernel a = { .flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD };

	return task_clone(t, &a);
}

/* A struct that grows: what we know is copied, what we do not must be zero. Returns 0, -EINVAL, -E2BIG, -EFAULT. */
static int copy_in_struct(struct task *t, void *dst, u64 known, gva_t src, u64 size)
{
	u8 rest[256];
	u64 n;
	int err;

	if (size > PAGE_SIZE)
		return -E2BIG;
	memset(dst, 0, known);
	err = copy_in(t->mm, dst, src, MIN(size, known));
	for (u64 at = known; !err && at < size; at += n) {
		n = MIN(size - at, sizeof(rest));
		err = copy_in(t->mm, rest, src + at, n);
		for (u64 i = 0; !err && i < n; i++)
			if (rest[i])
				err = -E2BIG;
	}
	return err;
}

#define CLONE_ARGS_SIZE_VER0	64

long sys_clone3(struct task *t, const u64 *arg)
{
	struct clone_args_kernel a;
	int err;

	if (arg[1] < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	err = copy_in_struct(t, &a, sizeof(a), arg[0], arg[1]);
	if (err)
		return err;
	if (a.set_tid || a.set_tid_size)		/* a privilege over the pid namespace: nobody has it */
		return a.set_tid_size > 32 || !a.set_tid != !a.set_tid_size ? -EINVAL : -EPERM;
	if (a.flags & (CLONE_DETACHED | CSIGNAL) || a.exit_signal > NSIG_GUEST)
		return -EINVAL;
	if ((a.flags & (CLONE_THREAD | CLONE_PARENT)) && a.exit_signal)
		return -EINVAL;
	if (!a.stack != !a.stack_size)
		return -EINVAL;
	return task_clone(t, &a);
}

long sys_exit(struct task *t, const u64 *arg)
{
	task_exit(t, (arg[0] & 0xff) << 8);
	return 0;
}

long sys_exit_group(struct task *t, const u64 *arg)
{
	task_exit_group(t, (arg[0] & 0xff) << 8);
	return 0;
}

long sys_set_tid_address(struct task *t, const u64 *arg)
{
	t->clear_child_tid = arg[0];
	return t->tid;
}

/* ---- waiting ---- */

long sys_wait4(struct task *t, const u64 *arg)
{
	s32 pid = arg[0];
	u32 options = arg[2];
	struct wait_spec spec = { .options = options | WEXITED };
	struct wait_result r;
	int err;

	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
		return -EINVAL;
	if (pid == INT32_MIN)
		return -ESRCH;
	if (pid == -1)
		spec.which = WAITFOR_ANY;
	else if (pid > 0)
		spec = (struct wait_spec){ WAITFOR_PID, pid, spec.options };
	else
		spec = (struct wait_spec){ WAITFOR_PGID, pid ? -pid : t->tg->pgid, spec.options };
	err = task_wait(t, &spec, &r);
	if (err)
		return err;
	if (r.pid && arg[1] && put_user(t->mm, arg[1], &r.status))
		return -EFAULT;
	if (r.pid && arg[3] && copy_out_rusage(t->mm, arg[3], &r.usage))
		return -EFAULT;
	return r.pid;
}

/* P_PIDFD: the group that the descriptor names. */
static int spec_of_pidfd(struct task *t, int fd, struct wait_spec *spec)
{
	struct thread_group *tg;
	struct file *f;

	if (fd < 0)
		return -EINVAL;
	f = fd_get_io(t->files, fd);
	if (!f)
		return -EBADF;
	tg = pidfd_group(f);
	if (tg) {
		spec->which = WAITFOR_PID;
		spec->id = tg->tgid;
		if (f->flags & O_NONBLOCK)
			spec->options |= WNOHANG;
		thread_group_put(tg);
	}
	file_put(f);
	return tg ? 0 : -EBADF;
}

static int waitid_spec(struct task *t, u32 which, s32 id, struct wait_spec *spec)
{
	spec->id = id;
	switch (which) {
	case P_ALL:
		spec->which = WAITFOR_ANY;
		return 0;
	case P_PID:
		spec->which = WAITFOR_PID;
		return id > 0 ? 0 : -EINVAL;
	case P_PGID:
		spec->which = WAITFOR_PGID;
		if (!id)
			spec->id = t->tg->pgid;
		return id >= 0 ? 0 : -EINVAL;
	case P_PIDFD:
		return spec_of_pidfd(t, id, spec);
	default:
		return -EINVAL;
	}
}

/* The kernel writes the fields one by one and leaves the rest of the guest's siginfo alone; so do we. */
static int copy_out_waitinfo(struct mm *mm, gva_t dst, const struct wait_result *r)
{
	struct {
		s32 signo, err, code, pad, pid;
		u32 uid;
		s32 status;
	} info = { 0 };

	_Static_assert(offsetof(siginfo_t, si_status) == 24 && offsetof(siginfo_t, si_pid) == 16, "siginfo layout");
	if (r->pid) {
		info.signo = SIGCHLD;
		info.code = r->code;
		info.pid = r->pid;
		info.uid = r->uid;
		if (r->code == CLD_CONTINUED)
			info.status = SIGCONT;
		else if (r->code == CLD_KILLED || r->code == CLD_DUMPED)
			info.status = r->status & 0x7f;
		else if (r->code == CLD_TRAPPED)
			info.status = r->status >> 8;
		else
			info.status = (r->status >> 8) & 0xff;
	}
	return put_user(mm, dst, &info);
}

long sys_waitid(struct task *t, const u64 *arg)
{
	u32 options = arg[3];
	struct wait_spec spec = { .options = options };
	struct wait_result r;
	int err;

	if (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
		return -EINVAL;
	if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	err = waitid_spec(t, (u32)arg[0], (s32)arg[1], &spec);
	if (err)
		return err;
	err = task_wait(t, &spec, &r);
	if (!err && !r.pid && (spec.options & WNOHANG) && !(options & WNOHANG))
		return -EAGAIN;			/* an O_NONBLOCK pidfd */
	if (err)
		return err;
	if (r.pid && arg[4] && copy_out_rusage(t->mm, arg[4], &r.usage))
		return -EFAULT;
	if (arg[2] && copy_out_waitinfo(t->mm, arg[2], &r))
		return -EFAULT;
	return 0;
}

/* ---- namespaces: there is one of each ---- */

long sys_unshare(struct task *t, const u64 *arg)
{
	u64 flags = arg[0];
	u64 known = CLONE_THREAD | CLONE_FS | CLONE_NEWNS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM |
		    CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWCGROUP |
		    CLONE_NEWTIME;

	if (flags & ~known)
		return -EINVAL;
	if (flags & ~(u64)(CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM))
		return -EPERM;
	if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && t->tg->nthreads > 1)
		return -EINVAL;
	if (flags & CLONE_SYSVSEM)
		sem_exit(t);
	return task_unshare(t, flags & CLONE_FILES, flags & CLONE_FS);
}

long sys_setns(struct task *t, const u64 *arg)
{
	struct file *f = fd_get_io(t->files, (int)arg[0]);

	if (!f)
		return -EBADF;
	file_put(f);
	return -EINVAL;
}
