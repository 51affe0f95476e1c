/* What the files of core/task share among themselves, and with sys_task.c's kin. Others include task.h only. */
#ifndef TG_TASK_INTERNAL_H
#define TG_TASK_INTERNAL_H

#include <sched.h>

#include "task/task.h"

#define INIT_PID	1		/* the thread group that adopts orphans; it has no task */

/* A counter with one writer, read by anyone. */
static inline void count_up(_Atomic u64 *c)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* ---- usage.c: time in TSC ticks ---- */
static inline u64 usage_tick(void) { return __builtin_ia32_rdtsc(); }
/* User time ends and system time begins, or the other way round; see usage.c. */
static inline void cut_time(struct task *t, _Atomic u64 *spent, bool enter)
{
	u64 now = usage_tick();

	atomic_store_explicit(spent, atomic_load_explicit(spent, memory_order_relaxed) + now - t->tick,
			      memory_order_relaxed);
	t->tick = now;
	atomic_store_explicit(&t->entered, enter ? now : 0, memory_order_relaxed);
}

void usage_init(void);
u64 usage_ticks_to_ns(u64 ticks);
void usage_add(struct rusage_sum *to, const struct rusage_sum *from);

/* ---- block.c ---- */
void task_quiesce(struct task *t);

/* ---- task.c: objects and the sandbox as a whole ---- */
struct task *task_new(struct thread_group *tg);		/* blank, two references: the table's and the thread's */
void task_free_unlinked(struct task *t);		/* a task that never ran and was never seen */
struct thread_group *thread_group_new(void);		/* one reference */
struct sighand *sighand_new(void);
struct sighand *sighand_copy(struct sighand *s);
void sighand_put(struct sighand *s);
extern struct thread_group *init_group;			/* group 1 */
extern cpu_set_t sandbox_cpus;				/* the sentry's; a task's thread may be pinned to fewer */
extern _Atomic bool sandbox_ending;			/* the first guest process is gone: no new tasks */
bool sandbox_add_task(void);				/* false: task.max reached, or ending */
void sandbox_remove_task(void);
void sandbox_first_ending(int status);			/* the first group's tg->lock held */
void sandbox_first_gone(struct thread_group *tg, int status);	/* tasklist held; tg became a zombie */
int task_thread_start(struct task *t);			/* -EAGAIN: no host thread to be had */

/* ---- clone.c: the new thread's side ---- */
enum { START_NEW, START_GO, START_ABANDON };
void task_start_go(struct task *t);
bool task_begin(struct task *t);			/* own thread; false: given up before it began */
void vfork_release(struct task *t);

/* ---- pid.c: all with tasklist held for writing ---- */
int pid_alloc(void);					/* unused as tid, tgid, pgid and sid; -EAGAIN */
void pid_set_task(int tid, struct task *t);		/* NULL: free */
void pid_set_group(int tgid, struct thread_group *tg);
struct session *session_new(int sid);			/* no members yet */
void session_join(struct thread_group *tg, struct session *s);
void session_leave(struct thread_group *tg);
int pgrp_join(struct thread_group *tg, int pgid, struct session *s);	/* makes it if need be; -ENOMEM */
void pgrp_leave(struct thread_group *tg);

/* ---- exit.c, wait.c, stop.c ---- */
void task_release_mm(struct task *t);			/* own thread: robust list, clear_child_tid, vfork parent */
bool stop_settle(struct thread_group *tg);		/* tg->lock held; true: stop complete, notify the parent */
void thread_group_reap(struct thread_group *tg);	/* tasklist held for writing; tg is a zombie */
void thread_group_zombie_seen(struct thread_group *tg);	/* likewise: tells the parent, may reap */
struct sigaction_entry sigchld_action(struct thread_group *tg);	/* of SIGCHLD; takes tg->lock */
void thread_group_kill_others(struct task *t);		/* tg->lock held */
/* SIGCHLD of a stop or a continue; tasklist held. */
void thread_group_notify(struct thread_group *tg, int code, int status);
/* SIGHUP and SIGCONT to an orphaned group that has stopped members; tasklist held. */
void pgrp_check_orphaned(struct pgrp *g, struct thread_group *ignored);

/* ---- cpu_limit.c ---- */
void cpu_limit_changed(struct thread_group *tg);	/* tg->lock held, or nobody knows tg yet */
void cpu_limit_end(struct thread_group *tg);		/* the last thread is gone; no lock held */

/* ---- limits by user (cred.c) ---- */
void user_charge(u32 uid, int n);
u32 user_tasks(u32 uid);
void task_set_cred(struct task *t, struct cred *c);	/* consumes the reference */
struct cred *cred_copy(const struct cred *c);
int cred_exec(struct task *t);				/* capabilities and saved ids over execve */
struct cred *cred_initial(void);			/* the sentry's own user */

#endif
