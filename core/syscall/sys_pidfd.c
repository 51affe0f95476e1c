/* pidfds: opening one, signalling through one, taking a descriptor out of another process. */
#include <fcntl.h>
#include <linux/capability.h>

#include "fs/fs.h"
#include "fs/special.h"
#include "syscall/syscall.h"
#include "task/signal.h"
#include "task/wait.h"

long sys_pidfd_open(struct task *t, const u64 *arg)
{
	s32 pid = arg[0];
	u32 flags = arg[1];
	struct thread_group *tg;
	struct task *thread;
	struct file *f;

	if (flags & ~(u32)O_NONBLOCK || pid <= 0)
		return -EINVAL;
	tg = thread_group_get(pid);
	if (!tg) {
		thread = task_get(pid);		/* a thread that leads no group */
		if (!thread)
			return -ESRCH;
		task_put(thread);
		return -EINVAL;
	}
	f = pidfd_file(tg, O_RDWR | flags);
	thread_group_put(tg);
	return f ? fd_install(t, f, 0, true) : -ENOMEM;
}

/* The group that a descriptor names, with a reference. `proc_dir`: a directory of /proc will do. */
static int group_of_fd(struct task *t, int fd, bool proc_dir, struct thread_group **out)
{
	struct file *f = fd_get_io(t->files, fd);
	int pid;

	if (!f)
		return -EBADF;
	*out = pidfd_group(f);
	if (!*out && proc_dir && (pid = proc_file_pid(f)))
		*out = thread_group_get(pid);
	file_put(f);
	return *out ? 0 : -EBADF;
}

/* The guest's siginfo: it may not pretend to be the kernel or a kill(2) unless it signals itself. */
static int copy_in_info(struct task *t, gva_t src, int signo, const struct thread_group *to, union guest_siginfo *info)
{
	if (!src) {
		signal_info(info, signo, SI_USER, t);
		return 0;
	}
	if (get_user(t->mm, info, src))
		return -EFAULT;
	if (info->si.si_signo != signo)
		return -EINVAL;
	if (to != t->tg && (info->si.si_code >= 0 || info->si.si_code == SI_TKILL))
		return -EPERM;
	return 0;
}

long sys_pidfd_send_signal(struct task *t, const u64 *arg)
{
	struct thread_group *tg;
	union guest_siginfo info;
	int signo = arg[1], err;

	if ((u32)arg[3])
		return -EINVAL;
	err = group_of_fd(t, arg[0], true, &tg);
	if (err)
		return err;
	err = copy_in_info(t, arg[2], signo, tg, &info);
	if (!err && signo && !signal_valid(signo))
		err = -EINVAL;
	if (!err && tg->reaped)
		err = -ESRCH;
	if (!err)
		err = signal_kill_group(t, tg, &info);
	thread_group_put(tg);
	return err;
}

/* As PTRACE_MODE_ATTACH_REALCREDS asks: the same user in all three ids, or CAP_SYS_PTRACE. */
static bool may_take(struct task *t, const struct cred *o)
{
	const struct cred *c = t->cred;

	return cred_capable(c, CAP_SYS_PTRACE) || (c->uid == o->uid && c->uid == o->euid && c->uid == o->suid &&
						   c->gid == o->gid && c->gid == o->egid && c->gid == o->sgid);
}

/* Any thread's table will do; with references. -ESRCH: all are gone. */
static int files_of(struct task *t, struct thread_group *tg, struct fd_table **out)
{
	struct task *other;
	int err = -ESRCH;

	pthread_mutex_lock(&tg->lock);
	other = TAILQ_FIRST(&tg->threads);
	if (other && other->files) {
		err = may_take(t, other->cred) ? 0 : -EPERM;
		*out = other->files;
		if (!err)
			fd_table_get(*out);
	}
	pthread_mutex_unlock(&tg->lock);
	return err;
}

long sys_pidfd_getfd(struct task *t, const u64 *arg)
{
	struct thread_group *tg;
	struct fd_table *files;
	struct file *f;
	int err;

	if ((u32)arg[2])
		return -EINVAL;
	err = group_of_fd(t, arg[0], false, &tg);
	if (err)
		return err;
	err = files_of(t, tg, &files);
	thread_group_put(tg);
	if (err)
		return err;
	f = fd_get(files, arg[1]);
	fd_table_put(files);
	return f ? fd_install(t, f, 0, true) : -EBADF;
}
