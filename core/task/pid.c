/*
 * The pid table: numbers for tasks, thread groups, process groups and sessions, under the rwlock `tasklist`.
 *
 * A number is free only when none of the four uses it. Numbers are given out upwards and wrap at PID_MAX, as the
 * kernel does, so that a number is not reused soon.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/sysctl.h"
#include "task/internal.h"

#define PID_AFTER_WRAP	300		/* low numbers are left to those who started early */

struct pid_slot {
	struct task *task;
	struct thread_group *tg;
	struct pgrp *pgrp;
	struct session *session;
};

pthread_rwlock_t tasklist = PTHREAD_RWLOCK_INITIALIZER;
static struct pid_slot slots[PID_MAX];	/* locked by tasklist */

static struct pid_slot *slot_of(int id)
{
	return id > 0 && id < PID_MAX ? &slots[id] : NULL;
}

static bool slot_free(const struct pid_slot *s)
{
	return !s->task && !s->tg && !s->pgrp && !s->session;
}

int pid_alloc(void)
{
	int id = sysctl_ns_last_pid.value;	/* which root may set, to have a number of its choice next */

	for (int i = 1; i < PID_MAX; i++) {
		if (++id >= PID_MAX)
			id = PID_AFTER_WRAP;
		if (slot_free(&slots[id])) {
			sysctl_ns_last_pid.value = id;
			return id;
		}
	}
	return -EAGAIN;
}

void pid_set_task(int tid, struct task *t)
{
	slot_of(tid)->task = t;
}

void pid_set_group(int tgid, struct thread_group *tg)
{
	slot_of(tgid)->tg = tg;
}

struct task *task_find(int tid)
{
	struct pid_slot *s = slot_of(tid);

	return s ? s->task : NULL;
}

struct task *task_get(int tid)
{
	struct task *t;

	pthread_rwlock_rdlock(&tasklist);
	t = task_find(tid);
	if (t)
		task_ref(t);
	pthread_rwlock_unlock(&tasklist);
	return t;
}

struct thread_group *thread_group_find(int tgid)
{
	struct pid_slot *s = slot_of(tgid);

	return s ? s->tg : NULL;
}

struct thread_group *thread_group_get(int tgid)
{
	struct thread_group *tg;

	pthread_rwlock_rdlock(&tasklist);
	tg = thread_group_find(tgid);
	if (tg)
		thread_group_ref(tg);
	pthread_rwlock_unlock(&tasklist);
	return tg;
}

struct pgrp *pgrp_find(int pgid)
{
	struct pid_slot *s = slot_of(pgid);

	return s ? s->pgrp : NULL;
}

struct session *session_find(int sid)
{
	struct pid_slot *s = slot_of(sid);

	return s ? s->session : NULL;
}

int task_next_tgid(int from)
{
	int found = -1;

	pthread_rwlock_rdlock(&tasklist);
	for (int id = MAX(from, 1); id < PID_MAX && found < 0; id++)
		if (slots[id].tg)
			found = id;
	pthread_rwlock_unlock(&tasklist);
	return found;
}

struct session *session_new(int sid)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s) {
		s->sid = sid;
		slot_of(sid)->session = s;
	}
	return s;
}

void session_join(struct thread_group *tg, struct session *s)
{
	atomic_fetch_add(&s->refs, 1);
	tg->session = s;
}

void session_leave(struct thread_group *tg)
{
	struct session *s = tg->session;

	tg->session = NULL;
	if (s && atomic_fetch_sub(&s->refs, 1) == 1) {
		slot_of(s->sid)->session = NULL;
		free(s);
	}
}

int pgrp_join(struct thread_group *tg, int pgid, struct session *s)
{
	struct pid_slot *slot = slot_of(pgid);
	struct pgrp *g = slot->pgrp;

	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return -ENOMEM;
		g->id = pgid;
		g->session = s;
		TAILQ_INIT(&g->members);
		slot->pgrp = g;
	}
	TAILQ_INSERT_TAIL(&g->members, tg, pgrp_link);
	tg->pgrp = g;
	tg->pgid = pgid;
	return 0;
}

void pgrp_leave(struct thread_group *tg)
{
	struct pgrp *g = tg->pgrp;

	if (!g)
		return;
	TAILQ_REMOVE(&g->members, tg, pgrp_link);
	tg->pgrp = NULL;
	if (TAILQ_EMPTY(&g->members)) {
		slot_of(g->id)->pgrp = NULL;
		free(g);
	}
}
