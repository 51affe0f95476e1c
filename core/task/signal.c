/*
 * Signals: sending, choosing a thread, taking, and what happens before a task enters the guest.
 *
 * Standard signals do not queue, real-time ones do (sigqueue.c). A signal to a group waits in the group's set and any
 * thread may take it; sending only picks whom to wake. TASK_SIGNAL in task->work says "look": it is set by every
 * sender and by whoever unblocks a pending signal, and cleared by signal_deliver() alone, before it looks. What a
 * signal finds when it arrives (ignored, a stop against a SIGCONT) is decided at sending time, as Linux does.
 */
#include "task/signal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "mm/mm.h"
#include "syscall/syscall.h"
#include "task/posix_timer.h"
#include "task/ptrace.h"

#define EFLAGS_TF	0x100

struct waitq signal_waitq = WAITQ_INIT(signal_waitq);

/* ---- dispositions ---- */

static struct sigaction_entry action_get(struct sighand *sh, int signo)
{
	struct sigaction_entry a;

	pthread_mutex_lock(&sh->lock);
	a = sh->action[signo - 1];
	pthread_mutex_unlock(&sh->lock);
	return a;
}

struct sigaction_entry signal_action_locked(struct thread_group *tg, int signo)
{
	struct task *t = TAILQ_FIRST(&tg->threads);

	return t ? action_get(t->sighand, signo) : (struct sigaction_entry){ 0 };
}

static bool action_ignores(const struct sigaction_entry *a, int signo)
{
	return a->handler == HANDLER_IGN || (a->handler == HANDLER_DFL && (SIGBIT(signo) & SIGSET_IGNORE));
}

/* Ends the process unless a handler is set. */
static bool action_kills(const struct sigaction_entry *a, int signo)
{
	return a->handler == HANDLER_DFL && !(SIGBIT(signo) & (SIGSET_IGNORE | SIGSET_STOP));
}

/* Drop from the group's set and from every thread's; tg->lock held. */
static void drop_everywhere(struct thread_group *tg, sigset64 which)
{
	struct task *t;

	sigqueue_drop(&tg->pending, which);
	TAILQ_FOREACH(t, &tg->threads, thread_link)
		sigqueue_drop(&t->pending, which);
}

void signal_set_action(struct task *t, int signo, const struct sigaction_entry *new, struct sigaction_entry *old)
{
	struct thread_group *tg = t->tg;

	pthread_mutex_lock(&tg->lock);
	pthread_mutex_lock(&t->sighand->lock);
	if (old)
		*old = t->sighand->action[signo - 1];
	if (new)
		t->sighand->action[signo - 1] = *new;
	pthread_mutex_unlock(&t->sighand->lock);
	if (new && action_ignores(new, signo))
		drop_everywhere(tg, SIGBIT(signo));
	pthread_mutex_unlock(&tg->lock);
}

/* The caller (exec) has made sure that nobody shares the table any more. */
void signal_flush_exec(struct task *t)
{
	pthread_mutex_lock(&t->sighand->lock);
	for (int i = 0; i < NSIG_GUEST; i++) {
		struct sigaction_entry *a = &t->sighand->action[i];
		u64 handler = a->handler == HANDLER_IGN ? HANDLER_IGN : HANDLER_DFL;

		*a = (struct sigaction_entry){ .handler = handler };
	}
	pthread_mutex_unlock(&t->sighand->lock);
	signal_altstack_reset(t);
}

/* ---- sending ---- */

void signal_info(union guest_siginfo *info, int signo, int code, struct task *from)
{
	memset(info, 0, sizeof(*info));
	info->si.si_signo = signo;
	info->si.si_code = code;
	if (from) {
		info->si.si_pid = from->tg->tgid;
		info->si.si_uid = from->cred->uid;
	}
}

static bool wants(struct task *t, int signo)
{
	return !(signal_blocked_now(t) & SIGBIT(signo)) && !(atomic_load(&t->work) & TASK_EXIT);
}

/* The thread to wake for a signal to the group: the main one if it can take it, else an idle one, else any. */
static struct task *choose_thread(struct thread_group *tg, int signo)
{
	struct task *t, *busy = NULL;

	TAILQ_FOREACH(t, &tg->threads, thread_link) {
		if (!wants(t, signo))
			continue;
		if (!(atomic_load(&t->work) & TASK_SIGNAL))
			return t;
		if (!busy)
			busy = t;
	}
	return busy;
}

/* What a stop signal and SIGCONT do to each other happens even if the signal itself is then ignored or blocked. */
static void cancel_opposite(struct thread_group *tg, int signo)
{
	if (SIGBIT(signo) & SIGSET_STOP) {
		drop_everywhere(tg, SIGBIT(SIGCONT));
	} else if (signo == SIGCONT) {
		drop_everywhere(tg, SIGSET_STOP);
		tg->stop_taken = false;
		thread_group_continue(tg);
	}
}

/* tg->lock held. Sets *fatal if the signal ends the group whoever takes it, so that nobody need take it. */
static int send_locked(struct thread_group *tg, struct task *target, const union guest_siginfo *info, bool *fatal)
{
	int signo = info->si.si_signo;
	struct task *t = target ? target : TAILQ_FIRST(&tg->threads);
	struct sigaction_entry action;
	int err;

	if (!t || tg->exiting)
		return 0;
	cancel_opposite(tg, signo);
	action = action_get(t->sighand, signo);
	/* A tracer hears of ignored signals too. */
	if (!(t->blocked & SIGBIT(signo)) && action_ignores(&action, signo) && !ptraced(t))
		return 0;
	err = sigqueue_add(target ? &target->pending : &tg->pending, info, tg->rlim[RLIMIT_SIGPENDING].rlim_cur);
	if (err)
		return err;

	if (target)
		t = wants(target, signo) ? target : NULL;
	else
		t = choose_thread(tg, signo);
	if (!t)
		return 0;
	*fatal = action_kills(&action, signo) && !(t->blocked & SIGBIT(signo)) && !tg->stop_signal && !ptraced(t);
	if (!*fatal)
		task_kick(t, TASK_SIGNAL);
	return 0;
}

static int send(struct thread_group *tg, struct task *target, const union guest_siginfo *info)
{
	int signo = info->si.si_signo;
	bool fatal = signo == SIGKILL;
	int err = 0;

	if (!fatal) {
		pthread_mutex_lock(&tg->lock);
		err = send_locked(tg, target, info, &fatal);
		pthread_mutex_unlock(&tg->lock);
	}
	if (fatal)
		task_kill_group(tg, signo);
	else
		waitq_wake(&signal_waitq, EPOLLIN);
	return err;
}

int signal_send_task(struct task *t, const union guest_siginfo *info)
{
	return send(t->tg, t, info);
}

int signal_send_group(struct thread_group *tg, const union guest_siginfo *info)
{
	return send(tg, NULL, info);
}

/* As force_sig_info: a fault that is blocked or ignored kills, for the guest could only fault again. */
static void force(struct task *t, const union guest_siginfo *info, bool kill)
{
	int signo = info->si.si_signo;
	struct sighand *sh = t->sighand;

	pthread_mutex_lock(&t->tg->lock);
	pthread_mutex_lock(&sh->lock);
	if (kill || (t->blocked & SIGBIT(signo)) || sh->action[signo - 1].handler == HANDLER_IGN)
		sh->action[signo - 1].handler = HANDLER_DFL;
	pthread_mutex_unlock(&sh->lock);
	t->blocked &= ~SIGBIT(signo);
	sigqueue_add(&t->pending, info, UINT64_MAX);
	pthread_mutex_unlock(&t->tg->lock);
	atomic_fetch_or(&t->work, TASK_SIGNAL);
}

static void remember_trap(struct task *t, int signo)
{
	const struct event *ev = &t->event;

	if (ev->kind != EVENT_FAULT && ev->kind != EVENT_EXCEPTION)
		return;
	t->trapno = ev->trapno;
	t->trap_error = ev->error_code;
	if (ev->kind == EVENT_FAULT)
		t->trap_addr = ev->addr;
}

void signal_force(struct task *t, int signo, int code, gva_t addr)
{
	union guest_siginfo info;

	remember_trap(t, signo);
	signal_info(&info, signo, code, NULL);
	info.si.si_addr = (void *)addr;
	force(t, &info, false);
}

void signal_force_info(struct task *t, const union guest_siginfo *info)
{
	force(t, info, false);
}

/* A frame could not be written, or was bad: SIGSEGV, for good if it was SIGSEGV's own handler that has no stack. */
static void force_segv(struct task *t, int signo)
{
	union guest_siginfo info;

	signal_info(&info, SIGSEGV, SI_KERNEL, NULL);
	force(t, &info, signo == SIGSEGV);
}

/* ---- masks ---- */

bool signal_pending(struct task *t)
{
	bool pending;

	if (!(atomic_load(&t->work) & TASK_SIGNAL))
		return false;
	pthread_mutex_lock(&t->tg->lock);
	pending = (t->pending.set | t->tg->pending.set) & ~signal_blocked_now(t);
	pthread_mutex_unlock(&t->tg->lock);
	return pending;
}

/* Shared signals that `t` will not take any more: wake another thread that can. tg->lock held. */
static void hand_on(struct task *t, sigset64 which)
{
	struct task *other;

	which &= t->tg->pending.set;
	if (!which)
		return;
	TAILQ_FOREACH(other, &t->tg->threads, thread_link)
		if (other != t && (which & ~signal_blocked_now(other)))
			task_kick(other, TASK_SIGNAL);
}

void signal_thread_exit(struct task *t)
{
	pthread_mutex_lock(&t->tg->lock);
	hand_on(t, ~t->blocked);
	pthread_mutex_unlock(&t->tg->lock);
}

void signal_set_blocked(struct task *t, sigset64 set)
{
	struct thread_group *tg = t->tg;

	set &= ~SIGSET_KERNEL;
	if (set == t->blocked)
		return;
	pthread_mutex_lock(&tg->lock);
	hand_on(t, set & ~t->blocked);
	t->blocked = set;
	if ((t->pending.set | tg->pending.set) & ~set)
		atomic_fetch_or(&t->work, TASK_SIGNAL);
	pthread_mutex_unlock(&tg->lock);
}

int signal_mask_begin(struct task *t, gva_t mask, u64 size)
{
	sigset64 set;

	if (!mask)
		return 0;
	if (size != sizeof(set))
		return -EINVAL;
	if (get_user(t->mm, &set, mask))
		return -EFAULT;
	t->saved_blocked = t->blocked;
	t->restore_blocked = true;
	signal_set_blocked(t, set);
	return 0;
}

void signal_mask_end(struct task *t, bool interrupted)
{
	if (interrupted || !t->restore_blocked)
		return;
	t->restore_blocked = false;
	signal_set_blocked(t, t->saved_blocked);
}

/* ---- taking ---- */

static int take_locked(struct task *t, sigset64 wanted, union guest_siginfo *info)
{
	int signo = sigqueue_take(&t->pending, wanted, info);

	return signo ? signo : sigqueue_take(&t->tg->pending, wanted, info);
}

int signal_take(struct task *t, sigset64 wanted, union guest_siginfo *info)
{
	int signo;

	pthread_mutex_lock(&t->tg->lock);
	signo = take_locked(t, wanted, info);
	pthread_mutex_unlock(&t->tg->lock);
	if (signo && info->si.si_code == SI_TIMER)
		posix_timer_delivered(t, info);
	return signo;
}

static bool take_for_delivery(struct task *t, struct delivery *d)
{
	pthread_mutex_lock(&t->tg->lock);
	d->signo = sigqueue_take_fault(&t->pending, ~t->blocked, &d->info);
	if (!d->signo)
		d->signo = take_locked(t, ~t->blocked, &d->info);
	if (SIGBIT(d->signo) & SIGSET_STOP && d->signo)
		t->tg->stop_taken = true;
	pthread_mutex_unlock(&t->tg->lock);
	if (!d->signo)
		return false;
	if (d->info.si.si_code == SI_TIMER)
		posix_timer_delivered(t, &d->info);
	if (__builtin_expect(strace_on, 0))
		strace_signal(t, &d->info);
	return true;
}

/* What is to be done about it: after a tracer has had its say. */
static void look_up_action(struct task *t, struct delivery *d)
{
	struct sighand *sh = t->sighand;
	struct sigaction_entry *a = &sh->action[d->signo - 1];

	pthread_mutex_lock(&sh->lock);
	d->action = *a;
	if (a->handler > HANDLER_IGN && (a->flags & SA_RESETHAND))
		a->handler = HANDLER_DFL;
	pthread_mutex_unlock(&sh->lock);
}

/* ---- restarting ---- */

/* The call that was interrupted, or 0: nothing to restart. The guest can put any rax into a sigreturn frame. */
static int restart_code(struct task *t)
{
	s64 rax = t->regs.rax;

	if (t->event.kind != EVENT_SYSCALL || (s32)t->regs.orig_rax < 0)
		return 0;
	return rax <= -ERESTARTSYS && rax >= -ERESTART_RESTARTBLOCK ? -rax : 0;
}

#define SYSCALL_INSN_LEN	2
#define NR_RESTART_SYSCALL	219

static void call_again(struct task *t, u64 nr)
{
	t->regs.rax = nr;
	t->regs.rip -= SYSCALL_INSN_LEN;
}

static void restart_before_handler(struct task *t, const struct sigaction_entry *a)
{
	switch (restart_code(t)) {
	case ERESTARTNOHAND: case ERESTART_RESTARTBLOCK:
		t->regs.rax = -EINTR;
		break;
	case ERESTARTSYS:
		if (!(a->flags & SA_RESTART)) {
			t->regs.rax = -EINTR;
			break;
		}
		/* fall through */
	case ERESTARTNOINTR:
		call_again(t, t->regs.orig_rax);
		break;
	}
}

static void restart_without_handler(struct task *t)
{
	switch (restart_code(t)) {
	case ERESTARTSYS: case ERESTARTNOINTR: case ERESTARTNOHAND:
		call_again(t, t->regs.orig_rax);
		break;
	case ERESTART_RESTARTBLOCK:
		call_again(t, NR_RESTART_SYSCALL);
		break;
	}
}

/* ---- delivery ---- */

static void run_handler(struct task *t, const struct delivery *d)
{
	sigset64 mask = t->restore_blocked ? t->saved_blocked : t->blocked;
	bool stepping = t->pt.stepping;

	restart_before_handler(t, &d->action);
	if (stepping) {
		t->pt.stepping = false;
		t->regs.eflags &= ~(u64)EFLAGS_TF;	/* ours, not to be found in the frame */
	}
	if (sigframe_push(t, d, mask)) {
		force_segv(t, d->signo);
		return;
	}
	t->restore_blocked = false;
	mask = t->blocked | d->action.mask;
	if (!(d->action.flags & SA_NODEFER))
		mask |= SIGBIT(d->signo);
	signal_set_blocked(t, mask);
	if (stepping)
		ptrace_handler_entered(t);
}

/* Stop signals from a terminal do nothing where nobody could continue the process. */
static bool stop_is_void(struct task *t, int signo)
{
	bool orphaned;

	if (signo == SIGSTOP)
		return false;
	pthread_rwlock_rdlock(&tasklist);
	orphaned = pgrp_orphaned(t->tg->pgrp, NULL);
	pthread_rwlock_unlock(&tasklist);
	return orphaned;
}

static void run_default(struct task *t, int signo)
{
	if (SIGBIT(signo) & SIGSET_IGNORE)
		return;
	if (!(SIGBIT(signo) & SIGSET_STOP))
		task_exit_group(t, signo);
	else if (!stop_is_void(t, signo))
		task_stop_group(t, signo);
}

static bool must_leave(struct task *t)
{
	return atomic_load(&t->work) & (TASK_EXIT | TASK_STOP);
}

/*
 * Stops and exits are the caller's: on return with TASK_EXIT or TASK_STOP set the call's restart is still to do, and
 * signal_deliver() must be called again before the guest is entered.
 */
void signal_deliver(struct task *t)
{
	struct delivery d;

	do {
		atomic_fetch_and(&t->work, ~(u32)TASK_SIGNAL);
		while (!must_leave(t) && take_for_delivery(t, &d)) {
			if (ptraced(t) && !ptrace_signal(t, &d))
				continue;
			look_up_action(t, &d);
			if (d.action.handler == HANDLER_DFL)
				run_default(t, d.signo);
			else if (d.action.handler != HANDLER_IGN)
				run_handler(t, &d);
		}
		if (must_leave(t)) {
			atomic_fetch_or(&t->work, TASK_SIGNAL);
			return;
		}
		restart_without_handler(t);
		signal_mask_end(t, false);
	} while (atomic_load(&t->work) & TASK_SIGNAL);
}
