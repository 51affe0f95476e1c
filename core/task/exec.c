/*
 * execve: a new program in an old task.
 *
 * The new mm is made whole before anything of the old program is touched, so that every failure up to there leaves
 * the caller as it was. Then come, in the kernel's order: the other threads end and this one takes over the
 * group's number; the old mm is left (robust list, clear_child_tid, vfork parent); files, signals, timers, registers.
 *
 * Set-user-id and set-group-id bits and file capabilities are ignored: a program never gains anything by exec.
 */
#include "task/exec.h"

#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "loader/loader.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "stats.h"
#include "task/internal.h"
#include "task/posix_timer.h"
#include "task/ptrace.h"

static int load(struct task *t, struct file *file, const char *path, char *const argv[], char *const envp[],
		struct mm **out, struct load_result *res)
{
	struct mm *mm;
	int err;

	err = mm_create(&mm);
	if (err)
		return err;
	mm->dumpable = 1;
	err = load_program(t, mm, file, path, argv, envp, res);
	if (err) {
		mm_put(mm);
		return err;
	}
	if (!mm->exe) {
		file_get(file);
		mm->exe = file;
	}
	*out = mm;
	return 0;
}

/* As ELF_PLAT_INIT and start_thread do. Selectors are the ones every 64-bit program has. */
static void initial_regs(struct guest_regs *regs, const struct load_result *res)
{
	*regs = (struct guest_regs){
		.orig_rax = -1, .rip = res->entry, .rsp = res->sp, .cs = 0x33, .ss = 0x2b, .eflags = 0x202,
	};
}

static void set_comm(struct task *t, const char *comm)
{
	pthread_mutex_lock(&t->tg->lock);
	memcpy(t->comm, comm, sizeof(t->comm));
	t->comm[sizeof(t->comm) - 1] = 0;
	stats_task_renamed(t);
	pthread_mutex_unlock(&t->tg->lock);
}

int exec_first(struct task *t, struct file *file, const char *path, char *const argv[], char *const envp[])
{
	struct load_result res;
	int err;

	err = load(t, file, path, argv, envp, &t->mm, &res);
	if (err)
		return err;
	set_comm(t, res.comm);
	initial_regs(&t->regs, &res);
	t->tg->exec_done = true;
	return 0;
}

/* All other threads are told to end, and waited for. -EAGAIN: the group is ending, or another thread was first. */
static int end_siblings(struct task *t)
{
	struct thread_group *tg = t->tg;
	bool alone = false, dying = false;

	pthread_mutex_lock(&tg->lock);
	if (tg->exiting || tg->exec_task) {
		pthread_mutex_unlock(&tg->lock);
		return -EAGAIN;
	}
	tg->exec_task = t;
	thread_group_kill_others(t);
	pthread_mutex_unlock(&tg->lock);

	while (!alone && !dying) {
		pthread_mutex_lock(&tg->lock);
		alone = tg->nthreads == 1;
		dying = tg->exiting;
		pthread_mutex_unlock(&tg->lock);
		if (!alone && !dying)
			task_block_killable(t, TIME_FOREVER);
	}
	return dying ? -EAGAIN : 0;
}

static void end_exec(struct thread_group *tg)
{
	pthread_mutex_lock(&tg->lock);
	tg->exec_task = NULL;
	pthread_mutex_unlock(&tg->lock);
}

/* The only thread left becomes the leader and takes the group's number, whoever had it. */
static void become_leader(struct task *t)
{
	struct thread_group *tg = t->tg, *child;
	struct task *old;

	pthread_rwlock_wrlock(&tasklist);
	old = tg->leader;
	if (old != t)
		ptrace_forget(old);
	pthread_mutex_lock(&tg->lock);
	if (old != t) {
		TAILQ_FOREACH(child, &tg->children, sibling)
			if (child->parent_tid == t->tid)
				child->parent_tid = tg->tgid;
		pid_set_task(t->tid, NULL);
		pid_set_task(tg->tgid, t);
		t->tid = tg->tgid;
		tg->leader = t;
	}
	tg->exit_signal = SIGCHLD;
	tg->exec_done = true;
	tg->exec_task = NULL;
	pthread_mutex_unlock(&tg->lock);
	pthread_rwlock_unlock(&tasklist);
	if (old != t)
		task_put(old);		/* the table's reference */
}

/*
 * The context is made anew: its extended state must be the processor's initial one, and the old address space may go
 * away only when no context is in it.
 */
static int switch_mm(struct task *t, struct mm *mm)
{
	struct mm *old = t->mm;

	task_release_mm(t);
	task_quiesce(t);
	platform->context_destroy(t->ctx);
	t->ctx = NULL;
	pthread_mutex_lock(&t->tg->lock);
	t->mm = mm;
	t->tg->dead_usage.maxrss_kb = MAX(t->tg->dead_usage.maxrss_kb, old->peak_rss_pages * (PAGE_SIZE / 1024));
	pthread_mutex_unlock(&t->tg->lock);
	mm_put(old);
	return platform->context_create(&t->ctx);
}

/* Dispositions and descriptors that another process shares (CLONE_SIGHAND, CLONE_FILES) stay with that one. */
static int unshare_sighand(struct task *t)
{
	struct sighand *old = t->sighand, *own;

	if (atomic_load(&old->refs) == 1)
		return 0;
	own = sighand_copy(old);
	if (!own)
		return -ENOMEM;
	pthread_mutex_lock(&t->tg->lock);
	t->sighand = own;
	pthread_mutex_unlock(&t->tg->lock);
	sighand_put(old);
	return 0;
}

static int unshare_files(struct task *t)
{
	struct fd_table *old = t->files, *own;

	if (!fd_table_shared(old))
		return 0;
	own = fd_table_copy(old);
	if (!own)
		return -ENOMEM;
	pthread_mutex_lock(&t->tg->lock);
	t->files = own;
	pthread_mutex_unlock(&t->tg->lock);
	fd_table_put(old);
	return 0;
}

static int replace_program(struct task *t, struct mm *mm, const struct load_result *res)
{
	int err;

	become_leader(t);
	err = switch_mm(t, mm);
	if (err)
		return err;
	err = unshare_sighand(t);
	if (!err)
		err = unshare_files(t);
	if (err)
		return err;
	err = cred_exec(t);
	if (err)
		return err;
	fd_table_exec(t->files, t);
	signal_flush_exec(t);
	posix_timers_exec(t->tg);
	t->rseq = 0;
	t->restart_fn = NULL;
	set_comm(t, res->comm);
	initial_regs(&t->regs, res);
	return 0;
}

int task_exec(struct task *t, struct file *file, const char *path, char **argv, char **envp)
{
	struct load_result res;
	int err, old_tid = t->tid;
	struct mm *mm;

	err = load(t, file, path, argv, envp, &mm, &res);
	if (err)
		return err;
	err = end_siblings(t);
	if (err) {
		if (err == -EAGAIN && t->tg->exec_task == t)
			end_exec(t->tg);
		mm_put(mm);
		return err;
	}
	err = replace_program(t, mm, &res);
	if (err) {
		log_warn("[%d] exec of %s failed past its point of no return: %d", t->tid, path, err);
		task_kill_group(t->tg, SIGKILL);
		return 0;
	}
	ptrace_exec_event(t, old_tid);
	return 0;
}
