/* Pipes: what read and write do to the ring. Runs inside too (lib/inside.h), as long as the ring need not grow. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "fs/pipe.h"
#include "lib/inside.h"

/* ---- the ring; p->lock held ---- */

static void ring_put(struct pipe *p, struct uio *u, u64 n)
{
	while (n) {
		u64 off = p->head & (p->size - 1), run = MIN(n, p->size - off);

		uio_get(u, p->buf + off, run);
		p->head += run;
		n -= run;
	}
}

static void ring_get(struct pipe *p, struct uio *u, u64 n)
{
	while (n) {
		u64 off = p->tail & (p->size - 1), run = MIN(n, p->size - off);

		uio_put(u, p->buf + off, run);
		p->tail += run;
		n -= run;
	}
}

/* ---- packets (O_DIRECT): spans of the byte stream; p->lock held ---- */

/* One packet of at most PIPE_BUF bytes, or -EAGAIN. */
static s64 packet_write(struct pipe *p, struct uio *u)
{
	u64 n = MIN(u->len, (u64)PIPE_CHUNK);
	struct pipe_packet *k;

	if (inside())
		return -EHOST;		/* may have to allocate */
	if (gate_pipe_packets(p))
		return -ENOMEM;
	if (ring_room(p) < n)
		return -EAGAIN;
	if (gate_pipe_reserve(p, n))
		return -ENOMEM;
	k = &p->packets[(p->packet_first + p->packet_count) % PIPE_PACKETS];
	k->start = p->head;
	ring_put(p, u, n);
	k->end = p->head;
	p->packet_count++;
	return n;
}

/* Plain bytes up to the next packet, or one packet, whose unread rest is dropped. */
static s64 pipe_take(struct pipe *p, struct uio *u)
{
	struct pipe_packet *k = packet_first(p);
	u64 n = MIN(u->len, ring_used(p));

	if (!k) {
		ring_get(p, u, n);
	} else if (p->tail < k->start) {
		n = MIN(n, k->start - p->tail);
		ring_get(p, u, n);
	} else {
		n = MIN(n, k->end - k->start);
		ring_get(p, u, n);
		packet_drop(p);
	}
	return n;
}

/* ---- file operations ---- */

s64 pipe_read(struct file *f, struct uio *u, u64 *pos)
{
	struct pipe *p = f->data;
	bool was_full, more;
	s64 n = 0;

	if (!u->len)
		return 0;
	if (!inside_lock(&p->lock))
		return -EHOST;
	if (p->head == p->tail) {
		n = p->writers ? -EAGAIN : 0;
		inside_unlock(&p->lock);
		return n;
	}
	was_full = ring_room(p) < PIPE_CHUNK;
	n = pipe_take(p, u);
	was_full = p->polled || (was_full && ring_room(p) >= PIPE_CHUNK);
	more = ring_used(p) && !p->polled;
	inside_unlock(&p->lock);

	if (was_full)
		inside_waitq_wake(&p->wq, EPOLLOUT | EPOLLWRNORM);
	if (more)
		inside_waitq_wake(&p->wq, EPOLLIN | EPOLLRDNORM);
	return n;
}

/* Moves what fits; writes of up to PIPE_BUF go whole or not at all. p->lock held. */
static s64 pipe_put(struct pipe *p, struct file *f, struct uio *u)
{
	u64 room, n;

	if (!p->readers)
		return -EPIPE;
	if (atomic_load(&f->flags) & O_DIRECT)
		return packet_write(p, u);
	room = ring_room(p);
	n = MIN(room, u->len);
	if (!n || (u->len <= PIPE_CHUNK && n < u->len))
		return -EAGAIN;
	if (ring_used(p) + n > p->size) {
		if (inside())
			return -EHOST;
		if (gate_pipe_reserve(p, n))
			return -ENOMEM;
	}
	ring_put(p, u, n);
	return n;
}

s64 pipe_write(struct file *f, struct uio *u, u64 *pos)
{
	struct pipe *p = f->data;
	bool was_empty, more;
	s64 n;

	if (!u->len)
		return 0;
	if (!inside_lock(&p->lock))
		return -EHOST;
	was_empty = p->head == p->tail || p->polled;
	n = pipe_put(p, f, u);
	more = ring_room(p) >= PIPE_CHUNK && !p->polled;
	inside_unlock(&p->lock);
	if (n <= 0)
		return n;

	if (was_empty)
		inside_waitq_wake(&p->wq, EPOLLIN | EPOLLRDNORM);
	if (more)
		inside_waitq_wake(&p->wq, EPOLLOUT | EPOLLWRNORM);
	return n;
}
