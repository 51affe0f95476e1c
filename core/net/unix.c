/*
 * AF_UNIX: names on top of streams and datagrams. A path name is a socket inode whose `pipe` field points at the bound
 * socket (guarded by inode->lock, no reference: release takes it away); an abstract one stands in unix_name.c's table.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fs/namei.h"
#include "net/socket.h"
#include "net/unix_name.h"

#define PATH_AT		offsetof(struct sockaddr_un, sun_path)

static const struct proto_ops unix_stream_ops, unix_packet_ops, unix_dgram_ops;

/* ---- names ---- */

/* Check an address and bring it to the form in which it is kept: a path with its NUL, an abstract name as long as given. */
static int normalize(const union sock_addr *a, u32 *len)
{
	if (*len < sizeof(sa_family_t) || *len > sizeof(struct sockaddr_un) || a->sa.sa_family != AF_UNIX)
		return -EINVAL;
	if (*len > PATH_AT && a->un.sun_path[0])
		*len = PATH_AT + strnlen(a->un.sun_path, *len - PATH_AT) + 1;
	return 0;
}

static bool is_abstract(const union sock_addr *a, u32 len)
{
	return len > PATH_AT && !a->un.sun_path[0];
}

static int bind_path(struct socket *s, struct task *t, struct unix_name *n)
{
	char path[sizeof(struct sockaddr_un)];
	struct path p;
	struct inode *in;
	int err;

	snprintf(path, sizeof(path), "%.*s", (int)sizeof(n->addr.sun_path), n->addr.sun_path);
	err = vfs_mknod(t, AT_FDCWD, path, S_IFSOCK | 0777, 0);
	if (err)
		return err == -EEXIST ? -EADDRINUSE : err;
	err = path_walk(t, AT_FDCWD, path, WALK_NOFOLLOW, &p);
	if (err)
		return err;
	in = p.dentry->inode;
	pthread_mutex_lock(&in->lock);
	if (!S_ISSOCK(in->mode) || in->pipe)
		err = -EADDRINUSE;
	else
		in->pipe = s;
	pthread_mutex_unlock(&in->lock);
	if (!err) {
		inode_get(in);
		s->inode = in;
	}
	path_put(&p);
	return err;
}

/* Five hex digits that nobody has. */
static int bind_auto(struct socket *s, struct unix_name **out)
{
	static atomic_uint next;

	for (u32 tries = 0; tries < 1 << 20; tries++) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };
		struct unix_name *n;

		snprintf(a.sun_path + 1, 6, "%05x", atomic_fetch_add(&next, 1) & 0xfffff);
		n = unix_name_new(&a, PATH_AT + 6);
		if (!n)
			return -ENOMEM;
		if (!unix_name_bind(n, s)) {
			*out = n;
			return 0;
		}
		unix_name_put(n);
	}
	return -ENOSPC;
}

static int name_set(struct socket *s, struct unix_name *n)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->name)
		err = -EINVAL;
	else
		s->name = n;
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* A second bind fails either way; the kernel makes the path first, and so finds a name in use before a socket in use. */
static int bind_again(struct task *t, const union sock_addr *a, u32 len)
{
	char path[sizeof(struct sockaddr_un)];
	struct path p;

	if (len <= PATH_AT || is_abstract(a, len))
		return -EINVAL;
	snprintf(path, sizeof(path), "%.*s", (int)sizeof(a->un.sun_path), a->un.sun_path);
	if (path_walk(t, AT_FDCWD, path, WALK_NOFOLLOW, &p))
		return -EINVAL;
	path_put(&p);
	return -EADDRINUSE;
}

static int unix_bind(struct socket *s, struct task *t, const union sock_addr *a, u32 len)
{
	struct unix_name *n = NULL;
	int err = normalize(a, &len);

	if (err)
		return err;
	if (s->name)
		return bind_again(t, a, len);
	if (len <= PATH_AT) {
		err = bind_auto(s, &n);
	} else {
		n = unix_name_new(&a->un, len);
		err = !n ? -ENOMEM : is_abstract(a, len) ? unix_name_bind(n, s) : bind_path(s, t, n);
	}
	if (!err)
		err = name_set(s, n);
	if (err)
		unix_name_put(n);
	return err;
}

static int find_path(struct task *t, const union sock_addr *a, struct socket **out)
{
	char path[sizeof(struct sockaddr_un)];
	struct inode *in;
	struct path p;
	int err;

	snprintf(path, sizeof(path), "%.*s", (int)sizeof(a->un.sun_path), a->un.sun_path);
	err = path_walk(t, AT_FDCWD, path, 0, &p);
	if (err)
		return err;
	in = p.dentry->inode;
	err = inode_permission(t->cred, in, W_OK);
	if (!err) {
		err = -ECONNREFUSED;
		pthread_mutex_lock(&in->lock);
		if (S_ISSOCK(in->mode) && in->pipe && socket_get_live(in->pipe)) {
			*out = in->pipe;
			err = 0;
		}
		pthread_mutex_unlock(&in->lock);
	}
	path_put(&p);
	return err;
}

static int find(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **out)
{
	int err = normalize(a, &len);

	if (err)
		return err;
	if (len <= PATH_AT)
		return -EINVAL;
	if (is_abstract(a, len)) {
		*out = unix_name_find(&a->un, len);
		err = *out ? 0 : -ECONNREFUSED;
	} else {
		err = find_path(t, a, out);
	}
	if (!err && (*out)->type != s->type) {
		socket_put(*out);
		err = -EPROTOTYPE;
	}
	return err;
}

static void name_out(struct socket *s, union sock_addr *a, u32 *len)
{
	memset(a, 0, sizeof(*a));
	a->sa.sa_family = AF_UNIX;
	*len = sizeof(sa_family_t);
	pthread_mutex_lock(&s->lock);
	if (s->name) {
		*len = s->name->len;
		memcpy(a, &s->name->addr, MIN(*len, sizeof(*a)));
	}
	pthread_mutex_unlock(&s->lock);
}

static void unix_name(struct socket *s, bool peer, union sock_addr *a, u32 *len)
{
	struct socket *who = peer ? socket_peer(s) : s;

	if (who) {
		name_out(who, a, len);
	} else {
		/* The peer has closed: its name is gone with it. */
		memset(a, 0, sizeof(*a));
		a->sa.sa_family = AF_UNIX;
		*len = sizeof(sa_family_t);
	}
	if (peer)
		socket_put(who);
}

/* ---- connecting ---- */

static void dress_server(struct socket *server, struct socket *client, struct socket *listener)
{
	server->name = unix_name_get(listener->name);
}

static int stream_connect_to(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **full)
{
	struct socket *listener;
	int err;

	if (s->state != SOCK_UNCONNECTED)
		return s->state == SOCK_CONNECTED ? -EISCONN : -EINVAL;
	err = find(s, t, a, len, &listener);
	if (err)
		return err;
	err = stream_connect(s, listener, t, dress_server);
	if (err == -EAGAIN)
		*full = listener;
	else
		socket_put(listener);
	return err;
}

static int dgram_connect_to(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **full)
{
	struct socket *to;
	int err;

	if (len >= sizeof(sa_family_t) && a->sa.sa_family == AF_UNSPEC) {
		dgram_connect(s, NULL);
		return 0;
	}
	err = find(s, t, a, len, &to);
	if (!err)
		dgram_connect(s, to);
	return err;
}

static int unix_listen(struct socket *s, struct task *t, int backlog)
{
	return s->name ? stream_listen(s, t, backlog) : -EINVAL;
}

/* ---- datagrams ---- */

/* May `s` send to `to`? Not if that is connected to somebody else. */
static bool may_send(struct socket *s, struct socket *to)
{
	bool ok;

	pthread_mutex_lock(&to->lock);
	ok = !to->peer || to->peer == s;
	pthread_mutex_unlock(&to->lock);
	return ok;
}

static int send_target(struct socket *s, struct task *t, struct sock_msg *m, struct socket **to)
{
	int err = 0;

	if (m->addr_len) {
		err = find(s, t, &m->addr, m->addr_len, to);
	} else {
		*to = socket_peer(s);
		err = *to ? 0 : -ENOTCONN;
	}
	if (!err && !may_send(s, *to)) {
		socket_put(*to);
		err = -EPERM;
	}
	return err;
}

static s64 send_to(struct socket *s, struct socket *to, struct sock_msg *m)
{
	u64 len = m->u->len;
	struct skb *skb;
	int err;

	/* Look before the bytes are taken: they are needed again if there is no room. */
	if (!dgram_has_room(to))
		return -EAGAIN;
	skb = skb_new(len);
	if (!skb)
		return -ENOBUFS;
	uio_get(m->u, skb->data, len);
	skb->scm = m->scm;
	pthread_mutex_lock(&s->lock);
	skb->from = unix_name_get(s->name);
	pthread_mutex_unlock(&s->lock);
	err = dgram_deliver(to, skb, true);
	if (err) {
		skb->scm.files = NULL;
		skb_free(skb);
		return err;
	}
	m->scm.files = NULL;
	return len;
}

static s64 dgram_send(struct socket *s, struct task *t, struct sock_msg *m)
{
	struct socket *to;
	s64 n;
	int err;

	if (m->u->len > s->sndbuf)
		return -EMSGSIZE;
	if (s->shut & SHUT_SEND)
		return -EPIPE;
	err = socket_take_error(s);
	if (!err)
		err = send_target(s, t, m, &to);
	if (err)
		return err;
	n = send_to(s, to, m);
	if (n == -ECONNREFUSED && !m->addr_len)
		dgram_connect(s, NULL);
	if (n == -EAGAIN && m->addr_len)
		m->full = to;
	else
		socket_put(to);
	return n;
}

static int dgram_shutdown(struct socket *s, int how)
{
	pthread_mutex_lock(&s->lock);
	s->shut |= how + 1;
	pthread_mutex_unlock(&s->lock);
	socket_wake(s, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP);
	waitq_wake(&s->space, EPOLLOUT);
	return 0;
}

/* ---- life ---- */

static void unbind(struct socket *s)
{
	struct inode *in = s->inode;

	if (s->name && s->name->socket == s)
		unix_name_unbind(s->name);
	if (!in)
		return;
	pthread_mutex_lock(&in->lock);
	if (in->pipe == s)
		in->pipe = NULL;
	pthread_mutex_unlock(&in->lock);
	s->inode = NULL;
	inode_put(in);
}

static void unix_stream_release(struct socket *s)
{
	unbind(s);
	stream_release(s);
}

static void unix_dgram_release(struct socket *s)
{
	unbind(s);
	dgram_release(s);
}

static void unix_destroy(struct socket *s)
{
	unix_name_put(s->name);
}

static const struct proto_ops unix_stream_ops = {
	.bind = unix_bind, .connect = stream_connect_to, .listen = unix_listen, .accept = stream_accept, .name = unix_name,
	.send = stream_send, .recv = stream_recv, .shutdown = stream_shutdown, .poll = stream_poll,
	.release = unix_stream_release, .destroy = unix_destroy,
};

static const struct proto_ops unix_packet_ops = {
	.bind = unix_bind, .connect = stream_connect_to, .listen = unix_listen, .accept = stream_accept, .name = unix_name,
	.send = stream_send, .recv = stream_recv, .shutdown = stream_shutdown, .poll = stream_poll,
	.release = unix_stream_release, .destroy = unix_destroy,
};

static const struct proto_ops unix_dgram_ops = {
	.bind = unix_bind, .connect = dgram_connect_to, .name = unix_name, .send = dgram_send, .recv = dgram_recv,
	.shutdown = dgram_shutdown, .poll = dgram_poll, .release = unix_dgram_release, .destroy = unix_destroy,
};

static const struct proto_ops *ops_of(int *type)
{
	switch (*type) {
	case SOCK_STREAM:
		return &unix_stream_ops;
	case SOCK_SEQPACKET:
		return &unix_packet_ops;
	case SOCK_RAW:
		*type = SOCK_DGRAM;
		return &unix_dgram_ops;
	case SOCK_DGRAM:
		return &unix_dgram_ops;
	default:
		return NULL;
	}
}

int unix_create(struct task *t, int type, int protocol, struct socket **out)
{
	const struct proto_ops *ops = ops_of(&type);

	if (protocol && protocol != AF_UNIX)
		return -EPROTONOSUPPORT;
	if (!ops)
		return -ESOCKTNOSUPPORT;
	*out = socket_new(ops, AF_UNIX, type, 0);
	return *out ? 0 : -ENOMEM;
}

int unix_pair(struct task *t, int type, int protocol, struct socket *out[2])
{
	int err = unix_create(t, type, protocol, &out[0]);

	if (err)
		return err;
	err = unix_create(t, type, protocol, &out[1]);
	if (err) {
		socket_put(out[0]);
		return err;
	}
	socket_cred(t, &out[0]->cred);
	out[1]->cred = out[0]->cred;
	if (out[0]->type != SOCK_DGRAM) {
		stream_join(out[0], out[1]);
		return 0;
	}
	out[0]->peer_cred = out[1]->peer_cred = out[0]->cred;
	socket_get(out[1]);
	dgram_connect(out[0], out[1]);
	socket_get(out[0]);
	dgram_connect(out[1], out[0]);
	return 0;
}
