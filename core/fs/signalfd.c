/*
 * signalfd(2). A read takes the caller's own pending signals, whoever made the descriptor; poll cannot know its caller
 * and answers for the process that made it.
 */
#include "fs/signalfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "fs/fs.h"
#include "task/signal.h"

struct signal_file {
	_Atomic sigset64 mask;
	struct thread_group *tg;	/* immutable; holds a reference */
};

/* The fields that the kernel fills for a signal of this number and code: siginfo is a union, and they overlap. */
enum layout { LAYOUT_KILL, LAYOUT_TIMER, LAYOUT_POLL, LAYOUT_FAULT, LAYOUT_CHLD, LAYOUT_RT, LAYOUT_SYS };

static enum layout layout_of(int signo, int code)
{
	switch (code) {
	case SI_TIMER:
		return LAYOUT_TIMER;
	case SI_SIGIO:
		return LAYOUT_POLL;
	case SI_USER: case SI_TKILL: case SI_KERNEL:
		return LAYOUT_KILL;
	}
	if (code < 0)
		return LAYOUT_RT;
	switch (signo) {
	case SIGCHLD:
		return LAYOUT_CHLD;
	case SIGPOLL:
		return LAYOUT_POLL;
	case SIGSYS:
		return LAYOUT_SYS;
	case SIGILL: case SIGFPE: case SIGSEGV: case SIGBUS: case SIGTRAP:
		return LAYOUT_FAULT;
	default:
		return LAYOUT_KILL;
	}
}

static void convert(struct signalfd_siginfo *out, const siginfo_t *si)
{
	memset(out, 0, sizeof(*out));
	out->ssi_signo = si->si_signo;
	out->ssi_errno = si->si_errno;
	out->ssi_code = si->si_code;
	switch (layout_of(si->si_signo, si->si_code)) {
	case LAYOUT_RT:
		out->ssi_ptr = (u64)si->si_ptr;
		out->ssi_int = si->si_int;
		/* fall through */
	case LAYOUT_KILL:
		out->ssi_pid = si->si_pid;
		out->ssi_uid = si->si_uid;
		break;
	case LAYOUT_TIMER:
		out->ssi_tid = si->si_timerid;
		out->ssi_overrun = si->si_overrun;
		out->ssi_ptr = (u64)si->si_ptr;
		out->ssi_int = si->si_int;
		break;
	case LAYOUT_POLL:
		out->ssi_band = si->si_band;
		out->ssi_fd = si->si_fd;
		break;
	case LAYOUT_FAULT:
		out->ssi_addr = (u64)si->si_addr;
		break;
	case LAYOUT_CHLD:
		out->ssi_pid = si->si_pid;
		out->ssi_uid = si->si_uid;
		out->ssi_status = si->si_status;
		out->ssi_utime = si->si_utime;
		out->ssi_stime = si->si_stime;
		break;
	case LAYOUT_SYS:
		out->ssi_call_addr = (u64)si->si_call_addr;
		out->ssi_syscall = si->si_syscall;
		out->ssi_arch = si->si_arch;
		break;
	}
}

static s64 signalfd_read(struct file *f, struct uio *u, u64 *pos)
{
	struct signal_file *s = f->data;
	struct signalfd_siginfo out;
	union guest_siginfo info;
	s64 done = 0;

	if (u->len < sizeof(out))
		return -EINVAL;
	if (!u->task)
		return -EAGAIN;
	while (u->len >= sizeof(out) && signal_take(u->task, s->mask, &info)) {
		convert(&out, &info.si);
		done += uio_put(u, &out, sizeof(out));
	}
	return done ? done : -EAGAIN;
}

static u32 signalfd_poll(struct file *f)
{
	struct signal_file *s = f->data;
	sigset64 set;
	struct task *t;

	pthread_mutex_lock(&s->tg->lock);
	set = s->tg->pending.set;
	TAILQ_FOREACH(t, &s->tg->threads, thread_link)
		set |= t->pending.set;
	pthread_mutex_unlock(&s->tg->lock);
	return set & s->mask ? EPOLLIN : 0;
}

static struct waitq *signalfd_waitq(struct file *f)
{
	return &signal_waitq;
}

static void signalfd_release(struct file *f)
{
	struct signal_file *s = f->data;

	thread_group_put(s->tg);
	free(s);
}

static s64 signalfd_show(struct file *f, char *buf, size_t len)
{
	struct signal_file *s = f->data;

	return snprintf(buf, len, "sigmask:\t%016llx\n", (unsigned long long)s->mask);
}

static const struct file_ops signalfd_ops = {
	.read		= signalfd_read,
	.poll		= signalfd_poll,
	.waitq		= signalfd_waitq,
	.release	= signalfd_release,
	.show		= signalfd_show,
	.anon_name	= "[signalfd]",
};

struct file *signalfd_new(struct task *t, sigset64 mask, u32 flags)
{
	struct signal_file *s = malloc(sizeof(*s));
	struct file *f;

	if (!s)
		return NULL;
	s->mask = mask;
	s->tg = t->tg;
	thread_group_ref(s->tg);
	f = file_new_anon(&signalfd_ops, O_RDWR | flags, s);
	if (!f) {
		thread_group_put(s->tg);
		free(s);
	}
	return f;
}

int signalfd_set_mask(struct file *f, sigset64 mask)
{
	struct signal_file *s = f->data;

	if (f->ops != &signalfd_ops)
		return -EINVAL;
	s->mask = mask;
	waitq_wake(&signal_waitq, EPOLLIN);
	return 0;
}
