/*
 * The loop: work to do, into the guest, why it came back. The only caller of switch_to().
 *
 * Between a call and the next entry nothing is locked or allocated here: two time stamps, a store to in_guest and a
 * look at `work` are all that a switch costs core.
 */
#include <errno.h>
#include <signal.h>

#include "lib/log.h"
#include "lib/stamp.h"
#include "mm/mm.h"
#include "stats.h"
#include "syscall/syscall.h"
#include "task/internal.h"
#include "task/ptrace.h"

const struct platform_ops *platform;

static void task_dead(struct task *t, const char *why)
{
	log_warn("[%d] %s: killing thread group %d", t->tid, why, t->tg->tgid);
	task_kill_group(t->tg, SIGKILL);
}

static void handle_fault(struct task *t)
{
	const struct event *ev = &t->event;
	int err;

	count_up(&t->faults);
	err = mm_fault(t->mm, ev->addr, ev->access, task_rlimit(t, RLIMIT_STACK));
	if (!err)
		return;
	log_debug("[%d] fault at %#llx, access %d, rip %#llx: %d", t->tid, (unsigned long long)ev->addr, ev->access,
		  (unsigned long long)t->regs.rip, err);
	switch (err) {
	case -EFAULT:
		signal_force(t, SIGSEGV, SEGV_MAPERR, ev->addr);
		break;
	case -EACCES:
		signal_force(t, SIGSEGV, SEGV_ACCERR, ev->addr);
		break;
	case -ENXIO: case -EIO:
		signal_force(t, SIGBUS, BUS_ADRERR, ev->addr);
		break;
	default:
		task_dead(t, "the memory file is full");
		break;
	}
}

static void handle_event(struct task *t)
{
	const struct event *ev = &t->event;

	if (ev->kind == EVENT_SYSCALL) {
		/* A debugger is to see the code as it was. */
		if (ev->trapped && platform->patching() && !ptraced(t))
			mm_call_trapped(t->mm, t->regs.rip, t->regs.orig_rax);
		syscall_dispatch(t);
		return;
	}
	t->regs.orig_rax = -1;		/* no call to restart */
	switch (ev->kind) {
	case EVENT_FAULT:
		handle_fault(t);
		break;
	case EVENT_EXCEPTION:
		signal_force(t, ev->signo, ev->code, ev->addr);
		break;
	case EVENT_DEAD:
		task_dead(t, "the guest's process is gone");
		break;
	default:
		break;
	}
}

/* A result that signal_deliver() has to turn into a restart or EINTR, even if another thread took the signal. */
static bool wants_restart(const struct task *t)
{
	s64 result = t->regs.rax;

	return t->event.kind == EVENT_SYSCALL && result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK;
}

/* False: the task is to end. */
static bool do_work(struct task *t)
{
	do {
		while (atomic_load(&t->work) & (TASK_EXIT | TASK_STOP | TASK_TRAP)) {
			if (atomic_load(&t->work) & TASK_EXIT)
				return false;
			if (atomic_load(&t->work) & TASK_STOP)
				task_stop_wait(t);
			else
				ptrace_trap(t);
		}
		signal_deliver(t);
	} while (atomic_load(&t->work));
	return true;
}

static void stamp_event(const struct task *t)
{
	stamp_mark(STAMP_EVENT);
	stamp_call(t->event.kind == EVENT_SYSCALL ? (s64)(u32)t->regs.orig_rax : t->event.kind == EVENT_FAULT ? -1 : -2);
}

/* Returns false if there was work, and the guest did not run. The order is block.c's. */
static bool enter_guest(struct task *t)
{
	int err;

	atomic_store(&t->in_guest, true);
	if (atomic_load(&t->work)) {
		atomic_store(&t->in_guest, false);
		return false;
	}
	cut_time(t, &t->sys_ticks, true);
	stats_live(t, t->tick);
	err = platform->switch_to(t->ctx, t->mm->as, &t->regs, &t->event);
	cut_time(t, &t->user_ticks, false);
	if (stamp_ring)
		stamp_event(t);
	atomic_store_explicit(&t->in_guest, false, memory_order_release);
	count_up(&t->switches);
	stats_live(t, 0);
	if (err) {
		log_error("[%d] platform %s: switch failed: %d", t->tid, platform->name, err);
		t->event.kind = EVENT_DEAD;
	}
	return true;
}

void *task_main(void *task)
{
	struct task *t = task;

	if (!task_begin(t))
		return NULL;
	for (;;) {
		if ((atomic_load_explicit(&t->work, memory_order_relaxed) || t->restore_blocked || wants_restart(t)) &&
		    !do_work(t))
			break;
		if (!enter_guest(t))
			continue;
		handle_event(t);
		stamp_mark(STAMP_DONE);
	}
	ptrace_exit_event(t);
	task_finish(t);
	return NULL;
}
