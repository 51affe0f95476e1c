/*
 * Waiting for children.
 *
 * A parent sleeps on its group's wait_children queue and looks at all its children each time it is woken. Looking and
 * reaping happen under tasklist, so that of two threads only one gets a zombie.
 */
#include "task/wait.h"

#include <errno.h>
#include <sys/wait.h>

#include "task/internal.h"
#include "task/ptrace.h"

static bool eligible(struct task *t, const struct wait_spec *spec, struct thread_group *c, bool traced)
{
	bool clone_child = c->exit_signal != SIGCHLD;

	if (spec->which == WAITFOR_PID && c->tgid != spec->id)
		return false;
	if (spec->which == WAITFOR_PGID && c->pgid != spec->id)
		return false;
	if ((spec->options & __WNOTHREAD) && c->parent_tid != t->tid)
		return false;
	return traced || (spec->options & __WALL) || clone_child == !!(spec->options & __WCLONE);
}

static void fill(struct thread_group *c, int code, int status, struct wait_result *out)
{
	thread_group_usage(c, &out->usage);
	pthread_mutex_lock(&c->lock);
	usage_add(&out->usage, &c->children_usage);
	pthread_mutex_unlock(&c->lock);
	out->pid = c->tgid;
	out->uid = c->leader->cred->uid;
	out->code = code;
	out->status = status;
}

static void take_zombie(struct task *t, struct thread_group *c, u32 options, struct wait_result *out)
{
	int status = c->exit_status;

	fill(c, !(status & 0x7f) ? CLD_EXITED : status & 0x80 ? CLD_DUMPED : CLD_KILLED, status, out);
	if (options & WNOWAIT)
		return;
	pthread_mutex_lock(&t->tg->lock);
	usage_add(&t->tg->children_usage, &out->usage);
	pthread_mutex_unlock(&t->tg->lock);
	thread_group_reap(c);
}

/* What a living child has to tell: it stopped, or went on. 0: nothing; else the CLD_ code. */
static int take_change(struct thread_group *c, u32 options, int *status)
{
	int code = 0;

	pthread_mutex_lock(&c->lock);
	if ((options & WSTOPPED) && c->stopped && !c->stop_reported) {
		code = CLD_STOPPED;
		*status = c->stop_signal << 8 | 0x7f;
		c->stop_reported = !(options & WNOWAIT);
	} else if ((options & WCONTINUED) && c->continued) {
		code = CLD_CONTINUED;
		*status = 0xffff;
		c->continued = options & WNOWAIT;
	}
	pthread_mutex_unlock(&c->lock);
	return code;
}

/* One look at all children; tasklist held for writing. True: *out is filled. *any: there is somebody to wait for. */
static bool scan(struct task *t, const struct wait_spec *spec, struct wait_result *out, bool *any)
{
	struct thread_group *c;
	int code, status;

	*any = false;
	if (ptrace_wait(t, spec, out, any))
		return true;
	TAILQ_FOREACH(c, &t->tg->children, sibling) {
		struct task *tracer = c->leader ? atomic_load(&c->leader->pt.tracer) : NULL;

		/* What one traces is waited for whatever its exit signal. */
		if (!eligible(t, spec, c, tracer && tracer->tg == t->tg))
			continue;
		*any = true;
		if (tracer && (tracer->tg == t->tg) != c->zombie)
			continue;		/* another's zombie, until its tracer has seen it; stops are ptrace_wait()'s */
		if (c->zombie) {
			if (!(spec->options & WEXITED))
				continue;
			take_zombie(t, c, spec->options, out);
			return true;
		}
		code = take_change(c, spec->options, &status);
		if (code) {
			fill(c, code, status, out);
			return true;
		}
	}
	return false;
}

static bool look(struct task *t, const struct wait_spec *spec, struct wait_result *out, bool *any)
{
	bool found;

	pthread_rwlock_wrlock(&tasklist);
	found = scan(t, spec, out, any);
	pthread_rwlock_unlock(&tasklist);
	return found;
}

int task_wait(struct task *t, const struct wait_spec *spec, struct wait_result *out)
{
	struct waiter w = { .task = t };
	bool any, interrupted = false;
	int err = 0;

	*out = (struct wait_result){ 0 };
	waitq_add(&t->tg->wait_children, &w);
	/* A child that ended is worth more than the SIGCHLD that came with it: look before giving up. */
	while (!look(t, spec, out, &any)) {
		err = !any ? -ECHILD : interrupted ? -ERESTARTSYS : 0;
		if (err || (spec->options & WNOHANG))
			break;
		interrupted = task_block(t, TIME_FOREVER);
	}
	waitq_remove(&w);
	return err;
}
