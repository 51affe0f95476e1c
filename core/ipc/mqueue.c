/*
 * POSIX message queues. A queue is an inode: the table of names has one reference, each open descriptor another.
 *
 * Threat: sizes and counts are the guest's; attributes are bounded as in Linux, what messages take by ipc_charge(), and
 * the names' number by QUEUES_HARD.
 *
 * Lock order: table_lock, then a queue's lock. Neither is held over uaccess or while a signal is sent.
 */
#include "ipc/mqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "ipc/ipc.h"
#include "net/socket.h"
#include "syscall/syscall.h"
#include "task/signal.h"

#define NAME_LEN	255
#define PRIO_MAX_MQ	32768
#define QUEUES_HARD	4096		/* even with CAP_SYS_RESOURCE, which goes beyond the numbers in /proc/sys/fs/mqueue */
#define MAXMSG_HARD	65536
#define MSGSIZE_HARD	(16 << 20)
#define COOKIE_LEN	32		/* of SIGEV_THREAD */
enum { COOKIE_WOKEN = 1, COOKIE_REMOVED = 2 };

struct sysctl sysctl_mq_queues = { 256, 0, QUEUES_HARD };
struct sysctl sysctl_mq_msgs = { 10, 1, MAXMSG_HARD }, sysctl_mq_msgs_default = { 10, 1, MAXMSG_HARD };
struct sysctl sysctl_mq_msgsize = { 8192, 128, MSGSIZE_HARD }, sysctl_mq_msgsize_default = { 8192, 128, MSGSIZE_HARD };

struct mq_msg {
	TAILQ_ENTRY(mq_msg) link;
	u32 prio;
	u64 len;
	u8 data[];
};

struct notice {				/* mq_notify */
	struct thread_group *owner;	/* a reference; NULL: nobody asked */
	struct mq_sigevent ev;
	struct file *netlink;		/* SIGEV_THREAD: where the cookie goes; a reference */
	u8 cookie[COOKIE_LEN];
};

struct mqueue {
	LIST_ENTRY(mqueue) by_name;	/* table_lock */
	struct inode *inode;		/* the table's reference while it has a name */
	char name[NAME_LEN + 1];
	u64 maxmsg, msgsize;		/* immutable */
	struct mq_account *account;	/* immutable */
	struct waitq wq;

	pthread_mutex_t lock;		/* all below */
	TAILQ_HEAD(mq_msgs, mq_msg) msgs;	/* by priority, then age */
	u64 count, bytes;
	int receivers;			/* asleep: they go before a notice */
	struct notice notice;
};

struct mq_account {			/* a user's queues, for RLIMIT_MSGQUEUE; table_lock; kept for good */
	struct mq_account *next;
	u32 uid;
	u64 bytes;
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(mq_table, mqueue) table = LIST_HEAD_INITIALIZER(table);
static int nqueues;
static struct mq_account *accounts;

static void mq_inode_release(struct inode *in);

static struct super mq_super = { .type = "mqueue", .source = "mqueue", .dev = 19, .refs = 1 };
static const struct inode_ops mq_inode_ops = { .release = mq_inode_release };
static const struct file_ops mq_file_ops;

bool is_mqueue(const struct file *f) { return f->ops == &mq_file_ops; }

static struct mqueue *queue_of(const struct file *f) { return f->inode->data; }

/* ---- what a queue may cost its user ---- */

static u64 queue_cost(u64 maxmsg, u64 msgsize)
{
	return maxmsg * (48 + msgsize) + MIN(maxmsg, (u64)PRIO_MAX_MQ) * 48;
}

/* table_lock held. */
static struct mq_account *account_of(u32 uid)
{
	struct mq_account *a = accounts;

	while (a && a->uid != uid)
		a = a->next;
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (a) {
		a->uid = uid;
		a->next = accounts;
		accounts = a;
	}
	return a;
}

/* ---- life ---- */

static void notice_drop(struct notice *n)
{
	if (n->owner)
		thread_group_put(n->owner);
	if (n->netlink)
		file_put(n->netlink);
	*n = (struct notice){ .owner = NULL };
}

static void mq_inode_release(struct inode *in)
{
	struct mqueue *q = in->data;
	struct mq_msg *m;

	if (!q)
		return;
	while ((m = TAILQ_FIRST(&q->msgs))) {
		TAILQ_REMOVE(&q->msgs, m, link);
		ipc_uncharge(sizeof(*m) + m->len);
		free(m);
	}
	notice_drop(&q->notice);
	pthread_mutex_lock(&table_lock);
	q->account->bytes -= queue_cost(q->maxmsg, q->msgsize);
	pthread_mutex_unlock(&table_lock);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static struct mqueue *find(const char *name)
{
	struct mqueue *q;

	LIST_FOREACH(q, &table, by_name)
		if (!strcmp(q->name, name))
			return q;
	return NULL;
}

static int check_attr(struct task *t, const struct mq_attr_guest *a)
{
	bool may = cred_capable(t->cred, CAP_SYS_RESOURCE);

	if (a->maxmsg <= 0 || a->msgsize <= 0)
		return -EINVAL;
	if (a->maxmsg > (may ? MAXMSG_HARD : sysctl_mq_msgs.value) || a->msgsize > (may ? MSGSIZE_HARD : sysctl_mq_msgsize.value))
		return -EINVAL;
	return 0;
}

/* table_lock held. The inode's one reference becomes the table's. */
static int make(struct task *t, const char *name, u32 mode, const struct mq_attr_guest *a, struct mqueue **out)
{
	u64 cost = queue_cost(a->maxmsg, a->msgsize);
	struct mq_account *account = account_of(t->cred->uid);
	struct mqueue *q;

	if (nqueues >= QUEUES_HARD || (nqueues >= sysctl_mq_queues.value && !cred_capable(t->cred, CAP_SYS_RESOURCE)))
		return -ENOSPC;
	if (!account)
		return -ENOMEM;
	if (account->bytes + cost > task_rlimit(t, RLIMIT_MSGQUEUE))
		return -EMFILE;
	q = calloc(1, sizeof(*q));
	if (q)
		q->inode = inode_new(&mq_super, &mq_inode_ops, S_IFREG | (mode & 0777 & ~t->place->umask));
	if (!q || !q->inode) {
		free(q);
		return -ENOMEM;
	}
	strcpy(q->name, name);
	q->inode->data = q;
	q->inode->uid = t->cred->fsuid;
	q->inode->gid = t->cred->fsgid;
	q->maxmsg = a->maxmsg;
	q->msgsize = a->msgsize;
	q->account = account;
	account->bytes += cost;
	pthread_mutex_init(&q->lock, NULL);
	waitq_init(&q->wq);
	TAILQ_INIT(&q->msgs);
	LIST_INSERT_HEAD(&table, q, by_name);
	nqueues++;
	*out = q;
	return 0;
}

static int check_name(const char *name)
{
	if (strlen(name) > NAME_LEN)
		return -ENAMETOOLONG;
	return !*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") ? -EACCES : 0;
}

/* table_lock held. The inode with a reference. */
static int find_or_make(struct task *t, const char *name, int flags, u32 mode, const struct mq_attr_guest *attr,
			struct inode **out)
{
	const struct mq_attr_guest standard = {
		.maxmsg = MIN(sysctl_mq_msgs.value, sysctl_mq_msgs_default.value),
		.msgsize = MIN(sysctl_mq_msgsize.value, sysctl_mq_msgsize_default.value),
	};
	static const u32 want[3] = { R_OK, W_OK, R_OK | W_OK };
	struct mqueue *q = find(name);
	int err = 0;

	if (q && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (q)
		err = inode_permission(t->cred, q->inode, want[flags & O_ACCMODE]);
	else if (!(flags & O_CREAT))
		err = -ENOENT;
	else
		err = attr ? check_attr(t, attr) : 0;
	if (!err && !q)
		err = make(t, name, mode, attr ? attr : &standard, &q);
	if (err)
		return err;
	inode_get(q->inode);
	*out = q->inode;
	return 0;
}

int mqueue_open(struct task *t, const char *name, int flags, u32 mode, const struct mq_attr_guest *attr, struct file **out)
{
	struct inode *in;
	int err = check_name(name);

	if (!err && (flags & O_ACCMODE) == O_ACCMODE)
		err = -EINVAL;
	if (err)
		return err;
	pthread_mutex_lock(&table_lock);
	err = find_or_make(t, name, flags, mode, attr, &in);
	pthread_mutex_unlock(&table_lock);
	if (err)
		return err;
	*out = file_new(in, &mq_file_ops, flags & (O_ACCMODE | O_NONBLOCK));
	inode_put(in);
	return *out ? 0 : -ENFILE;
}

int mqueue_unlink(struct task *t, const char *name)
{
	struct inode *in = NULL;
	struct mqueue *q;
	int err = check_name(name);

	if (err)
		return err;
	pthread_mutex_lock(&table_lock);
	q = find(name);
	if (!q) {
		err = -ENOENT;
	} else if (t->cred->fsuid != q->inode->uid && !cred_capable(t->cred, CAP_FOWNER)) {
		err = -EPERM;		/* the names' directory is sticky */
	} else {
		LIST_REMOVE(q, by_name);
		nqueues--;
		in = q->inode;
	}
	pthread_mutex_unlock(&table_lock);
	if (in)
		inode_put(in);
	return err;
}

/* ---- notices ---- */

static void cookie_send(struct notice *n, u8 state)
{
	if (!n->netlink)
		return;
	n->cookie[COOKIE_LEN - 1] = state;
	netlink_deliver(file_socket(n->netlink), n->cookie, COOKIE_LEN, 0, NULL);
}

/* `n` is out of its queue; no lock held. A message came to an empty queue. */
static void notice_fire(struct task *from, struct notice *n)
{
	union guest_siginfo info;

	if (!n->owner)
		return;
	if (n->ev.notify == SIGEV_SIGNAL) {
		signal_info(&info, n->ev.signo, SI_MESGQ, from);
		info.si.si_value.sival_ptr = (void *)n->ev.value;
		signal_send_group(n->owner, &info);
	}
	cookie_send(n, COOKIE_WOKEN);
	notice_drop(n);
}

bool mqueue_event_good(const struct mq_sigevent *ev)
{
	return ev->notify == SIGEV_NONE || ev->notify == SIGEV_THREAD || (ev->notify == SIGEV_SIGNAL && signal_valid(ev->signo));
}

static int notice_make(struct task *t, const struct mq_sigevent *ev, struct notice *n)
{
	struct socket *s;

	*n = (struct notice){ .ev = *ev };
	if (ev->notify == SIGEV_THREAD) {
		if (copy_in(t->mm, n->cookie, ev->value, COOKIE_LEN))
			return -EFAULT;
		n->netlink = fd_get(t->files, ev->signo);
		s = n->netlink ? file_socket(n->netlink) : NULL;
		if (!s || !netlink_socket(s)) {
			int err = !n->netlink ? -EBADF : !s ? -ENOTSOCK : -EINVAL;

			notice_drop(n);
			return err;
		}
	}
	thread_group_ref(t->tg);
	n->owner = t->tg;
	return 0;
}

int mqueue_notify(struct task *t, struct file *f, const struct mq_sigevent *ev)
{
	struct mqueue *q = queue_of(f);
	struct notice n = { .owner = NULL };
	int err = ev ? notice_make(t, ev, &n) : 0;

	if (err)
		return err;
	pthread_mutex_lock(&q->lock);
	if (ev && q->notice.owner) {
		err = -EBUSY;
	} else if (ev || q->notice.owner == t->tg) {
		struct notice old = q->notice;

		q->notice = n;
		n = old;
	}
	pthread_mutex_unlock(&q->lock);
	if (!err && n.owner)
		cookie_send(&n, COOKIE_REMOVED);
	notice_drop(&n);
	return err;
}

/* ---- messages ---- */

/* q->lock held. */
static void insert(struct mqueue *q, struct mq_msg *m)
{
	struct mq_msg *at = TAILQ_LAST(&q->msgs, mq_msgs);

	while (at && at->prio < m->prio)
		at = TAILQ_PREV(at, mq_msgs, link);
	if (at)
		TAILQ_INSERT_AFTER(&q->msgs, at, m, link);
	else
		TAILQ_INSERT_HEAD(&q->msgs, m, link);
	q->count++;
	q->bytes += m->len;
}

static int try_send(struct mqueue *q, struct mq_msg *m, struct notice *fired)
{
	int err = 0;

	pthread_mutex_lock(&q->lock);
	if (q->count >= q->maxmsg) {
		err = -EAGAIN;
	} else {
		insert(q, m);
		if (q->count == 1 && !q->receivers) {
			*fired = q->notice;
			q->notice = (struct notice){ .owner = NULL };
		}
	}
	pthread_mutex_unlock(&q->lock);
	return err;
}

static struct mq_msg *msg_copy(struct task *t, gva_t msg, u64 len, u32 prio, int *err)
{
	struct mq_msg *m;

	*err = ipc_charge(sizeof(*m) + len);
	if (*err)
		return NULL;
	m = malloc(sizeof(*m) + len);
	*err = !m ? -ENOMEM : copy_in(t->mm, m->data, msg, len);
	if (*err) {
		ipc_uncharge(sizeof(*m) + len);
		free(m);
		return NULL;
	}
	m->prio = prio;
	m->len = len;
	return m;
}

static int blocked(struct task *t, u64 deadline)
{
	int err = task_block(t, deadline);

	return err == -EINTR ? -ERESTARTSYS : err;
}

static int send_wait(struct task *t, struct file *f, struct mq_msg *m, u64 deadline, struct notice *fired)
{
	struct mqueue *q = queue_of(f);
	struct waiter w = { .task = t, .events = EPOLLOUT };
	int err = try_send(q, m, fired), slept = 0;

	if (err != -EAGAIN || (atomic_load(&f->flags) & O_NONBLOCK))
		return err;
	waitq_add(&q->wq, &w);
	while ((err = try_send(q, m, fired)) == -EAGAIN && !slept)
		slept = blocked(t, deadline);
	waitq_remove(&w);
	return err == -EAGAIN ? slept : err;
}

int mqueue_send(struct task *t, struct file *f, gva_t msg, u64 len, u32 prio, u64 deadline)
{
	struct mqueue *q = queue_of(f);
	struct notice fired = { .owner = NULL };
	struct mq_msg *m;
	int err;

	if ((f->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (len > q->msgsize)
		return -EMSGSIZE;
	m = msg_copy(t, msg, len, prio, &err);
	if (err)
		return err;
	err = send_wait(t, f, m, deadline, &fired);
	if (err) {
		ipc_uncharge(sizeof(*m) + len);
		free(m);
		return err;
	}
	waitq_wake(&q->wq, EPOLLIN | EPOLLRDNORM);
	notice_fire(t, &fired);
	return 0;
}

static struct mq_msg *take(struct mqueue *q, int receivers)
{
	struct mq_msg *m;

	pthread_mutex_lock(&q->lock);
	q->receivers += receivers;
	m = TAILQ_FIRST(&q->msgs);
	if (m) {
		TAILQ_REMOVE(&q->msgs, m, link);
		q->count--;
		q->bytes -= m->len;
	}
	pthread_mutex_unlock(&q->lock);
	return m;
}

static struct mq_msg *receive_wait(struct task *t, struct file *f, u64 deadline, int *err)
{
	struct mqueue *q = queue_of(f);
	struct waiter w = { .task = t, .events = EPOLLIN };
	struct mq_msg *m = take(q, 0);

	*err = m ? 0 : -EAGAIN;
	if (m || (atomic_load(&f->flags) & O_NONBLOCK))
		return m;
	waitq_add(&q->wq, &w);
	*err = 0;
	m = take(q, 1);
	while (!m && !*err) {
		*err = blocked(t, deadline);
		m = take(q, 0);
	}
	waitq_remove(&w);
	pthread_mutex_lock(&q->lock);
	q->receivers--;
	pthread_mutex_unlock(&q->lock);
	if (m)
		*err = 0;
	return m;
}

s64 mqueue_receive(struct task *t, struct file *f, gva_t msg, u64 len, gva_t prio, u64 deadline)
{
	struct mqueue *q = queue_of(f);
	struct mq_msg *m;
	int err;
	s64 n;

	if ((f->flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (len < q->msgsize)
		return -EMSGSIZE;
	m = receive_wait(t, f, deadline, &err);
	if (!m)
		return err;
	waitq_wake(&q->wq, EPOLLOUT | EPOLLWRNORM);
	n = m->len;
	if ((prio && put_user(t->mm, prio, &m->prio)) || copy_out(t->mm, msg, m->data, m->len))
		n = -EFAULT;
	ipc_uncharge(sizeof(*m) + m->len);
	free(m);
	return n;
}

void mqueue_attr(struct file *f, struct mq_attr_guest *out)
{
	struct mqueue *q = queue_of(f);

	*out = (struct mq_attr_guest){ .flags = f->flags & O_NONBLOCK, .maxmsg = q->maxmsg, .msgsize = q->msgsize };
	pthread_mutex_lock(&q->lock);
	out->curmsgs = q->count;
	pthread_mutex_unlock(&q->lock);
}

/* ---- as a file ---- */

static s64 mq_read(struct file *f, struct uio *u, u64 *pos)
{
	struct mqueue *q = queue_of(f);
	char line[120];
	s64 n;

	pthread_mutex_lock(&q->lock);
	n = snprintf(line, sizeof(line), "QSIZE:%-10llu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", (unsigned long long)q->bytes,
		     q->notice.owner ? q->notice.ev.notify : 0,
		     q->notice.owner && q->notice.ev.notify == SIGEV_SIGNAL ? q->notice.ev.signo : 0,
		     q->notice.owner ? q->notice.owner->tgid : 0);
	pthread_mutex_unlock(&q->lock);
	if (*pos >= (u64)n)
		return 0;
	n = uio_put(u, line + *pos, n - *pos);
	*pos += n;
	return n;
}

static u32 mq_poll(struct file *f)
{
	struct mqueue *q = queue_of(f);
	u32 ev;

	pthread_mutex_lock(&q->lock);
	ev = (q->count ? EPOLLIN | EPOLLRDNORM : 0) | (q->count < q->maxmsg ? EPOLLOUT | EPOLLWRNORM : 0);
	pthread_mutex_unlock(&q->lock);
	return ev;
}

static struct waitq *mq_waitq(struct file *f) { return &queue_of(f)->wq; }

/* A process that closes any descriptor of the queue gives up its notice. */
static void mq_flush(struct file *f, struct task *t)
{
	if (t)
		mqueue_notify(t, f, NULL);
}

static const struct file_ops mq_file_ops = {
	.read = mq_read, .poll = mq_poll, .waitq = mq_waitq, .flush = mq_flush, .seek = file_seek_generic, .anon_name = "mqueue",
};
