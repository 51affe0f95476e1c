/*
 * The loop's short form, inside the guest (lib/inside.h): one event, from "why it stopped" to "go on". What it can't do
 * it leaves to run.c, as it found it.
 *
 * in_guest stays set all the while, so whoever gives the task work also interrupts the switch, and the platform looks
 * for that before the guest goes on. Work that the event itself made is looked for here.
 */
#include "lib/inside.h"
#include "stats.h"
#include "syscall/inside.h"
#include "syscall/syscall.h"
#include "task/internal.h"

/* By number: handlers that may run inside. Each returns -EHOST, having changed nothing, for what it can't do there. */
static const syscall_fn calls[SYSCALL_MAX] = {
	[0] = inside_read, [1] = inside_write, [8] = inside_lseek, [14] = inside_rt_sigprocmask,
	[24] = inside_sched_yield, [202] = inside_futex, [228] = inside_clock_gettime,
	[39] = sys_getpid, [102] = sys_getuid, [104] = sys_getgid, [107] = sys_geteuid, [108] = sys_getegid,
	[111] = sys_getpgrp, [186] = sys_gettid,
};

enum { EFLAGS_TF = 0x100 };

static bool handle_call(struct task *t, struct guest_regs *r)
{
	const u32 nr = r->orig_rax;
	const syscall_fn handler = nr < SYSCALL_MAX ? calls[nr] : NULL;
	const u64 arg[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };
	long result;

	/* Filters, tracers and single steps want to see every call. */
	if (!handler || strace_on || atomic_load_explicit(&t->watched, memory_order_relaxed) || r->eflags & EFLAGS_TF)
		return false;
	result = handler(t, arg);
	if (result == -EHOST)
		return false;
	stats_count_call(t, nr);
	r->rax = result;
	return true;
}

bool task_inside(struct guest_regs *home, struct guest_regs *regs, struct event *ev)
{
	struct task *t = CONTAINER_OF(home, struct task, regs);
	bool done = false;

	cut_time(t, &t->user_ticks, false);
	if (ev->kind == EVENT_SYSCALL)
		done = handle_call(t, regs);
	if (!done)
		return false;
	if (atomic_load_explicit(&t->work, memory_order_relaxed)) {
		ev->kind = EVENT_PREEMPT;	/* done, but the loop has work before the guest goes on */
		return false;
	}
	cut_time(t, &t->sys_ticks, true);
	count_up(&t->switches);
	return true;
}
