/* What sys_net.c and sys_msg.c share. */
#ifndef TG_NET_CALLS_H
#define TG_NET_CALLS_H

#include "net/socket.h"
#include "syscall/syscall.h"

/* The socket behind a descriptor; *f holds the reference. -EBADF, -ENOTSOCK. */
int sock_get(struct task *t, int fd, struct file **f, struct socket **s);
int addr_in(struct task *t, gva_t addr, int len, union sock_addr *out);			/* -EINVAL, -EFAULT */
int addr_out(struct task *t, gva_t addr, gva_t len_addr, const union sock_addr *a, u32 len);	/* as accept(2): cuts */

/*
 * Waiting for a socket: by its file, or for the room of another socket (struct sock_msg's `full`). Call after each
 * -EAGAIN: 0: try again; -EAGAIN: may not wait, or timed out; -ERESTARTSYS or -EINTR.
 */
struct sock_wait {
	struct task *t;
	struct file *f;
	u32 events;
	bool nonblock;
	u64 deadline;			/* of SO_RCVTIMEO, SO_SNDTIMEO */
	bool timed;
	struct socket *full;		/* being waited for; holds a reference */
	struct waiter w;
};

void sock_wait_begin(struct sock_wait *w, struct task *t, struct file *f, u32 events, int flags);
int sock_wait_more(struct sock_wait *w, struct socket *full);	/* takes the reference on `full` over; NULL: its own file */
void sock_wait_end(struct sock_wait *w);

#endif
