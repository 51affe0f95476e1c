/*
 * clone: a new thread or process.
 *
 * The child is made whole, its host thread started, and then it is linked, which nothing undoes. `start` tells the
 * thread what became of it: NEW -> GO, or ABANDON if linking failed. By the time the thread has started the maker
 * has usually said GO, so neither side sleeps. Until then the child is the maker's: nobody else can find it.
 *
 * The context is made by the child's own thread, after GO. Backends bind contexts to their vehicles late, so only
 * memory can be short there; the child's group is then killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/sysctl.h"
#include "host/futex.h"
#include "ipc/ipc.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "stamp.h"
#include "stats.h"
#include "task/clock.h"
#include "task/internal.h"
#include "task/ptrace.h"
#include "task/seccomp.h"
#include "task/wait.h"

struct vfork_done {
	atomic_int refs;		/* parent's and child's */
	atomic_uint done;
	struct task *parent;		/* holds a reference */
};

/* ---- the new thread's side ---- */

static int make_context(struct task *t)
{
	int err;

	err = platform->context_create(&t->ctx);
	if (!err && t->start_fp)
		err = platform->fp_write(t->ctx, t->start_fp);
	return err;
}

/* False: the maker gave it up. After ABANDON the task is the maker's alone. */
static bool wait_for_go(struct task *t)
{
	u32 state;

	while ((state = atomic_load(&t->start)) == START_NEW)
		host_futex_wait(&t->start, START_NEW, TIME_FOREVER);
	if (state == START_ABANDON)
		task_put(t);
	return state == START_GO;
}

bool task_begin(struct task *t)
{
	if (!wait_for_go(t))
		return false;
	t->host_tid = syscall(SYS_gettid);
	t->tick = usage_tick();
	stats_task_start(t);
	stamps_task_start();
	if (make_context(t)) {
		log_warn("[%d] no memory for a context: killing thread group %d", t->tid, t->tg->tgid);
		task_kill_group(t->tg, SIGKILL);
	}
	free(t->start_fp);
	t->start_fp = NULL;
	if (t->set_child_tid)
		put_user(t->mm, t->set_child_tid, &t->tid);	/* a bad address is the guest's affair */
	return true;
}

/* ---- the maker's side ---- */

void task_start_go(struct task *t)
{
	atomic_store(&t->start, START_GO);
	host_futex_wake(&t->start, 1);
}

/* On return the thread has let go of the task, and the maker's reference is the only one. */
static void start_abandon(struct task *t)
{
	atomic_store(&t->start, START_ABANDON);
	host_futex_wake(&t->start, 1);
	while (atomic_load(&t->refs) > 1)
		sched_yield();
}

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull	/* clone3 only */
#endif
#define TLS_END		0x7ffffffff000ull		/* TASK_SIZE_MAX: what the kernel takes as an FS base */
#define CLONE_KNOWN	(CSIGNAL | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_PIDFD | CLONE_PTRACE | \
			 CLONE_VFORK | CLONE_PARENT | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
			 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_UNTRACED | \
			 CLONE_CHILD_SETTID | CLONE_IO | CLONE_CLEAR_SIGHAND)
#define CLONE_NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
			  CLONE_NEWNET)

/* There are no namespaces to make: as in a kernel whose policy forbids them. */
static int check_flags(struct task *parent, const struct clone_args_kernel *a)
{
	u64 f = a->flags;

	if (f & ~(u64)(CLONE_KNOWN | CLONE_NAMESPACES))
		return -EINVAL;
	if ((f & CLONE_FS) && (f & (CLONE_NEWNS | CLONE_NEWUSER)))
		return -EINVAL;
	if ((f & CLONE_THREAD) && (f & (CLONE_NEWUSER | CLONE_NEWPID)))
		return -EINVAL;
	if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
		return -EINVAL;
	if ((f & CLONE_SIGHAND) && !(f & CLONE_VM))
		return -EINVAL;
	if ((f & CLONE_SIGHAND) && (f & CLONE_CLEAR_SIGHAND))
		return -EINVAL;
	if ((f & CLONE_PIDFD) && (f & (CLONE_DETACHED | CLONE_THREAD)))
		return -EINVAL;
	if ((f & CLONE_SETTLS) && a->tls >= TLS_END)
		return -EPERM;
	if (a->exit_signal > NSIG_GUEST)
		return -EINVAL;
	return f & CLONE_NAMESPACES ? -EPERM : 0;
}

static bool over_nproc(struct task *parent)
{
	const struct cred *c = parent->cred;

	return c->uid && !cred_capable(c, CAP_SYS_RESOURCE) && !cred_capable(c, CAP_SYS_ADMIN) &&
	       user_tasks(c->uid) >= task_rlimit(parent, RLIMIT_NPROC);
}

static void child_regs(struct task *child, const struct clone_args_kernel *a)
{
	child->regs.rax = 0;
	child->regs.orig_rax = -1;
	if (a->stack)
		child->regs.rsp = a->stack + a->stack_size;
	if (a->flags & CLONE_SETTLS)
		child->regs.fs_base = a->tls;
}

/* What every child has of its maker, thread or not. */
static void copy_own(struct task *child, struct task *parent, const struct clone_args_kernel *a)
{
	child->regs = parent->regs;
	child_regs(child, a);
	if (!(a->flags & CLONE_VM) || (a->flags & CLONE_VFORK))
		child->altstack = parent->altstack;
	if (a->flags & CLONE_CHILD_CLEARTID)
		child->clear_child_tid = a->child_tid;
	if (a->flags & CLONE_CHILD_SETTID)
		child->set_child_tid = a->child_tid;
	memcpy(child->comm, parent->comm, sizeof(child->comm));
	child->timer_slack_ns = child->timer_slack_default = parent->timer_slack_ns;
	child->personality = parent->personality;
	child->no_new_privs = parent->no_new_privs;
	child->securebits = parent->securebits;
	child->blocked = parent->blocked;
	child->sched = parent->sched;
	if (child->sched.reset_on_fork) {
		child->sched.policy = SCHED_OTHER;
		child->sched.priority = 0;
		child->sched.nice = MAX(child->sched.nice, 0);
		child->sched.reset_on_fork = false;
	}
	cred_get(parent->cred);
	child->cred = parent->cred;
	child->start_ns = clock_now(CLOCK_MONOTONIC);
}

static int copy_sighand(struct task *child, struct task *parent, u64 flags)
{
	if (flags & CLONE_SIGHAND) {
		atomic_fetch_add(&parent->sighand->refs, 1);
		child->sighand = parent->sighand;
		return 0;
	}
	child->sighand = sighand_copy(parent->sighand);
	if (!child->sighand)
		return -ENOMEM;
	if (flags & CLONE_CLEAR_SIGHAND)
		for (int i = 0; i < NSIG_GUEST; i++)
			if (child->sighand->action[i].handler != (u64)SIG_IGN)
				child->sighand->action[i] = (struct sigaction_entry){ 0 };
	return 0;
}

static int copy_shared(struct task *child, struct task *parent, u64 flags)
{
	int err;

	err = copy_sighand(child, parent, flags);
	if (!err)
		err = sem_clone(child, parent, flags & CLONE_SYSVSEM);
	if (err)
		return err;
	if (flags & CLONE_FILES) {
		fd_table_get(parent->files);
		child->files = parent->files;
	} else {
		child->files = fd_table_copy(parent->files);
	}
	if (flags & CLONE_FS) {
		fs_place_get(parent->place);
		child->place = parent->place;
	} else {
		child->place = fs_place_copy(parent->place);
	}
	if (!child->files || !child->place)
		return -ENOMEM;
	if (!(flags & CLONE_VM))
		return mm_fork(parent->mm, &child->mm);
	mm_get(parent->mm);
	child->mm = parent->mm;
	return 0;
}

/* A thread group for a new process. Limits and the like are the parent's. */
static struct thread_group *new_group(struct task *parent, const struct clone_args_kernel *a)
{
	struct thread_group *tg = thread_group_new();

	if (!tg)
		return NULL;
	pthread_mutex_lock(&parent->tg->lock);
	memcpy(tg->rlim, parent->tg->rlim, sizeof(tg->rlim));
	tg->oom_score_adj = parent->tg->oom_score_adj;
	pthread_mutex_unlock(&parent->tg->lock);
	tg->exit_signal = a->flags & CLONE_PARENT ? parent->tg->exit_signal : (int)a->exit_signal;
	tg->start_ns = clock_now(CLOCK_MONOTONIC);
	return tg;
}

static void link_group(struct task *child, struct task *parent, u64 flags)
{
	struct thread_group *tg = child->tg, *from = parent->tg;

	tg->tgid = child->tid;
	tg->leader = child;
	tg->parent = flags & CLONE_PARENT ? from->parent : from;
	tg->parent_tid = flags & CLONE_PARENT ? from->parent_tid : parent->tid;
	TAILQ_INSERT_TAIL(&tg->parent->children, tg, sibling);
	session_join(tg, from->session);
	pgrp_join(tg, from->pgid, from->session);	/* it exists: nothing to allocate */
	pid_set_group(tg->tgid, tg);
	cpu_limit_changed(tg);
}

/* From here on the child can be found, signalled, waited for. Fails if the maker is about to die. */
static int link_child(struct task *child, struct task *parent, u64 flags, int exit_signal)
{
	struct thread_group *tg = parent->tg;
	int tid, err = 0;

	pthread_rwlock_wrlock(&tasklist);
	pthread_mutex_lock(&tg->lock);
	if (tg->exiting || tg->exec_task || atomic_load(&sandbox_ending))
		err = -ERESTARTNOINTR;
	tid = err ? err : pid_alloc();
	if (tid < 0) {
		err = tid;
		goto out;
	}
	child->tid = tid;
	pid_set_task(tid, child);
	if (!(flags & CLONE_THREAD))
		link_group(child, parent, flags);
	TAILQ_INSERT_TAIL(&child->tg->threads, child, thread_link);
	child->tg->nthreads++;
	if (flags & CLONE_THREAD && tg->stop_signal)
		atomic_fetch_or(&child->work, TASK_STOP);
	seccomp_clone(child, parent);
	ptrace_clone_link(child, parent, flags, exit_signal);
	if (child->tg->pending.set & ~child->blocked)
		atomic_fetch_or(&child->work, TASK_SIGNAL);
out:
	pthread_mutex_unlock(&tg->lock);
	pthread_rwlock_unlock(&tasklist);
	return err;
}

static int vfork_prepare(struct task *child, struct task *parent)
{
	struct vfork_done *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->refs = 2;
	task_ref(parent);
	v->parent = parent;
	child->vfork = v;
	return 0;
}

static void vfork_put(struct vfork_done *v)
{
	if (atomic_fetch_sub(&v->refs, 1) == 1) {
		task_put(v->parent);
		free(v);
	}
}

/* The child execs or ends: its parent may go on. Own thread. */
void vfork_release(struct task *t)
{
	struct vfork_done *v = t->vfork;

	if (!v)
		return;
	t->vfork = NULL;
	atomic_store(&v->done, 1);
	task_wake(v->parent);
	vfork_put(v);
}

static void vfork_wait(struct task *parent, struct vfork_done *v)
{
	while (!atomic_load(&v->done))
		if (task_block_killable(parent, TIME_FOREVER))
			break;
	vfork_put(v);
}

static int copy_fp(struct task *child, struct task *parent)
{
	child->start_fp = aligned_alloc(64, align_up(xstate_size(), 64));
	if (!child->start_fp)
		return -ENOMEM;
	return platform->fp_read(parent->ctx, child->start_fp);
}

static struct task *new_child(struct task *parent, const struct clone_args_kernel *a)
{
	struct thread_group *tg = parent->tg;
	struct task *child;

	if (!(a->flags & CLONE_THREAD)) {
		tg = new_group(parent, a);
		if (!tg)
			return NULL;
	}
	child = task_new(tg);
	if (!child && tg != parent->tg)
		thread_group_put(tg);
	return child;
}

static void drop_child(struct task *child, struct task *parent)
{
	struct thread_group *tg = child->tg;

	if (child->vfork) {
		vfork_put(child->vfork);
		vfork_put(child->vfork);
	}
	task_free_unlinked(child);
	if (tg != parent->tg)
		thread_group_put(tg);	/* would have been the table's */
}

/* CLONE_PIDFD: a descriptor of the child in the maker's table, -1 if none was asked for. */
static int make_pidfd(struct task *child, struct task *parent, const struct clone_args_kernel *a, int *fd)
{
	struct file *f;

	if (!(a->flags & CLONE_PIDFD))
		return 0;
	f = pidfd_file(child->tg, O_RDWR);
	if (!f)
		return -ENOMEM;
	*fd = fd_install(parent, f, 0, true);
	if (*fd < 0)
		return *fd;
	return put_user(parent->mm, a->pidfd, fd);
}

/* Makes the child up to the point where it only waits for GO. */
static int make_child(struct task *parent, const struct clone_args_kernel *a, struct task *child)
{
	int err, pidfd = -1;

	copy_own(child, parent, a);
	err = copy_fp(child, parent);
	if (!err)
		err = copy_shared(child, parent, a->flags);
	if (!err && (a->flags & CLONE_VFORK))
		err = vfork_prepare(child, parent);
	if (!err)
		err = make_pidfd(child, parent, a, &pidfd);
	if (!err)
		err = task_thread_start(child);
	if (!err) {
		err = link_child(child, parent, a->flags, (int)a->exit_signal);
		if (err)
			start_abandon(child);
	}
	if (err && pidfd >= 0)
		fd_close(parent, pidfd);
	return err;
}

s64 task_clone(struct task *parent, const struct clone_args_kernel *a)
{
	struct vfork_done *vfork;
	struct task *child;
	int err, tid;

	err = check_flags(parent, a);
	if (err)
		return err;
	if (task_interrupted(parent))
		return -ERESTARTNOINTR;
	if (over_nproc(parent) || !sandbox_add_task())
		return -EAGAIN;
	if (platform->idle)
		platform->idle(parent->ctx, false);
	err = -ENOMEM;
	child = new_child(parent, a);
	if (!child)
		goto fail;
	err = make_child(parent, a, child);
	if (err) {
		drop_child(child, parent);
		goto fail;
	}
	tid = child->tid;
	vfork = child->vfork;
	user_charge(parent->cred->uid, 1);
	if (a->flags & CLONE_PARENT_SETTID)
		put_user(parent->mm, a->parent_tid, &tid);
	task_start_go(child);
	ptrace_clone_event(parent, a->flags, (int)a->exit_signal, tid);
	if (vfork) {
		vfork_wait(parent, vfork);
		ptrace_vfork_done(parent, tid);
	}
	return tid;
fail:
	sandbox_remove_task();
	return err;
}

/* unshare(2) of what a task can have of its own. */
int task_unshare(struct task *t, bool files, bool place)
{
	struct fd_table *old_files = t->files, *new_files = NULL;
	struct fs_place *old_place = t->place, *new_place = NULL;

	files = files && fd_table_shared(old_files);
	if (files && fd_table_span(old_files) > MAX(sysctl_nr_open.value, (s64)FD_FIRST_SIZE))
		return -EMFILE;
	if (files && !(new_files = fd_table_copy(old_files)))
		return -ENOMEM;
	if (place && !(new_place = fs_place_copy(old_place))) {
		if (new_files)
			fd_table_put(new_files);
		return -ENOMEM;
	}
	pthread_mutex_lock(&t->tg->lock);
	if (new_files)
		t->files = new_files;
	if (new_place)
		t->place = new_place;
	pthread_mutex_unlock(&t->tg->lock);
	if (new_files)
		fd_table_put(old_files);
	if (new_place)
		fs_place_put(old_place);
	return 0;
}
