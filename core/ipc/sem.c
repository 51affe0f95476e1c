/*
 * System V semaphores.
 *
 * A semop that cannot be done waits in the set's list with its operations; whoever changes a value does all that have
 * become possible on the sleepers' behalf (complete), first come first served, and wakes them with the result. Values are
 * thus never seen between a change and what it let through.
 *
 * SEM_UNDO: an undo record ties a list (of a process, shared by CLONE_SYSVSEM) and a set. undo_lock guards the links of
 * all records; it comes before a set's lock, and only calls that undo, or end a set or a process, take it. What a record
 * will add is guarded by its set's lock: whoever completes a sleeper's operations changes it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>

#include "ipc/ipc.h"
#include "mm/mm.h"
#include "task/clock.h"

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY	20
#endif

struct sem {
	int value, pid;
};

struct pending {			/* on its task's stack; the set's lock */
	TAILQ_ENTRY(pending) link;
	struct task *t;
	const struct sembuf_guest *ops;
	u32 nops;
	struct undo *undo;
	u32 blocked_on;			/* index into ops */
	int result;			/* 1: waiting */
};

struct undo {
	LIST_ENTRY(undo) in_list, in_set;	/* undo_lock */
	struct sem_set *set;		/* immutable; a reference */
	int *adjust;			/* a value a semaphore; the set's lock */
};
LIST_HEAD(undo_head, undo);

struct sem_undo_list {
	atomic_int refs;
	struct undo_head undos;
};

struct sem_set {
	struct ipc_object obj;
	int n;				/* immutable */
	/* obj.lock */
	struct sem *sem;
	s64 otime, ctime;
	TAILQ_HEAD(pending_list, pending) waiting;
	struct undo_head undos;		/* undo_lock */
};

static void sem_destroy(struct ipc_object *o);

struct ipc_table sem_table = IPC_TABLE(SEM_MNI, sem_destroy);
static pthread_mutex_t undo_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int sem_total;

static struct sem_set *set_of(struct ipc_object *o) { return CONTAINER_OF(o, struct sem_set, obj); }

static u64 set_cost(int n) { return sizeof(struct sem_set) + n * sizeof(struct sem); }

static s64 now(void) { return clock_now(CLOCK_REALTIME) / NSEC_PER_SEC; }

static void sem_destroy(struct ipc_object *o)
{
	struct sem_set *s = set_of(o);

	atomic_fetch_sub(&sem_total, s->n);
	ipc_uncharge(set_cost(s->n));
	free(s->sem);
	free(s);
}

/* ---- semget ---- */

static struct ipc_object *sem_make(const struct ipc_get *g, int *err)
{
	int n = g->size;
	struct sem_set *s;

	*err = -EINVAL;
	if (!n)
		return NULL;
	*err = -ENOMEM;
	if (ipc_charge(set_cost(n)))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s)
		s->sem = calloc(n, sizeof(*s->sem));
	if (!s || !s->sem) {
		free(s);
		ipc_uncharge(set_cost(n));
		return NULL;
	}
	s->n = n;
	s->ctime = now();
	TAILQ_INIT(&s->waiting);
	LIST_INIT(&s->undos);
	atomic_fetch_add(&sem_total, n);
	ipc_object_init(&s->obj, g);
	return &s->obj;
}

static int sem_check(struct ipc_object *o, const struct ipc_get *g)
{
	return (int)g->size > set_of(o)->n ? -EINVAL : 0;
}

long sem_get(struct task *t, int key, int nsems, int flags)
{
	struct ipc_get g = { .t = t, .key = key, .flags = flags, .size = nsems, .make = sem_make, .check = sem_check };

	return nsems < 0 || nsems > SEM_MSL ? -EINVAL : ipc_get(&sem_table, &g);
}

/* ---- doing operations; the set's lock held ---- */

static int step(struct sem_set *s, const struct sembuf_guest *op, struct undo *u)
{
	struct sem *x = &s->sem[op->num];
	int value = x->value + op->op;

	if ((!op->op && x->value) || value < 0)
		return 1;
	if (value > SEM_VMX)
		return -ERANGE;
	if (op->flags & SEM_UNDO) {
		int adjust = u->adjust[op->num] - op->op;

		if (adjust < -SEM_VMX - 1 || adjust > SEM_VMX)
			return -ERANGE;
		u->adjust[op->num] = adjust;
	}
	x->value = value;
	return 0;
}

static void step_back(struct sem_set *s, const struct sembuf_guest *op, struct undo *u)
{
	s->sem[op->num].value -= op->op;
	if (op->flags & SEM_UNDO)
		u->adjust[op->num] += op->op;
}

/* All or nothing. 0: done; 1: has to wait; -EAGAIN, -ERANGE. */
static int attempt(struct sem_set *s, struct pending *p)
{
	int r = 0;
	u32 i;

	for (i = 0; i < p->nops && !r; i++)
		r = step(s, &p->ops[i], p->undo);
	if (!r) {
		for (i = 0; i < p->nops; i++)
			s->sem[p->ops[i].num].pid = p->t->tg->tgid;
		s->otime = now();
		return 0;
	}
	i--;
	p->blocked_on = i;
	if (r > 0 && (p->ops[i].flags & IPC_NOWAIT))
		r = -EAGAIN;
	while (i--)
		step_back(s, &p->ops[i], p->undo);
	return r;
}

static bool changes(const struct pending *p)
{
	for (u32 i = 0; i < p->nops; i++)
		if (p->ops[i].op)
			return true;
	return false;
}

static void finish(struct sem_set *s, struct pending *p, int result)
{
	TAILQ_REMOVE(&s->waiting, p, link);
	p->result = result;
	task_wake(p->t);	/* it cannot leave before it has had the set's lock */
}

/* A value has changed: do what has become possible, and what that makes possible. */
static void complete(struct sem_set *s)
{
	struct pending *p, *next;
	bool again;

	do {
		again = false;
		for (p = TAILQ_FIRST(&s->waiting); p; p = next) {
			int r = attempt(s, p);

			next = TAILQ_NEXT(p, link);
			if (r > 0)
				continue;
			again |= !r && changes(p);
			finish(s, p, r);
		}
	} while (again);
}

/* ---- undo records ---- */

static struct sem_undo_list *undo_list_new(void)
{
	struct sem_undo_list *l = calloc(1, sizeof(*l));

	if (l) {
		atomic_init(&l->refs, 1);
		LIST_INIT(&l->undos);
	}
	return l;
}

static void undo_free(struct undo *u)
{
	LIST_REMOVE(u, in_list);
	ipc_uncharge(sizeof(*u) + u->set->n * sizeof(int));
	ipc_put(&sem_table, &u->set->obj);
	free(u->adjust);
	free(u);
}

/* undo_lock held. The record of this process and this set, made if need be. */
static struct undo *undo_get(struct task *t, struct sem_set *s)
{
	u64 cost = sizeof(struct undo) + s->n * sizeof(int);
	struct undo *u;

	if (!t->sem_undo)
		t->sem_undo = undo_list_new();
	if (!t->sem_undo)
		return NULL;
	LIST_FOREACH(u, &t->sem_undo->undos, in_list)
		if (u->set == s)
			return u;
	if (ipc_charge(cost))
		return NULL;
	u = calloc(1, sizeof(*u));
	if (u)
		u->adjust = calloc(s->n, sizeof(int));
	if (!u || !u->adjust) {
		free(u);
		ipc_uncharge(cost);
		return NULL;
	}
	u->set = s;
	atomic_fetch_add(&s->obj.refs, 1);
	LIST_INSERT_HEAD(&t->sem_undo->undos, u, in_list);
	LIST_INSERT_HEAD(&s->undos, u, in_set);
	return u;
}

int sem_clone(struct task *child, struct task *parent, bool share)
{
	if (!share)
		return 0;
	if (!parent->sem_undo)
		parent->sem_undo = undo_list_new();
	if (!parent->sem_undo)
		return -ENOMEM;
	atomic_fetch_add(&parent->sem_undo->refs, 1);
	child->sem_undo = parent->sem_undo;
	return 0;
}

static void undo_apply(struct undo *u, int pid)
{
	struct sem_set *s = u->set;

	pthread_mutex_lock(&s->obj.lock);
	for (int i = 0; !s->obj.removed && i < s->n; i++) {
		if (!u->adjust[i])
			continue;
		s->sem[i].value = MIN(MAX(s->sem[i].value + u->adjust[i], 0), SEM_VMX);
		s->sem[i].pid = pid;
	}
	if (!s->obj.removed) {
		s->otime = now();
		complete(s);
	}
	pthread_mutex_unlock(&s->obj.lock);
}

void sem_exit(struct task *t)
{
	struct sem_undo_list *l = t->sem_undo;
	struct undo *u;

	t->sem_undo = NULL;
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	pthread_mutex_lock(&undo_lock);
	while ((u = LIST_FIRST(&l->undos))) {
		undo_apply(u, t->tg->tgid);
		LIST_REMOVE(u, in_set);
		undo_free(u);
	}
	pthread_mutex_unlock(&undo_lock);
	free(l);
}

/* SETVAL, SETALL: what was to be undone there is not any more. Both locks held. */
static void undo_clear(struct sem_set *s, int from, int n)
{
	struct undo *u;

	LIST_FOREACH(u, &s->undos, in_set)
		memset(u->adjust + from, 0, n * sizeof(int));
}

/* ---- semop ---- */

struct wants {
	bool undo, alter;
	int highest;
};

static struct wants wants_of(const struct sembuf_guest *ops, u32 n)
{
	struct wants w = { 0 };

	for (u32 i = 0; i < n; i++) {
		w.undo |= (ops[i].flags & SEM_UNDO) != 0;
		w.alter |= ops[i].op != 0;
		w.highest = MAX(w.highest, (int)ops[i].num);
	}
	return w;
}

/* Sleep until somebody has done our operations for us. The set's lock is not held. */
static int wait_done(struct sem_set *s, struct pending *p, u64 deadline)
{
	int err = 0;

	for (;;) {
		if (!err)
			err = task_block(p->t, deadline);
		pthread_mutex_lock(&s->obj.lock);
		if (p->result <= 0 || err)
			break;
		pthread_mutex_unlock(&s->obj.lock);
	}
	if (p->result > 0) {
		TAILQ_REMOVE(&s->waiting, p, link);
		p->result = err == -ETIMEDOUT ? -EAGAIN : -EINTR;
	}
	pthread_mutex_unlock(&s->obj.lock);
	return p->result;
}

static int op_try(struct sem_set *s, struct pending *p, const struct wants *w)
{
	int r;

	pthread_mutex_lock(&s->obj.lock);
	r = ipc_permission(&s->obj, p->t, w->alter ? IPC_WRITE : IPC_READ);
	if (!r && s->obj.removed)
		r = -EIDRM;
	if (!r)
		r = attempt(s, p);
	if (!r && w->alter)
		complete(s);
	if (r > 0) {
		p->result = 1;
		TAILQ_INSERT_TAIL(&s->waiting, p, link);
	}
	pthread_mutex_unlock(&s->obj.lock);
	return r;
}

static int op_begin(struct sem_set *s, struct pending *p)
{
	struct wants w = wants_of(p->ops, p->nops);
	int r;

	if (w.highest >= s->n)
		return -EFBIG;
	if (!w.undo)
		return op_try(s, p, &w);
	/* The record may go only with this process or the set, and a sleeper is found by both. */
	pthread_mutex_lock(&undo_lock);
	p->undo = undo_get(p->t, s);
	r = p->undo ? op_try(s, p, &w) : -ENOMEM;
	pthread_mutex_unlock(&undo_lock);
	return r;
}

long sem_op(struct task *t, int id, const struct sembuf_guest *ops, u32 nops, u64 deadline)
{
	struct pending p = { .t = t, .ops = ops, .nops = nops };
	struct ipc_object *o;
	int r = ipc_find(&sem_table, id, &o);

	if (r)
		return r;
	r = op_begin(set_of(o), &p);
	if (r > 0)
		r = wait_done(set_of(o), &p, deadline);
	ipc_put(&sem_table, o);
	return r;
}

/* ---- semctl ---- */

struct semid64_ds {
	struct ipc64_perm perm;
	s64 otime;
	u64 unused1;
	s64 ctime;
	u64 unused2, nsems, unused3, unused4;
};
_Static_assert(sizeof(struct semid64_ds) == sizeof(struct semid_ds), "struct semid64_ds of the x86-64 ABI");

void sem_facts(struct ipc_object *o, struct sem_facts *f)
{
	struct sem_set *s = set_of(o);

	*f = (struct sem_facts){ .nsems = s->n };
	pthread_mutex_lock(&o->lock);
	ipc_perm_show(o, &f->perm);
	f->otime = s->otime;
	f->ctime = s->ctime;
	pthread_mutex_unlock(&o->lock);
}

static long set_stat(struct task *t, struct sem_set *s, int cmd, gva_t buf)
{
	struct semid64_ds ds = { .nsems = s->n };
	int err = 0;

	pthread_mutex_lock(&s->obj.lock);
	if (cmd != SEM_STAT_ANY)
		err = ipc_permission(&s->obj, t, IPC_READ);
	ipc_perm_show(&s->obj, &ds.perm);
	ds.otime = s->otime;
	ds.ctime = s->ctime;
	pthread_mutex_unlock(&s->obj.lock);
	if (!err)
		err = put_user(t->mm, buf, &ds);
	return err ? err : cmd == IPC_STAT ? 0 : s->obj.id;
}

static long set_set(struct task *t, struct sem_set *s, gva_t buf)
{
	struct semid64_ds ds;
	int err = get_user(t->mm, &ds, buf);

	if (err)
		return err;
	pthread_mutex_lock(&s->obj.lock);
	err = ipc_owns(&s->obj, t);
	if (!err)
		err = ipc_perm_set(&s->obj, &ds.perm);
	if (!err)
		s->ctime = now();
	pthread_mutex_unlock(&s->obj.lock);
	return err;
}

static long set_remove(struct task *t, struct sem_set *s)
{
	struct pending *p;
	struct undo *u;
	int err;

	pthread_mutex_lock(&undo_lock);
	pthread_mutex_lock(&s->obj.lock);
	err = ipc_owns(&s->obj, t);
	if (!err) {
		s->obj.removed = true;
		while ((p = TAILQ_FIRST(&s->waiting)))
			finish(s, p, -EIDRM);
	}
	pthread_mutex_unlock(&s->obj.lock);
	while (!err && (u = LIST_FIRST(&s->undos))) {
		LIST_REMOVE(u, in_set);
		undo_free(u);
	}
	pthread_mutex_unlock(&undo_lock);
	if (!err)
		ipc_unlink(&sem_table, &s->obj);
	return err;
}

static int waiting_for(struct sem_set *s, int num, bool zero)
{
	struct pending *p;
	int n = 0;

	TAILQ_FOREACH(p, &s->waiting, link) {
		const struct sembuf_guest *op = &p->ops[p->blocked_on];

		n += op->num == num && (op->op == 0) == zero;
	}
	return n;
}

static long get_one(struct task *t, struct sem_set *s, int num, int cmd)
{
	long r;

	pthread_mutex_lock(&s->obj.lock);
	r = ipc_permission(&s->obj, t, IPC_READ);
	if (!r && s->obj.removed)
		r = -EIDRM;
	if (!r && (num < 0 || num >= s->n))
		r = -EINVAL;
	if (!r)
		r = cmd == GETVAL ? s->sem[num].value : cmd == GETPID ? s->sem[num].pid :
		    waiting_for(s, num, cmd == GETZCNT);
	pthread_mutex_unlock(&s->obj.lock);
	return r;
}

/* Values [from, from+n) are replaced. */
static long set_values(struct task *t, struct sem_set *s, int from, int n, const u16 *value)
{
	int err;

	pthread_mutex_lock(&undo_lock);
	pthread_mutex_lock(&s->obj.lock);
	err = ipc_permission(&s->obj, t, IPC_WRITE);
	if (!err && s->obj.removed)
		err = -EIDRM;
	if (!err) {
		for (int i = 0; i < n; i++) {
			s->sem[from + i].value = value[i];
			s->sem[from + i].pid = t->tg->tgid;
		}
		undo_clear(s, from, n);
		s->ctime = now();
		complete(s);
	}
	pthread_mutex_unlock(&s->obj.lock);
	pthread_mutex_unlock(&undo_lock);
	return err;
}

static long set_one(struct task *t, struct sem_set *s, int num, int value)
{
	u16 v = value;

	if (value < 0 || value > SEM_VMX)
		return -ERANGE;
	return num < 0 || num >= s->n ? -EINVAL : set_values(t, s, num, 1, &v);
}

static long set_all(struct task *t, struct sem_set *s, gva_t from)
{
	u16 *v = malloc(s->n * sizeof(*v));
	long r = 0;

	if (!v)
		return -ENOMEM;
	if (copy_in(t->mm, v, from, s->n * sizeof(*v)))
		r = -EFAULT;
	for (int i = 0; !r && i < s->n; i++)
		if (v[i] > SEM_VMX)
			r = -ERANGE;
	if (!r)
		r = set_values(t, s, 0, s->n, v);
	free(v);
	return r;
}

static long get_all(struct task *t, struct sem_set *s, gva_t to)
{
	u16 *v = malloc(s->n * sizeof(*v));
	long r;

	if (!v)
		return -ENOMEM;
	pthread_mutex_lock(&s->obj.lock);
	r = ipc_permission(&s->obj, t, IPC_READ);
	for (int i = 0; i < s->n; i++)
		v[i] = s->sem[i].value;
	pthread_mutex_unlock(&s->obj.lock);
	if (!r)
		r = copy_out(t->mm, to, v, s->n * sizeof(*v));
	free(v);
	return r;
}

static long sem_information(struct task *t, int cmd, gva_t buf)
{
	int highest = ipc_highest(&sem_table);
	struct seminfo info = {
		.semmap = SEM_MNS, .semmni = SEM_MNI, .semmns = SEM_MNS, .semmnu = SEM_MNS, .semmsl = SEM_MSL, .semopm = SEM_OPM,
		.semume = SEM_OPM, .semusz = 20, .semvmx = SEM_VMX, .semaem = SEM_VMX,
	};

	if (cmd == SEM_INFO) {
		info.semusz = ipc_used(&sem_table);
		info.semaem = atomic_load(&sem_total);
	}
	return put_user(t->mm, buf, &info) ? -EFAULT : highest;
}

static long ctl_object(struct task *t, struct sem_set *s, int num, int cmd, u64 arg)
{
	switch (cmd) {
	case IPC_STAT: case SEM_STAT: case SEM_STAT_ANY:
		return set_stat(t, s, cmd, arg);
	case IPC_SET:
		return set_set(t, s, arg);
	case IPC_RMID:
		return set_remove(t, s);
	case GETALL:
		return get_all(t, s, arg);
	case SETALL:
		return set_all(t, s, arg);
	case SETVAL:
		return set_one(t, s, num, (int)arg);
	default:
		return get_one(t, s, num, cmd);
	}
}

long sem_ctl(struct task *t, int id, int num, int cmd, u64 arg)
{
	struct ipc_object *o;
	long r;

	if (id < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO: case SEM_INFO:
		return sem_information(t, cmd, arg);
	case SEM_STAT: case SEM_STAT_ANY:
		r = ipc_find_slot(&sem_table, id, &o);
		break;
	case IPC_STAT: case IPC_SET: case IPC_RMID: case GETALL: case SETALL: case GETVAL: case SETVAL: case GETPID:
	case GETNCNT: case GETZCNT:
		r = ipc_find(&sem_table, id, &o);
		break;
	default:
		return -EINVAL;
	}
	if (r)
		return r;
	r = ctl_object(t, set_of(o), num, cmd, arg);
	ipc_put(&sem_table, o);
	return r;
}
