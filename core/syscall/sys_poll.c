/*
 * poll, ppoll, select, pselect6: sleep on many files at once.
 *
 * Both families become a list of slots. A first look touches no wait queue; only if nothing is ready and there is
 * time to wait does each slot put a waiter on its file's queue. Files stay referenced until the call ends.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/epoll.h>

#include "fs/fs.h"
#include "syscall/syscall.h"
#include "task/clock.h"

enum {
	SLOTS_ON_STACK	= 24,
	SELECT_MAX	= 1 << 16,	/* descriptors beyond any table's size are ignored, as by Linux */
	SELECT_STACK	= 1024 / 8,
};

struct slot {
	struct file *file;		/* NULL: nothing to wait for */
	struct waiter waiter;
	u32 want, got;
};

static u32 slots_look(struct slot *s, u32 n)
{
	u32 hits = 0;

	for (u32 i = 0; i < n; i++) {
		if (s[i].file)
			s[i].got = file_poll(s[i].file) & s[i].want;
		hits += s[i].got != 0;
	}
	return hits;
}

static void slots_queue(struct task *t, struct slot *s, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		struct waitq *q = s[i].file ? file_waitq(s[i].file) : NULL;

		s[i].waiter = (struct waiter){ .task = t, .events = s[i].want };
		if (!q)
			continue;
		waitq_add(q, &s[i].waiter);
		if (s[i].file->ops->poll_start)
			s[i].file->ops->poll_start(s[i].file);
	}
}

static void slots_unqueue(struct slot *s, u32 n)
{
	for (u32 i = 0; i < n; i++)
		waitq_remove(&s[i].waiter);
}

/* The number of slots that have something; 0 at the deadline; -EINTR. */
static long slots_wait(struct task *t, struct slot *s, u32 n, u64 deadline)
{
	long hits = slots_look(s, n);
	int err = 0;

	if (hits || !deadline)
		return hits;
	slots_queue(t, s, n);
	for (;;) {
		hits = slots_look(s, n);
		if (hits || err)
			break;
		err = task_block(t, deadline);
	}
	slots_unqueue(s, n);
	return hits ? hits : err == -ETIMEDOUT ? 0 : err;
}

static void slots_free(struct slot *s, u32 n, struct slot *on_stack)
{
	for (u32 i = 0; i < n; i++)
		if (s[i].file)
			file_put(s[i].file);
	if (s != on_stack)
		free(s);
}

/* ---- poll, ppoll ---- */

static void pollfd_open(struct task *t, struct slot *s, const struct pollfd *p)
{
	memset(s, 0, sizeof(*s));
	if (p->fd < 0)
		return;
	s->file = fd_get_io(t->files, p->fd);
	s->want = (u16)p->events | EPOLLERR | EPOLLHUP;
	if (!s->file)
		s->got = POLLNVAL;
}

static long poll_list(struct task *t, struct pollfd *p, u32 n, u64 deadline)
{
	struct slot on_stack[SLOTS_ON_STACK], *s = on_stack;
	long r;

	if (n > SLOTS_ON_STACK)
		s = malloc(n * sizeof(*s));
	if (!s)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++)
		pollfd_open(t, &s[i], &p[i]);
	r = slots_wait(t, s, n, deadline);
	for (u32 i = 0; i < n; i++)
		p[i].revents = s[i].got;
	slots_free(s, n, on_stack);
	return r;
}

static long do_poll(struct task *t, gva_t addr, u32 n, u64 deadline)
{
	struct pollfd on_stack[SLOTS_ON_STACK], *p = on_stack;
	long r;

	if (n > task_rlimit(t, RLIMIT_NOFILE))
		return -EINVAL;
	if (n > SLOTS_ON_STACK)
		p = malloc(n * sizeof(*p));
	if (!p)
		return -ENOMEM;
	r = copy_in(t->mm, p, addr, n * sizeof(*p));
	if (!r)
		r = poll_list(t, p, n, deadline);
	/* Only revents is the kernel's to write: another thread may be changing the rest. */
	for (u32 i = 0; i < n && r >= 0; i++) {
		gva_t at = addr + i * sizeof(*p) + offsetof(struct pollfd, revents);

		if (put_user(t->mm, at, &p[i].revents))
			r = -EFAULT;
	}
	if (p != on_stack)
		free(p);
	return r;
}

static long poll_restart(struct task *t)
{
	long r = do_poll(t, t->restart_data[0], t->restart_data[1], t->restart_data[2]);

	return r == -EINTR ? -ERESTART_RESTARTBLOCK : r;
}

long sys_poll(struct task *t, const u64 *arg)
{
	int ms = (int)arg[2];
	u64 deadline = ms < 0 ? TIME_FOREVER : ms ? deadline_after((u64)ms * 1000000) : 0;
	long r = do_poll(t, arg[0], (u32)arg[1], deadline);

	if (r != -EINTR)
		return r;
	t->restart_data[0] = arg[0];
	t->restart_data[1] = (u32)arg[1];
	t->restart_data[2] = deadline;
	t->restart_fn = poll_restart;
	return -ERESTART_RESTARTBLOCK;
}

/* Time left, written back however the call ended; that it cannot be written is no error. */
static void put_time_left(struct task *t, gva_t addr, u64 deadline, bool timeval)
{
	u64 now = clock_now(CLOCK_MONOTONIC), left = deadline > now ? deadline - now : 0;
	struct timespec ts = timespec_from_ns(left);

	if (!addr || deadline == TIME_FOREVER || (t->personality & STICKY_TIMEOUTS))
		return;
	if (timeval)
		ts.tv_nsec /= 1000;
	if (put_user(t->mm, addr, &ts))
		return;
}

static int get_timeout(struct task *t, gva_t addr, u64 *deadline)
{
	u64 ns;
	int err;

	*deadline = TIME_FOREVER;
	if (!addr)
		return 0;
	err = copy_in_timespec(t->mm, addr, &ns);
	if (!err)
		*deadline = ns ? deadline_after(ns) : 0;
	return err;
}

long sys_ppoll(struct task *t, const u64 *arg)
{
	u64 deadline;
	long r = get_timeout(t, arg[2], &deadline);

	if (!r)
		r = signal_mask_begin(t, arg[3], arg[4]);
	if (r)
		return r;
	r = do_poll(t, arg[0], (u32)arg[1], deadline);
	signal_mask_end(t, r == -EINTR);
	put_time_left(t, arg[2], deadline, false);
	return r == -EINTR ? -ERESTARTNOHAND : r;
}

/* ---- select, pselect6 ---- */

#define SELECT_IN	(EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLHUP | EPOLLERR)
#define SELECT_OUT	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND | EPOLLERR)
#define SELECT_EX	EPOLLPRI

static const u32 select_bits[3] = { SELECT_IN, SELECT_OUT, SELECT_EX };

struct fdsets {
	u32 n;				/* descriptors looked at */
	u32 bytes;			/* of each set, a multiple of 8 */
	u8 *set[3];			/* in, out, ex; NULL: not given */
	gva_t addr[3];
	u8 on_stack[3][SELECT_STACK];
};

static bool fdset_has(const struct fdsets *s, int which, u32 fd)
{
	return s->set[which] && (s->set[which][fd / 8] >> (fd % 8) & 1);
}

static int fdsets_get(struct task *t, struct fdsets *s, int n, const gva_t *addr)
{
	if (n < 0)
		return -EINVAL;
	s->n = MIN(n, SELECT_MAX);
	s->bytes = (s->n + 63) / 64 * 8;
	memset(s->set, 0, sizeof(s->set));
	for (int i = 0; i < 3; i++) {
		s->addr[i] = addr[i];
		if (!addr[i])
			continue;
		s->set[i] = s->bytes <= SELECT_STACK ? s->on_stack[i] : malloc(s->bytes);
		if (!s->set[i])
			return -ENOMEM;
		if (copy_in(t->mm, s->set[i], addr[i], s->bytes))
			return -EFAULT;
	}
	return 0;
}

static void fdsets_free(struct fdsets *s)
{
	for (int i = 0; i < 3; i++)
		if (s->set[i] != s->on_stack[i])
			free(s->set[i]);
}

static u32 select_want(const struct fdsets *s, u32 fd)
{
	u32 want = 0;

	for (int i = 0; i < 3; i++)
		if (fdset_has(s, i, fd))
			want |= select_bits[i];
	return want;
}

static u32 fdsets_count(const struct fdsets *s)
{
	u32 n = 0;

	for (u32 fd = 0; fd < s->n; fd++)
		n += select_want(s, fd) != 0;
	return n;
}

static int select_open(struct task *t, const struct fdsets *s, struct slot *slots)
{
	u32 k = 0;

	for (u32 fd = 0; fd < s->n; fd++) {
		u32 want = select_want(s, fd);

		if (!want)
			continue;
		memset(&slots[k], 0, sizeof(slots[k]));
		slots[k].file = fd_get_io(t->files, fd);
		slots[k].want = want;
		if (!slots[k++].file)
			return -EBADF;
	}
	return 0;
}

/* Turn the sets from what was asked for into what was found; the number of bits. */
static long select_results(struct fdsets *s, const struct slot *slots)
{
	long hits = 0;
	u32 k = 0;

	for (u32 fd = 0; fd < s->n; fd++) {
		if (!select_want(s, fd))
			continue;
		for (int i = 0; i < 3; i++) {
			if (!fdset_has(s, i, fd))
				continue;
			if (slots[k].got & select_bits[i])
				hits++;
			else
				s->set[i][fd / 8] &= ~(1 << (fd % 8));
		}
		k++;
	}
	return hits;
}

static int fdsets_put(struct task *t, const struct fdsets *s)
{
	for (int i = 0; i < 3; i++)
		if (s->set[i] && copy_out(t->mm, s->addr[i], s->set[i], s->bytes))
			return -EFAULT;
	return 0;
}

static long select_slots(struct task *t, struct fdsets *s, u64 deadline)
{
	struct slot on_stack[SLOTS_ON_STACK], *slots = on_stack;
	u32 n = fdsets_count(s);
	long r;

	if (n > SLOTS_ON_STACK)
		slots = malloc(n * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots, 0, n * sizeof(*slots));
	r = select_open(t, s, slots);
	if (!r)
		r = slots_wait(t, slots, n, deadline);
	if (r >= 0)
		r = select_results(s, slots);
	slots_free(slots, n, on_stack);
	return r;
}

static long do_select(struct task *t, int n, const gva_t *addr, u64 deadline)
{
	struct fdsets s = { 0 };
	long r = fdsets_get(t, &s, n, addr);

	if (!r)
		r = select_slots(t, &s, deadline);
	if (r >= 0 && fdsets_put(t, &s))
		r = -EFAULT;
	fdsets_free(&s);
	return r;
}

long sys_select(struct task *t, const u64 *arg)
{
	u64 deadline = TIME_FOREVER, ns;
	struct timeval tv;
	long r;

	if (arg[4]) {
		if (get_user(t->mm, &tv, arg[4]))
			return -EFAULT;
		if (tv.tv_sec < 0 || tv.tv_usec < 0)
			return -EINVAL;
		/* Linux carries surplus microseconds over into the seconds. */
		if (__builtin_mul_overflow((u64)tv.tv_sec + tv.tv_usec / 1000000, NSEC_PER_SEC, &ns))
			ns = TIME_FOREVER - NSEC_PER_SEC;
		ns += tv.tv_usec % 1000000 * 1000;
		deadline = ns ? deadline_after(ns) : 0;
	}
	r = do_select(t, (int)arg[0], &arg[1], deadline);
	put_time_left(t, arg[4], deadline, true);
	return r == -EINTR ? -ERESTARTNOHAND : r;
}

long sys_pselect6(struct task *t, const u64 *arg)
{
	struct { gva_t mask; u64 size; } sig = { 0, 0 };
	u64 deadline;
	long r = get_timeout(t, arg[4], &deadline);

	if (r)
		return r;
	if (arg[5] && get_user(t->mm, &sig, arg[5]))
		return -EFAULT;
	r = signal_mask_begin(t, sig.mask, sig.size);
	if (r)
		return r;
	r = do_select(t, (int)arg[0], &arg[1], deadline);
	signal_mask_end(t, r == -EINTR);
	put_time_left(t, arg[4], deadline, false);
	return r == -EINTR ? -ERESTARTNOHAND : r;
}
