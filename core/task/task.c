/* Tasks, thread groups and signal handler tables as objects; the sandbox's count of tasks, and its end. */
#include "task/task.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "fs/fs.h"
#include "ipc/ipc.h"
#include "mm/mm.h"
#include "task/internal.h"
#include "task/seccomp.h"

/*
 * A task thread's stack. Deep enough for a path walk with its buffers; small, because a guest may have thousands. The
 * sanitizers' frames are several times as large.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HOST_STACK	((size_t)1 << 20)
#else
#define HOST_STACK	((size_t)256 << 10)
#endif

static atomic_int live;			/* tasks */
_Atomic bool sandbox_ending;

static pthread_mutex_t sandbox_lock = PTHREAD_MUTEX_INITIALIZER;	/* a leaf; guards what follows */
static pthread_cond_t sandbox_cond = PTHREAD_COND_INITIALIZER;	/* first_ending, first_gone, live == 0 */
static bool first_ending, first_gone;
static _Atomic int first_status;

struct sighand *sighand_new(void)
{
	struct sighand *s = calloc(1, sizeof(*s));

	if (s) {
		pthread_mutex_init(&s->lock, NULL);
		s->refs = 1;
	}
	return s;
}

struct sighand *sighand_copy(struct sighand *s)
{
	struct sighand *copy = sighand_new();

	if (copy) {
		pthread_mutex_lock(&s->lock);
		for (int i = 0; i < NSIG_GUEST; i++)
			copy->action[i] = s->action[i];
		pthread_mutex_unlock(&s->lock);
	}
	return copy;
}

void sighand_put(struct sighand *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		free(s);
}

struct task *task_new(struct thread_group *tg)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->refs = 2;
	t->tg = tg;
	thread_group_ref(tg);
	t->state = 'R';
	t->syscall_nr = -1;
	t->timer_slack_ns = t->timer_slack_default = 50000;
	t->sched.ioprio = 0;
	sigpending_init(&t->pending);
	TAILQ_INIT(&t->tracees);
	signal_altstack_reset(t);
	return t;
}

/* Everything but what the running thread drops in task_finish(): others may look at these until the last reference. */
static void task_free(struct task *t)
{
	sigpending_clear(&t->pending);
	seccomp_release(t);
	sighand_put(t->sighand);
	if (t->cred)
		cred_put(t->cred);
	thread_group_put(t->tg);
	free(t->start_fp);
	free(t);
}

void task_free_unlinked(struct task *t)
{
	if (t->mm)
		mm_put(t->mm);
	if (t->files)
		fd_table_put(t->files);
	if (t->place)
		fs_place_put(t->place);
	sem_exit(t);
	task_free(t);
}

void task_ref(struct task *t)
{
	atomic_fetch_add(&t->refs, 1);
}

void task_put(struct task *t)
{
	if (atomic_fetch_sub(&t->refs, 1) == 1)
		task_free(t);
}

struct thread_group *thread_group_new(void)
{
	struct thread_group *tg = calloc(1, sizeof(*tg));

	if (!tg)
		return NULL;
	tg->refs = 1;
	pthread_mutex_init(&tg->lock, NULL);
	TAILQ_INIT(&tg->threads);
	TAILQ_INIT(&tg->children);
	sigpending_init(&tg->pending);
	waitq_init(&tg->wait_children);
	waitq_init(&tg->stopped_wait);
	return tg;
}

void thread_group_ref(struct thread_group *tg)
{
	atomic_fetch_add(&tg->refs, 1);
}

void thread_group_put(struct thread_group *tg)
{
	if (atomic_fetch_sub(&tg->refs, 1) != 1)
		return;
	sigpending_clear(&tg->pending);
	free(tg);
}

/* ---- the sandbox as a whole ---- */

static long knob_max = 2048;
long knob_live = 1;

const struct knob task_knobs[] = {
	{ "task.max", KNOB_INT, &knob_max, 2048, 1, 100000, NULL,
	  "tasks that all guests together may have; each costs a host thread and, on most platforms, a stub thread", NULL },
	{ "task.live", KNOB_BOOL, &knob_live, 1, 0, 0, NULL,
	  "keep the page that `trapgate top` reads: a few stores a switch and 4 KiB a task", NULL },
	{ .name = NULL },
};

bool sandbox_add_task(void)
{
	if (atomic_load(&sandbox_ending))
		return false;
	if (atomic_fetch_add(&live, 1) < knob_max)
		return true;
	sandbox_remove_task();
	return false;
}

static void tell_main(bool *what)
{
	pthread_mutex_lock(&sandbox_lock);
	if (what)
		*what = true;
	pthread_cond_broadcast(&sandbox_cond);
	pthread_mutex_unlock(&sandbox_lock);
}

void sandbox_remove_task(void)
{
	if (atomic_fetch_sub(&live, 1) == 1)
		tell_main(NULL);
}

void sandbox_first_ending(int status)
{
	first_status = status;
	tell_main(&first_ending);
}

/* As when a container's init ends: everyone else is killed. Adopted zombies are reaped by group 1 as they come. */
void sandbox_first_gone(struct thread_group *first, int status)
{
	atomic_store(&sandbox_ending, true);
	for (int id = INIT_PID + 1; id < PID_MAX; id++) {
		struct thread_group *tg = thread_group_find(id);

		if (tg && tg != first)
			task_kill_group(tg, SIGKILL);
	}
	first_status = status;
	tell_main(&first_gone);
}

/*
 * For tasks stuck in a host call or starved by thousands of others, counted from when the first process begins to
 * end. The backends' stubs die with the sentry anyway.
 */
#define END_PATIENCE_S	5

int task_wait_init(void)
{
	struct timespec until;
	int status;

	pthread_mutex_lock(&sandbox_lock);
	while (!first_ending && !first_gone)
		pthread_cond_wait(&sandbox_cond, &sandbox_lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_PATIENCE_S;
	while ((!first_gone || atomic_load(&live)) && !pthread_cond_timedwait(&sandbox_cond, &sandbox_lock, &until))
		;
	status = first_status;
	pthread_mutex_unlock(&sandbox_lock);
	return status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}

int task_thread_start(struct task *t)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, MAX(HOST_STACK, (size_t)PTHREAD_STACK_MIN));
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, task_main, t);
	pthread_attr_destroy(&attr);
	return err ? -EAGAIN : 0;
}
