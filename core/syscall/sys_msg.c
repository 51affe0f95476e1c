/*
 * sendto, sendmsg, recvfrom, recvmsg and the calls for many messages.
 *
 * Data goes through a buffer of the sentry: a whole datagram, or a stream in pieces of CHUNK bytes. (read and write on
 * a socket move it directly; see sys_rw.c.)
 */
#include <limits.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "syscall/net_calls.h"
#include "task/clock.h"

#define CHUNK		65536
#define ON_STACK	2048
#define IOV_INLINE	8
#define CONTROL_MAX	20480		/* net.core.optmem_max */

struct guest_iovec {
	gva_t base;
	u64 len;
};

struct guest_msghdr {
	gva_t name;
	int namelen, pad;
	gva_t iov;
	u64 iovlen;
	gva_t control;
	u64 controllen;
	int flags, pad2;
};
_Static_assert(sizeof(struct guest_msghdr) == 56, "struct msghdr of the x86-64 ABI");

/* The guest's buffers. */
struct vec {
	struct guest_iovec *v, on_stack[IOV_INLINE];
	u64 n, total;
};

struct buffer {
	u8 *p, on_stack[ON_STACK];
};

static int vec_get(struct task *t, struct vec *v, gva_t iov, u64 n)
{
	v->v = v->on_stack;
	v->n = n;
	v->total = 0;
	if (n > IOV_MAX)
		return -EMSGSIZE;
	if (n > IOV_INLINE)
		v->v = malloc(n * sizeof(*v->v));
	if (!v->v)
		return -ENOMEM;
	if (copy_in(t->mm, v->v, iov, n * sizeof(*v->v)))
		return -EFAULT;
	for (u64 i = 0; i < n; i++) {
		if ((s64)v->v[i].len < 0)
			return -EINVAL;
		v->v[i].len = MIN(v->v[i].len, INT_MAX - v->total);
		v->total += v->v[i].len;
	}
	return 0;
}

static void vec_one(struct vec *v, gva_t base, u64 len)
{
	v->v = v->on_stack;
	v->n = 1;
	v->v[0] = (struct guest_iovec){ base, MIN(len, (u64)INT_MAX) };
	v->total = v->v[0].len;
}

static void vec_free(struct vec *v)
{
	if (v->v != v->on_stack)
		free(v->v);
}

/* Move `n` bytes at the front between the guest's buffers and `p`, and step over them. */
static int vec_move(struct task *t, struct vec *v, u8 *p, u64 n, bool out)
{
	struct guest_iovec *g = v->v;

	for (u64 i = 0; n && i < v->n; i++, g++) {
		u64 step = MIN(n, g->len);

		if (step && (out ? copy_out(t->mm, g->base, p, step) : copy_in(t->mm, p, g->base, step)))
			return -EFAULT;
		g->base += step;
		g->len -= step;
		v->total -= step;
		p += step;
		n -= step;
	}
	return 0;
}

static int buffer_get(struct buffer *b, u64 n)
{
	b->p = n <= ON_STACK ? b->on_stack : malloc(n);
	return b->p ? 0 : -ENOMEM;
}

static void buffer_free(struct buffer *b)
{
	if (b->p != b->on_stack)
		free(b->p);
}

/* ---- control messages in ---- */

/* Several arrays in one message are one, as in Linux. */
static int rights_in(struct task *t, const u8 *data, size_t len, struct scm *scm)
{
	int n = len / sizeof(int), had = scm->files ? scm->files->n : 0, fd;
	struct scm_files *all;

	if (had + n > SCM_FILES_MAX)
		return -EINVAL;
	if (!n)
		return 0;
	all = scm_files_new(had + n);
	if (!all)
		return -ETOOMANYREFS;
	for (int i = 0; i < had; i++) {
		all->file[i] = scm->files->file[i];
		scm->files->file[i] = NULL;
	}
	scm_free(scm);
	scm->files = all;
	for (int i = 0; i < n; i++) {
		memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
		all->file[had + i] = fd_get(t->files, fd);
		if (!all->file[had + i])
			return -EBADF;
	}
	return 0;
}

/* Whom a task may say it is: itself, or anyone if it is privileged. */
static int cred_in(struct task *t, const u8 *data, size_t len, struct scm *scm)
{
	const struct cred *c = t->cred;
	struct ucred u;

	if (len != sizeof(u))
		return -EINVAL;
	memcpy(&u, data, sizeof(u));
	if (u.pid != t->tg->tgid && !cred_capable(c, CAP_SYS_ADMIN))
		return -EPERM;
	if (u.uid != c->uid && u.uid != c->euid && u.uid != c->suid && !cred_capable(c, CAP_SETUID))
		return -EPERM;
	if (u.gid != c->gid && u.gid != c->egid && u.gid != c->sgid && !cred_capable(c, CAP_SETGID))
		return -EPERM;
	scm->cred = u;
	return 0;
}

/* Hop limit and traffic class of one datagram; -1: as the socket has it. */
static int hops_in(const u8 *data, size_t len, int level, int type, struct scm *scm)
{
	bool ttl = level == IPPROTO_IP ? type == IP_TTL : type == IPV6_HOPLIMIT;
	bool tos = level == IPPROTO_IP ? type == IP_TOS : type == IPV6_TCLASS;
	int value = -1;

	if (!ttl && !tos)
		return (level == IPPROTO_IP && type == IP_PKTINFO) || (level == IPPROTO_IPV6 && type == IPV6_PKTINFO) ? 0 : -EINVAL;
	if (len != sizeof(value) && !(tos && len == 1))
		return -EINVAL;
	memcpy(&value, data, len);
	if (len == 1)
		value &= 0xff;
	if (value < -1 || value > 255 || (level == IPPROTO_IP && ttl && value < 1))
		return -EINVAL;
	*(ttl ? &scm->ttl : &scm->tos) = value + 1;
	return 0;
}

static int control_parse(struct task *t, struct socket *s, const u8 *buf, u64 len, struct scm *scm)
{
	u64 at = 0;
	int err = 0;

	while (!err && len - at >= sizeof(struct cmsghdr)) {
		struct cmsghdr h;
		size_t n;

		memcpy(&h, buf + at, sizeof(h));
		if (h.cmsg_len < sizeof(h) || h.cmsg_len > len - at)
			return -EINVAL;
		n = h.cmsg_len - sizeof(h);
		if (h.cmsg_level == SOL_SOCKET && s->domain == AF_UNIX) {
			if (h.cmsg_type == SCM_RIGHTS)
				err = rights_in(t, buf + at + sizeof(h), n, scm);
			else if (h.cmsg_type == SCM_CREDENTIALS)
				err = cred_in(t, buf + at + sizeof(h), n, scm);
			else
				err = -EINVAL;
		} else if ((h.cmsg_level == IPPROTO_IP || h.cmsg_level == IPPROTO_IPV6) && s->type == SOCK_DGRAM &&
			   (s->domain == AF_INET || s->domain == AF_INET6)) {
			err = hops_in(buf + at + sizeof(h), n, h.cmsg_level, h.cmsg_type, scm);
		}
		at += MIN(align_up(h.cmsg_len, 8), len - at);
	}
	return err;
}

static int control_in(struct task *t, struct socket *s, gva_t addr, u64 len, struct scm *scm)
{
	u8 *buf;
	int err;

	if (!len)
		return 0;
	if (len > CONTROL_MAX)
		return -ENOBUFS;
	buf = malloc(len);
	if (!buf)
		return -ENOMEM;
	err = copy_in(t->mm, buf, addr, len);
	if (!err)
		err = control_parse(t, s, buf, len, scm);
	free(buf);
	return err;
}

/* ---- sending ---- */

struct send {
	struct task *t;
	struct file *f;
	struct socket *s;
	struct vec v;
	struct sock_msg m;
};

/* One piece, waiting for room: bytes, or -errno. */
static s64 send_piece(struct send *x, struct sock_wait *w, u8 *p, u64 n)
{
	for (;;) {
		struct iovec iov = { p, n };
		struct uio u = { .iov = &iov, .iovcnt = 1, .len = n, .task = x->t };
		struct socket *full;
		s64 r;
		int err;

		x->m.u = &u;
		r = x->s->ops->send(x->s, x->t, &x->m);
		full = x->m.full;
		x->m.full = NULL;
		if (r != -EAGAIN)
			return r;
		err = sock_wait_more(w, full);
		if (err)
			return err;
	}
}

static s64 send_all(struct send *x, struct sock_wait *w, struct buffer *b)
{
	bool stream = x->s->type == SOCK_STREAM;
	s64 done = 0, r = 0;

	do {
		u64 n = stream ? MIN(x->v.total, (u64)CHUNK) : x->v.total, at = 0;

		r = vec_move(x->t, &x->v, b->p, n, false);
		/* A stream takes a piece in parts. */
		while (!r && (at < n || !n)) {
			r = send_piece(x, w, b->p + at, n - at);
			if (r < 0)
				break;
			at += r;
			done += r;
			r = 0;
			if (!n || !stream)
				break;
		}
	} while (!r && stream && x->v.total);
	return done ? done : r;
}

static void raise_sigpipe(struct task *t)
{
	union guest_siginfo info;

	signal_info(&info, SIGPIPE, SI_USER, t);
	signal_send_task(t, &info);
}

/* Consumes the descriptors in x->m.scm. */
static s64 send_do(struct send *x)
{
	struct sock_wait w;
	struct buffer b;
	s64 r;

	if (x->m.flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (x->s->type != SOCK_STREAM && x->v.total > x->s->sndbuf)
		return -EMSGSIZE;
	r = buffer_get(&b, x->s->type == SOCK_STREAM ? MIN(x->v.total, (u64)CHUNK) : x->v.total);
	if (r)
		return r;
	sock_wait_begin(&w, x->t, x->f, EPOLLOUT, x->m.flags);
	r = send_all(x, &w, &b);
	sock_wait_end(&w);
	buffer_free(&b);
	if (r == -EPIPE && x->s->type == SOCK_STREAM && !(x->m.flags & MSG_NOSIGNAL))
		raise_sigpipe(x->t);
	return r;
}

long sys_sendto(struct task *t, const u64 *arg)
{
	struct send x = { .t = t, .m.flags = (int)arg[3] };
	s64 r = sock_get(t, (int)arg[0], &x.f, &x.s);

	if (r)
		return r;
	if (arg[4]) {
		r = addr_in(t, arg[4], (int)arg[5], &x.m.addr);
		x.m.addr_len = (u32)arg[5];
	}
	vec_one(&x.v, arg[1], arg[2]);
	socket_cred(t, &x.m.scm.cred);
	if (!r)
		r = send_do(&x);
	scm_free(&x.m.scm);
	file_put(x.f);
	return r;
}

static s64 send_msg(struct task *t, struct file *f, struct socket *s, const struct guest_msghdr *h, int flags)
{
	struct send x = { .t = t, .f = f, .s = s, .m.flags = flags };
	s64 r;

	socket_cred(t, &x.m.scm.cred);
	r = vec_get(t, &x.v, h->iov, h->iovlen);
	if (!r && h->name) {
		x.m.addr_len = MIN(MAX(h->namelen, 0), (int)sizeof(x.m.addr));
		r = h->namelen < 0 ? -EINVAL : addr_in(t, h->name, x.m.addr_len, &x.m.addr);
	}
	if (!r)
		r = control_in(t, s, h->control, h->control ? h->controllen : 0, &x.m.scm);
	if (!r)
		r = send_do(&x);
	scm_free(&x.m.scm);
	vec_free(&x.v);
	return r;
}

long sys_sendmsg(struct task *t, const u64 *arg)
{
	struct guest_msghdr h;
	struct socket *s;
	struct file *f;
	s64 r = sock_get(t, (int)arg[0], &f, &s);

	if (r)
		return r;
	r = get_user(t->mm, &h, arg[1]);
	if (!r)
		r = send_msg(t, f, s, &h, (int)arg[2]);
	file_put(f);
	return r;
}

struct guest_mmsghdr {
	struct guest_msghdr hdr;
	u32 len, pad;
};

long sys_sendmmsg(struct task *t, const u64 *arg)
{
	u32 n = MIN((u32)arg[2], (u32)IOV_MAX), i;
	struct guest_mmsghdr m;
	struct socket *s;
	struct file *f;
	s64 r = sock_get(t, (int)arg[0], &f, &s);

	if (r)
		return r;
	for (i = 0; i < n; i++) {
		gva_t at = arg[1] + i * sizeof(m);

		r = get_user(t->mm, &m, at);
		if (!r)
			r = send_msg(t, f, s, &m.hdr, (int)arg[3]);
		if (r < 0)
			break;
		m.len = r;
		r = put_user(t->mm, at + offsetof(struct guest_mmsghdr, len), &m.len);
		if (r)
			break;
	}
	file_put(f);
	return i ? (long)i : r;
}

/* ---- control messages out ---- */

struct control {
	struct task *t;
	gva_t addr;
	u64 room, used;
	int *flags;
};

static void control_put(struct control *c, int level, int type, const void *data, size_t len)
{
	struct cmsghdr h = { .cmsg_len = sizeof(h) + len, .cmsg_level = level, .cmsg_type = type };
	u64 left = c->room - c->used;

	if (left < sizeof(h)) {
		*c->flags |= MSG_CTRUNC;
		return;
	}
	if (left < h.cmsg_len) {
		*c->flags |= MSG_CTRUNC;
		h.cmsg_len = left;
	}
	if (put_user(c->t->mm, c->addr + c->used, &h) ||
	    copy_out(c->t->mm, c->addr + c->used + sizeof(h), data, h.cmsg_len - sizeof(h)))
		*c->flags |= MSG_CTRUNC;
	else
		c->used += MIN(align_up(h.cmsg_len, 8), left);
}

/* As many descriptors as fit; the others are closed. */
static void rights_out(struct control *c, struct scm_files *files, bool cloexec)
{
	int fds[SCM_FILES_MAX], n = 0;
	u64 left = c->room - c->used, fit = left > sizeof(struct cmsghdr) ? (left - sizeof(struct cmsghdr)) / sizeof(int) : 0;

	while (n < files->n && (u64)n < fit) {
		struct file *f = files->file[n];

		files->file[n] = NULL;
		fds[n] = fd_install(c->t, f, 0, cloexec);
		if (fds[n] < 0)
			break;
		n++;
	}
	if (n < files->n)
		*c->flags |= MSG_CTRUNC;
	if (n)
		control_put(c, SOL_SOCKET, SCM_RIGHTS, fds, n * sizeof(int));
}

/* What an internet datagram says about its way, if that was asked for. */
static void hops_out(struct control *c, struct socket *s, const struct sock_msg *m)
{
	int ttl = m->scm.ttl ? m->scm.ttl - 1 : 64, tos = m->scm.tos ? m->scm.tos - 1 : 0, on;
	u8 tos_byte = tos;

	if (s->type != SOCK_DGRAM || (s->domain != AF_INET && s->domain != AF_INET6) || s->host || !s->inet_values)
		return;
	if (!inet_getsockopt(s, IPPROTO_IP, IP_RECVTTL, &on) && on)
		control_put(c, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (!inet_getsockopt(s, IPPROTO_IP, IP_RECVTOS, &on) && on)
		control_put(c, IPPROTO_IP, IP_TOS, &tos_byte, sizeof(tos_byte));
	if (!inet_getsockopt(s, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on) && on)
		control_put(c, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl));
	if (!inet_getsockopt(s, IPPROTO_IPV6, IPV6_RECVTCLASS, &on) && on)
		control_put(c, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

static void control_out(struct control *c, struct socket *s, struct sock_msg *m)
{
	if (s->passcred && s->domain == AF_UNIX)
		control_put(c, SOL_SOCKET, SCM_CREDENTIALS, &m->scm.cred, sizeof(m->scm.cred));
	hops_out(c, s, m);
	if (m->scm.files)
		rights_out(c, m->scm.files, m->flags & MSG_CMSG_CLOEXEC);
}

/* ---- receiving ---- */

struct recv {
	struct task *t;
	struct file *f;
	struct socket *s;
	struct vec v;
	struct sock_msg m;		/* what came; the caller frees its scm */
};

static s64 recv_piece(struct recv *x, struct sock_wait *w, u8 *p, u64 n, bool wait)
{
	for (;;) {
		struct iovec iov = { p, n };
		struct uio u = { .iov = &iov, .iovcnt = 1, .len = n, .task = x->t };
		s64 r;
		int err;

		x->m.u = &u;
		r = x->s->ops->recv(x->s, &x->m);
		if (r != -EAGAIN || !wait)
			return r;
		err = sock_wait_more(w, NULL);
		if (err)
			return err;
	}
}

/* A stream goes on while pieces come back full, or, with MSG_WAITALL, until all is there. */
static s64 recv_all(struct recv *x, struct sock_wait *w, struct buffer *b)
{
	bool stream = x->s->type == SOCK_STREAM, all = (x->m.flags & MSG_WAITALL) && !(x->m.flags & MSG_PEEK);
	s64 done = 0, r;

	do {
		u64 n = MIN(x->v.total, stream ? (u64)CHUNK : (u64)SOCK_BUF_MAX);

		r = recv_piece(x, w, b->p, n, !done || all);
		if (r <= 0)
			break;
		done += r;
		if (vec_move(x->t, &x->v, b->p, MIN((u64)r, n), true))
			return -EFAULT;
		if (!stream || x->m.scm.files || (x->m.flags & MSG_PEEK) || ((u64)r < n && !all))
			break;
	} while (x->v.total);
	return done ? done : r;
}

static s64 recv_do(struct recv *x)
{
	struct sock_wait w;
	struct buffer b;
	s64 r;

	if (x->m.flags & MSG_OOB)
		return -EINVAL;
	if (x->m.flags & MSG_ERRQUEUE)
		return -EAGAIN;
	if (!x->v.total && x->s->type == SOCK_STREAM && x->s->state == SOCK_CONNECTED)
		return 0;
	r = buffer_get(&b, MIN(x->v.total, x->s->type == SOCK_STREAM ? (u64)CHUNK : (u64)SOCK_BUF_MAX));
	if (r)
		return r;
	sock_wait_begin(&w, x->t, x->f, EPOLLIN, x->m.flags);
	r = recv_all(x, &w, &b);
	sock_wait_end(&w);
	buffer_free(&b);
	return r;
}

long sys_recvfrom(struct task *t, const u64 *arg)
{
	struct recv x = { .t = t, .m.flags = (int)arg[3] };
	s64 r = sock_get(t, (int)arg[0], &x.f, &x.s);

	if (r)
		return r;
	vec_one(&x.v, arg[1], arg[2]);
	r = recv_do(&x);
	if (r >= 0 && arg[4]) {
		int err = addr_out(t, arg[4], arg[5], &x.m.addr, x.m.addr_len);

		r = err ? err : r;
	}
	scm_free(&x.m.scm);
	file_put(x.f);
	return r;
}

/* What the header tells after the data: name, control messages, flags. */
static int msg_results(struct recv *x, struct guest_msghdr *h, gva_t addr)
{
	struct control c = { .t = x->t, .addr = h->control, .room = h->control ? h->controllen : 0, .flags = &x->m.out_flags };
	u32 name_len = MIN(x->m.addr_len, (u32)MAX(h->namelen, 0));

	if (h->name && copy_out(x->t->mm, h->name, &x->m.addr, MIN(name_len, (u32)sizeof(x->m.addr))))
		return -EFAULT;
	control_out(&c, x->s, &x->m);
	if (x->m.flags & MSG_CMSG_CLOEXEC)
		x->m.out_flags |= MSG_CMSG_CLOEXEC;
	h->namelen = h->name ? (int)x->m.addr_len : h->namelen;
	h->controllen = c.used;
	h->flags = x->m.out_flags;
	if (put_user(x->t->mm, addr + offsetof(struct guest_msghdr, namelen), &h->namelen) ||
	    put_user(x->t->mm, addr + offsetof(struct guest_msghdr, controllen), &h->controllen) ||
	    put_user(x->t->mm, addr + offsetof(struct guest_msghdr, flags), &h->flags))
		return -EFAULT;
	return 0;
}

static s64 recv_msg(struct task *t, struct file *f, struct socket *s, gva_t addr, int flags)
{
	struct recv x = { .t = t, .f = f, .s = s, .m.flags = flags };
	struct guest_msghdr h;
	s64 r = get_user(t->mm, &h, addr);

	if (r)
		return r;
	if (h.namelen < 0)
		return -EINVAL;
	r = vec_get(t, &x.v, h.iov, h.iovlen);
	if (!r)
		r = recv_do(&x);
	if (r >= 0 && msg_results(&x, &h, addr))
		r = -EFAULT;
	scm_free(&x.m.scm);
	vec_free(&x.v);
	return r;
}

long sys_recvmsg(struct task *t, const u64 *arg)
{
	struct socket *s;
	struct file *f;
	s64 r = sock_get(t, (int)arg[0], &f, &s);

	if (r)
		return r;
	r = recv_msg(t, f, s, arg[1], (int)arg[2]);
	file_put(f);
	return r;
}

long sys_recvmmsg(struct task *t, const u64 *arg)
{
	u32 n = MIN((u32)arg[2], (u32)IOV_MAX), i;
	int flags = (int)arg[3];
	u64 deadline = TIME_FOREVER, ns;
	struct socket *s;
	struct file *f;
	s64 r = arg[4] ? copy_in_timespec(t->mm, arg[4], &ns) : 0;

	if (!r)
		r = sock_get(t, (int)arg[0], &f, &s);
	if (r)
		return r;
	if (arg[4])
		deadline = deadline_after(ns);
	for (i = 0; i < n; i++) {
		gva_t at = arg[1] + i * sizeof(struct guest_mmsghdr);
		u32 len;

		r = recv_msg(t, f, s, at, flags & ~MSG_WAITFORONE);
		if (r < 0)
			break;
		len = r;
		r = put_user(t->mm, at + offsetof(struct guest_mmsghdr, len), &len);
		if (r)
			break;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		/* As Linux: the time-out is looked at between messages only. */
		if (clock_now(CLOCK_MONOTONIC) >= deadline) {
			i++;
			break;
		}
	}
	file_put(f);
	return i ? (long)i : r;
}
