/*
 * Tasks and thread groups: who runs, how they are made, wait, sleep and end.
 *
 * One host thread per guest task. It alone touches the fields marked "own"; others go through the calls below.
 *
 * Lock order: tasklist (the pid table, parent/child/session links), then a thread group's lock, then a task's
 * block_lock. mm->lock and the fs locks are taken before none of these and after none: never hold one of these
 * while calling mm or fs.
 */
#ifndef TG_TASK_H
#define TG_TASK_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <time.h>

#include "lib/types.h"
#include "platform.h"
#include "task/waitq.h"

struct live_task;
struct mm;
struct file;
struct fd_table;
struct fs_place;

#define NSIG_GUEST	64
#define TIME_FOREVER	UINT64_MAX

/* Kernel-internal results of a handler: restart the call after the signal, or make it EINTR (linux/errno.h). */
enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };

typedef u64 sigset64;			/* bit n-1 is signal n, as in the kernel's ABI */
#define SIGBIT(n)	((sigset64)1 << ((n) - 1))

/* The kernel's siginfo_t, 128 bytes as the guest sees it. */
union guest_siginfo {
	siginfo_t si;
	u8 raw[128];
};
_Static_assert(sizeof(union guest_siginfo) == 128, "siginfo is 128 bytes");

struct sigaction_entry {		/* the kernel's struct sigaction */
	u64 handler, flags, restorer;
	sigset64 mask;
};

struct queued_signal {
	TAILQ_ENTRY(queued_signal) link;
	union guest_siginfo info;
};

struct sigpending {			/* of a task, or shared by a thread group; locked by tg->lock */
	sigset64 set;
	TAILQ_HEAD(queued_signal_queue_head, queued_signal) queue;
};

/* Dispositions; shared with CLONE_SIGHAND. */
struct sighand {
	pthread_mutex_t lock;
	atomic_int refs;
	struct sigaction_entry action[NSIG_GUEST];
};

/* Credentials never change once visible: setuid and friends install a new object. */
struct cred {
	atomic_int refs;
	u32 uid, euid, suid, fsuid, gid, egid, sgid, fsgid;
	int ngroups;
	u32 groups[64];
	u64 cap_permitted, cap_effective, cap_inheritable, cap_bounding, cap_ambient;
};

struct session {
	atomic_int refs;		/* thread groups in it */
	int sid;
	struct tty *tty;		/* controlling terminal (fs/tty.c); locked by tasklist */
};

TAILQ_HEAD(thread_group_list, thread_group);

struct pgrp {				/* locked by tasklist; gone with its last member */
	int id;
	struct session *session;	/* of all members */
	struct thread_group_list members;	/* linked by thread_group.pgrp_link; zombies too until reaped */
};

struct rusage_sum {
	u64 utime_ns, stime_ns, minflt, majflt, nvcsw, nivcsw, maxrss_kb;
};

struct timer {
	void (*fire)(struct timer *tm);	/* on the timer thread; must not block */
	u64 deadline;			/* CLOCK_MONOTONIC ns; 0: not armed */
	u32 slot;			/* place in the heap */
	bool ending;			/* timer_disarm() waits for fire(): not to be armed */
};

struct thread_group {
	atomic_int refs;
	int tgid;			/* immutable */
	pthread_mutex_t lock;

	TAILQ_HEAD(task_threads_head, task) threads;	/* live ones; locked by tasklist and lock: either to read */
	int nthreads;			/* length of `threads` */
	struct task *leader;		/* dead ones are not in `threads`; NULL in group 1 and once reaped; likewise */
	struct task *exec_task;		/* lock: a thread in execve that waits for all others to end */

	struct thread_group *parent;	/* all these locked by tasklist */
	struct thread_group_list children;
	TAILQ_ENTRY(thread_group) sibling;
	TAILQ_ENTRY(thread_group) pgrp_link;
	struct pgrp *pgrp;
	int pgid;			/* pgrp->id; may be read without a lock where it need not be exact */
	struct session *session;
	int parent_tid;			/* the parent's thread that made it: for __WNOTHREAD and PR_SET_PDEATHSIG */
	int exit_signal;		/* to the parent when it ends; 0: none */
	atomic_bool zombie, reaped;	/* likewise; pidfds look without */
	bool subreaper;

	struct sigpending pending;	/* shared; lock */
	struct waitq wait_children;	/* wait4 sleeps here; also pidfd and signalfd readiness */
	bool exiting;			/* lock: exit_group or a fatal signal; `exit_status` is final */
	int exit_status;		/* as wait4 reports it */
	int stop_signal;		/* lock: != 0 while stopping or stopped */
	u32 stop_seq;			/* lock: number of the present or last stop */
	int nstopped;			/* lock: threads that have heard it */
	bool stopped;			/* lock: all of them have */
	bool stop_reported, continued;	/* lock: what wait4 still has to tell */
	bool stop_taken;		/* lock: a stop signal is acted on; false again if a SIGCONT overtakes it */
	bool notify_continued;		/* lock: the parent has not had its SIGCHLD for `continued` yet */
	struct waitq stopped_wait;	/* stopped tasks sleep here until SIGCONT or SIGKILL */

	struct rlimit rlim[RLIM_NLIMITS];	/* lock */
	struct rusage_sum children_usage;	/* lock: reaped children */
	struct rusage_sum dead_usage;		/* lock: threads that ended */
	struct timer cpu_limit;		/* RLIMIT_CPU (cpu_limit.c); lock to arm */
	bool cpu_limit_shut;		/* lock: the group ends, it is not to be armed again */
	struct posix_timers *timers;	/* timer_create, setitimer (task/timer.c); lock */
	u64 start_ns;			/* CLOCK_MONOTONIC */
	int oom_score_adj;
	bool exec_done;			/* has called execve: setpgid by the parent is EACCES */
};

/* ptrace (ptrace.c). Locked by tg->lock, but for the links: tasklist. */
struct ptrace_state {
	struct task *_Atomic tracer;	/* tasklist to write; NULL: not traced */
	TAILQ_ENTRY(task) link;		/* on the tracer's list */
	u32 options;			/* PTRACE_O_* */
	bool seized;			/* by PTRACE_SEIZE */
	bool stopped, reported;		/* in ptrace_stop(); wait4 has told of it */
	bool listening;			/* PTRACE_LISTEN: stopped, but SIGCONT is news */
	bool interrupt;			/* PTRACE_INTERRUPT, or a seized child's first stop */
	bool has_info;			/* `info` is what the stop is about */
	u8 how;				/* as the tracer let it go: PTRACE_CONT, _SYSCALL, ... (low byte) */
	bool stepping;			/* own: TF was set by us */
	u8 where;			/* own: PTRACE_SYSCALL_INFO_* of the stop */
	int code;			/* signal | event << 8 */
	int deliver;			/* signal to go on with */
	u64 message;			/* PTRACE_GETEVENTMSG */
	union guest_siginfo info;
	struct ptrace_job *job;		/* for the tracee's own thread */
};

struct task_sched {			/* remembered for the guest; the host schedules as it likes */
	int policy, priority, nice, ioprio;
	bool reset_on_fork;
	u64 runtime, deadline, period;	/* SCHED_DEADLINE, ns */
	u64 affinity[16];		/* 1024 CPUs */
};

struct task {
	TAILQ_ENTRY(task) thread_link;
	atomic_int refs;		/* pid table, running thread, waiters */
	int tid;			/* tasklist to write (exec gives a thread its leader's); own reads without */
	struct thread_group *tg;	/* immutable */

	/* own */
	struct guest_regs regs;
	struct context *ctx;
	struct event event;
	struct mm *mm;			/* read by others under tg->lock */
	struct fd_table *files;		/* likewise */
	struct fs_place *place;		/* likewise */
	struct cred *cred;		/* likewise */
	struct sighand *sighand;	/* replaced under tg->lock; put only after the task has left tg->threads */
	gva_t clear_child_tid, set_child_tid;
	gva_t robust_list;
	gva_t rseq;
	struct sem_undo_list *sem_undo;	/* what SEM_UNDO has to take back (ipc/sem.c); NULL: nothing */
	u64 robust_len;
	atomic_bool futex_gone;		/* its futexes are cleaned up: nobody is to wait for it any more */
	struct { gva_t sp; u64 size; u32 flags; } altstack;
	long (*restart_fn)(struct task *t);	/* restart_syscall */
	u64 restart_data[5];
	char comm[16];			/* tg->lock to write */
	int pdeath_signal;
	u64 timer_slack_ns, timer_slack_default;
	u64 personality;
	bool no_new_privs;
	struct vfork_done *vfork;	/* the parent that waits for our exec or exit */
	int exit_status;		/* as wait4 reports it */
	u32 securebits;			/* SECBIT_* */
	u64 tick;			/* TSC at the last border between guest and sentry */
	int syscall_nr;			/* of the call being handled, -1 otherwise */

	/* signals; locked by tg->lock */
	sigset64 blocked;		/* own thread writes under the lock, may read without */
	sigset64 saved_blocked;		/* to restore after sigsuspend, ppoll, ... when `restore_blocked` */
	bool restore_blocked;
	sigset64 waiting_for;		/* rt_sigtimedwait: signals that wake it although blocked */
	struct sigpending pending;
	u64 trapno, trap_error, trap_addr;	/* own: of the last fault, as sigcontext shows them */

	/* sleeping and being woken */
	atomic_uint wake_word;		/* futex word of task_block(); see block.c */
	atomic_uint work;		/* TASK_* bits: look before entering the guest */
	atomic_bool in_guest;		/* switch_to() under way: interrupt() is needed to be heard */
	atomic_int kickers;		/* threads inside task_kick() that may use `ctx` */
	atomic_int state;		/* 'R', 'S', 'T', 't', 'Z' as /proc shows it */
	atomic_uint start;		/* hand-shake of a new thread with its maker; see clone.c */
	void *start_fp;			/* extended state to begin with: the maker fills it, the new thread frees it */
	int host_tid;
	u32 stop_seq;			/* tg->lock: the last stop it has heard */
	bool dead;			/* tg->lock: not in tg->threads any more */

	struct ptrace_state pt;
	TAILQ_HEAD(tracees_head, task) tracees;	/* tasklist */

	struct seccomp_filter *_Atomic seccomp;	/* own, or tg->lock (seccomp.c) */
	atomic_int seccomp_mode;	/* SECCOMP_MODE_* */
	atomic_uint watched;		/* WATCH_*: what dispatch has to look at around each call */

	struct task_sched sched;	/* tg->lock */
	_Atomic u64 switches, faults, user_ticks, sys_ticks, start_ns, nvcsw;	/* ticks: see usage.c */
	_Atomic u64 entered;		/* TSC when the switch under way began, 0 outside */
	u32 yields;			/* own: inside_sched_yield() */
	u64 *syscall_counts;		/* a slot a syscall number; summed for --stats */
	struct live_task *live;		/* its place in what `trapgate top` shows, or NULL; see live.h */
};

/* task->work */
enum {
	TASK_SIGNAL = 1,		/* a signal may be deliverable */
	TASK_EXIT = 2,			/* the thread group is ending, or exec is killing this thread */
	TASK_STOP = 4,			/* the thread group is stopping */
	TASK_TRAP = 8,			/* a tracer wants it to stop */
};

enum { WATCH_SECCOMP = 1, WATCH_TRACE = 2 };

/* ---- life (task.c, clone.c, exec.c, exit.c, wait.c) ---- */

/* Ends with the sandbox's exit status when the first guest process is gone. */
int task_start_init(const char *path, char *const argv[], char *const envp[], struct fs_place *place,
		    const struct platform_ops *platform, char *why, size_t len);
int task_wait_init(void);				/* exit status for main(): code, or 128 + signal */

/* fs_stdio and friends need the first task before it runs; see main.c for the order of steps. */
struct clone_args_kernel {
	u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
s64 task_clone(struct task *parent, const struct clone_args_kernel *a);	/* child's tid */
int task_unshare(struct task *t, bool files, bool place);
int task_exec(struct task *t, struct file *file, const char *path, char **argv, char **envp);
void task_exit(struct task *t, int status);		/* marks; the loop then ends the thread. Status as wait4's */
void task_exit_group(struct task *t, int status);
void task_kill_group(struct thread_group *tg, int signo);	/* as SIGKILL would, from any thread */
void task_finish(struct task *t);			/* the last thing a task thread does; t may be gone on return */

/* ---- stopping (stop.c) ---- */
void task_stop_group(struct task *t, int signo);	/* default action of a stop signal; own thread, no locks held */
void task_stop_wait(struct task *t);			/* work bit TASK_STOP: sleep until continued or killed */
void thread_group_continue(struct thread_group *tg);	/* SIGCONT was sent, whatever its disposition; tg->lock held */
/* tasklist held; `ignored` counts as gone, may be NULL */
bool pgrp_orphaned(struct pgrp *g, struct thread_group *ignored);

/* ---- pid table (pid.c). find: no reference, tasklist held; get: with one ---- */
#define PID_MAX		32768
extern pthread_rwlock_t tasklist;
struct task *task_find(int tid);
struct task *task_get(int tid);
void task_ref(struct task *t);
void task_put(struct task *t);
struct thread_group *thread_group_find(int tgid);
struct thread_group *thread_group_get(int tgid);
void thread_group_ref(struct thread_group *tg);
void thread_group_put(struct thread_group *tg);
struct pgrp *pgrp_find(int pgid);
struct session *session_find(int sid);
int task_next_tgid(int from);				/* lowest live or zombie tgid >= from, or -1: for /proc */

/* ---- the loop (run.c) ---- */
void *task_main(void *task);
extern const struct platform_ops *platform;		/* chosen at start-up, immutable after */
/* inside.c: for platform_config. */
bool task_inside(struct guest_regs *home, struct guest_regs *regs, struct event *ev);
extern long knob_live;				/* task.live */
extern const struct knob task_knobs[];			/* for core/knob.c; ends with .name == NULL */

/* ---- sleeping ---- */

/*
 * Sleep until task_wake(), a deliverable signal, the end of the group, or `deadline` (CLOCK_MONOTONIC ns). May return
 * early without a reason: callers test their condition again. 0, -EINTR, -ETIMEDOUT.
 */
int task_block(struct task *t, u64 deadline);
int task_block_killable(struct task *t, u64 deadline);	/* only the end of the task counts as a signal */
void task_block_deaf(struct task *t);			/* until task_wake(), whatever happens */
void task_wake(struct task *t);				/* any thread; sticks if the task is not asleep yet */
void task_kick(struct task *t, u32 work);		/* set work bits, wake it or interrupt its switch */
bool task_interrupted(struct task *t);			/* would task_block return -EINTR now? */

/* Wait until `f` polls any of `events` (EPOLL*), a signal, or the deadline. 0, -EINTR, -ETIMEDOUT. */
int task_wait_file(struct task *t, struct file *f, u32 events, u64 deadline);

/* ---- signals (signal.c, sigqueue.c, sigframe.c) ---- */

/*
 * TASK_SIGNAL is set whenever a signal may be deliverable, and only signal_deliver() clears it. So a call that was
 * interrupted may return -ERESTART* and be sure that signal_deliver() turns it into a restart or -EINTR.
 * All the calls here take tg->lock themselves and may be made with tasklist held, except where noted.
 */
int signal_send_task(struct task *t, const union guest_siginfo *info);		/* -EAGAIN when the queue is full */
int signal_send_group(struct thread_group *tg, const union guest_siginfo *info);
int signal_send_pgrp(int pgid, const union guest_siginfo *info);		/* -ESRCH if empty; tasklist not held */
void signal_info(union guest_siginfo *info, int signo, int code, struct task *from);	/* fills pid, uid; from may be NULL */
void signal_force_info(struct task *t, const union guest_siginfo *info);	/* as below, with all of siginfo */
void signal_force(struct task *t, int signo, int code, gva_t addr);		/* synchronous fault: cannot be ignored or blocked */
bool signal_pending(struct task *t);
/* Before entering the guest, if work & (TASK_SIGNAL | TASK_STOP): takes signals, builds frames, restarts calls. */
void signal_deliver(struct task *t);
void signal_set_blocked(struct task *t, sigset64 set);
void signal_flush_exec(struct task *t);			/* handlers to default, altstack off; dispositions are already its own */

/* ppoll, pselect6, epoll_pwait: a mask for the length of one call. `mask` 0: none. 0, -EFAULT, -EINVAL. */
int signal_mask_begin(struct task *t, gva_t mask, u64 size);
void signal_mask_end(struct task *t, bool interrupted);	/* interrupted: signal_deliver restores it instead */

void sigpending_init(struct sigpending *p);
void sigpending_clear(struct sigpending *p);		/* when a task or group is freed: frees what is queued */
void signal_altstack_reset(struct task *t);		/* none, as after exec; clone: for CLONE_VM without CLONE_VFORK */
void signal_thread_exit(struct task *t);		/* `t` has left tg->threads, no locks held: hands shared signals on */

/* ---- futex.c ---- */
void futex_exit_robust(struct task *t);			/* walks the hostile list, bounded */
int futex_wake_addr(struct task *t, gva_t addr, int n);	/* for clear_child_tid */

/* ---- timer.c: one host thread runs all of the sandbox's timers, started with the first ---- */
void timer_arm(struct timer *tm, u64 deadline);		/* re-arms if armed */
void timer_disarm(struct timer *tm);			/* on return fire() is not running and will not run */

/* ---- limits, usage ---- */
u64 task_rlimit(struct task *t, int resource);
void task_usage(struct task *t, struct rusage_sum *sum);
void thread_group_usage(struct thread_group *tg, struct rusage_sum *sum);

/* ---- credentials ---- */
void cred_get(struct cred *c);
void cred_put(struct cred *c);
bool cred_capable(const struct cred *c, int cap);
bool cred_in_group(const struct cred *c, u32 gid);

#endif
