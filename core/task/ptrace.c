/* ptrace: who traces whom, stops, going on, and what wait4 hears of it. Requests about data are in ptrace_regs.c. */
#include "task/ptrace.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/ptrace.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "mm/mm.h"
#include "task/internal.h"
#include "task/signal.h"
#include "task/wait.h"

#define EFLAGS_TF	0x100
#define EVENT(e)	(SIGTRAP | (e) << 8)
#define OPTIONS_KNOWN	(0xff | PTRACE_O_EXITKILL)

/* A request for the tracee's own thread; on the tracer's stack, which leaves only when it is done or taken back. */
struct ptrace_job {
	struct task *from;
	int (*fn)(struct task *tracee, void *arg);
	void *arg;
	int result;
	bool done;
};

/* ---- telling the tracer ---- */

/* tasklist held. */
static void tell(struct task *t, int why, int status)
{
	struct task *tracer = t->pt.tracer;
	struct sigaction_entry a;
	union guest_siginfo info;

	if (!tracer)
		return;
	a = sigchld_action(tracer->tg);
	if (a.handler != HANDLER_IGN && (why != CLD_TRAPPED || !(a.flags & SA_NOCLDSTOP))) {
		signal_info(&info, SIGCHLD, why, NULL);
		info.si.si_pid = t->tid;
		info.si.si_uid = t->cred->uid;
		info.si.si_status = status;
		signal_send_group(tracer->tg, &info);
	}
	waitq_wake(&tracer->tg->wait_children, EPOLLIN);
}

/* ---- stopping ---- */

/* tg->lock held. */
static void finish_job(struct task *t, int result)
{
	struct ptrace_job *job = t->pt.job;

	if (!job)
		return;
	t->pt.job = NULL;
	job->result = result;
	job->done = true;
	task_wake(job->from);
}

/* tg->lock held, and held again on return. */
static void sleep_traced(struct task *t, bool dying)
{
	pthread_mutex_t *lock = &t->tg->lock;

	while (t->pt.stopped && (dying || !(atomic_load(&t->work) & TASK_EXIT))) {
		if (t->pt.job) {
			finish_job(t, t->pt.job->fn(t, t->pt.job->arg));
			continue;
		}
		pthread_mutex_unlock(lock);
		if (dying)
			task_block_deaf(t);
		else
			task_block_killable(t, TIME_FOREVER);
		atomic_store(&t->state, 't');
		pthread_mutex_lock(lock);
	}
	t->pt.stopped = t->pt.listening = false;
	finish_job(t, -ESRCH);
}

/* What the tracer let it go on with, taken over by the own thread. */
static void go_on(struct task *t)
{
	bool watched = true;

	switch (t->pt.how) {
	case PTRACE_SINGLESTEP & 0xff: case PTRACE_SYSEMU_SINGLESTEP & 0xff:
		t->regs.eflags |= EFLAGS_TF;
		t->pt.stepping = true;
		break;
	case PTRACE_SYSCALL & 0xff: case PTRACE_SYSEMU & 0xff:
		break;
	default:
		watched = false;
	}
	if (watched)
		atomic_fetch_or(&t->watched, WATCH_TRACE);
	else
		atomic_fetch_and(&t->watched, ~(u32)WATCH_TRACE);
}

struct stop {
	int code;			/* signal | event << 8 */
	const union guest_siginfo *info;/* NULL: a group stop, which has none */
	u64 message;
	bool dying;			/* the last stop of a task that ends */
};

/* False: there was no stop (no tracer, or the task is being killed). Else t->pt.deliver is the signal to go on with. */
static bool stop(struct task *t, const struct stop *s)
{
	struct thread_group *tg = t->tg;

	if (!ptraced(t))
		return false;
	if (t->pt.stepping)
		t->regs.eflags &= ~(u64)EFLAGS_TF;
	t->pt.stepping = false;
	pthread_mutex_lock(&tg->lock);
	if (!t->pt.tracer || (!s->dying && (atomic_load(&t->work) & TASK_EXIT))) {
		pthread_mutex_unlock(&tg->lock);
		return false;
	}
	t->pt.code = s->code;
	t->pt.message = s->message;
	t->pt.has_info = s->info;
	if (s->info)
		t->pt.info = *s->info;
	t->pt.deliver = 0;
	t->pt.reported = false;
	t->pt.stopped = true;
	atomic_store(&t->state, 't');
	pthread_mutex_unlock(&tg->lock);

	pthread_rwlock_rdlock(&tasklist);
	tell(t, CLD_TRAPPED, s->code & 0x7f);
	pthread_rwlock_unlock(&tasklist);

	pthread_mutex_lock(&tg->lock);
	sleep_traced(t, s->dying);
	pthread_mutex_unlock(&tg->lock);
	atomic_store(&t->state, 'R');
	go_on(t);
	return true;
}

/* A stop that is no signal's: its siginfo says the code. */
static bool trap_stop(struct task *t, int code, u64 message, bool dying)
{
	union guest_siginfo info;

	signal_info(&info, SIGTRAP, code, t);
	return stop(t, &(struct stop){ .code = code, .info = &info, .message = message, .dying = dying });
}

static void send_self(struct task *t, int signo, int code)
{
	union guest_siginfo info;

	signal_info(&info, signo, code, code == SI_KERNEL ? NULL : t);
	signal_send_task(t, &info);
}

static void event_stop(struct task *t, int event, u64 message)
{
	if (trap_stop(t, EVENT(event), message, false) && t->pt.deliver)
		send_self(t, t->pt.deliver, SI_USER);
}

bool ptrace_signal(struct task *t, struct delivery *d)
{
	int signo = d->signo;

	if (signo == SIGKILL || !stop(t, &(struct stop){ .code = signo, .info = &d->info }))
		return true;
	d->signo = t->pt.deliver;
	if (!d->signo)
		return false;
	d->info = t->pt.info;
	if (d->signo != signo) {
		pthread_rwlock_rdlock(&tasklist);
		signal_info(&d->info, d->signo, SI_USER, t->pt.tracer);
		pthread_rwlock_unlock(&tasklist);
	}
	if (!(t->blocked & SIGBIT(d->signo)))
		return true;
	signal_send_task(t, &d->info);
	return false;
}

static int call_code(const struct task *t)
{
	return SIGTRAP | (t->pt.options & PTRACE_O_TRACESYSGOOD ? 0x80 : 0);
}

bool ptrace_call_enter(struct task *t)
{
	u8 how = t->pt.how;

	if (how == (PTRACE_SINGLESTEP & 0xff))
		return true;
	t->pt.where = PTRACE_SYSCALL_INFO_ENTRY;
	if (trap_stop(t, call_code(t), 0, false) && t->pt.deliver)
		send_self(t, t->pt.deliver, SI_USER);
	t->pt.where = PTRACE_SYSCALL_INFO_NONE;
	return how == (PTRACE_SYSCALL & 0xff) && !(atomic_load(&t->work) & TASK_EXIT);
}

void ptrace_call_exit(struct task *t)
{
	if (t->pt.stepping) {
		/* The step was over the SYSCALL instruction. */
		t->regs.eflags &= ~(u64)EFLAGS_TF;
		t->pt.stepping = false;
		signal_force(t, SIGTRAP, TRAP_BRKPT, t->regs.rip);
		return;
	}
	if (t->pt.how != (PTRACE_SYSCALL & 0xff))
		return;
	t->pt.where = PTRACE_SYSCALL_INFO_EXIT;
	if (trap_stop(t, call_code(t), 0, false) && t->pt.deliver)
		send_self(t, t->pt.deliver, SI_USER);
	t->pt.where = PTRACE_SYSCALL_INFO_NONE;
}

void ptrace_handler_entered(struct task *t)
{
	trap_stop(t, SIGTRAP, 0, false);
}

bool ptrace_seccomp(struct task *t, u32 data)
{
	if (!ptraced(t) || !(t->pt.options & PTRACE_O_TRACESECCOMP))
		return false;
	t->pt.where = PTRACE_SYSCALL_INFO_SECCOMP;
	event_stop(t, PTRACE_EVENT_SECCOMP, data);
	t->pt.where = PTRACE_SYSCALL_INFO_NONE;
	return true;
}

void ptrace_exec_event(struct task *t, int old_tid)
{
	if (!ptraced(t))
		return;
	if (t->pt.options & PTRACE_O_TRACEEXEC)
		event_stop(t, PTRACE_EVENT_EXEC, old_tid);
	else if (!t->pt.seized)
		send_self(t, SIGTRAP, SI_USER);
}

void ptrace_exit_event(struct task *t)
{
	struct thread_group *tg = t->tg;
	int status = t->exit_status;
	bool killed;

	if (!ptraced(t) || !(t->pt.options & PTRACE_O_TRACEEXIT))
		return;
	pthread_mutex_lock(&tg->lock);
	if (tg->exiting)
		status = tg->exit_status;
	killed = tg->exiting && (status & 0x7f) == SIGKILL;
	pthread_mutex_unlock(&tg->lock);
	if (!killed)
		trap_stop(t, EVENT(PTRACE_EVENT_EXIT), status, true);
}

static int clone_event(const struct task *t, u64 flags, int exit_signal)
{
	int event = flags & CLONE_VFORK ? PTRACE_EVENT_VFORK : exit_signal != SIGCHLD ? PTRACE_EVENT_CLONE : PTRACE_EVENT_FORK;

	return !(flags & CLONE_UNTRACED) && (t->pt.options >> event & 1) ? event : 0;
}

void ptrace_clone_event(struct task *t, u64 flags, int exit_signal, int tid)
{
	int event = ptraced(t) ? clone_event(t, flags, exit_signal) : 0;

	if (event)
		event_stop(t, event, tid);
}

void ptrace_vfork_done(struct task *t, int tid)
{
	if (ptraced(t) && (t->pt.options & PTRACE_O_TRACEVFORKDONE))
		event_stop(t, PTRACE_EVENT_VFORK_DONE, tid);
}

void ptrace_trap(struct task *t)
{
	bool wanted;
	int signo;

	pthread_mutex_lock(&t->tg->lock);
	atomic_fetch_and(&t->work, ~(u32)TASK_TRAP);
	wanted = t->pt.interrupt;
	t->pt.interrupt = false;
	signo = t->tg->stop_signal ? t->tg->stop_signal : SIGTRAP;
	pthread_mutex_unlock(&t->tg->lock);
	if (wanted)
		stop(t, &(struct stop){ .code = signo | PTRACE_EVENT_STOP << 8 });
}

void ptrace_group_stop(struct task *t, int signo)
{
	stop(t, &(struct stop){ .code = signo | (t->pt.seized ? PTRACE_EVENT_STOP << 8 : 0) });
}

/* ---- links; tasklist held for writing ---- */

static void link_tracer(struct task *t, struct task *tracer, u32 options, bool seized)
{
	pthread_mutex_lock(&t->tg->lock);
	t->pt.options = options;
	t->pt.seized = seized;
	t->pt.how = PTRACE_CONT;
	atomic_store(&t->pt.tracer, tracer);
	pthread_mutex_unlock(&t->tg->lock);
	TAILQ_INSERT_TAIL(&tracer->tracees, t, pt.link);
}

/* `signo`: what a stopped one goes on with. */
static void unlink_tracer(struct task *t, int signo)
{
	struct thread_group *tg = t->tg;

	TAILQ_REMOVE(&t->pt.tracer->tracees, t, pt.link);
	pthread_mutex_lock(&tg->lock);
	atomic_store(&t->pt.tracer, NULL);
	t->pt.options = 0;
	t->pt.seized = t->pt.interrupt = false;
	t->pt.how = PTRACE_CONT;
	t->pt.deliver = signo;
	t->pt.stopped = false;
	atomic_fetch_and(&t->watched, ~(u32)WATCH_TRACE);
	/* A group that is stopped has one more to stop in earnest. */
	if (tg->stop_signal && !t->dead)
		atomic_fetch_or(&t->work, TASK_STOP);
	pthread_mutex_unlock(&tg->lock);
	task_wake(t);
}

void ptrace_forget(struct task *t)
{
	if (ptraced(t))
		unlink_tracer(t, 0);
}

/* A dead thread that was kept for its tracer goes. */
static void bury(struct task *t)
{
	ptrace_forget(t);
	pid_set_task(t->tid, NULL);
	task_put(t);
}

void ptrace_exit_tracer(struct task *tracer)
{
	struct task *t;

	while ((t = TAILQ_FIRST(&tracer->tracees))) {
		struct thread_group *tg = t->tg;

		if (t->pt.options & PTRACE_O_EXITKILL)
			task_kill_group(tg, SIGKILL);
		if (t->dead && t != tg->leader) {
			bury(t);
			continue;
		}
		ptrace_forget(t);
		if (tg->zombie && tg->parent != tracer->tg)
			thread_group_zombie_seen(tg);
	}
}

void ptrace_clone_link(struct task *child, struct task *parent, u64 flags, int exit_signal)
{
	struct task *tracer = parent->pt.tracer;
	union guest_siginfo info;

	if (!tracer || (!clone_event(parent, flags, exit_signal) && !(flags & CLONE_PTRACE)))
		return;
	child->pt.options = parent->pt.options;
	child->pt.seized = parent->pt.seized;
	child->pt.how = PTRACE_CONT;
	atomic_store(&child->pt.tracer, tracer);
	TAILQ_INSERT_TAIL(&tracer->tracees, child, pt.link);
	if (child->pt.seized) {
		child->pt.interrupt = true;
		atomic_fetch_or(&child->work, TASK_TRAP);
		return;
	}
	signal_info(&info, SIGSTOP, SI_KERNEL, NULL);
	sigqueue_add(&child->pending, &info, UINT64_MAX);
	atomic_fetch_or(&child->work, TASK_SIGNAL);
}

bool ptrace_keep_dead(struct task *t)
{
	if (!ptraced(t) || t == t->tg->leader)
		return false;
	tell(t, CLD_EXITED, t->exit_status >> 8 & 0xff);
	return true;
}

bool ptrace_zombie(struct thread_group *tg)
{
	struct task *tracer = tg->leader->pt.tracer;

	if (!tracer || tracer->tg == tg->parent)
		return false;
	tell(tg->leader, tg->exit_status & 0x7f ? CLD_KILLED : CLD_EXITED,
	     tg->exit_status & 0x7f ? tg->exit_status & 0x7f : tg->exit_status >> 8 & 0xff);
	return true;
}

/* tg->lock held. A listening tracee, or one in a group stop that is over, has news: it traps again. */
static void trap_again(struct task *t)
{
	t->pt.listening = false;
	t->pt.code = EVENT(PTRACE_EVENT_STOP);
	t->pt.reported = false;
	waitq_wake(&t->pt.tracer->tg->wait_children, EPOLLIN);
}

void ptrace_continued(struct thread_group *tg)
{
	struct task *t;

	TAILQ_FOREACH(t, &tg->threads, thread_link) {
		if (!ptraced(t) || !t->pt.seized)
			continue;
		if (t->pt.stopped && t->pt.listening)
			trap_again(t);
	}
}

/* ---- wait4; tasklist held for writing ---- */

static bool wanted(const struct wait_spec *spec, const struct task *t)
{
	switch (spec->which) {
	case WAITFOR_PID:
		return t->tid == spec->id;
	case WAITFOR_PGID:
		return t->tg->pgid == spec->id;
	default:
		return true;
	}
}

static void fill(struct task *t, int code, int status, struct wait_result *out)
{
	*out = (struct wait_result){ .pid = t->tid, .uid = t->cred->uid, .code = code, .status = status };
	if (t->dead)
		thread_group_usage(t->tg, &out->usage);
	else
		task_usage(t, &out->usage);
}

static bool wait_dead(struct task *t, struct task *p, u32 options, struct wait_result *out, bool *any)
{
	struct thread_group *tg = p->tg;
	bool leader = p == tg->leader;
	int status = leader ? tg->exit_status : p->exit_status;

	if (leader && tg->zombie && tg->parent == t->tg)
		return false;		/* an ordinary child's end */
	*any = true;
	if ((leader && !tg->zombie) || !(options & WEXITED))
		return false;
	fill(p, status & 0x7f ? CLD_KILLED : CLD_EXITED, status, out);
	if (options & WNOWAIT)
		return true;
	if (leader) {
		ptrace_forget(p);
		thread_group_zombie_seen(tg);
	} else {
		bury(p);
	}
	return true;
}

static bool wait_stopped(struct task *p, u32 options, struct wait_result *out)
{
	bool news;
	int code;

	pthread_mutex_lock(&p->tg->lock);
	news = p->pt.stopped && !p->pt.reported && !p->pt.listening;
	code = p->pt.code;
	if (news && !(options & WNOWAIT))
		p->pt.reported = true;
	pthread_mutex_unlock(&p->tg->lock);
	if (news)
		fill(p, CLD_TRAPPED, code << 8 | 0x7f, out);
	return news;
}

bool ptrace_wait(struct task *t, const struct wait_spec *spec, struct wait_result *out, bool *any)
{
	struct task *x, *p, *next;

	TAILQ_FOREACH(x, &t->tg->threads, thread_link) {
		if ((spec->options & __WNOTHREAD) && x != t)
			continue;
		for (p = TAILQ_FIRST(&x->tracees); p; p = next) {
			next = TAILQ_NEXT(p, pt.link);
			if (!wanted(spec, p))
				continue;
			if (p->dead ? wait_dead(t, p, spec->options, out, any) : wait_stopped(p, spec->options, out))
				return true;
			*any |= !p->dead;
		}
	}
	return false;
}

/* ---- requests ---- */

int ptrace_run_on(struct task *t, struct task *tracee, int (*fn)(struct task *, void *), void *arg)
{
	struct ptrace_job job = { .from = t, .fn = fn, .arg = arg };
	pthread_mutex_t *lock = &tracee->tg->lock;

	pthread_mutex_lock(lock);
	if (!tracee->pt.stopped) {
		pthread_mutex_unlock(lock);
		return -ESRCH;
	}
	tracee->pt.job = &job;
	task_wake(tracee);
	while (!job.done) {
		pthread_mutex_unlock(lock);
		task_block_deaf(t);
		pthread_mutex_lock(lock);
	}
	pthread_mutex_unlock(lock);
	return job.result;
}

/* tasklist held. */
static int may_attach(struct task *t, struct task *p)
{
	const struct cred *a = t->cred, *b = p->cred;
	bool same = a->uid == b->uid && a->uid == b->euid && a->uid == b->suid && a->gid == b->gid && a->gid == b->egid &&
		    a->gid == b->sgid, dumpable;

	if (t->tg == p->tg || ptraced(p) || p->dead)
		return -EPERM;
	pthread_mutex_lock(&p->tg->lock);
	dumpable = p->mm && p->mm->dumpable == 1;
	pthread_mutex_unlock(&p->tg->lock);
	return (same && dumpable) || cred_capable(a, CAP_SYS_PTRACE) ? 0 : -EPERM;
}

static long attach(struct task *t, int pid, bool seize, u64 options)
{
	struct task *p = task_get(pid);
	int err;

	if (!p)
		return -ESRCH;
	pthread_rwlock_wrlock(&tasklist);
	err = may_attach(t, p);
	if (!err)
		link_tracer(p, t, options, seize);
	pthread_rwlock_unlock(&tasklist);
	if (!err && !seize) {
		union guest_siginfo info;

		signal_info(&info, SIGSTOP, SI_KERNEL, NULL);
		signal_send_task(p, &info);
	}
	if (!err)
		task_wake(p);		/* in a group stop, it goes on to a stop of ours */
	task_put(p);
	return err;
}

static long trace_me(struct task *t)
{
	struct thread_group *parent;
	struct task *tracer;
	int err = -EPERM;

	pthread_rwlock_wrlock(&tasklist);
	parent = t->tg->parent;
	if (!ptraced(t) && parent && parent != init_group) {
		tracer = task_find(t->tg->parent_tid);
		if (!tracer || tracer->tg != parent || tracer->dead)
			tracer = TAILQ_FIRST(&parent->threads);
		if (tracer) {
			link_tracer(t, tracer, 0, false);
			err = 0;
		}
	}
	pthread_rwlock_unlock(&tasklist);
	return err;
}

static long detach(struct task *t, struct task *p, u64 signo)
{
	if (signo > NSIG_GUEST)
		return -EIO;
	pthread_rwlock_wrlock(&tasklist);
	if (p->pt.tracer == t)
		unlink_tracer(p, (int)signo);
	pthread_rwlock_unlock(&tasklist);
	return 0;
}

static long resume(struct task *p, s64 request, u64 signo)
{
	if (signo > NSIG_GUEST)
		return -EIO;
	pthread_mutex_lock(&p->tg->lock);
	p->pt.how = (u8)request;
	p->pt.deliver = (int)signo;
	p->pt.stopped = false;
	task_wake(p);
	pthread_mutex_unlock(&p->tg->lock);
	return 0;
}

static long listen_for(struct task *p)
{
	long r = -EIO;

	pthread_mutex_lock(&p->tg->lock);
	if (p->pt.seized && p->pt.code >> 8 == PTRACE_EVENT_STOP) {
		p->pt.listening = true;
		/* The group went on meanwhile: that is news at once. */
		if (!p->tg->stop_signal && p->pt.code != EVENT(PTRACE_EVENT_STOP))
			trap_again(p);
		r = 0;
	}
	pthread_mutex_unlock(&p->tg->lock);
	return r;
}

static long interrupt(struct task *p)
{
	long r = -EIO;

	pthread_mutex_lock(&p->tg->lock);
	if (p->pt.seized) {
		r = 0;
		if (p->pt.stopped && p->pt.listening)
			trap_again(p);
		else
			p->pt.interrupt = true;
		if (p->pt.interrupt)
			task_kick(p, TASK_TRAP);
	}
	pthread_mutex_unlock(&p->tg->lock);
	return r;
}

static long request_of(struct task *t, struct task *p, s64 request, u64 addr, u64 data)
{
	switch (request) {
	case PTRACE_CONT: case PTRACE_SYSCALL: case PTRACE_SINGLESTEP: case PTRACE_SYSEMU: case PTRACE_SYSEMU_SINGLESTEP:
		return resume(p, request, data);
	case PTRACE_DETACH:
		return detach(t, p, data);
	case PTRACE_LISTEN:
		return listen_for(p);
	case PTRACE_SETOPTIONS:
		if (data & ~(u64)OPTIONS_KNOWN)
			return -EINVAL;
		pthread_mutex_lock(&p->tg->lock);
		p->pt.options = data;
		pthread_mutex_unlock(&p->tg->lock);
		return 0;
	case PTRACE_GETEVENTMSG:
		return put_user(t->mm, data, &p->pt.message);
	default:
		return ptrace_data(t, p, request, addr, data);
	}
}

/* Is it ours, and (unless `running` will do) stopped? */
static bool is_tracee(struct task *t, struct task *p, bool running)
{
	bool ours;

	pthread_rwlock_rdlock(&tasklist);
	pthread_mutex_lock(&p->tg->lock);
	ours = p->pt.tracer == t && !p->dead && (running || (p->pt.stopped && !p->pt.listening));
	pthread_mutex_unlock(&p->tg->lock);
	pthread_rwlock_unlock(&tasklist);
	return ours;
}

static long request(struct task *t, struct task *p, s64 req, u64 addr, u64 data)
{
	union guest_siginfo info;

	if (!is_tracee(t, p, req == PTRACE_KILL || req == PTRACE_INTERRUPT))
		return -ESRCH;
	if (req == PTRACE_INTERRUPT)
		return interrupt(p);
	if (req != PTRACE_KILL)
		return request_of(t, p, req, addr, data);
	signal_info(&info, SIGKILL, SI_KERNEL, NULL);
	signal_send_task(p, &info);
	return 0;
}

long ptrace_call(struct task *t, s64 req, int pid, u64 addr, u64 data)
{
	struct task *p;
	long r;

	switch (req) {
	case PTRACE_TRACEME:
		return trace_me(t);
	case PTRACE_ATTACH:
		return attach(t, pid, false, 0);
	case PTRACE_SEIZE:
		return addr || data & ~(u64)OPTIONS_KNOWN ? -EIO : attach(t, pid, true, data);
	}
	p = task_get(pid);
	if (!p)
		return -ESRCH;
	r = request(t, p, req, addr, data);
	task_put(p);
	return r;
}
