/* System V message queues. A sleeper looks again whenever its queue changes; who comes first gets the message. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include "ipc/ipc.h"
#include "mm/mm.h"
#include "syscall/syscall.h"
#include "task/clock.h"

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY	13
#endif
#ifndef MSG_COPY
#define MSG_COPY	040000
#endif

struct msg {
	TAILQ_ENTRY(msg) link;
	s64 type;
	u64 len;
	u8 data[];
};

struct queue {
	struct ipc_object obj;
	struct waitq wq;		/* senders and receivers */
	/* obj.lock */
	TAILQ_HEAD(msg_list, msg) msgs;
	u64 bytes, count, bytes_max;
	s64 stime, rtime, ctime;
	int lspid, lrpid;
};

static void msg_destroy(struct ipc_object *o);

struct ipc_table msg_table = IPC_TABLE(MSG_MNI, msg_destroy);
static _Atomic u64 total_bytes, total_count;

static struct queue *queue_of(struct ipc_object *o) { return CONTAINER_OF(o, struct queue, obj); }

static s64 now(void) { return clock_now(CLOCK_REALTIME) / NSEC_PER_SEC; }

static struct msg *msg_new(u64 len)
{
	struct msg *m;

	if (ipc_charge(sizeof(*m) + len))
		return NULL;
	m = malloc(sizeof(*m) + len);
	if (m)
		m->len = len;
	else
		ipc_uncharge(sizeof(*m) + len);
	return m;
}

static void msg_free(struct msg *m)
{
	if (!m)
		return;
	ipc_uncharge(sizeof(*m) + m->len);
	free(m);
}

/* ---- queues; obj.lock held ---- */

static void enqueue(struct queue *q, struct msg *m, int pid)
{
	TAILQ_INSERT_TAIL(&q->msgs, m, link);
	q->bytes += m->len;
	q->count++;
	q->lspid = pid;
	q->stime = now();
	atomic_fetch_add(&total_bytes, m->len);
	atomic_fetch_add(&total_count, 1);
}

static void unlink_msg(struct queue *q, struct msg *m)
{
	TAILQ_REMOVE(&q->msgs, m, link);
	q->bytes -= m->len;
	q->count--;
	atomic_fetch_sub(&total_bytes, m->len);
	atomic_fetch_sub(&total_count, 1);
}

static struct msg *nth(struct queue *q, s64 n)
{
	struct msg *m;

	TAILQ_FOREACH(m, &q->msgs, link)
		if (n-- == 0)
			return m;
	return NULL;
}

/* The message that a receiver of `type` gets. */
static struct msg *choose(struct queue *q, s64 type, int flags)
{
	struct msg *m, *best = NULL;

	if (flags & MSG_COPY)
		return nth(q, type);
	TAILQ_FOREACH(m, &q->msgs, link) {
		if (type >= 0) {
			if (!type || ((flags & MSG_EXCEPT) ? m->type != type : m->type == type))
				return m;
		} else if (m->type <= (type == INT64_MIN ? INT64_MAX : -type) && (!best || m->type < best->type)) {
			best = m;
		}
	}
	return best;
}

static void msg_destroy(struct ipc_object *o)
{
	struct queue *q = queue_of(o);
	struct msg *m;

	while ((m = TAILQ_FIRST(&q->msgs))) {
		unlink_msg(q, m);
		msg_free(m);
	}
	ipc_uncharge(sizeof(*q));
	free(q);
}

static struct ipc_object *msg_make(const struct ipc_get *g, int *err)
{
	struct queue *q;

	*err = -ENOMEM;
	if (ipc_charge(sizeof(*q)))
		return NULL;
	q = calloc(1, sizeof(*q));
	if (!q) {
		ipc_uncharge(sizeof(*q));
		return NULL;
	}
	TAILQ_INIT(&q->msgs);
	waitq_init(&q->wq);
	q->bytes_max = sysctl_msgmnb.value;
	q->ctime = now();
	ipc_object_init(&q->obj, g);
	return &q->obj;
}

long msg_get(struct task *t, int key, int flags)
{
	struct ipc_get g = { .t = t, .key = key, .flags = flags, .make = msg_make };

	return ipc_get(&msg_table, &g);
}

/* ---- sending and receiving ---- */

static int try_send(struct queue *q, struct task *t, struct msg *m)
{
	int r;

	pthread_mutex_lock(&q->obj.lock);
	r = q->obj.removed ? -EIDRM : ipc_permission(&q->obj, t, IPC_WRITE);
	if (!r && (q->bytes + m->len > q->bytes_max || q->count + 1 > q->bytes_max))
		r = -EAGAIN;
	if (!r)
		enqueue(q, m, t->tg->tgid);
	pthread_mutex_unlock(&q->obj.lock);
	return r;
}

static int send_wait(struct queue *q, struct task *t, struct msg *m, int flags)
{
	struct waiter w = { .task = t };
	int r = try_send(q, t, m);

	if (r != -EAGAIN || (flags & IPC_NOWAIT))
		return r;
	waitq_add(&q->wq, &w);
	while ((r = try_send(q, t, m)) == -EAGAIN)
		if (task_block(t, TIME_FOREVER)) {
			r = -ERESTARTNOHAND;
			break;
		}
	waitq_remove(&w);
	return r;
}

long msg_send(struct task *t, int id, gva_t msg, u64 size, int flags)
{
	struct ipc_object *o;
	struct msg *m;
	s64 type;
	int r;

	if (get_user(t->mm, &type, msg))
		return -EFAULT;
	if (size > (u64)sysctl_msgmax.value || id < 0 || type < 1)
		return -EINVAL;
	m = msg_new(size);
	if (!m)
		return -ENOMEM;
	m->type = type;
	r = copy_in(t->mm, m->data, msg + sizeof(type), size);
	if (!r)
		r = ipc_find(&msg_table, id, &o);
	if (!r) {
		r = send_wait(queue_of(o), t, m, flags);
		if (!r)
			waitq_wake(&queue_of(o)->wq, 0);
		ipc_put(&msg_table, o);
	}
	if (r)
		msg_free(m);
	return r;
}

/* *out: the message, the caller's; with MSG_COPY a copy. */
static int try_receive(struct queue *q, struct task *t, u64 size, s64 type, int flags, struct msg **out)
{
	struct msg *m = NULL;
	int r;

	pthread_mutex_lock(&q->obj.lock);
	r = q->obj.removed ? -EIDRM : ipc_permission(&q->obj, t, IPC_READ);
	if (!r) {
		m = choose(q, type, flags);
		r = !m ? -ENOMSG : m->len > size && !(flags & MSG_NOERROR) ? -E2BIG : 0;
	}
	if (!r && (flags & MSG_COPY)) {
		struct msg *copy = msg_new(m->len);

		if (copy) {
			copy->type = m->type;
			memcpy(copy->data, m->data, m->len);
		}
		m = copy;
		r = m ? 0 : -ENOMEM;
	} else if (!r) {
		unlink_msg(q, m);
		q->lrpid = t->tg->tgid;
		q->rtime = now();
	}
	pthread_mutex_unlock(&q->obj.lock);
	*out = m;
	return r;
}

static int receive_wait(struct queue *q, struct task *t, u64 size, s64 type, int flags, struct msg **out)
{
	struct waiter w = { .task = t };
	int r = try_receive(q, t, size, type, flags, out);

	if (r != -ENOMSG || (flags & IPC_NOWAIT))
		return r;
	waitq_add(&q->wq, &w);
	while ((r = try_receive(q, t, size, type, flags, out)) == -ENOMSG)
		if (task_block(t, TIME_FOREVER)) {
			r = -ERESTARTNOHAND;
			break;
		}
	waitq_remove(&w);
	return r;
}

long msg_receive(struct task *t, int id, gva_t msg, u64 size, s64 type, int flags)
{
	struct ipc_object *o;
	struct msg *m;
	long r;

	if (id < 0 || (s64)size < 0)
		return -EINVAL;
	if ((flags & MSG_COPY) && ((flags & MSG_EXCEPT) || !(flags & IPC_NOWAIT)))
		return -EINVAL;
	r = ipc_find(&msg_table, id, &o);
	if (r)
		return r;
	r = receive_wait(queue_of(o), t, size, type, flags, &m);
	if (!r && !(flags & MSG_COPY))
		waitq_wake(&queue_of(o)->wq, 0);
	ipc_put(&msg_table, o);
	if (r)
		return r;
	r = MIN(size, m->len);
	if (put_user(t->mm, msg, &m->type) || copy_out(t->mm, msg + sizeof(m->type), m->data, r))
		r = -EFAULT;
	msg_free(m);
	return r;
}

/* ---- msgctl ---- */

struct msqid64_ds {
	struct ipc64_perm perm;
	s64 stime, rtime, ctime;
	u64 cbytes, qnum, qbytes;
	int lspid, lrpid;
	u64 unused[2];
};
_Static_assert(sizeof(struct msqid64_ds) == sizeof(struct msqid_ds), "struct msqid64_ds of the x86-64 ABI");

void msg_facts(struct ipc_object *o, struct msg_facts *f)
{
	struct queue *q = queue_of(o);

	pthread_mutex_lock(&o->lock);
	*f = (struct msg_facts){
		.bytes = q->bytes, .count = q->count, .stime = q->stime, .rtime = q->rtime, .ctime = q->ctime,
		.lspid = q->lspid, .lrpid = q->lrpid,
	};
	ipc_perm_show(o, &f->perm);
	pthread_mutex_unlock(&o->lock);
}

static long queue_stat(struct task *t, struct queue *q, int cmd, gva_t buf)
{
	struct msqid64_ds ds;
	int err = 0;

	pthread_mutex_lock(&q->obj.lock);
	if (cmd != MSG_STAT_ANY)
		err = ipc_permission(&q->obj, t, IPC_READ);
	ds = (struct msqid64_ds){
		.stime = q->stime, .rtime = q->rtime, .ctime = q->ctime, .cbytes = q->bytes, .qnum = q->count,
		.qbytes = q->bytes_max, .lspid = q->lspid, .lrpid = q->lrpid,
	};
	ipc_perm_show(&q->obj, &ds.perm);
	pthread_mutex_unlock(&q->obj.lock);
	if (!err)
		err = put_user(t->mm, buf, &ds);
	return err ? err : cmd == IPC_STAT ? 0 : q->obj.id;
}

static long queue_set(struct task *t, struct queue *q, gva_t buf)
{
	struct msqid64_ds ds;
	int err = get_user(t->mm, &ds, buf);

	if (err)
		return err;
	pthread_mutex_lock(&q->obj.lock);
	err = ipc_owns(&q->obj, t);
	if (!err && ds.qbytes > (u64)sysctl_msgmnb.value && !cred_capable(t->cred, CAP_SYS_RESOURCE))
		err = -EPERM;
	if (!err)
		err = ipc_perm_set(&q->obj, &ds.perm);
	if (!err) {
		q->bytes_max = ds.qbytes;
		q->ctime = now();
	}
	pthread_mutex_unlock(&q->obj.lock);
	if (!err)
		waitq_wake(&q->wq, 0);
	return err;
}

static long queue_remove(struct task *t, struct queue *q)
{
	int err;

	pthread_mutex_lock(&q->obj.lock);
	err = ipc_owns(&q->obj, t);
	if (!err)
		q->obj.removed = true;
	pthread_mutex_unlock(&q->obj.lock);
	if (err)
		return err;
	ipc_unlink(&msg_table, &q->obj);
	waitq_wake(&q->wq, 0);
	return 0;
}

static long msg_information(struct task *t, int cmd, gva_t buf)
{
	int highest = ipc_highest(&msg_table);
	int mni = msg_table.max.value, mnb = sysctl_msgmnb.value;
	struct msginfo info = {
		.msgpool = MIN((s64)mni * mnb / 1024, (s64)INT32_MAX), .msgmap = mnb, .msgmax = sysctl_msgmax.value,
		.msgmnb = mnb, .msgmni = mni, .msgssz = 16, .msgtql = mnb, .msgseg = 0xffff,
	};

	if (cmd == MSG_INFO) {
		info.msgpool = ipc_used(&msg_table);
		info.msgmap = atomic_load(&total_count);
		info.msgtql = atomic_load(&total_bytes);
	}
	return put_user(t->mm, buf, &info) ? -EFAULT : highest;
}

long msg_ctl(struct task *t, int id, int cmd, gva_t buf)
{
	struct ipc_object *o;
	struct queue *q;
	long r;

	if (id < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO: case MSG_INFO:
		return msg_information(t, cmd, buf);
	case MSG_STAT: case MSG_STAT_ANY:
		r = ipc_find_slot(&msg_table, id, &o);
		break;
	case IPC_STAT: case IPC_SET: case IPC_RMID:
		r = ipc_find(&msg_table, id, &o);
		break;
	default:
		return -EINVAL;
	}
	if (r)
		return r;
	q = queue_of(o);
	r = cmd == IPC_SET ? queue_set(t, q, buf) : cmd == IPC_RMID ? queue_remove(t, q) : queue_stat(t, q, cmd, buf);
	ipc_put(&msg_table, o);
	return r;
}
