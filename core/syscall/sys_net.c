/* Sockets: making, naming, connecting; options. Messages are in sys_msg.c. */
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>

#include "syscall/net_calls.h"
#include "task/clock.h"

int sock_get(struct task *t, int fd, struct file **f, struct socket **s)
{
	*f = fd_get_io(t->files, fd);
	if (!*f)
		return -EBADF;
	*s = file_socket(*f);
	if (*s)
		return 0;
	file_put(*f);
	return -ENOTSOCK;
}

int addr_in(struct task *t, gva_t addr, int len, union sock_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (len < 0 || len > (int)sizeof(out->ss))
		return -EINVAL;
	return len ? copy_in(t->mm, out, addr, len) : 0;
}

int addr_out(struct task *t, gva_t addr, gva_t len_addr, const union sock_addr *a, u32 len)
{
	int room;

	if (get_user(t->mm, &room, len_addr))
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	room = MIN(MIN((u32)room, len), (u32)sizeof(*a));
	if (room && copy_out(t->mm, addr, a, room))
		return -EFAULT;
	return put_user(t->mm, len_addr, &len);
}

/* ---- waiting ---- */

void sock_wait_begin(struct sock_wait *w, struct task *t, struct file *f, u32 events, int flags)
{
	struct socket *s = file_socket(f);
	u64 limit = events & EPOLLIN ? s->rcvtimeo : s->sndtimeo;

	*w = (struct sock_wait){ .t = t, .f = f, .events = events, .timed = limit != 0 };
	w->nonblock = (flags & MSG_DONTWAIT) || (atomic_load(&f->flags) & O_NONBLOCK);
	w->deadline = limit ? deadline_after(limit) : TIME_FOREVER;
}

/* The first time the queue is only joined: room may have come since the caller looked. */
static int wait_full(struct sock_wait *w, struct socket *full)
{
	if (w->full != full) {
		sock_wait_end(w);
		w->full = full;
		w->w = (struct waiter){ .task = w->t };
		waitq_add(&full->space, &w->w);
		return 0;
	}
	socket_put(full);
	return task_block(w->t, w->deadline);
}

int sock_wait_more(struct sock_wait *w, struct socket *full)
{
	int err;

	if (w->nonblock) {
		socket_put(full);
		return -EAGAIN;
	}
	if (full)
		err = wait_full(w, full);
	else
		err = task_wait_file(w->t, w->f, w->events | EPOLLRDHUP, w->deadline);
	if (err == -ETIMEDOUT)
		return -EAGAIN;
	if (err == -EINTR)
		return w->timed ? -EINTR : -ERESTARTSYS;
	return err;
}

void sock_wait_end(struct sock_wait *w)
{
	if (!w->full)
		return;
	waitq_remove(&w->w);
	socket_put(w->full);
	w->full = NULL;
}

/* ---- making ---- */

static int check_type(int *type, int *flags)
{
	*flags = *type & ~0xf;
	*type &= 0xf;
	return *flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK) ? -EINVAL : 0;
}

static int install(struct task *t, struct socket *s, int flags)
{
	struct file *f;
	int err = socket_file(s, flags & SOCK_NONBLOCK ? O_NONBLOCK : 0, &f);

	return err ? err : fd_install(t, f, 0, flags & SOCK_CLOEXEC);
}

long sys_socket(struct task *t, const u64 *arg)
{
	int type = (int)arg[1], flags;
	struct socket *s;
	int err = check_type(&type, &flags);

	if (!err)
		err = socket_create(t, (int)arg[0], type, (int)arg[2], &s);
	return err ? err : install(t, s, flags);
}

long sys_socketpair(struct task *t, const u64 *arg)
{
	int type = (int)arg[1], flags, fd[2];
	struct socket *s[2];
	int err = check_type(&type, &flags);

	if (!err)
		err = socket_pair(t, (int)arg[0], type, (int)arg[2], s);
	if (err)
		return err;
	fd[0] = install(t, s[0], flags);
	if (fd[0] < 0) {
		s[1]->ops->release(s[1]);
		socket_put(s[1]);
		return fd[0];
	}
	fd[1] = install(t, s[1], flags);
	if (fd[1] < 0) {
		fd_close(t, fd[0]);
		return fd[1];
	}
	if (put_user(t->mm, arg[3], &fd)) {
		fd_close(t, fd[0]);
		fd_close(t, fd[1]);
		return -EFAULT;
	}
	return 0;
}

/* ---- names and connections ---- */

long sys_bind(struct task *t, const u64 *arg)
{
	union sock_addr a;
	struct socket *s;
	struct file *f;
	int err = sock_get(t, (int)arg[0], &f, &s);

	if (err)
		return err;
	err = addr_in(t, arg[1], (int)arg[2], &a);
	if (!err)
		err = s->ops->bind(s, t, &a, (u32)arg[2]);
	file_put(f);
	return err;
}

long sys_listen(struct task *t, const u64 *arg)
{
	struct socket *s;
	struct file *f;
	int err = sock_get(t, (int)arg[0], &f, &s);

	if (err)
		return err;
	err = s->ops->listen ? s->ops->listen(s, t, (int)arg[1]) : -EOPNOTSUPP;
	file_put(f);
	return err;
}

/*
 * A TCP handshake never ends within a call that does not wait: success or refusal is there at once, and told by readiness
 * and SO_ERROR; the next connect() says it, too.
 */
static int connect_later(struct socket *s, int result)
{
	pthread_mutex_lock(&s->lock);
	if (!result)
		s->connecting = true;
	else
		s->err = result;
	pthread_mutex_unlock(&s->lock);
	socket_wake(s, EPOLLOUT | EPOLLWRNORM | (result ? EPOLLERR | EPOLLHUP : 0));
	return -EINPROGRESS;
}

static bool is_own_tcp(const struct socket *s)
{
	return !s->host && s->type == SOCK_STREAM && (s->domain == AF_INET || s->domain == AF_INET6);
}

static int connect_wait(struct task *t, struct file *f, struct socket *s, const union sock_addr *a, u32 len)
{
	bool started = false, fresh;
	struct sock_wait w;
	int err, result;

	/* Not the call that asks what became of an earlier one. */
	pthread_mutex_lock(&s->lock);
	fresh = s->state == SOCK_UNCONNECTED && !s->err;
	pthread_mutex_unlock(&s->lock);
	sock_wait_begin(&w, t, f, EPOLLOUT, 0);
	for (;;) {
		struct socket *full = NULL;

		result = s->ops->connect(s, t, a, len, &full);
		if (started && result == -EISCONN)
			result = 0;
		if (result != -EAGAIN && result != -EINPROGRESS && !(started && result == -EALREADY))
			break;
		started |= result == -EINPROGRESS;
		err = sock_wait_more(&w, full);
		if (err) {
			result = err == -EAGAIN && started ? -EINPROGRESS : err;
			break;
		}
	}
	sock_wait_end(&w);
	if (fresh && w.nonblock && is_own_tcp(s) && a->sa.sa_family != AF_UNSPEC && (!result || result == -ECONNREFUSED))
		return connect_later(s, result);
	return result;
}

long sys_connect(struct task *t, const u64 *arg)
{
	union sock_addr a;
	struct socket *s;
	struct file *f;
	int err = sock_get(t, (int)arg[0], &f, &s);

	if (err)
		return err;
	err = addr_in(t, arg[1], (int)arg[2], &a);
	if (!err)
		err = connect_wait(t, f, s, &a, (u32)arg[2]);
	file_put(f);
	return err;
}

static int accept_wait(struct task *t, struct file *f, struct socket *s, struct socket **out)
{
	struct sock_wait w;
	int err;

	if (!s->ops->accept)
		return -EOPNOTSUPP;
	sock_wait_begin(&w, t, f, EPOLLIN, 0);
	do {
		err = s->ops->accept(s, out);
		if (err == -EAGAIN)
			err = sock_wait_more(&w, NULL);
		else
			break;
	} while (!err);
	sock_wait_end(&w);
	return err;
}

/* The address is written first: an error then leaves no descriptor behind. */
static long accept_install(struct task *t, struct socket *s, gva_t addr, gva_t len_addr, int flags)
{
	union sock_addr a;
	u32 len;
	int err = 0;

	if (addr) {
		s->ops->name(s, true, &a, &len);
		err = addr_out(t, addr, len_addr, &a, len);
	}
	if (err) {
		s->ops->release(s);
		socket_put(s);
		return err;
	}
	return install(t, s, flags);
}

static long do_accept(struct task *t, int fd, gva_t addr, gva_t len_addr, int flags)
{
	struct socket *s, *got = NULL;
	struct file *f;
	long r;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	r = sock_get(t, fd, &f, &s);
	if (r)
		return r;
	r = accept_wait(t, f, s, &got);
	if (!r)
		r = accept_install(t, got, addr, len_addr, flags);
	file_put(f);
	return r;
}

long sys_accept(struct task *t, const u64 *arg)
{
	return do_accept(t, (int)arg[0], arg[1], arg[2], 0);
}

long sys_accept4(struct task *t, const u64 *arg)
{
	return do_accept(t, (int)arg[0], arg[1], arg[2], (int)arg[3]);
}

static long do_name(struct task *t, const u64 *arg, bool peer)
{
	union sock_addr a;
	struct socket *s;
	struct file *f;
	u32 len;
	long err = sock_get(t, (int)arg[0], &f, &s);

	if (err)
		return err;
	if (peer && !s->host && s->state != SOCK_CONNECTED && !s->remote_len)
		err = -ENOTCONN;
	if (!err) {
		s->ops->name(s, peer, &a, &len);
		err = len ? addr_out(t, arg[1], arg[2], &a, len) : -ENOTCONN;
	}
	file_put(f);
	return err;
}

long sys_getsockname(struct task *t, const u64 *arg)
{
	return do_name(t, arg, false);
}

long sys_getpeername(struct task *t, const u64 *arg)
{
	return do_name(t, arg, true);
}

long sys_shutdown(struct task *t, const u64 *arg)
{
	int how = (int)arg[1], err;
	struct socket *s;
	struct file *f;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	err = sock_get(t, (int)arg[0], &f, &s);
	if (err)
		return err;
	err = s->ops->shutdown(s, how);
	file_put(f);
	return err;
}

/* ---- options ---- */

long sys_setsockopt(struct task *t, const u64 *arg)
{
	struct socket *s;
	struct file *f;
	long r;

	if ((int)arg[4] < 0)
		return -EINVAL;
	r = sock_get(t, (int)arg[0], &f, &s);
	if (r)
		return r;
	r = socket_setsockopt(s, t, (int)arg[1], (int)arg[2], arg[3], (int)arg[4]);
	file_put(f);
	return r;
}

long sys_getsockopt(struct task *t, const u64 *arg)
{
	struct socket *s;
	struct file *f;
	long r = sock_get(t, (int)arg[0], &f, &s);

	if (r)
		return r;
	r = socket_getsockopt(s, t, (int)arg[1], (int)arg[2], arg[3], arg[4]);
	file_put(f);
	return r;
}
