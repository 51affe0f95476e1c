/*
 * Pipes: a byte ring between reading and writing files, shared by pipe(2) and fifos.
 *
 * The ring starts small and doubles on demand up to `cap`, so that many idle pipes cost little. Positions are
 * absolute byte counts; a place in the ring is the count modulo `size`.
 */
#ifndef TG_FS_PIPE_H
#define TG_FS_PIPE_H

#include "fs/fs.h"

enum {
	PIPE_CHUNK	= 4096,			/* PIPE_BUF, and the unit of capacity */
	PIPE_DEFAULT	= 65536,
	PIPE_MAX	= 1 << 20,
	PIPE_PACKETS	= PIPE_MAX / PIPE_CHUNK,
};

struct pipe_packet {
	u64 start, end;
};

struct pipe {
	pthread_mutex_t lock;			/* guards all but wq; taken after inode->lock */
	u8 *buf;
	u32 size;				/* bytes at buf; 0 or a power of two */
	u32 cap;				/* bytes it may hold; a power of two */
	u64 head, tail;				/* written up to, read up to */
	u32 readers, writers;			/* open files */
	u32 reader_opens, writer_opens;		/* ever; a fifo's open waits for the other one to change */
	u32 files;				/* references; the last one frees */
	bool polled;				/* epoll watches: every transfer is news, as on Linux */
	struct pipe_packet *packets;		/* O_DIRECT writes, a ring of PIPE_PACKETS */
	u32 packet_first, packet_count;
	struct waitq wq;			/* readers want EPOLLIN, writers EPOLLOUT */
};

extern const struct file_ops pipe_file_ops;

struct pipe *pipe_new(struct task *t);		/* t: whose limits count */
void pipe_free(struct pipe *p);
struct pipe *file_pipe(const struct file *f);	/* NULL if it is none */

bool inode_is_pipe(const struct inode *in);	/* made by pipe(2): no fifo */

/* Count an open file in (at open) and out (pipe_file_ops.release does it). p->lock held. */
void pipe_count(struct pipe *p, u32 flags, int delta);

/* For splice and tee: look at bytes behind the first `skip` unread ones without taking them; take them. */
s64 pipe_peek(struct pipe *p, void *dst, u64 n);
void pipe_consume(struct pipe *p, u64 n);
u64 pipe_room(struct pipe *p);			/* bytes that a write would take now; takes the lock */

/* ---- pipe.c and pipe_io.c; p->lock held ---- */

s64 pipe_read(struct file *f, struct uio *u, u64 *pos);
s64 pipe_write(struct file *f, struct uio *u, u64 *pos);
int gate_pipe_reserve(struct pipe *p, u64 more);	/* room in the ring; the caller has checked `cap` */
int gate_pipe_packets(struct pipe *p);

static inline u64 ring_used(const struct pipe *p)
{
	return p->head - p->tail;
}

/* What a writer may count on: none if packets fill every slot. */
static inline u64 ring_room(const struct pipe *p)
{
	if (p->packet_count >= p->cap / PIPE_CHUNK)
		return 0;
	return p->cap - ring_used(p);
}

static inline struct pipe_packet *packet_first(struct pipe *p)
{
	return p->packet_count ? &p->packets[p->packet_first % PIPE_PACKETS] : NULL;
}

static inline void packet_drop(struct pipe *p)
{
	p->tail = packet_first(p)->end;
	p->packet_first++;
	p->packet_count--;
}

#endif
