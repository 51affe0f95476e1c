/*
 * Connected sockets: streams and sequenced packets, of unix and of the loopback alike.
 *
 * A pair of sockets point at each other for as long as both live. A sender puts messages into its peer's queue; a
 * reader that takes the queue below half of its bound wakes the peer. Connecting makes the server's side of the pair
 * and leaves it with the listener, so the client is connected before anyone accepts.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "net/socket.h"

#define STREAM_CHUNK	32768		/* bytes of one queued message of a stream */
#define IN_EVENTS	(EPOLLIN | EPOLLRDNORM)
#define OUT_EVENTS	(EPOLLOUT | EPOLLWRNORM)

/* ---- making pairs ---- */

void stream_join(struct socket *a, struct socket *b)
{
	socket_get(b);
	socket_get(a);
	a->peer = b;
	b->peer = a;
	a->state = b->state = SOCK_CONNECTED;
	a->peer_cred = b->cred;
	b->peer_cred = a->cred;
}

/* A place in the listener's backlog, so that it cannot fill up while the pair is made. */
static int backlog_reserve(struct socket *listener)
{
	int err = 0;

	pthread_mutex_lock(&listener->lock);
	if (listener->state != SOCK_LISTENING || (listener->shut & SHUT_RECV))
		err = -ECONNREFUSED;
	else if (listener->naccepting > listener->backlog)
		err = -EAGAIN;
	else
		listener->naccepting++;
	pthread_mutex_unlock(&listener->lock);
	return err;
}

static void backlog_unreserve(struct socket *listener)
{
	pthread_mutex_lock(&listener->lock);
	listener->naccepting--;
	pthread_mutex_unlock(&listener->lock);
}

static int client_connect(struct socket *s, struct socket *server)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->state == SOCK_UNCONNECTED)
		stream_join(s, server);
	else
		err = s->state == SOCK_CONNECTED ? -EISCONN : -EINVAL;
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* False: it stopped listening meanwhile. */
static bool hand_over(struct socket *listener, struct socket *server)
{
	bool ok;

	pthread_mutex_lock(&listener->lock);
	ok = listener->state == SOCK_LISTENING;
	if (ok)
		TAILQ_INSERT_TAIL(&listener->accepting, server, accept_link);
	else
		listener->naccepting--;
	pthread_mutex_unlock(&listener->lock);
	return ok;
}

int stream_connect(struct socket *s, struct socket *listener, struct task *t, stream_dress_fn dress)
{
	struct socket *server = socket_new(listener->ops, listener->domain, listener->type, listener->protocol);
	int err = server ? backlog_reserve(listener) : -ENOMEM;

	if (err)
		goto out;
	server->cred = listener->cred;
	socket_cred(t, &s->cred);
	dress(server, s, listener);
	err = client_connect(s, server);
	if (err) {
		backlog_unreserve(listener);
		goto out;
	}
	if (!hand_over(listener, server)) {
		/* It closed just now: to the client this is a connection that was reset, as it would be a moment later. */
		server->err = -ECONNRESET;
		stream_release(server);
		goto out;
	}
	socket_wake(listener, IN_EVENTS);
	socket_wake(s, OUT_EVENTS);
	return 0;
out:
	if (server)
		socket_put(server);
	return err;
}

int stream_listen(struct socket *s, struct task *t, int backlog)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->state != SOCK_UNCONNECTED && s->state != SOCK_LISTENING) {
		err = -EINVAL;
	} else {
		s->backlog = MIN((u32)backlog, 4096u);
		s->state = SOCK_LISTENING;
		socket_cred(t, &s->cred);
	}
	pthread_mutex_unlock(&s->lock);
	/* A longer backlog may let someone in. */
	waitq_wake(&s->space, EPOLLOUT);
	return err;
}

int stream_accept(struct socket *s, struct socket **out)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	*out = NULL;
	if (s->state != SOCK_LISTENING || (s->shut & SHUT_RECV)) {
		err = -EINVAL;
	} else {
		*out = TAILQ_FIRST(&s->accepting);
		if (*out) {
			TAILQ_REMOVE(&s->accepting, *out, accept_link);
			s->naccepting--;
		} else {
			err = -EAGAIN;
		}
	}
	pthread_mutex_unlock(&s->lock);
	if (!err)
		waitq_wake(&s->space, EPOLLOUT);
	return err;
}

/* ---- sending ---- */

struct socket *socket_peer(struct socket *s)
{
	struct socket *peer;

	pthread_mutex_lock(&s->lock);
	peer = s->peer;
	if (peer)
		socket_get(peer);
	pthread_mutex_unlock(&s->lock);
	return peer;
}

/* The peer to send to, with a reference. */
static int send_begin(struct socket *s, const struct sock_msg *m, struct socket **peer)
{
	int err = 0;

	*peer = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->err) {
		err = s->err;
		s->err = 0;
	} else if (s->shut & SHUT_SEND) {
		err = -EPIPE;
	} else if (s->state != SOCK_CONNECTED) {
		err = s->domain == AF_UNIX ? -ENOTCONN : -EPIPE;
	} else if (m->addr_len && s->domain == AF_UNIX && s->type == SOCK_STREAM) {
		err = -EISCONN;
	} else {
		*peer = s->peer;
		socket_get(*peer);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* Bytes that the receiver still takes; -EPIPE if it never will. */
static s64 receiver_room(struct socket *to)
{
	s64 room;

	pthread_mutex_lock(&to->lock);
	if (to->state != SOCK_CONNECTED || (to->shut & SHUT_RECV))
		room = -EPIPE;
	else
		room = to->rx_cost < to->rcvbuf ? (s64)(to->rcvbuf - to->rx_cost) : -EAGAIN;
	pthread_mutex_unlock(&to->lock);
	return room;
}

static bool enqueue(struct socket *to, struct skb *skb)
{
	bool ok;

	pthread_mutex_lock(&to->lock);
	ok = to->state == SOCK_CONNECTED && !(to->shut & SHUT_RECV);
	if (ok) {
		TAILQ_INSERT_TAIL(&to->rx, skb, link);
		to->rx_cost += skb_cost(skb);
		to->rx_count++;
	}
	pthread_mutex_unlock(&to->lock);
	return ok;
}

/* One message into the peer's queue: bytes, or -errno. */
static s64 send_one(struct socket *to, struct sock_msg *m, u64 max)
{
	u64 n = MIN(m->u->len, max);
	struct skb *skb = skb_new(n);

	if (!skb)
		return -ENOBUFS;
	uio_get(m->u, skb->data, n);
	skb->scm = m->scm;
	if (!enqueue(to, skb)) {
		skb->scm.files = NULL;
		skb_free(skb);
		return -EPIPE;
	}
	/* Descriptors go with the first byte only. */
	m->scm.files = NULL;
	socket_wake(to, IN_EVENTS);
	return n;
}

static s64 stream_send_bytes(struct socket *to, struct sock_msg *m)
{
	s64 done = 0, n;

	while (m->u->len) {
		n = receiver_room(to);
		if (n > 0)
			n = send_one(to, m, MIN(n, STREAM_CHUNK));
		if (n < 0)
			return done ? done : n;
		done += n;
	}
	return done;
}

static s64 send_packet(struct socket *s, struct socket *to, struct sock_msg *m)
{
	s64 room;

	if (m->u->len > s->sndbuf)
		return -EMSGSIZE;
	room = receiver_room(to);
	return room < 0 ? room : send_one(to, m, m->u->len);
}

s64 stream_send(struct socket *s, struct task *t, struct sock_msg *m)
{
	struct socket *peer;
	s64 n = send_begin(s, m, &peer);

	if (n)
		return n;
	n = s->type == SOCK_STREAM ? stream_send_bytes(peer, m) : send_packet(s, peer, m);
	/* A reset outranks a broken pipe: it came first. */
	if (n == -EPIPE)
		n = socket_take_error(s) ?: -EPIPE;
	socket_put(peer);
	return n;
}

/* ---- receiving ---- */

/* What an empty queue means. s->lock held. */
static s64 recv_nothing(struct socket *s)
{
	int err = s->err;

	if (err) {
		s->err = 0;
		return err;
	}
	if (s->shut & SHUT_RECV)
		return 0;
	if (s->state != SOCK_CONNECTED)
		return s->domain == AF_UNIX && s->type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
	return -EAGAIN;
}

/* s->lock held; the skb is unlinked and left to the caller to free. */
static void dequeue(struct socket *s, struct skb *skb)
{
	TAILQ_REMOVE(&s->rx, skb, link);
	s->rx_cost -= skb_cost(skb);
	s->rx_count--;
}

static bool cred_differ(const struct ucred *a, const struct ucred *b)
{
	return a->pid != b->pid || a->uid != b->uid || a->gid != b->gid;
}

/* May bytes of `skb` follow those of `m` in one read? Not past descriptors, nor over a change of credentials that are asked for. */
static bool may_join(const struct socket *s, const struct sock_msg *m, const struct skb *skb)
{
	return !m->scm.files && (!s->passcred || !cred_differ(&m->scm.cred, &skb->scm.cred));
}

static int take_scm(struct sock_msg *m, struct skb *skb)
{
	if (m->flags & MSG_PEEK)
		return scm_dup(&skb->scm, &m->scm);
	m->scm = skb->scm;
	skb->scm.files = NULL;
	return 0;
}

/* Bytes from the front; emptied messages go to `dead`. s->lock held. */
static s64 take_bytes(struct socket *s, struct sock_msg *m, struct skb_list *dead)
{
	bool peek = m->flags & MSG_PEEK;
	struct skb *skb, *next;
	s64 done = 0;

	for (skb = TAILQ_FIRST(&s->rx); skb && m->u->len; skb = next) {
		u64 n;

		next = TAILQ_NEXT(skb, link);
		if (done && !may_join(s, m, skb))
			break;
		if ((!done || skb->scm.files) && take_scm(m, skb))
			return -ENOMEM;
		n = uio_put(m->u, skb->data + skb->off, skb->len - skb->off);
		done += n;
		if (peek)
			continue;
		skb->off += n;
		if (skb->off == skb->len) {
			dequeue(s, skb);
			TAILQ_INSERT_TAIL(dead, skb, link);
		}
	}
	return done;
}

/* One message, whole or cut. s->lock held. */
static s64 take_packet(struct socket *s, struct sock_msg *m, struct skb_list *dead)
{
	struct skb *skb = TAILQ_FIRST(&s->rx);
	u64 n = MIN(m->u->len, (u64)skb->len);

	if (take_scm(m, skb))
		return -ENOMEM;
	uio_put(m->u, skb->data, n);
	m->out_flags |= MSG_EOR;
	if (n < skb->len) {
		m->out_flags |= MSG_TRUNC;
		if (m->flags & MSG_TRUNC)
			n = skb->len;
	}
	if (!(m->flags & MSG_PEEK)) {
		dequeue(s, skb);
		TAILQ_INSERT_TAIL(dead, skb, link);
	}
	return n;
}

s64 stream_recv(struct socket *s, struct sock_msg *m)
{
	struct skb_list dead = TAILQ_HEAD_INITIALIZER(dead);
	struct socket *wake = NULL;
	struct skb *skb;
	bool was_high;
	s64 n;

	pthread_mutex_lock(&s->lock);
	was_high = s->rx_cost > s->rcvbuf / 2;
	if (TAILQ_EMPTY(&s->rx))
		n = recv_nothing(s);
	else
		n = s->type == SOCK_STREAM ? take_bytes(s, m, &dead) : take_packet(s, m, &dead);
	if (was_high && s->rx_cost <= s->rcvbuf / 2 && s->peer) {
		wake = s->peer;
		socket_get(wake);
	}
	pthread_mutex_unlock(&s->lock);

	while ((skb = TAILQ_FIRST(&dead))) {
		TAILQ_REMOVE(&dead, skb, link);
		skb_free(skb);
	}
	if (wake) {
		socket_wake(wake, OUT_EVENTS);
		socket_put(wake);
	}
	return n;
}

/* ---- ending ---- */

static void shut_mark(struct socket *s, u32 shut, int err)
{
	pthread_mutex_lock(&s->lock);
	s->shut |= shut;
	if (err)
		s->err = err;
	pthread_mutex_unlock(&s->lock);
	socket_wake(s, IN_EVENTS | OUT_EVENTS | EPOLLRDHUP | EPOLLHUP | (err ? EPOLLERR : 0));
}

int stream_shutdown(struct socket *s, int how)
{
	u32 shut = how + 1, mirror = (shut & SHUT_RECV ? SHUT_SEND : 0) | (shut & SHUT_SEND ? SHUT_RECV : 0);
	struct socket *peer = socket_peer(s);

	if (s->domain != AF_UNIX) {
		/* A TCP reader's shutdown is its own affair: the sender hears of it only by a reset later. */
		mirror &= SHUT_RECV;
		if (!peer && s->state != SOCK_LISTENING)
			return -ENOTCONN;
	}
	shut_mark(s, shut, 0);
	if (peer) {
		shut_mark(peer, mirror, 0);
		socket_put(peer);
	}
	return 0;
}

static void refuse_waiting(struct socket *s)
{
	struct socket *server;

	for (;;) {
		pthread_mutex_lock(&s->lock);
		server = TAILQ_FIRST(&s->accepting);
		if (server)
			TAILQ_REMOVE(&s->accepting, server, accept_link);
		pthread_mutex_unlock(&s->lock);
		if (!server)
			return;
		/* Nobody will ever read what the client sent: it sees a reset. */
		server->err = -ECONNRESET;
		stream_release(server);
		socket_put(server);
	}
}

void stream_release(struct socket *s)
{
	struct skb_list dead = TAILQ_HEAD_INITIALIZER(dead);
	struct socket *peer;
	struct skb *skb;
	bool reset;

	pthread_mutex_lock(&s->lock);
	reset = !TAILQ_EMPTY(&s->rx) || s->err == -ECONNRESET;
	s->state = SOCK_CLOSED;
	s->shut = SHUT_BOTH;
	TAILQ_CONCAT(&dead, &s->rx, link);
	s->rx_cost = s->rx_count = 0;
	peer = s->peer;
	s->peer = NULL;
	pthread_mutex_unlock(&s->lock);

	if (peer) {
		/* TCP's peer hears of an orderly end only that no more will come. */
		shut_mark(peer, s->domain == AF_UNIX || reset ? SHUT_BOTH : SHUT_RECV, reset ? -ECONNRESET : 0);
		socket_put(peer);
	}
	refuse_waiting(s);
	waitq_wake(&s->space, EPOLLOUT);
	while ((skb = TAILQ_FIRST(&dead))) {
		TAILQ_REMOVE(&dead, skb, link);
		skb_free(skb);
	}
}

void stream_disconnect(struct socket *s)
{
	bool connected;

	pthread_mutex_lock(&s->lock);
	connected = s->state == SOCK_CONNECTED;
	if (connected)
		s->err = -ECONNRESET;		/* to its peer */
	pthread_mutex_unlock(&s->lock);
	stream_release(s);
	pthread_mutex_lock(&s->lock);
	s->state = SOCK_UNCONNECTED;
	s->shut = 0;
	s->err = 0;
	pthread_mutex_unlock(&s->lock);
	socket_wake(s, IN_EVENTS | OUT_EVENTS | EPOLLHUP);
}

u32 stream_poll(struct socket *s)
{
	struct socket *peer = socket_peer(s);
	u32 ev = 0, shut;

	pthread_mutex_lock(&s->lock);
	shut = s->shut;
	if (s->err)
		ev |= EPOLLERR;
	if (!TAILQ_EMPTY(&s->rx) || !TAILQ_EMPTY(&s->accepting))
		ev |= IN_EVENTS;
	if (shut & SHUT_RECV)
		ev |= IN_EVENTS | EPOLLRDHUP;
	if (shut == SHUT_BOTH || (s->state != SOCK_CONNECTED && s->state != SOCK_LISTENING))
		ev |= EPOLLHUP;
	pthread_mutex_unlock(&s->lock);

	if (!peer)
		return s->state == SOCK_LISTENING ? ev : ev | OUT_EVENTS;
	pthread_mutex_lock(&peer->lock);
	if (peer->state != SOCK_CONNECTED || (peer->shut & SHUT_RECV) || (shut & SHUT_SEND) || peer->rx_cost <= peer->rcvbuf / 2)
		ev |= OUT_EVENTS;
	pthread_mutex_unlock(&peer->lock);
	socket_put(peer);
	return ev;
}
