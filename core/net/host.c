/*
 * --network=host: internet sockets that are sockets of the host's. The host's are never blocking; a guest's wait goes
 * through host/poller.c as for the standard streams. Nothing of the guest's memory is handed to the host but bytes.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/poller.h"
#include "net/socket.h"

#define OPTION_MAX	256
#define IOV_MAX_HOST	64
#define POLL_ALL	(POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND)

struct host_socket {
	int fd;				/* immutable */
	struct socket *owner;
	struct host_watch watch;
};

static const struct proto_ops host_ops;

static void host_ready(struct host_watch *w, u32 events)
{
	struct host_socket *h = CONTAINER_OF(w, struct host_socket, watch);

	socket_wake(h->owner, events | (events & EPOLLIN ? EPOLLRDNORM : 0) | (events & EPOLLOUT ? EPOLLWRNORM : 0));
}

/* Takes the descriptor over. */
static int host_wrap(int fd, int domain, int type, int protocol, struct socket **out)
{
	struct host_socket *h = calloc(1, sizeof(*h));
	struct socket *s = h ? socket_new(&host_ops, domain, type, protocol) : NULL;

	if (!s) {
		free(h);
		close(fd);
		return -ENOMEM;
	}
	*h = (struct host_socket){ .fd = fd, .owner = s, .watch = { .fd = fd, .ready = host_ready } };
	s->host = h;
	*out = s;
	return 0;
}

int host_socket_create(int domain, int type, int protocol, struct socket **out)
{
	int fd;

	if (type != SOCK_STREAM && type != SOCK_DGRAM)
		return type == SOCK_RAW ? -EPERM : -ESOCKTNOSUPPORT;
	fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	return fd < 0 ? -errno : host_wrap(fd, domain, type, protocol, out);
}

static int result(int r)
{
	return r < 0 ? -errno : r;
}

/* ---- connecting ---- */

static int host_bind(struct socket *s, struct task *t, const union sock_addr *a, u32 len)
{
	return result(bind(s->host->fd, &a->sa, len));
}

static int host_connect(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **full)
{
	return result(connect(s->host->fd, &a->sa, len));
}

static int host_listen(struct socket *s, struct task *t, int backlog)
{
	int err = result(listen(s->host->fd, backlog));

	if (!err)
		s->state = SOCK_LISTENING;
	return err;
}

static int host_accept(struct socket *s, struct socket **out)
{
	int fd = accept4(s->host->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : host_wrap(fd, s->domain, s->type, s->protocol, out);
}

/* *len 0: it has none. */
static void host_name(struct socket *s, bool peer, union sock_addr *a, u32 *len)
{
	socklen_t n = sizeof(*a);
	int err = peer ? getpeername(s->host->fd, &a->sa, &n) : getsockname(s->host->fd, &a->sa, &n);

	*len = err ? 0 : n;
}

static int host_shutdown(struct socket *s, int how)
{
	return result(shutdown(s->host->fd, how));
}

/* ---- moving bytes ---- */

static int iov_copy(const struct uio *u, struct iovec *out)
{
	int n = MIN(u->iovcnt, IOV_MAX_HOST);

	memcpy(out, u->iov, n * sizeof(*out));
	return n;
}

static s64 host_send(struct socket *s, struct task *t, struct sock_msg *m)
{
	struct iovec iov[IOV_MAX_HOST];
	struct msghdr h = {
		.msg_name = m->addr_len ? &m->addr : NULL, .msg_namelen = m->addr_len,
		.msg_iov = iov, .msg_iovlen = iov_copy(m->u, iov),
	};
	ssize_t n = sendmsg(s->host->fd, &h, (m->flags & (MSG_MORE | MSG_OOB)) | MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	uio_advance(m->u, n);
	return n;
}

static s64 host_recv(struct socket *s, struct sock_msg *m)
{
	struct iovec iov[IOV_MAX_HOST];
	struct msghdr h = {
		.msg_name = &m->addr, .msg_namelen = sizeof(m->addr), .msg_iov = iov, .msg_iovlen = iov_copy(m->u, iov),
	};
	ssize_t n = recvmsg(s->host->fd, &h, (m->flags & (MSG_PEEK | MSG_TRUNC)) | MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	m->addr_len = h.msg_namelen;
	m->out_flags |= h.msg_flags & MSG_TRUNC;
	uio_advance(m->u, MIN((u64)n, m->u->len));
	return n;
}

/* ---- readiness ---- */

static u32 host_poll(struct socket *s)
{
	struct pollfd p = { .fd = s->host->fd, .events = POLL_ALL };

	return poll(&p, 1, 0) > 0 ? (u32)(u16)p.revents & ~(u32)POLLNVAL : 0;
}

/* As for the standard streams: watch what is not there, and tell what came since the sleeper looked. */
void host_socket_poll_start(struct socket *s)
{
	u32 now = host_poll(s), want = 0;

	if (!(now & EPOLLIN))
		want |= EPOLLIN | EPOLLRDHUP;
	if (!(now & EPOLLOUT))
		want |= EPOLLOUT;
	poller_arm(&s->host->watch, want);
	if (now)
		socket_wake(s, now);
}

/* ---- options ---- */

/* Those that carry pointers, or that would let a guest load programs into the host's kernel. */
static bool option_refused(int level, int name)
{
	if (level != SOL_SOCKET)
		return level != IPPROTO_TCP && level != IPPROTO_IP && level != IPPROTO_IPV6 && level != IPPROTO_UDP;
	switch (name) {
	case SO_ATTACH_FILTER:
	case SO_ATTACH_BPF:
	case SO_ATTACH_REUSEPORT_CBPF:
	case SO_ATTACH_REUSEPORT_EBPF:
	case SO_BINDTODEVICE:
	case SO_MARK:
		return true;
	default:
		return false;
	}
}

long host_socket_setsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, int len)
{
	u8 value[OPTION_MAX];

	if (option_refused(level, name))
		return -ENOPROTOOPT;
	if (len < 0 || len > OPTION_MAX)
		return -EINVAL;
	if (copy_in(t->mm, value, val, len))
		return -EFAULT;
	return result(setsockopt(s->host->fd, level, name, value, len));
}

long host_socket_getsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, gva_t len_addr)
{
	u8 value[OPTION_MAX] = { 0 };
	socklen_t n;
	int len;

	if (option_refused(level, name))
		return -ENOPROTOOPT;
	if (get_user(t->mm, &len, len_addr))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	n = MIN(len, OPTION_MAX);
	if (getsockopt(s->host->fd, level, name, value, &n) < 0)
		return -errno;
	len = n;
	if (copy_out(t->mm, val, value, n) || put_user(t->mm, len_addr, &len))
		return -EFAULT;
	return 0;
}

int host_socket_bytes(struct socket *s, bool out)
{
	int n = 0;

	return ioctl(s->host->fd, out ? SIOCOUTQ : FIONREAD, &n) < 0 ? 0 : n;
}

/* ---- life ---- */

/* The file is gone, so nobody waits any more; the descriptor goes now, not with the last reference. */
static void host_release(struct socket *s)
{
	poller_remove(&s->host->watch);
	close(s->host->fd);
	s->host->fd = -1;
}

static void host_destroy(struct socket *s)
{
	free(s->host);
}

static const struct proto_ops host_ops = {
	.bind = host_bind, .connect = host_connect, .listen = host_listen, .accept = host_accept, .name = host_name,
	.send = host_send, .recv = host_recv, .shutdown = host_shutdown, .poll = host_poll,
	.release = host_release, .destroy = host_destroy,
};
