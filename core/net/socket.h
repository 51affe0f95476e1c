/*
 * Sockets: one object for all families. What differs is in struct proto_ops; what streams have in common is in stream.c,
 * datagrams in dgram.c, the file and SOL_SOCKET in socket.c.
 *
 * Nothing here blocks: operations return -EAGAIN, and sys_net.c waits. Data lies in the receiver's queue; a sender
 * is held back by the receiver's `rx_cost`.
 *
 * Lock order: never two sockets' locks at once. Wake-ups (socket_wake) are made with no socket's lock held.
 */
#ifndef TG_NET_SOCKET_H
#define TG_NET_SOCKET_H

#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fs/fs.h"
#include "net/skb.h"
#include "task/task.h"

struct socket;

union sock_addr {
	struct sockaddr sa;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_nl nl;
	struct sockaddr_storage ss;
};

/* A sendmsg or recvmsg under way. */
struct sock_msg {
	struct uio *u;
	int flags;			/* MSG_* of the caller */
	int out_flags;			/* recv: MSG_TRUNC, MSG_EOR */
	union sock_addr addr;		/* send: where to (len 0: nowhere); recv: from whom */
	u32 addr_len;
	struct scm scm;			/* send: takes its references over on success; recv: the caller's to free */
	struct socket *full;		/* send, -EAGAIN: the receiver that has no room (a reference), if it is not the peer */
};

struct proto_ops {
	int (*bind)(struct socket *s, struct task *t, const union sock_addr *a, u32 len);
	/* -EAGAIN: the backlog is full; *full is the listener, with a reference. */
	int (*connect)(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **full);
		/* -EINPROGRESS: wait for EPOLLOUT and call again; -EISCONN then means done */
	int (*listen)(struct socket *s, struct task *t, int backlog);
	int (*accept)(struct socket *s, struct socket **out);
	void (*name)(struct socket *s, bool peer, union sock_addr *a, u32 *len);	/* peer: it is connected */
	s64 (*send)(struct socket *s, struct task *t, struct sock_msg *m);
	s64 (*recv)(struct socket *s, struct sock_msg *m);
	int (*shutdown)(struct socket *s, int how);
	u32 (*poll)(struct socket *s);
	int (*setsockopt)(struct socket *s, int level, int name, int value);	/* -ENOPROTOOPT */
	int (*getsockopt)(struct socket *s, int level, int name, int *value);
	void (*release)(struct socket *s);	/* the file is gone; others may still hold references */
	void (*destroy)(struct socket *s);	/* last reference gone; may be NULL */
};

enum sock_state { SOCK_UNCONNECTED, SOCK_LISTENING, SOCK_CONNECTED, SOCK_CLOSED };
enum { SHUT_RECV = 1, SHUT_SEND = 2, SHUT_BOTH = 3 };

struct socket {
	const struct proto_ops *ops;	/* immutable, as the next three */
	int domain, type, protocol;
	u64 ino;			/* of its file; 0 before it has one */
	atomic_int refs;
	struct waitq wq;		/* sleepers on this socket's file */
	struct waitq space;		/* those who wait until this one's queue has room */

	pthread_mutex_t lock;		/* all below, but for the options */
	enum sock_state state;
	u32 shut;			/* SHUT_* */
	int err;			/* SO_ERROR */
	struct socket *peer;		/* a reference; streams: for good once connected */
	struct waiter peer_space;	/* connected datagrams: on peer->space */
	struct skb_list rx;
	u64 rx_cost;
	u32 rx_count;
	TAILQ_HEAD(socket_accepting_head, socket) accepting;	/* listening: connected, not accepted yet; a reference each */
	TAILQ_ENTRY(socket) accept_link;
	u32 naccepting, backlog;	/* naccepting counts those on the way in, too */
	struct ucred cred, peer_cred;

	struct unix_name *name;		/* unix */
	struct inode *inode;		/* unix: the bound socket file */
	struct host_socket *host;	/* --network=host: immutable; NULL for all others */
	union sock_addr local, remote;	/* inet */
	u32 local_len, remote_len;
	struct socket *port_next;	/* inet: in the port table; its lock guards both, and `local` of those in it */
	bool bound;
	bool connecting;		/* TCP: connected, but a connect() that did not wait has not said so yet */

	/* options: single words, written by setsockopt, read anywhere */
	_Atomic u32 rcvbuf, sndbuf;
	_Atomic u64 rcvtimeo, sndtimeo;	/* ns; 0: for ever */
	atomic_bool reuseaddr, reuseport, keepalive, broadcast, passcred, oobinline, v6only, timestamp;
	_Atomic u32 linger;		/* 0: off, else seconds + 1 */
	atomic_int nodelay, priority, rcvlowat;
	struct inet_values *_Atomic inet_values;	/* what was set of inet_opt.c's options; NULL: nothing */
	struct skb *cork;			/* lock; UDP: what MSG_MORE holds back */
	atomic_bool corked;			/* UDP_CORK */
};

#define SOCK_BUF_DEFAULT	212992
#define SOCK_BUF_MIN		4608
#define SOCK_BUF_MAX		(1 << 20)

/* ---- socket.c ---- */
int socket_create(struct task *t, int domain, int type, int protocol, struct socket **out);
int socket_pair(struct task *t, int domain, int type, int protocol, struct socket *out[2]);
struct socket *socket_new(const struct proto_ops *ops, int domain, int type, int protocol);	/* one reference */
void socket_get(struct socket *s);
void socket_put(struct socket *s);
bool socket_get_live(struct socket *s);		/* for weak tables */
int socket_file(struct socket *s, u32 flags, struct file **out);	/* consumes the reference, even on failure */
struct socket *file_socket(const struct file *f);
void socket_wake(struct socket *s, u32 events);
int socket_take_error(struct socket *s);	/* SO_ERROR: -errno, and clears it */
void socket_cred(struct task *t, struct ucred *out);
long socket_setsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, int len);
long socket_getsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, gva_t len);

/* ---- stream.c: SOCK_STREAM and SOCK_SEQPACKET ---- */
/* `dress` gives the server's side its names. */
typedef void (*stream_dress_fn)(struct socket *server, struct socket *client, struct socket *listener);
int stream_connect(struct socket *s, struct socket *listener, struct task *t, stream_dress_fn dress);
void stream_join(struct socket *a, struct socket *b);	/* two fresh sockets, not visible to others yet */
int stream_listen(struct socket *s, struct task *t, int backlog);
int stream_accept(struct socket *s, struct socket **out);
s64 stream_send(struct socket *s, struct task *t, struct sock_msg *m);
s64 stream_recv(struct socket *s, struct sock_msg *m);
int stream_shutdown(struct socket *s, int how);
u32 stream_poll(struct socket *s);
void stream_disconnect(struct socket *s);	/* reset the connection, or stop listening; then as new */
void stream_release(struct socket *s);

/* ---- dgram.c ---- */
/*
 * Put a message into `to`'s queue: -ECONNREFUSED if it is closed, -EPIPE if it reads no more; -EAGAIN if it is full,
 * unless `force` (room was there a moment ago). Consumes skb on success.
 */
int dgram_deliver(struct socket *to, struct skb *skb, bool force);
bool dgram_has_room(struct socket *to);
s64 dgram_recv(struct socket *s, struct sock_msg *m);
u32 dgram_poll(struct socket *s);
void dgram_connect(struct socket *s, struct socket *to);	/* consumes the reference; NULL: disconnect */
void dgram_release(struct socket *s);
struct socket *socket_peer(struct socket *s);	/* with a reference, or NULL */

/* ---- families ---- */
int unix_create(struct task *t, int type, int protocol, struct socket **out);
int unix_pair(struct task *t, int type, int protocol, struct socket *out[2]);
int inet_create(struct task *t, int domain, int type, int protocol, struct socket **out);

int netlink_create(int type, int protocol, struct socket **out);
bool netlink_socket(const struct socket *s);
int netlink_deliver(struct socket *to, const void *data, u32 len, u32 from, const struct ucred *cred);	/* -EAGAIN: full */
long ifreq_ioctl(struct task *t, u32 cmd, gva_t arg);	/* SIOCGIF*; -ENOTTY: not one of them */

/* inet_opt.c */
int inet_setsockopt(struct socket *s, int level, int name, int value);
int inet_getsockopt(struct socket *s, int level, int name, int *value);
/* Options that are no ints: bytes put into `out` (at most `room`), 0: not one of them. */
int inet_getsockopt_struct(struct socket *s, int level, int name, void *out, int room);

/* What a guest reaches beyond unix sockets: nothing, a loopback of its own, the host's network. Set at start-up. */
enum net_reach { NET_NONE, NET_LOOPBACK, NET_HOST };
extern enum net_reach net_reach;

/* ---- host.c ---- */
int host_socket_create(int domain, int type, int protocol, struct socket **out);
void host_socket_poll_start(struct socket *s);
long host_socket_setsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, int len);
long host_socket_getsockopt(struct socket *s, struct task *t, int level, int name, gva_t val, gva_t len_addr);
int host_socket_bytes(struct socket *s, bool out);

#endif
