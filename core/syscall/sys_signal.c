/* System calls for signals: arguments in, results out; what they mean is in task/signal.c and its kin. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/signalfd.h"
#include "syscall/syscall.h"
#include "task/clock.h"
#include "task/signal.h"

/* ---- dispositions and masks ---- */

#define SA_KNOWN	(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND | \
			 GUEST_SA_RESTORER | 0x800ull /* SA_EXPOSE_TAGBITS: means nothing here */)

long sys_rt_sigaction(struct task *t, const u64 *arg)
{
	int signo = (int)arg[0];
	struct sigaction_entry new, old;

	if (arg[3] != sizeof(sigset64))
		return -EINVAL;
	if (arg[1] && get_user(t->mm, &new, arg[1]))
		return -EFAULT;
	if (!signal_valid(signo) || (arg[1] && (SIGBIT(signo) & SIGSET_KERNEL)))
		return -EINVAL;
	if (arg[1]) {
		/* Bits that this kernel does not know read back as 0, so that programs can probe for them. */
		new.flags &= SA_KNOWN;
		new.mask &= ~SIGSET_KERNEL;
	}
	signal_set_action(t, signo, arg[1] ? &new : NULL, &old);
	return arg[2] ? put_user(t->mm, arg[2], &old) : 0;
}

long sys_rt_sigprocmask(struct task *t, const u64 *arg)
{
	sigset64 old = t->blocked, set;

	if (arg[3] != sizeof(sigset64))
		return -EINVAL;
	if (arg[1]) {
		if (get_user(t->mm, &set, arg[1]))
			return -EFAULT;
		switch ((int)arg[0]) {
		case SIG_BLOCK:
			signal_set_blocked(t, old | set);
			break;
		case SIG_UNBLOCK:
			signal_set_blocked(t, old & ~set);
			break;
		case SIG_SETMASK:
			signal_set_blocked(t, set);
			break;
		default:
			return -EINVAL;
		}
	}
	return arg[2] ? put_user(t->mm, arg[2], &old) : 0;
}

long sys_rt_sigpending(struct task *t, const u64 *arg)
{
	sigset64 set;

	if (arg[1] > sizeof(set))
		return -EINVAL;
	pthread_mutex_lock(&t->tg->lock);
	set = (t->pending.set | t->tg->pending.set) & t->blocked;
	pthread_mutex_unlock(&t->tg->lock);
	return copy_out(t->mm, arg[0], &set, arg[1]);
}

long sys_sigaltstack(struct task *t, const u64 *arg)
{
	struct guest_stack new, old;
	int err = 0;

	if (arg[0] && get_user(t->mm, &new, arg[0]))
		return -EFAULT;
	altstack_save(t, &old);
	old.flags = altstack_status(t, t->regs.rsp) | (old.flags & ~(SS_DISABLE | SS_ONSTACK));
	if (arg[0])
		err = altstack_set(t, &new, t->regs.rsp);
	if (!err && arg[1])
		err = put_user(t->mm, arg[1], &old);
	return err;
}

/* ---- return and restart ---- */

long sys_rt_sigreturn(struct task *t, const u64 *arg)
{
	t->restart_fn = NULL;
	if (sigframe_pop(t)) {
		signal_force(t, SIGSEGV, SI_KERNEL, 0);
		return 0;
	}
	return t->regs.rax;
}

long sys_restart_syscall(struct task *t, const u64 *arg)
{
	return t->restart_fn ? t->restart_fn(t) : -EINTR;
}

/* ---- waiting ---- */

static long wait_for_signal(struct task *t)
{
	while (!task_interrupted(t))
		task_block(t, TIME_FOREVER);
	return -ERESTARTNOHAND;
}

long sys_pause(struct task *t, const u64 *arg)
{
	return wait_for_signal(t);
}

long sys_rt_sigsuspend(struct task *t, const u64 *arg)
{
	int err;

	if (arg[1] != sizeof(sigset64))
		return -EINVAL;
	err = arg[0] ? signal_mask_begin(t, arg[0], arg[1]) : -EFAULT;
	return err ? err : wait_for_signal(t);
}

static void set_waiting_for(struct task *t, sigset64 set)
{
	pthread_mutex_lock(&t->tg->lock);
	t->waiting_for = set;
	pthread_mutex_unlock(&t->tg->lock);
}

/*
 * The signals waited for count as unblocked meanwhile, so that senders choose and wake this thread. `deadline` 0: do not
 * wait. -EAGAIN: time is up. -EINTR: another signal came.
 */
static int wait_one_of(struct task *t, sigset64 set, u64 deadline, union guest_siginfo *info)
{
	int signo = signal_take(t, set, info);
	int err = 0;

	if (signo || !deadline)
		return signo ? signo : -EAGAIN;
	set_waiting_for(t, set);
	do {
		signo = signal_take(t, set, info);
		if (!signo)
			err = task_block(t, deadline);
	} while (!signo && !err);
	set_waiting_for(t, 0);
	if (!signo)
		signo = signal_take(t, set, info);
	if (signo)
		return signo;
	return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
}

long sys_rt_sigtimedwait(struct task *t, const u64 *arg)
{
	u64 deadline = TIME_FOREVER, ns;
	union guest_siginfo info;
	sigset64 set;
	int signo, err;

	if (arg[3] != sizeof(set))
		return -EINVAL;
	if (get_user(t->mm, &set, arg[0]))
		return -EFAULT;
	if (arg[2]) {
		err = copy_in_timespec(t->mm, arg[2], &ns);
		if (err)
			return err;
		deadline = ns ? deadline_after(ns) : 0;
	}
	signo = wait_one_of(t, set & ~SIGSET_KERNEL, deadline, &info);
	if (signo > 0 && arg[1] && put_user(t->mm, arg[1], &info))
		return -EFAULT;
	return signo;
}

/* ---- sending ---- */

static struct thread_group *group_of_pid(int pid)
{
	struct thread_group *tg = thread_group_get(pid);
	struct task *t;

	if (tg)
		return tg;
	/* Any thread's number names its process. */
	t = task_get(pid);
	if (!t)
		return NULL;
	tg = t->tg;
	thread_group_ref(tg);
	task_put(t);
	return tg;
}

static bool signo_valid_or_0(int signo)
{
	return signo == 0 || signal_valid(signo);
}

static long kill_pid(struct task *t, int pid, const union guest_siginfo *info)
{
	struct thread_group *tg = pid > 0 ? group_of_pid(pid) : NULL;
	long err;

	if (!tg)
		return -ESRCH;
	err = signo_valid_or_0(info->si.si_signo) ? signal_kill_group(t, tg, info) : -EINVAL;
	thread_group_put(tg);
	return err;
}

long sys_kill(struct task *t, const u64 *arg)
{
	int pid = (int)arg[0], signo = (int)arg[1];
	union guest_siginfo info;

	signal_info(&info, signo, SI_USER, t);
	if (pid > 0)
		return kill_pid(t, pid, &info);
	if (pid == INT_MIN)
		return -ESRCH;
	if (!signo_valid_or_0(signo))
		return -EINVAL;
	if (pid == -1)
		return signal_kill_all(t, &info);
	return signal_kill_pgrp(t, pid ? -pid : t->tg->pgid, &info);
}

/* `tgid` 0: whatever process the thread belongs to. */
static long kill_thread(struct task *t, int tgid, int tid, const union guest_siginfo *info)
{
	struct task *to = task_get(tid);
	long err;

	if (!to)
		return -ESRCH;
	if (tgid && to->tg->tgid != tgid)
		err = -ESRCH;
	else if (!signo_valid_or_0(info->si.si_signo))
		err = -EINVAL;
	else
		err = signal_kill_task(t, to, info);
	task_put(to);
	return err;
}

long sys_tkill(struct task *t, const u64 *arg)
{
	int tid = (int)arg[0];
	union guest_siginfo info;

	if (tid <= 0)
		return -EINVAL;
	signal_info(&info, (int)arg[1], SI_TKILL, t);
	return kill_thread(t, 0, tid, &info);
}

long sys_tgkill(struct task *t, const u64 *arg)
{
	int tgid = (int)arg[0], tid = (int)arg[1];
	union guest_siginfo info;

	if (tgid <= 0 || tid <= 0)
		return -EINVAL;
	signal_info(&info, (int)arg[2], SI_TKILL, t);
	return kill_thread(t, tgid, tid, &info);
}

/* Nobody may pretend to be the kernel, or kill(2), but to itself. */
static int copy_in_info(struct task *t, gva_t src, int target, int signo, union guest_siginfo *info)
{
	if (copy_in(t->mm, info, src, sizeof(*info)))
		return -EFAULT;
	info->si.si_signo = signo;
	if ((info->si.si_code >= 0 || info->si.si_code == SI_TKILL) && target != t->tg->tgid)
		return -EPERM;
	return 0;
}

long sys_rt_sigqueueinfo(struct task *t, const u64 *arg)
{
	int pid = (int)arg[0];
	union guest_siginfo info;
	int err = copy_in_info(t, arg[2], pid, (int)arg[1], &info);

	return err ? err : kill_pid(t, pid, &info);
}

long sys_rt_tgsigqueueinfo(struct task *t, const u64 *arg)
{
	int tgid = (int)arg[0], tid = (int)arg[1];
	union guest_siginfo info;
	int err = copy_in_info(t, arg[3], tid, (int)arg[2], &info);

	if (err)
		return err;
	return tgid <= 0 || tid <= 0 ? -EINVAL : kill_thread(t, tgid, tid, &info);
}

/* ---- signalfd ---- */

static long do_signalfd(struct task *t, int fd, gva_t mask, u64 size, u32 flags)
{
	struct file *f;
	sigset64 set;
	int err;

	if (size != sizeof(set) || (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK)))
		return -EINVAL;
	if (get_user(t->mm, &set, mask))
		return -EFAULT;
	set &= ~SIGSET_KERNEL;
	if (fd == -1) {
		f = signalfd_new(t, set, flags & O_NONBLOCK);
		return f ? fd_install(t, f, 0, flags & O_CLOEXEC) : -ENOMEM;
	}
	f = fd_get_io(t->files, fd);
	if (!f)
		return -EBADF;
	err = signalfd_set_mask(f, set);
	file_put(f);
	return err ? err : fd;
}

long sys_signalfd(struct task *t, const u64 *arg)
{
	return do_signalfd(t, (int)arg[0], arg[1], arg[2], 0);
}

long sys_signalfd4(struct task *t, const u64 *arg)
{
	return do_signalfd(t, (int)arg[0], arg[1], arg[2], (u32)arg[3]);
}
