/*
 * Job control stops of a thread group.
 *
 * One thread takes the stop signal (task_stop_group) and sends TASK_STOP to the others; each thread then sleeps in
 * task_stop_wait(). The last one to do so completes the stop and tells the parent. SIGCONT, when it is sent and not
 * when it is taken, clears stop_signal; the first thread to wake tells the parent, because the sender may hold
 * locks.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "task/internal.h"
#include "task/ptrace.h"

void task_stop_group(struct task *self, int signo)
{
	struct thread_group *tg = self->tg;
	struct task *t;

	pthread_mutex_lock(&tg->lock);
	if (!tg->exiting && !tg->exec_task && !tg->stop_signal && tg->stop_taken) {
		tg->stop_signal = signo;
		tg->stop_taken = false;
		tg->nstopped = 0;
		tg->stop_seq++;
		tg->stopped = tg->stop_reported = tg->continued = tg->notify_continued = false;
		TAILQ_FOREACH(t, &tg->threads, thread_link)
			task_kick(t, TASK_STOP);
	}
	pthread_mutex_unlock(&tg->lock);
}

bool stop_settle(struct thread_group *tg)
{
	if (!tg->stop_signal || tg->stopped || !tg->nthreads || tg->nstopped < tg->nthreads)
		return false;
	tg->stopped = true;
	return true;
}

void thread_group_continue(struct thread_group *tg)
{
	struct task *t;

	if (!tg->stop_signal)
		return;
	tg->continued = tg->notify_continued = tg->stopped;
	tg->stop_signal = 0;
	tg->stopped = tg->stop_reported = false;
	TAILQ_FOREACH(t, &tg->threads, thread_link) {
		atomic_fetch_and(&t->work, ~(u32)TASK_STOP);
		task_wake(t);
	}
	waitq_wake(&tg->stopped_wait, EPOLLIN);
	ptrace_continued(tg);
}

static void notify(struct thread_group *tg, int code, int status)
{
	pthread_rwlock_rdlock(&tasklist);
	thread_group_notify(tg, code, status);
	pthread_rwlock_unlock(&tasklist);
}

/* This thread has heard the present stop. tg->lock held, and held again on return. */
static void count_stopped(struct task *t)
{
	struct thread_group *tg = t->tg;
	int signo = tg->stop_signal;

	t->stop_seq = tg->stop_seq;
	tg->nstopped++;
	if (!stop_settle(tg))
		return;
	pthread_mutex_unlock(&tg->lock);
	notify(tg, CLD_STOPPED, signo);
	pthread_mutex_lock(&tg->lock);
}

/*
 * tg->lock held, and held again on return. A stop may be followed by SIGCONT and another stop before we wake up: each
 * has a number of its own, and we count ourselves in each.
 */
static void sleep_stopped(struct task *t)
{
	struct thread_group *tg = t->tg;

	atomic_store(&t->state, 'T');
	while (tg->stop_signal && !(atomic_load(&t->work) & TASK_EXIT)) {
		if (t->stop_seq != tg->stop_seq) {
			count_stopped(t);
			continue;
		}
		if (ptraced(t))
			break;			/* counted; it stops in ptrace_group_stop() */
		pthread_mutex_unlock(&tg->lock);
		task_block_killable(t, TIME_FOREVER);
		atomic_store(&t->state, 'T');
		pthread_mutex_lock(&tg->lock);
	}
	if (tg->stop_signal && t->stop_seq == tg->stop_seq && (atomic_load(&t->work) & TASK_EXIT))
		tg->nstopped--;			/* killed: leave_group() takes us from the other side of the count */
	atomic_store(&t->state, 'R');
}

void task_stop_wait(struct task *t)
{
	struct thread_group *tg = t->tg;
	int signo;
	bool tell;

	pthread_mutex_lock(&tg->lock);
	if (tg->stop_signal)
		sleep_stopped(t);
	signo = ptraced(t) ? tg->stop_signal : 0;
	if (!tg->stop_signal || signo)
		atomic_fetch_and(&t->work, ~(u32)TASK_STOP);
	tell = tg->notify_continued;
	tg->notify_continued = false;
	pthread_mutex_unlock(&tg->lock);
	if (tell)
		notify(tg, CLD_CONTINUED, SIGCONT);
	if (signo)
		ptrace_group_stop(t, signo);
}
