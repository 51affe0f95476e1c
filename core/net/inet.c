/*
 * AF_INET and AF_INET6: TCP and UDP over a loopback of the sandbox's own. There is no packet, no interface and no way
 * out: an address is 127.0.0.0/8, ::1 or "any", and a connection is a pair of queues (stream.c).
 *
 * port_lock guards the port table and the local address of the sockets in it; it comes before any socket's lock.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/epoll.h>

#include "net/socket.h"

#define PORT_FIRST	32768		/* ip_local_port_range */
#define PORT_LAST	60999
#define UDP_MAX		65507
#define BUCKETS		1024

static pthread_mutex_t port_lock = PTHREAD_MUTEX_INITIALIZER;
static struct socket *ports[2][BUCKETS];	/* TCP, UDP; by port */

static const struct proto_ops tcp_ops, udp_ops;

/* ---- addresses: one form for both families ---- */

struct endpoint {
	u32 v4;				/* host order; what a mapped address stands for; 0 for ::, loopback for ::1 */
	bool any;			/* 0.0.0.0 or :: */
	bool v6;			/* native v6: :: or ::1 */
	u16 port;			/* host order */
};

/* -EAFNOSUPPORT, -EINVAL; -EADDRNOTAVAIL for what is not on this machine. */
static int endpoint_of(const struct socket *s, const union sock_addr *a, u32 len, struct endpoint *e)
{
	const u8 *b = a->in6.sin6_addr.s6_addr;

	if (len < sizeof(sa_family_t))
		return -EINVAL;
	if (a->sa.sa_family == AF_INET && s->domain == AF_INET) {
		if (len < sizeof(struct sockaddr_in))
			return -EINVAL;
		*e = (struct endpoint){ .v4 = ntohl(a->in.sin_addr.s_addr), .port = ntohs(a->in.sin_port) };
		e->any = !e->v4;
	} else if (a->sa.sa_family == AF_INET6 && s->domain == AF_INET6) {
		if (len < 24 /* without the scope, as old programs give it */)
			return -EINVAL;
		*e = (struct endpoint){ .v6 = true, .port = ntohs(a->in6.sin6_port) };
		if (IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr)) {
			e->any = true;
		} else if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
			e->v6 = false;
			e->v4 = (u32)b[12] << 24 | (u32)b[13] << 16 | (u32)b[14] << 8 | b[15];
			e->any = !e->v4;
		} else if (IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr)) {
			e->v4 = INADDR_LOOPBACK;
		} else {
			return -EADDRNOTAVAIL;
		}
	} else {
		return -EAFNOSUPPORT;
	}
	return e->any || (e->v4 >> 24 == 127 && net_reach != NET_NONE) ? 0 : -EADDRNOTAVAIL;
}

/* The address as a socket of `domain` shows it. */
static u32 endpoint_show(const struct endpoint *e, int domain, union sock_addr *a)
{
	memset(a, 0, sizeof(*a));
	if (domain == AF_INET) {
		a->in = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_port = htons(e->port), .sin_addr.s_addr = htonl(e->v4),
		};
		return sizeof(a->in);
	}
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons(e->port);
	if (e->v6 && !e->any) {
		a->in6.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
	} else if (!e->v6) {
		u32 v4 = htonl(e->v4);

		a->in6.sin6_addr.s6_addr[10] = a->in6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&a->in6.sin6_addr.s6_addr[12], &v4, 4);
	}
	return sizeof(a->in6);
}

static void local_set(struct socket *s, const struct endpoint *e)
{
	s->local_len = endpoint_show(e, s->domain, &s->local);
}

/* What is in a socket's own address fields came from endpoint_show(), so this cannot fail. */
static struct endpoint local_get(const struct socket *s)
{
	struct endpoint e = { .any = true, .v6 = s->domain == AF_INET6 };

	if (s->local_len)
		endpoint_of(s, &s->local, s->local_len, &e);
	return e;
}

static struct endpoint remote_get(const struct socket *s)
{
	struct endpoint e = { .any = true };

	if (s->remote_len)
		endpoint_of(s, &s->remote, s->remote_len, &e);
	return e;
}

/* ---- the port table; port_lock held ---- */

static int table_of(const struct socket *s)
{
	return s->type == SOCK_DGRAM;
}

static struct socket **bucket(const struct socket *s, u16 port)
{
	return &ports[table_of(s)][port % BUCKETS];
}

/* Does a socket bound to `a` get what is sent to `b`, or the other way round? */
static bool overlap(const struct socket *x, const struct endpoint *a, const struct socket *y, const struct endpoint *b)
{
	bool x_both = a->v6 && a->any && !x->v6only, y_both = b->v6 && b->any && !y->v6only;

	if (a->v6 != b->v6 && !x_both && !y_both)
		return false;
	return a->any || b->any || a->v4 == b->v4;
}

static bool may_share(const struct socket *x, const struct socket *y)
{
	if (x->reuseport && y->reuseport)
		return true;
	return x->reuseaddr && y->reuseaddr && x->state != SOCK_LISTENING && y->state != SOCK_LISTENING;
}

static bool port_taken(const struct socket *s, const struct endpoint *e)
{
	for (struct socket *x = *bucket(s, e->port); x; x = x->port_next) {
		struct endpoint other = local_get(x);

		if (x != s && x->protocol == s->protocol && other.port == e->port && overlap(s, e, x, &other) && !may_share(s, x))
			return true;
	}
	return false;
}

static int pick_port(const struct socket *s, struct endpoint *e)
{
	static u32 next;
	u32 range = PORT_LAST - PORT_FIRST + 1;

	for (u32 i = 0; i < range; i++) {
		e->port = PORT_FIRST + next++ % range;
		if (!port_taken(s, e))
			return 0;
	}
	return -EADDRINUSE;
}

static int table_bind(struct socket *s, struct endpoint e)
{
	int err = 0;

	pthread_mutex_lock(&port_lock);
	if (s->bound)
		err = -EINVAL;
	else if (!e.port)
		err = pick_port(s, &e);
	else if (port_taken(s, &e))
		err = -EADDRINUSE;
	if (!err) {
		local_set(s, &e);
		s->port_next = *bucket(s, e.port);
		*bucket(s, e.port) = s;
		s->bound = true;
	}
	pthread_mutex_unlock(&port_lock);
	return err;
}

static void table_unbind(struct socket *s)
{
	struct socket **at;

	pthread_mutex_lock(&port_lock);
	if (s->bound) {
		at = bucket(s, local_get(s).port);
		while (*at != s)
			at = &(*at)->port_next;
		*at = s->port_next;
		s->bound = false;
	}
	pthread_mutex_unlock(&port_lock);
}

static bool matches(const struct socket *x, const struct endpoint *to, const struct endpoint *from)
{
	struct endpoint local = local_get(x), remote = remote_get(x);

	if (local.port != to->port)
		return false;
	if (!local.any && (local.v6 != to->v6 || local.v4 != to->v4))
		return false;
	if (local.any && local.v6 != to->v6 && !(local.v6 && !x->v6only))
		return false;
	if (x->type == SOCK_DGRAM && x->remote_len)
		return remote.port == from->port && remote.v4 == from->v4 && remote.v6 == from->v6;
	return x->type == SOCK_DGRAM || x->state == SOCK_LISTENING;
}

/* Who is there, with a reference: the closest match, a connected or exactly bound one before a wildcard. */
static struct socket *find(const struct socket *s, const struct endpoint *to, const struct endpoint *from)
{
	struct socket *best = NULL;
	int best_score = -1;

	pthread_mutex_lock(&port_lock);
	for (struct socket *x = *bucket(s, to->port); x; x = x->port_next) {
		int score = 2 * (x->remote_len != 0) + !local_get(x).any;

		if (score > best_score && x->protocol == s->protocol && matches(x, to, from)) {
			best = x;
			best_score = score;
		}
	}
	if (best && !socket_get_live(best))
		best = NULL;
	pthread_mutex_unlock(&port_lock);
	return best;
}

/* ---- bind, connect ---- */

static int inet_bind(struct socket *s, struct task *t, const union sock_addr *a, u32 len)
{
	struct endpoint e;
	int err = endpoint_of(s, a, len, &e);

	if (err)
		return err;
	if (e.port && e.port < 1024 && !cred_capable(t->cred, CAP_NET_BIND_SERVICE))
		return -EACCES;
	return table_bind(s, e);
}

static int auto_bind(struct socket *s)
{
	struct endpoint e = { .any = true, .v6 = s->domain == AF_INET6 };
	int err = s->bound ? 0 : table_bind(s, e);

	return err == -EADDRINUSE ? -EADDRNOTAVAIL : err;
}

static int destination(const struct socket *s, const union sock_addr *a, u32 len, struct endpoint *to)
{
	int err = endpoint_of(s, a, len, to);

	if (err)
		return err == -EADDRNOTAVAIL ? -ENETUNREACH : err;
	/* "Any" as a destination is this machine. */
	if (to->any && net_reach == NET_NONE)
		return -ENETUNREACH;
	if (to->any)
		to->v4 = INADDR_LOOPBACK;
	to->any = false;
	return 0;
}

/* The source address that the choice of destination gives to a socket bound to "any". */
static struct endpoint source(struct socket *s, const struct endpoint *to)
{
	struct endpoint from;

	pthread_mutex_lock(&port_lock);
	from = local_get(s);
	pthread_mutex_unlock(&port_lock);
	if (from.any) {
		from.v4 = to->v6 ? INADDR_LOOPBACK : to->v4;
		from.v6 = to->v6;
		from.any = false;
	}
	return from;
}

static void dress_server(struct socket *server, struct socket *client, struct socket *listener)
{
	struct endpoint to = remote_get(client), from = local_get(client);

	server->local_len = endpoint_show(&to, server->domain, &server->local);
	server->remote_len = endpoint_show(&from, server->domain, &server->remote);
	server->nodelay = (int)listener->nodelay;
	server->rcvbuf = (u32)listener->rcvbuf;
	server->sndbuf = (u32)listener->sndbuf;
}

static void fix_names(struct socket *s, const struct endpoint *from, const struct endpoint *to)
{
	pthread_mutex_lock(&port_lock);
	local_set(s, from);
	s->remote_len = to ? endpoint_show(to, s->domain, &s->remote) : 0;
	pthread_mutex_unlock(&port_lock);
}

/* connect() to AF_UNSPEC: the connection is reset, and the socket is as new but for its options. */
static int tcp_disconnect(struct socket *s)
{
	table_unbind(s);
	stream_disconnect(s);
	pthread_mutex_lock(&port_lock);
	s->local_len = s->remote_len = 0;
	pthread_mutex_unlock(&port_lock);
	return 0;
}

static bool take_connecting(struct socket *s)
{
	bool was;

	pthread_mutex_lock(&s->lock);
	was = s->connecting;
	s->connecting = false;
	pthread_mutex_unlock(&s->lock);
	return was;
}

static int tcp_connect(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **full)
{
	struct endpoint to, from;
	struct socket *listener;
	int err;

	if (len >= sizeof(sa_family_t) && a->sa.sa_family == AF_UNSPEC)
		return tcp_disconnect(s);
	if (s->state == SOCK_CONNECTED)
		return take_connecting(s) ? 0 : -EISCONN;
	if (s->state != SOCK_UNCONNECTED)
		return -EINVAL;
	err = socket_take_error(s);
	if (!err)
		err = destination(s, a, len, &to);
	if (!err)
		err = auto_bind(s);
	if (err)
		return err;
	from = source(s, &to);
	listener = find(s, &to, &from);
	if (!listener)
		return -ECONNREFUSED;
	fix_names(s, &from, &to);
	err = stream_connect(s, listener, t, dress_server);
	if (err)
		fix_names(s, &from, NULL);
	if (err == -EAGAIN)
		*full = listener;
	else
		socket_put(listener);
	return err;
}

static int udp_connect(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **full)
{
	struct endpoint to, from;
	int err;

	if (len >= sizeof(sa_family_t) && a->sa.sa_family == AF_UNSPEC) {
		from = local_get(s);
		fix_names(s, &from, NULL);
		return 0;
	}
	err = destination(s, a, len, &to);
	if (!err)
		err = auto_bind(s);
	if (err)
		return err;
	from = source(s, &to);
	fix_names(s, &from, &to);
	return 0;
}

static int tcp_listen(struct socket *s, struct task *t, int backlog)
{
	struct endpoint e;
	bool taken;
	int err = auto_bind(s);

	if (err)
		return err;
	/* Sharing a port by SO_REUSEADDR ends where somebody listens. */
	pthread_mutex_lock(&port_lock);
	e = local_get(s);
	taken = false;
	for (struct socket *x = *bucket(s, e.port); x; x = x->port_next) {
		struct endpoint other = local_get(x);

		taken |= x != s && x->state == SOCK_LISTENING && other.port == e.port && overlap(s, &e, x, &other) &&
			 !(s->reuseport && x->reuseport);
	}
	pthread_mutex_unlock(&port_lock);
	return taken ? -EADDRINUSE : stream_listen(s, t, backlog);
}

static void inet_name(struct socket *s, bool peer, union sock_addr *a, u32 *len)
{
	struct endpoint none = { .any = true, .v6 = s->domain == AF_INET6 };

	pthread_mutex_lock(&port_lock);
	*len = peer ? s->remote_len : s->local_len;
	*a = peer ? s->remote : s->local;
	if (!*len)
		*len = endpoint_show(&none, s->domain, a);
	pthread_mutex_unlock(&port_lock);
}

/* ---- UDP ---- */

/* Hop limit and traffic class as the sender's socket has them, where the message said nothing. */
static void stamp_hops(struct socket *s, struct scm *scm)
{
	int value;

	if (!s->inet_values)
		return;
	if (!scm->ttl && !inet_getsockopt(s, s->domain == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
					  s->domain == AF_INET ? IP_TTL : IPV6_UNICAST_HOPS, &value))
		scm->ttl = value + 1;
	if (!scm->tos && !inet_getsockopt(s, s->domain == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
					  s->domain == AF_INET ? IP_TOS : IPV6_TCLASS, &value))
		scm->tos = value + 1;
}

/*
 * MSG_MORE and UDP_CORK: what is sent is kept and goes with the next message that is not held back, as one datagram.
 * -EMSGSIZE: together they are too long; what was kept is lost, as in Linux.
 */
static int udp_cork(struct socket *s, struct sock_msg *m, struct skb **out)
{
	u64 len = m->u->len;
	struct skb *skb, *old;

	pthread_mutex_lock(&s->lock);
	old = s->cork;
	s->cork = NULL;
	pthread_mutex_unlock(&s->lock);
	if (len + (old ? old->len : 0) > UDP_MAX) {
		if (old)
			skb_free(old);
		return -EMSGSIZE;
	}
	skb = skb_new(len + (old ? old->len : 0));
	if (skb) {
		if (old)
			memcpy(skb->data, old->data, old->len);
		uio_get(m->u, skb->data + (old ? old->len : 0), len);
		skb->scm = (struct scm){ .cred = m->scm.cred, .ttl = m->scm.ttl, .tos = m->scm.tos };
		stamp_hops(s, &skb->scm);
	}
	if (old)
		skb_free(old);
	*out = skb;
	return skb ? 0 : -ENOBUFS;
}

static s64 udp_deliver(struct socket *s, struct sock_msg *m, const struct endpoint *to)
{
	struct endpoint from = source(s, to);
	struct socket *x = find(s, to, &from);
	union sock_addr shown;
	u64 len = m->u->len;
	struct skb *skb;
	int err;

	if (m->flags & MSG_MORE || s->corked) {
		err = udp_cork(s, m, &skb);
		if (!err) {
			pthread_mutex_lock(&s->lock);
			s->cork = skb;
			pthread_mutex_unlock(&s->lock);
		}
		socket_put(x);
		return err ? err : (s64)len;
	}
	if (!x) {
		/* A connected sender hears of the ICMP message with its next call. */
		if (!m->addr_len) {
			pthread_mutex_lock(&s->lock);
			s->err = -ECONNREFUSED;
			pthread_mutex_unlock(&s->lock);
			socket_wake(s, EPOLLERR);
		}
		uio_advance(m->u, len);
		return len;
	}
	err = udp_cork(s, m, &skb);
	if (!err) {
		skb->addr_len = endpoint_show(&from, x->domain, &shown);
		memcpy(&skb->addr, &shown, sizeof(skb->addr));
		/* No room: lost on the way, as the network may lose it. */
		if (dgram_deliver(x, skb, false))
			skb_free(skb);
	}
	socket_put(x);
	return err ? err : (s64)len;
}

static s64 udp_send(struct socket *s, struct task *t, struct sock_msg *m)
{
	struct endpoint to;
	int err = socket_take_error(s);

	if (err)
		return err;
	if (s->shut & SHUT_SEND)
		return -EPIPE;
	if (m->u->len > UDP_MAX)
		return -EMSGSIZE;
	if (m->addr_len) {
		err = destination(s, &m->addr, m->addr_len, &to);
		if (!err && !to.port)
			err = -EINVAL;
	} else {
		pthread_mutex_lock(&port_lock);
		to = remote_get(s);
		err = s->remote_len ? 0 : -EDESTADDRREQ;
		pthread_mutex_unlock(&port_lock);
	}
	if (!err)
		err = auto_bind(s);
	return err ? err : udp_deliver(s, m, &to);
}

static int udp_shutdown(struct socket *s, int how)
{
	if (!s->remote_len)
		return -ENOTCONN;
	pthread_mutex_lock(&s->lock);
	s->shut |= how + 1;
	pthread_mutex_unlock(&s->lock);
	socket_wake(s, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP);
	return 0;
}

/* ---- life ---- */

static void tcp_release(struct socket *s)
{
	table_unbind(s);
	/* SO_LINGER with no time: a reset instead of an orderly end. */
	if (s->linger == 1) {
		pthread_mutex_lock(&s->lock);
		s->err = -ECONNRESET;
		pthread_mutex_unlock(&s->lock);
	}
	stream_release(s);
}

static void udp_release(struct socket *s)
{
	table_unbind(s);
	dgram_release(s);
	if (s->cork)
		skb_free(s->cork);
	s->cork = NULL;
}

static const struct proto_ops tcp_ops = {
	.bind = inet_bind, .connect = tcp_connect, .listen = tcp_listen, .accept = stream_accept, .name = inet_name,
	.send = stream_send, .recv = stream_recv, .shutdown = stream_shutdown, .poll = stream_poll,
	.setsockopt = inet_setsockopt, .getsockopt = inet_getsockopt, .release = tcp_release,
};

static const struct proto_ops udp_ops = {
	.bind = inet_bind, .connect = udp_connect, .name = inet_name, .send = udp_send, .recv = dgram_recv,
	.shutdown = udp_shutdown, .poll = dgram_poll,
	.setsockopt = inet_setsockopt, .getsockopt = inet_getsockopt, .release = udp_release,
};

int inet_create(struct task *t, int domain, int type, int protocol, struct socket **out)
{
	int want = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

	if (type == SOCK_RAW)
		return protocol ? -EPERM : -EPROTONOSUPPORT;
	if (type != SOCK_STREAM && type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (type == SOCK_DGRAM && protocol == IPPROTO_UDPLITE)
		want = protocol;
	if (protocol && protocol != want)
		return type == SOCK_DGRAM && (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) ? -EACCES : -EPROTONOSUPPORT;
	*out = socket_new(type == SOCK_STREAM ? &tcp_ops : &udp_ops, domain, type, want);
	return *out ? 0 : -ENOMEM;
}
