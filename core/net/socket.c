/* Sockets as objects and as files, and the options of SOL_SOCKET. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "net/socket.h"
#include "task/clock.h"

static struct super sockfs_super = { .type = "sockfs", .source = "none", .dev = 8, .refs = 1 };
static const struct inode_ops sockfs_inode_ops = { .release = NULL };
static const struct file_ops socket_file_ops;

enum net_reach net_reach = NET_LOOPBACK;

/* ---- life ---- */

struct socket *socket_new(const struct proto_ops *ops, int domain, int type, int protocol)
{
	struct socket *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ops = ops;
	s->domain = domain;
	s->type = type;
	s->protocol = protocol;
	atomic_init(&s->refs, 1);
	waitq_init(&s->wq);
	waitq_init(&s->space);
	pthread_mutex_init(&s->lock, NULL);
	TAILQ_INIT(&s->rx);
	TAILQ_INIT(&s->accepting);
	s->rcvbuf = s->sndbuf = SOCK_BUF_DEFAULT;
	s->rcvlowat = 1;
	/* Until somebody connects, SO_PEERCRED says nobody. */
	s->peer_cred = (struct ucred){ .pid = 0, .uid = -1, .gid = -1 };
	return s;
}

void socket_get(struct socket *s)
{
	atomic_fetch_add(&s->refs, 1);
}

bool socket_get_live(struct socket *s)
{
	int n = atomic_load(&s->refs);

	while (n > 0)
		if (atomic_compare_exchange_weak(&s->refs, &n, n + 1))
			return true;
	return false;
}

void socket_put(struct socket *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	if (s->ops->destroy)
		s->ops->destroy(s);
	free(s->inet_values);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void socket_wake(struct socket *s, u32 events)
{
	waitq_wake(&s->wq, events);
}

int socket_take_error(struct socket *s)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = s->err;
	s->err = 0;
	pthread_mutex_unlock(&s->lock);
	return err;
}

void socket_cred(struct task *t, struct ucred *out)
{
	*out = (struct ucred){ .pid = t->tg->tgid, .uid = t->cred->euid, .gid = t->cred->egid };
}

int socket_create(struct task *t, int domain, int type, int protocol, struct socket **out)
{
	switch (domain) {
	case AF_UNIX:
		return unix_create(t, type, protocol, out);
	case AF_INET:
	case AF_INET6:
		if (net_reach == NET_HOST)
			return host_socket_create(domain, type, protocol, out);
		return inet_create(t, domain, type, protocol, out);
	case AF_NETLINK:
		return netlink_create(type, protocol, out);
	default:
		return -EAFNOSUPPORT;
	}
}

int socket_pair(struct task *t, int domain, int type, int protocol, struct socket *out[2])
{
	int err;

	if (domain == AF_UNIX)
		return unix_pair(t, type, protocol, out);
	/* As Linux, which makes them before it finds that they do not go in pairs. */
	err = socket_create(t, domain, type, protocol, &out[0]);
	if (err)
		return err;
	out[0]->ops->release(out[0]);
	socket_put(out[0]);
	return -EOPNOTSUPP;
}

/* ---- the file ---- */

struct socket *file_socket(const struct file *f)
{
	return f->ops == &socket_file_ops ? f->data : NULL;
}

int socket_file(struct socket *s, u32 flags, struct file **out)
{
	struct inode *in = inode_new(&sockfs_super, &sockfs_inode_ops, S_IFSOCK | 0777);

	*out = in ? file_new(in, &socket_file_ops, O_RDWR | flags) : NULL;
	if (*out) {
		(*out)->data = s;
		s->ino = in->ino;
	} else {
		s->ops->release(s);
		socket_put(s);
	}
	if (in)
		inode_put(in);
	return *out ? 0 : -ENFILE;
}

static s64 socket_read(struct file *f, struct uio *u, u64 *pos)
{
	struct socket *s = f->data;
	struct sock_msg m = { .u = u };
	s64 n;

	if (!u->len && s->type == SOCK_STREAM)
		return 0;
	n = s->ops->recv(s, &m);
	scm_free(&m.scm);
	return n;
}

static s64 socket_write(struct file *f, struct uio *u, u64 *pos)
{
	struct socket *s = f->data;
	struct sock_msg m = { .u = u };
	s64 n;

	if (!u->task)
		return -EINVAL;
	socket_cred(u->task, &m.scm.cred);
	n = s->ops->send(s, u->task, &m);
	if (m.full)
		socket_put(m.full);
	return n;
}

static u32 socket_poll(struct file *f)
{
	struct socket *s = f->data;

	return s->ops->poll(s);
}

static void socket_poll_start(struct file *f)
{
	struct socket *s = f->data;

	if (s->host)
		host_socket_poll_start(s);
}

static struct waitq *socket_waitq(struct file *f)
{
	return &((struct socket *)f->data)->wq;
}

/* Bytes waiting: all of a stream's, the next message of the others. */
static int bytes_in(struct socket *s)
{
	struct skb *skb;
	u64 n = 0;

	if (s->host)
		return host_socket_bytes(s, false);
	pthread_mutex_lock(&s->lock);
	TAILQ_FOREACH(skb, &s->rx, link) {
		n += skb->len - skb->off;
		if (s->type != SOCK_STREAM)
			break;
	}
	pthread_mutex_unlock(&s->lock);
	return MIN(n, (u64)INT32_MAX);
}

static int bytes_out(struct socket *s)
{
	struct socket *peer = s->type == SOCK_DGRAM ? NULL : socket_peer(s);
	int n = s->host ? host_socket_bytes(s, true) : peer ? bytes_in(peer) : 0;

	socket_put(peer);
	return n;
}

static s64 socket_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	struct socket *s = f->data;
	int n;

	switch (cmd) {
	case FIONREAD:
		if (s->state == SOCK_LISTENING)
			return -EINVAL;
		n = bytes_in(s);
		break;
	case SIOCOUTQ:
		n = bytes_out(s);
		break;
	case SIOCATMARK:
		n = 0;
		break;
	default:
		return ifreq_ioctl(t, cmd, arg);
	}
	return put_user(t->mm, arg, &n);
}

static int socket_setfl(struct file *f, u32 flags)
{
	return 0;
}

static void socket_release(struct file *f)
{
	struct socket *s = f->data;

	s->ops->release(s);
	socket_put(s);
}

static const struct file_ops socket_file_ops = {
	.read = socket_read,
	.write = socket_write,
	.poll = socket_poll,
	.waitq = socket_waitq,
	.poll_start = socket_poll_start,
	.ioctl = socket_ioctl,
	.setfl = socket_setfl,
	.release = socket_release,
	.anon_name = "socket",
};

/* ---- SOL_SOCKET ---- */

static atomic_bool *bool_option(struct socket *s, int name)
{
	switch (name) {
	case SO_REUSEADDR:
		return &s->reuseaddr;
	case SO_REUSEPORT:
		return &s->reuseport;
	case SO_KEEPALIVE:
		return &s->keepalive;
	case SO_BROADCAST:
		return &s->broadcast;
	case SO_PASSCRED:
		return &s->passcred;
	case SO_OOBINLINE:
		return &s->oobinline;
	case SO_TIMESTAMP:
		return &s->timestamp;
	default:
		return NULL;
	}
}

/* As in Linux, the bound is twice what was asked for. */
static u32 buf_size(int asked)
{
	return MAX(MIN((u32)MAX(asked, 0), (u32)SOCK_BUF_DEFAULT) * 2, (u32)SOCK_BUF_MIN);
}

static long set_timeout(_Atomic u64 *to, struct task *t, gva_t val, int len)
{
	struct timeval tv;
	u64 ns;

	if (len < (int)sizeof(tv))
		return -EINVAL;
	if (get_user(t->mm, &tv, val))
		return -EFAULT;
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0 || __builtin_mul_overflow((u64)tv.tv_sec, NSEC_PER_SEC, &ns))
		ns = 0;
	atomic_store(to, ns + tv.tv_usec * 1000);
	return 0;
}

static long set_linger(struct socket *s, struct task *t, gva_t val, int len)
{
	struct linger l;

	if (len < (int)sizeof(l))
		return -EINVAL;
	if (get_user(t->mm, &l, val))
		return -EFAULT;
	s->linger = l.l_onoff ? (u32)MIN(MAX(l.l_linger, 0), 1 << 20) + 1 : 0;
	return 0;
}

static long set_int(struct socket *s, int name, int value)
{
	atomic_bool *flag = bool_option(s, name);

	if (flag) {
		atomic_store(flag, value != 0);
		return 0;
	}
	switch (name) {
	case SO_SNDBUF:
	case SO_SNDBUFFORCE:
		s->sndbuf = buf_size(value);
		return 0;
	case SO_RCVBUF:
	case SO_RCVBUFFORCE:
		s->rcvbuf = buf_size(value);
		return 0;
	case SO_PRIORITY:
		s->priority = value;
		return 0;
	case SO_RCVLOWAT:
		s->rcvlowat = MAX(value, 1);
		return 0;
	case SO_DONTROUTE:
	case SO_TIMESTAMPNS:
	case SO_INCOMING_CPU:
	case SO_PASSSEC:
		return 0;
	case SO_TYPE:
	case SO_DOMAIN:
	case SO_PROTOCOL:
	case SO_ERROR:
	case SO_ACCEPTCONN:
	default:
		return -ENOPROTOOPT;
	}
}

static bool is_timeout(int name)
{
	return name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW || name == SO_SNDTIMEO_OLD || name == SO_SNDTIMEO_NEW;
}

static _Atomic u64 *timeout_of(struct socket *s, int name)
{
	return name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW ? &s->rcvtimeo : &s->sndtimeo;
}

long socket_setsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, int len)
{
	int value;

	if (level == SOL_SOCKET && is_timeout(name))
		return set_timeout(timeout_of(s, name), t, val, len);
	if (s->host)
		return host_socket_setsockopt(s, t, level, name, val, len);
	if (level == SOL_SOCKET && name == SO_LINGER)
		return set_linger(s, t, val, len);
	if (len < (int)sizeof(value))
		return -EINVAL;
	if (get_user(t->mm, &value, val))
		return -EFAULT;
	if (level == SOL_SOCKET)
		return set_int(s, name, value);
	return s->ops->setsockopt ? s->ops->setsockopt(s, level, name, value) : -ENOPROTOOPT;
}

static int get_int(struct socket *s, int name, int *value)
{
	atomic_bool *flag = bool_option(s, name);

	if (flag) {
		*value = *flag;
		return 0;
	}
	switch (name) {
	case SO_TYPE:
		*value = s->type;
		return 0;
	case SO_DOMAIN:
		*value = s->domain;
		return 0;
	case SO_PROTOCOL:
		*value = s->protocol;
		return 0;
	case SO_ERROR:
		*value = -socket_take_error(s);
		return 0;
	case SO_ACCEPTCONN:
		*value = s->state == SOCK_LISTENING;
		return 0;
	case SO_SNDBUF:
		*value = s->sndbuf;
		return 0;
	case SO_RCVBUF:
		*value = s->rcvbuf;
		return 0;
	case SO_PRIORITY:
		*value = s->priority;
		return 0;
	case SO_RCVLOWAT:
		*value = s->rcvlowat;
		return 0;
	case SO_SNDLOWAT:
		*value = 1;
		return 0;
	case SO_DONTROUTE:
	case SO_TIMESTAMPNS:
	case SO_MARK:
	case SO_PASSSEC:
	case SO_BUSY_POLL:
		*value = 0;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static long put_value(struct task *t, gva_t val, gva_t len_addr, int len, const void *v, int size)
{
	len = MIN(len, size);
	if (copy_out(t->mm, val, v, len) || put_user(t->mm, len_addr, &len))
		return -EFAULT;
	return 0;
}

/* Values that are no ints. 1: not one of them. */
static long get_struct(struct socket *s, struct task *t, int name, gva_t val, gva_t len_addr, int len)
{
	if (is_timeout(name)) {
		u64 ns = *timeout_of(s, name);
		struct timeval tv = { .tv_sec = ns / NSEC_PER_SEC, .tv_usec = ns % NSEC_PER_SEC / 1000 };

		return put_value(t, val, len_addr, len, &tv, sizeof(tv));
	}
	if (name == SO_LINGER) {
		struct linger l = { .l_onoff = s->linger != 0, .l_linger = s->linger ? s->linger - 1 : 0 };

		return put_value(t, val, len_addr, len, &l, sizeof(l));
	}
	if (name == SO_PEERCRED) {
		struct ucred c;

		pthread_mutex_lock(&s->lock);
		c = s->peer_cred;
		pthread_mutex_unlock(&s->lock);
		return put_value(t, val, len_addr, len, &c, sizeof(c));
	}
	return 1;
}

long socket_getsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, gva_t len_addr)
{
	int len, value = 0, err;
	long r;

	if (s->host && !(level == SOL_SOCKET && is_timeout(name)))
		return host_socket_getsockopt(s, t, level, name, val, len_addr);
	if (get_user(t->mm, &len, len_addr))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	if (level == SOL_SOCKET) {
		r = get_struct(s, t, name, val, len_addr, len);
		if (r <= 0)
			return r;
		err = get_int(s, name, &value);
	} else {
		u8 out[256];
		int n = s->domain == AF_INET || s->domain == AF_INET6 ? inet_getsockopt_struct(s, level, name, out, sizeof(out)) : 0;

		if (n)
			return put_value(t, val, len_addr, len, out, n);
		err = s->ops->getsockopt ? s->ops->getsockopt(s, level, name, &value) : -EOPNOTSUPP;
	}
	return err ? err : put_value(t, val, len_addr, len, &value, sizeof(value));
}
