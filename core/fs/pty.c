/*
 * Pty pairs: /dev/ptmx makes one, /dev/pts/N is its other end.
 *
 * The pair is one object, held by its files on both sides; the master's end takes it out of the table and hangs the
 * slave up. pty->lock is a leaf: waking and signalling come after it.
 */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sysmacros.h>

#include "fs/hostfile.h"
#include "fs/ctty.h"
#include "fs/fs.h"
#include "fs/ldisc.h"
#include "task/clock.h"
#include "task/signal.h"

#define PTYS_MAX	256
#define CHUNK		512		/* bytes moved under one hold of the lock */
#define SLAVE_MAJOR	136
#define TENTH		(NSEC_PER_SEC / 10)

struct pty {
	struct tty tty;			/* its refs count the files, and the table */
	u32 index, uid, gid;		/* immutable */
	pthread_mutex_t lock;		/* guards the rest, but the timer */
	struct ldisc ld;
	struct tty_winsize size;
	int nslaves;
	bool locked;			/* TIOCSPTLCK: the slave can't be opened yet */
	bool slave_gone;		/* it was open, and is not any more */
	bool hung_up;			/* the master is gone */
	struct waitq master_wq, slave_wq;
	struct timer timer;		/* VTIME of a read that need not get anything */
	atomic_bool timing, expired;
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pty *table[PTYS_MAX];

static struct pty *pty_of(struct tty *tty)
{
	return tty->pty;
}

/* Both sides at once: a byte that moves may matter to either. */
static void wake(struct pty *p)
{
	waitq_wake(&p->slave_wq, EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLHUP);
	waitq_wake(&p->master_wq, EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLHUP);
}

/* ---- bytes ---- */

/* The next bytes of `u`, which stays as it is: what the other side has no room for is not used up. */
static u64 peek(const struct uio *u, u8 *buf, u64 max)
{
	u64 done = 0;

	for (int i = 0; i < u->iovcnt && done < max; i++) {
		u64 n = MIN(u->iov[i].iov_len, max - done);

		memcpy(buf + done, u->iov[i].iov_base, n);
		done += n;
	}
	return done;
}

static void raise_signals(struct pty *p, u64 signals)
{
	for (int signo = 1; signals >> signo; signo++)
		if (signals >> signo & 1)
			tty_signal_foreground(&p->tty, signo);
}

static s64 master_write(struct file *f, struct uio *u, u64 *pos)
{
	struct pty *p = f->data;
	u64 n, used, signals = 0;
	u8 buf[CHUNK];
	s64 done = 0;

	do {
		n = peek(u, buf, sizeof(buf));
		pthread_mutex_lock(&p->lock);
		used = ldisc_input(&p->ld, buf, n, &signals);
		pthread_mutex_unlock(&p->lock);
		uio_advance(u, used);
		done += used;
	} while (n && used == n && u->len);
	if (done)
		wake(p);
	raise_signals(p, signals);
	return done || !n ? done : -EAGAIN;
}

static s64 master_read(struct file *f, struct uio *u, u64 *pos)
{
	struct pty *p = f->data;
	bool gone = false;
	u8 buf[CHUNK];
	s64 done = 0;
	u64 n;

	while (u->len) {
		pthread_mutex_lock(&p->lock);
		n = ldisc_drain(&p->ld, buf, MIN(u->len, sizeof(buf)));
		gone = p->slave_gone;
		pthread_mutex_unlock(&p->lock);
		if (!n)
			break;
		done += uio_put(u, buf, n);
	}
	if (done) {
		wake(p);
		return done;
	}
	if (!u->len)
		return 0;
	return gone ? -EIO : -EAGAIN;
}

static s64 slave_write(struct file *f, struct uio *u, u64 *pos)
{
	struct pty *p = f->data;
	bool hung_up;
	u8 buf[CHUNK];
	s64 done = 0;
	u64 n, used;
	int err = tty_check_io(&p->tty, u->task, true);

	if (err)
		return err;
	do {
		n = peek(u, buf, sizeof(buf));
		pthread_mutex_lock(&p->lock);
		hung_up = p->hung_up;
		used = hung_up ? 0 : ldisc_output(&p->ld, buf, n);
		pthread_mutex_unlock(&p->lock);
		uio_advance(u, used);
		done += used;
	} while (n && used == n && u->len);
	if (done)
		wake(p);
	if (hung_up && !done)
		return -EIO;
	return done || !n ? done : -EAGAIN;
}

/* VMIN 0: nothing need come, but VTIME tenths of a second are waited for it. p->lock held. */
static s64 nothing_typed(struct pty *p)
{
	const struct tty_termios *m = &p->ld.modes;

	if ((m->lflag & ICANON) || m->cc[VMIN])
		return -EAGAIN;
	if (!m->cc[VTIME] || atomic_exchange(&p->expired, false))
		return 0;
	if (!atomic_exchange(&p->timing, true))
		timer_arm(&p->timer, deadline_after(m->cc[VTIME] * TENTH));
	return -EAGAIN;
}

static void vtime_fire(struct timer *tm)
{
	struct pty *p = CONTAINER_OF(tm, struct pty, timer);

	p->expired = true;
	p->timing = false;
	waitq_wake(&p->slave_wq, EPOLLIN | EPOLLRDNORM);
}

static bool slave_readable(struct pty *p, u64 len)
{
	/* A raw read for less than VMIN is content with what it asked for. */
	return ldisc_readable(&p->ld) || (!(p->ld.modes.lflag & ICANON) && len && ldisc_typed(&p->ld) >= len);
}

static s64 slave_take(struct pty *p, struct uio *u)
{
	bool line_done = false;
	u8 buf[CHUNK];
	s64 done = 0;
	u64 n;

	if (p->hung_up)
		return 0;
	if (!slave_readable(p, u->len))
		return nothing_typed(p);
	while (u->len && ldisc_typed(&p->ld) && !line_done) {
		n = ldisc_read(&p->ld, buf, MIN(u->len, sizeof(buf)), &line_done);
		done += uio_put(u, buf, n);
	}
	p->expired = false;
	return done;
}

static s64 slave_read(struct file *f, struct uio *u, u64 *pos)
{
	struct pty *p = f->data;
	s64 n = tty_check_io(&p->tty, u->task, false);

	if (n || !u->len)
		return n;
	pthread_mutex_lock(&p->lock);
	n = slave_take(p, u);
	pthread_mutex_unlock(&p->lock);
	if (n > 0)
		wake(p);
	return n;
}

/* ---- readiness ---- */

static u32 master_poll(struct file *f)
{
	struct pty *p = f->data;
	u32 events = 0;

	pthread_mutex_lock(&p->lock);
	if (ldisc_written(&p->ld))
		events |= EPOLLIN | EPOLLRDNORM;
	if (ldisc_input_room(&p->ld))
		events |= EPOLLOUT | EPOLLWRNORM;
	if (p->slave_gone)
		events |= EPOLLHUP;
	pthread_mutex_unlock(&p->lock);
	return events;
}

static u32 slave_poll(struct file *f)
{
	struct pty *p = f->data;
	u32 events = 0;

	pthread_mutex_lock(&p->lock);
	if (p->hung_up)
		events = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLERR | EPOLLHUP;
	if (ldisc_readable(&p->ld) || p->expired)
		events |= EPOLLIN | EPOLLRDNORM;
	if (ldisc_output_room(&p->ld))
		events |= EPOLLOUT | EPOLLWRNORM;
	pthread_mutex_unlock(&p->lock);
	return events;
}

static struct waitq *master_waitq(struct file *f)
{
	return &((struct pty *)f->data)->master_wq;
}

static struct waitq *slave_waitq(struct file *f)
{
	return &((struct pty *)f->data)->slave_wq;
}

/* ---- modes ---- */

static int pty_get_termios(struct tty *tty, struct tty_termios *out)
{
	struct pty *p = pty_of(tty);

	pthread_mutex_lock(&p->lock);
	*out = p->ld.modes;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static int pty_set_termios(struct tty *tty, const struct tty_termios *in, u32 how)
{
	struct pty *p = pty_of(tty);
	struct tty_termios modes = *in;

	/* A pty has no line: 8 bits, no parity, always reading. */
	modes.cflag = (modes.cflag & ~(u32)(CSIZE | PARENB)) | CS8 | CREAD;
	modes.line = 0;
	pthread_mutex_lock(&p->lock);
	if (how == TCSETSF2)
		ldisc_flush_input(&p->ld);
	ldisc_set_modes(&p->ld, &modes);
	pthread_mutex_unlock(&p->lock);
	wake(p);
	return 0;
}

static int pty_get_winsize(struct tty *tty, struct tty_winsize *out)
{
	struct pty *p = pty_of(tty);

	pthread_mutex_lock(&p->lock);
	*out = p->size;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static int pty_set_winsize(struct tty *tty, const struct tty_winsize *in)
{
	struct pty *p = pty_of(tty);

	pthread_mutex_lock(&p->lock);
	p->size = *in;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* p->lock held. */
static s64 control_locked(struct pty *p, u32 cmd, s64 arg)
{
	switch (cmd) {
	case TIOCINQ:
		return ldisc_typed(&p->ld);
	case TIOCOUTQ:
		return ldisc_written(&p->ld);
	case TCXONC:
		if (arg == TCOOFF || arg == TCOON)
			p->ld.stopped = arg == TCOOFF;
		return arg < TCOOFF || arg > TCION ? -EINVAL : 0;
	case TCFLSH:
		if (arg != TCIFLUSH && arg != TCOFLUSH && arg != TCIOFLUSH)
			return -EINVAL;
		if (arg != TCOFLUSH)
			ldisc_flush_input(&p->ld);
		if (arg != TCIFLUSH)
			ldisc_flush_output(&p->ld);
		return 0;
	default:		/* a break, or waiting until output is sent: at once */
		return 0;
	}
}

static s64 pty_control(struct tty *tty, u32 cmd, s64 arg)
{
	struct pty *p = pty_of(tty);
	s64 r;

	pthread_mutex_lock(&p->lock);
	r = control_locked(p, cmd, arg);
	pthread_mutex_unlock(&p->lock);
	wake(p);
	return r;
}

/* ---- ioctl ---- */

static s64 master_lock_ioctl(struct pty *p, struct task *t, u32 cmd, gva_t arg)
{
	int on = 0;

	if (cmd == TIOCSPTLCK && get_user(t->mm, &on, arg))
		return -EFAULT;
	pthread_mutex_lock(&p->lock);
	if (cmd == TIOCSPTLCK)
		p->locked = on;
	on = p->locked;
	pthread_mutex_unlock(&p->lock);
	return cmd == TIOCGPTLCK ? put_user(t->mm, arg, &on) : 0;
}

static s64 master_open_peer(struct pty *p, struct task *t, int flags)
{
	struct file *f;
	char name[32];
	int err;

	snprintf(name, sizeof(name), "/dev/pts/%u", p->index);
	err = vfs_open(t, AT_FDCWD, name, flags & (O_ACCMODE | O_NOCTTY | O_NONBLOCK), 0, &f);
	return err ? err : fd_install(t, f, 0, flags & O_CLOEXEC);
}

static s64 master_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	struct pty *p = f->data;
	int n;

	switch (cmd) {
	case TIOCGPTN:
		return put_user(t->mm, arg, &p->index);
	case TIOCSPTLCK: case TIOCGPTLCK:
		return master_lock_ioctl(p, t, cmd, arg);
	case TIOCGPTPEER:
		return master_open_peer(p, t, (int)arg);
	case TIOCSIG:
		if (!signal_valid((int)arg))
			return -EINVAL;
		tty_signal_foreground(&p->tty, (int)arg);
		return 0;
	case TIOCINQ:
		n = p->tty.ops->control(&p->tty, TIOCOUTQ, 0);
		return put_user(t->mm, arg, &n);
	case TIOCOUTQ:
		n = 0;
		return put_user(t->mm, arg, &n);
	case TIOCGPGRP:
		n = p->tty.fg_pgid;
		return put_user(t->mm, arg, &n);
	case TIOCGSID:
		n = p->tty.sid;
		return n ? put_user(t->mm, arg, &n) : -ENOTTY;
	default:
		return tty_ioctl(&p->tty, t, cmd, arg);
	}
}

static s64 slave_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	struct pty *p = f->data;
	bool hung_up;

	pthread_mutex_lock(&p->lock);
	hung_up = p->hung_up;
	pthread_mutex_unlock(&p->lock);
	if (hung_up)
		return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
	return tty_ioctl(&p->tty, t, cmd, arg);
}

/* ---- life ---- */

static void master_release(struct file *f)
{
	struct pty *p = f->data;

	pthread_mutex_lock(&table_lock);
	table[p->index] = NULL;
	pthread_mutex_unlock(&table_lock);
	pthread_mutex_lock(&p->lock);
	p->hung_up = true;
	pthread_mutex_unlock(&p->lock);
	wake(p);
	ctty_hangup(&p->tty);
	tty_put(&p->tty);
}

static void slave_release(struct file *f)
{
	struct pty *p = f->data;

	pthread_mutex_lock(&p->lock);
	p->slave_gone = --p->nslaves == 0;
	pthread_mutex_unlock(&p->lock);
	wake(p);
	tty_put(&p->tty);
}

static const struct file_ops master_ops = {
	.read		= master_read,
	.write		= master_write,
	.poll		= master_poll,
	.waitq		= master_waitq,
	.ioctl		= master_ioctl,
	.release	= master_release,
};

static const struct file_ops slave_ops = {
	.read		= slave_read,
	.write		= slave_write,
	.poll		= slave_poll,
	.waitq		= slave_waitq,
	.ioctl		= slave_ioctl,
	.release	= slave_release,
};

static int slave_attach(struct pty *p, struct file *f)
{
	pthread_mutex_lock(&p->lock);
	p->nslaves++;
	p->slave_gone = false;
	pthread_mutex_unlock(&p->lock);
	tty_get(&p->tty);
	f->ops = &slave_ops;
	f->data = p;
	return 0;
}

static int pty_tty_open(struct tty *tty, struct task *t, struct file *f)
{
	return slave_attach(pty_of(tty), f);
}

static void pty_free(struct tty *tty)
{
	struct pty *p = pty_of(tty);

	timer_disarm(&p->timer);
	free(p);
}

static const struct tty_ops pty_tty_ops = {
	.get_termios	= pty_get_termios,
	.set_termios	= pty_set_termios,
	.get_winsize	= pty_get_winsize,
	.set_winsize	= pty_set_winsize,
	.control	= pty_control,
	.open		= pty_tty_open,
	.release	= pty_free,
};

static struct pty *pty_new(const struct cred *c)
{
	struct pty *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->tty.ops = &pty_tty_ops;
	p->tty.refs = 1;
	p->tty.host_fd = -1;
	p->tty.pty = p;
	p->uid = c->fsuid;
	p->gid = c->fsgid;
	p->locked = true;
	p->timer.fire = vtime_fire;
	pthread_mutex_init(&p->lock, NULL);
	waitq_init(&p->master_wq);
	waitq_init(&p->slave_wq);
	ldisc_init(&p->ld);
	return p;
}

int pty_open_master(struct task *t, struct file *f)
{
	struct pty *p = pty_new(t->cred);
	u32 i;

	if (!p)
		return -ENOMEM;
	pthread_mutex_lock(&table_lock);
	/* The host's terminal keeps the name that it has outside. */
	for (i = 0; i < PTYS_MAX && (table[i] || (int)i == hostfile_pts_index()); i++)
		;
	if (i < PTYS_MAX) {
		p->index = i;
		p->tty.rdev = makedev(SLAVE_MAJOR, i);
		table[i] = p;
	}
	pthread_mutex_unlock(&table_lock);
	if (i == PTYS_MAX) {
		free(p);
		return -ENOSPC;
	}
	f->ops = &master_ops;
	f->data = p;
	return 0;
}

/* With a reference, or NULL. */
static struct pty *pty_get(u32 index)
{
	struct pty *p;

	pthread_mutex_lock(&table_lock);
	p = index < PTYS_MAX ? table[index] : NULL;
	if (p)
		tty_get(&p->tty);
	pthread_mutex_unlock(&table_lock);
	return p;
}

int pty_open_slave(struct task *t, u32 index, struct file *f)
{
	struct pty *p = pty_get(index);
	bool locked;

	if (!p)
		return -ENXIO;
	pthread_mutex_lock(&p->lock);
	locked = p->locked || p->hung_up;
	pthread_mutex_unlock(&p->lock);
	if (!locked) {
		slave_attach(p, f);
		if (!(atomic_load(&f->flags) & O_NOCTTY))
			ctty_open(t, &p->tty);
	}
	tty_put(&p->tty);
	return locked ? -EIO : 0;
}

int pty_next(int from)
{
	int found = -1;

	pthread_mutex_lock(&table_lock);
	for (int i = MAX(from, 0); i < PTYS_MAX && found < 0; i++)
		if (table[i])
			found = i;
	pthread_mutex_unlock(&table_lock);
	return found;
}

int pty_owner(u32 index, u32 *uid, u32 *gid)
{
	struct pty *p = pty_get(index);

	if (!p)
		return -ENOENT;
	*uid = p->uid;
	*gid = p->gid;
	tty_put(&p->tty);
	return 0;
}
