/* Datagrams in queues: unix and loopback alike. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "net/socket.h"
#include "net/unix_name.h"

#define DGRAM_QUEUE_MAX	512		/* messages; net.unix.max_dgram_qlen */
#define IN_EVENTS	(EPOLLIN | EPOLLRDNORM)
#define OUT_EVENTS	(EPOLLOUT | EPOLLWRNORM)

/* to->lock held. The first message always fits, however long. */
static bool has_room(const struct socket *to)
{
	return to->rx_count < DGRAM_QUEUE_MAX && to->rx_cost < to->rcvbuf;
}

bool dgram_has_room(struct socket *to)
{
	bool room;

	pthread_mutex_lock(&to->lock);
	room = to->state == SOCK_CLOSED || (to->shut & SHUT_RECV) || has_room(to);
	pthread_mutex_unlock(&to->lock);
	return room;
}

int dgram_deliver(struct socket *to, struct skb *skb, bool force)
{
	int err = 0;

	pthread_mutex_lock(&to->lock);
	if (to->state == SOCK_CLOSED) {
		err = -ECONNREFUSED;
	} else if (to->shut & SHUT_RECV) {
		err = -EPIPE;
	} else if (!force && !has_room(to)) {
		err = -EAGAIN;
	} else {
		TAILQ_INSERT_TAIL(&to->rx, skb, link);
		to->rx_cost += skb_cost(skb);
		to->rx_count++;
	}
	pthread_mutex_unlock(&to->lock);
	if (!err)
		socket_wake(to, IN_EVENTS);
	return err;
}

static void from_address(const struct skb *skb, struct sock_msg *m)
{
	m->addr_len = 0;
	if (skb->from) {
		m->addr_len = skb->from->len;
		memcpy(&m->addr, &skb->from->addr, MIN(skb->from->len, sizeof(m->addr)));
	} else if (skb->addr_len) {
		m->addr_len = skb->addr_len;
		memcpy(&m->addr, &skb->addr, skb->addr_len);
	}
}

/* s->lock held; *dead is freed by the caller. */
static s64 take(struct socket *s, struct sock_msg *m, struct skb **dead)
{
	struct skb *skb = TAILQ_FIRST(&s->rx);
	u64 n = MIN(m->u->len, (u64)skb->len);

	if (m->flags & MSG_PEEK) {
		if (scm_dup(&skb->scm, &m->scm))
			return -ENOMEM;
	} else {
		m->scm = skb->scm;
		skb->scm.files = NULL;
	}
	from_address(skb, m);
	uio_put(m->u, skb->data, n);
	if (n < skb->len) {
		m->out_flags |= MSG_TRUNC;
		if (m->flags & MSG_TRUNC)
			n = skb->len;
	}
	if (!(m->flags & MSG_PEEK)) {
		TAILQ_REMOVE(&s->rx, skb, link);
		s->rx_cost -= skb_cost(skb);
		s->rx_count--;
		*dead = skb;
	}
	return n;
}

s64 dgram_recv(struct socket *s, struct sock_msg *m)
{
	struct skb *dead = NULL;
	bool was_full;
	s64 n = -EAGAIN;

	pthread_mutex_lock(&s->lock);
	was_full = !has_room(s);
	if (s->err) {
		n = s->err;
		s->err = 0;
	} else if (!TAILQ_EMPTY(&s->rx)) {
		n = take(s, m, &dead);
	} else if (s->shut & SHUT_RECV) {
		n = 0;
	}
	was_full = was_full && has_room(s);
	pthread_mutex_unlock(&s->lock);
	if (dead)
		skb_free(dead);
	if (was_full)
		waitq_wake(&s->space, OUT_EVENTS);
	return n;
}

u32 dgram_poll(struct socket *s)
{
	struct socket *peer = socket_peer(s);
	u32 ev = 0;

	pthread_mutex_lock(&s->lock);
	if (s->err)
		ev |= EPOLLERR;
	if (!TAILQ_EMPTY(&s->rx))
		ev |= IN_EVENTS;
	if (s->shut & SHUT_RECV)
		ev |= IN_EVENTS | EPOLLRDHUP;
	if (s->shut == SHUT_BOTH)
		ev |= EPOLLHUP;
	pthread_mutex_unlock(&s->lock);
	if (!peer || dgram_has_room(peer))
		ev |= OUT_EVENTS;
	if (peer)
		socket_put(peer);
	return ev;
}

/* Under the peer's `space` lock: its room is news for those who sleep on us. */
static void space_wake(struct waiter *w, u32 events)
{
	waitq_wake(&CONTAINER_OF(w, struct socket, peer_space)->wq, OUT_EVENTS);
}

void dgram_connect(struct socket *s, struct socket *to)
{
	struct socket *old;

	pthread_mutex_lock(&s->lock);
	old = s->peer;
	if (old)
		waitq_remove(&s->peer_space);
	s->peer = to;
	if (to) {
		s->peer_space = (struct waiter){ .wake = space_wake };
		waitq_add(&to->space, &s->peer_space);
	}
	s->state = to ? SOCK_CONNECTED : SOCK_UNCONNECTED;
	pthread_mutex_unlock(&s->lock);
	if (old)
		socket_put(old);
	socket_wake(s, OUT_EVENTS);
}

void dgram_release(struct socket *s)
{
	struct skb_list dead = TAILQ_HEAD_INITIALIZER(dead);
	struct skb *skb;

	dgram_connect(s, NULL);
	pthread_mutex_lock(&s->lock);
	s->state = SOCK_CLOSED;
	TAILQ_CONCAT(&dead, &s->rx, link);
	s->rx_cost = s->rx_count = 0;
	pthread_mutex_unlock(&s->lock);
	waitq_wake(&s->space, OUT_EVENTS);
	while ((skb = TAILQ_FIRST(&dead))) {
		TAILQ_REMOVE(&dead, skb, link);
		skb_free(skb);
	}
}
