/*
 * epoll: items (a file under a descriptor number) and a ready list, O(1) in the number of items watched.
 *
 * An item hangs in three places: its epoll's table, its file's list (so that the file's last close removes it), and
 * the wait queue of the file. A wake-up only moves the item to the ready list; epoll_collect() asks the file what holds.
 *
 * Lock order: ep->lock, then a bucket of link_lock, then the file's own locks; a queue's lock, then ep->ready_lock,
 * then ep->wq's. Nesting is loop-free and at most five deep (checked under nest_lock), so the same order holds along it.
 * A dynamic checker that sees A watch B first and B watch A later, after that item is gone, reports an inversion that
 * cannot happen: the second item is added only after a search under A's lock has not found the first.
 * Items keep no reference on their file: epoll_file_released() takes ep->lock and removes them before the file goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/epoll.h"
#include "fs/special.h"
#include "lib/log.h"
#include "task/task.h"

#define uthash_fatal(msg)	die("epoll: %s", msg)
#include <uthash.h>

#define EPOLL_PRIVATE	(EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)
#define EPOLL_NEST_MAX	4		/* edges in a chain of epolls that watch each other */
#define EPOLL_ITEMS_MAX	(1 << 20)	/* of all epolls together: fs.epoll.max_user_watches */

struct item_key {
	struct file *file;
	s64 fd;
};

struct epitem {
	struct item_key key;			/* immutable */
	struct epoll *ep;			/* immutable */
	struct waiter waiter;
	_Atomic u32 events;			/* EPOLL*; ep->lock to write, read by wake-ups too */
	epoll_data_t data;			/* ep->lock */
	bool queued;				/* the file has a queue to wait on; ep->lock */
	bool ready;				/* on ep->ready; ep->ready_lock */
	TAILQ_ENTRY(epitem) ready_link;		/* ep->ready_lock */
	TAILQ_ENTRY(epitem) file_link;		/* bucket of link_lock */
	UT_hash_handle hh;			/* ep->lock */
};
TAILQ_HEAD(epitem_list, epitem);

struct epoll_links {
	struct epitem_list items;
};

struct epoll {
	pthread_mutex_t lock;			/* guards items; held while files are asked */
	atomic_int refs;			/* its file, and releases of watched files under way */
	struct epitem *items;
	pthread_mutex_t ready_lock;
	struct epitem_list ready;
	struct waitq wq;
	int above;				/* epolls in the longest chain that ever watched this one; nest_lock */
};

static const struct file_ops epoll_file_ops;
static pthread_mutex_t nest_lock = PTHREAD_MUTEX_INITIALIZER;	/* before any ep->lock */
static pthread_mutex_t link_locks[64] = { [0 ... 63] = PTHREAD_MUTEX_INITIALIZER };
static _Atomic u64 items_total;

static pthread_mutex_t *link_lock(const struct file *f)
{
	return &link_locks[((uintptr_t)f >> 7) % ARRAY_SIZE(link_locks)];
}

struct epoll *file_epoll(const struct file *f)
{
	return f->ops == &epoll_file_ops ? f->data : NULL;
}

static void epoll_put(struct epoll *ep)
{
	if (atomic_fetch_sub(&ep->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&ep->lock);
	pthread_mutex_destroy(&ep->ready_lock);
	free(ep);
}

/* ---- the ready list ---- */

static bool ready_add(struct epitem *it)
{
	struct epoll *ep = it->ep;
	bool added;

	pthread_mutex_lock(&ep->ready_lock);
	added = !it->ready;
	if (added) {
		TAILQ_INSERT_TAIL(&ep->ready, it, ready_link);
		it->ready = true;
	}
	pthread_mutex_unlock(&ep->ready_lock);
	return added;
}

static void ready_remove(struct epitem *it)
{
	struct epoll *ep = it->ep;

	pthread_mutex_lock(&ep->ready_lock);
	if (it->ready)
		TAILQ_REMOVE(&ep->ready, it, ready_link);
	it->ready = false;
	pthread_mutex_unlock(&ep->ready_lock);
}

static struct epitem *ready_first(struct epoll *ep)
{
	struct epitem *it;

	pthread_mutex_lock(&ep->ready_lock);
	it = TAILQ_FIRST(&ep->ready);
	pthread_mutex_unlock(&ep->ready_lock);
	return it;
}

/* Under the watched file's queue lock. Always passed on: a waiter may have gone to sleep since the item became ready. */
static void item_wake(struct waiter *w, u32 events)
{
	struct epitem *it = CONTAINER_OF(w, struct epitem, waiter);
	u32 want = atomic_load(&it->events);

	if (!(want & ~(u32)EPOLL_PRIVATE) || (events && !(events & (want | EPOLLERR | EPOLLHUP))))
		return;
	ready_add(it);
	waitq_wake(&it->ep->wq, EPOLLIN | EPOLLRDNORM);
}

static void item_poll_start(struct epitem *it)
{
	if (it->key.file->ops->poll_start)
		it->key.file->ops->poll_start(it->key.file);
}

/* What holds now of what the item wants. ep->lock held. */
static u32 item_poll(struct epitem *it)
{
	u32 want = atomic_load(&it->events) & ~(u32)EPOLL_PRIVATE;

	/* A spent one-shot is deaf even to errors. */
	return want ? file_poll(it->key.file) & (want | EPOLLERR | EPOLLHUP) : 0;
}

/* ---- items; ep->lock held ---- */

static struct epitem *item_find(struct epoll *ep, struct file *file, int fd)
{
	struct item_key key = { .file = file, .fd = fd };
	struct epitem *it;

	HASH_FIND(hh, ep->items, &key, sizeof(key), it);
	return it;
}

static int item_link_file(struct epitem *it)
{
	struct file *f = it->key.file;
	int err = 0;

	pthread_mutex_lock(link_lock(f));
	if (!f->epoll) {
		f->epoll = calloc(1, sizeof(*f->epoll));
		if (f->epoll)
			TAILQ_INIT(&f->epoll->items);
	}
	if (f->epoll)
		TAILQ_INSERT_TAIL(&f->epoll->items, it, file_link);
	else
		err = -ENOMEM;
	pthread_mutex_unlock(link_lock(f));
	return err;
}

static void item_remove(struct epitem *it)
{
	struct file *f = it->key.file;
	struct epoll *ep = it->ep;

	if (it->queued)
		waitq_remove(&it->waiter);
	pthread_mutex_lock(link_lock(f));
	TAILQ_REMOVE(&f->epoll->items, it, file_link);
	pthread_mutex_unlock(link_lock(f));
	ready_remove(it);
	HASH_DEL(ep->items, it);
	free(it);
	atomic_fetch_sub(&items_total, 1);
}

static struct epitem *item_new(struct epoll *ep, struct file *file, int fd, const struct epoll_event *ev)
{
	struct epitem *it;

	if (atomic_fetch_add(&items_total, 1) >= EPOLL_ITEMS_MAX)
		goto out_count;
	it = calloc(1, sizeof(*it));
	if (!it)
		goto out_count;
	it->key = (struct item_key){ .file = file, .fd = fd };
	it->ep = ep;
	atomic_init(&it->events, ev->events);
	it->data = ev->data;
	it->waiter.wake = item_wake;
	/* An exclusive waiter that item_wake() would turn away must not use up the wake-up. */
	it->waiter.exclusive = ev->events & EPOLLEXCLUSIVE;
	if (it->waiter.exclusive)
		it->waiter.events = ev->events | EPOLLERR | EPOLLHUP;
	return it;
out_count:
	atomic_fetch_sub(&items_total, 1);
	return NULL;
}

/* The item may be ready already; sleepers of this epoll are told. */
static void item_check(struct epitem *it)
{
	if (item_poll(it)) {
		ready_add(it);
		waitq_wake(&it->ep->wq, EPOLLIN | EPOLLRDNORM);
	} else {
		item_poll_start(it);
	}
}

static int item_add(struct epoll *ep, int fd, struct file *file, const struct epoll_event *ev)
{
	struct epitem *it;
	struct waitq *q;

	if (item_find(ep, file, fd))
		return -EEXIST;
	it = item_new(ep, file, fd, ev);
	if (!it)
		return atomic_load(&items_total) >= EPOLL_ITEMS_MAX ? -ENOSPC : -ENOMEM;
	if (item_link_file(it)) {
		free(it);
		atomic_fetch_sub(&items_total, 1);
		return -ENOMEM;
	}
	HASH_ADD(hh, ep->items, key, sizeof(it->key), it);
	q = file_waitq(file);
	if (q) {
		waitq_add(q, &it->waiter);
		it->queued = true;
	}
	item_check(it);
	return 0;
}

static int item_modify(struct epitem *it, const struct epoll_event *ev)
{
	if ((atomic_load(&it->events) | ev->events) & EPOLLEXCLUSIVE)
		return -EINVAL;
	atomic_store(&it->events, ev->events);
	it->data = ev->data;
	item_check(it);
	return 0;
}

/* ---- nesting: nest_lock is held, so no edge between two epolls appears meanwhile ---- */

static int nest_below(struct epoll *ep, const struct epoll *target, int depth);

static int nest_scan(struct epoll *ep, const struct epoll *target, int depth)
{
	struct epitem *it, *tmp;
	int most = depth;

	HASH_ITER(hh, ep->items, it, tmp) {
		struct epoll *inner = file_epoll(it->key.file);
		int below = inner ? nest_below(inner, target, depth + 1) : depth;

		if (below < 0)
			return below;
		most = MAX(most, below);
	}
	return most;
}

/* Depth of the deepest chain from `ep` down, `depth` being its own; -ELOOP if too deep or if it leads to `target`. */
static int nest_below(struct epoll *ep, const struct epoll *target, int depth)
{
	int most;

	if (ep == target || depth > EPOLL_NEST_MAX)
		return -ELOOP;
	pthread_mutex_lock(&ep->lock);
	most = nest_scan(ep, target, depth);
	pthread_mutex_unlock(&ep->lock);
	return most;
}

static void nest_lower(struct epoll *ep, int above)
{
	struct epitem *it, *tmp;

	if (ep->above >= above)
		return;
	ep->above = above;
	pthread_mutex_lock(&ep->lock);
	HASH_ITER(hh, ep->items, it, tmp)
		if (file_epoll(it->key.file))
			nest_lower(file_epoll(it->key.file), above + 1);
	pthread_mutex_unlock(&ep->lock);
}

static int nest_check(struct epoll *ep, struct epoll *inner)
{
	int below = nest_below(inner, ep, ep->above + 1);

	if (below < 0)
		return below;
	nest_lower(inner, ep->above + 1);
	return 0;
}

/* ---- epoll_ctl ---- */

#define EXCLUSIVE_OK	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE | \
			 EPOLLRDNORM | EPOLLWRNORM)

static int control_locked(struct epoll *ep, int op, int fd, struct file *target, const struct epoll_event *ev)
{
	struct epitem *it;

	if (op == EPOLL_CTL_ADD)
		return item_add(ep, fd, target, ev);
	it = item_find(ep, target, fd);
	if (!it)
		return -ENOENT;
	if (op == EPOLL_CTL_MOD)
		return item_modify(it, ev);
	item_remove(it);
	return 0;
}

int epoll_control(struct epoll *ep, int op, int fd, struct file *target, const struct epoll_event *ev)
{
	struct epoll *inner = file_epoll(target);
	int err = 0;

	if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		return -EINVAL;
	if (!target->ops->poll)
		return -EPERM;
	if (inner == ep)
		return -EINVAL;
	if (op != EPOLL_CTL_DEL && (ev->events & EPOLLEXCLUSIVE)) {
		if (op == EPOLL_CTL_MOD || inner || (ev->events & ~(u32)EXCLUSIVE_OK))
			return -EINVAL;
	}
	if (inner && op == EPOLL_CTL_ADD) {
		pthread_mutex_lock(&nest_lock);
		err = nest_check(ep, inner);
	}
	if (!err) {
		pthread_mutex_lock(&ep->lock);
		err = control_locked(ep, op, fd, target, ev);
		pthread_mutex_unlock(&ep->lock);
	}
	if (inner && op == EPOLL_CTL_ADD)
		pthread_mutex_unlock(&nest_lock);
	return err;
}

/* ---- epoll_wait ---- */

/*
 * Ask each ready item once, at most. Level-triggered ones that hold go back to the end, so that a busy item does not
 * starve the others; `last` is where this round ends.
 */
static int collect_ready(struct epoll *ep, struct epoll_event *out, int max)
{
	struct epitem *it, *last;
	int n = 0;

	pthread_mutex_lock(&ep->ready_lock);
	last = TAILQ_LAST(&ep->ready, epitem_list);
	pthread_mutex_unlock(&ep->ready_lock);

	while (n < max && last && (it = ready_first(ep))) {
		bool end = it == last;
		u32 events;

		ready_remove(it);
		events = item_poll(it);
		if (!events) {
			item_poll_start(it);
		} else {
			u32 want = atomic_load(&it->events);

			out[n++] = (struct epoll_event){ .events = events, .data = it->data };
			if (want & EPOLLONESHOT)
				atomic_store(&it->events, want & EPOLL_PRIVATE);
			else if (!(want & EPOLLET))
				ready_add(it);
			else
				item_poll_start(it);
		}
		if (end)
			break;
	}
	return n;
}

static int collect(struct epoll *ep, struct epoll_event *out, int max)
{
	bool more;
	int n;

	if (!ready_first(ep))
		return 0;
	pthread_mutex_lock(&ep->lock);
	n = collect_ready(ep, out, max);
	more = ready_first(ep) != NULL;
	pthread_mutex_unlock(&ep->lock);
	/* One sleeper was woken for several items: the next one may take the rest. */
	if (n && more)
		waitq_wake(&ep->wq, EPOLLIN | EPOLLRDNORM);
	return n;
}

long epoll_collect(struct task *t, struct epoll *ep, struct epoll_event *out, int max, u64 deadline)
{
	struct waiter w = { .task = t, .exclusive = true };
	int n = collect(ep, out, max), err = 0;

	if (n || !deadline)
		return n;
	waitq_add(&ep->wq, &w);
	for (;;) {
		n = collect(ep, out, max);
		if (n || err)
			break;
		err = task_block(t, deadline);
	}
	waitq_remove(&w);
	/* We may have been the one chosen for a wake-up that came with the signal or the time-out. */
	if (!n && ready_first(ep))
		waitq_wake(&ep->wq, EPOLLIN | EPOLLRDNORM);
	return n ? n : err == -ETIMEDOUT ? 0 : err;
}

/* ---- the epoll file itself ---- */

/* Readable if some ready item really is; the others leave the list. */
static u32 epoll_poll(struct file *f)
{
	struct epoll *ep = f->data;
	struct epitem *it;
	bool found = false;

	if (!ready_first(ep))
		return 0;
	pthread_mutex_lock(&ep->lock);
	while (!found && (it = ready_first(ep))) {
		found = item_poll(it);
		if (!found) {
			ready_remove(it);
			item_poll_start(it);
			/* It may have become ready between the two: look again at what was just dropped. */
			if (item_poll(it))
				ready_add(it);
		}
	}
	pthread_mutex_unlock(&ep->lock);
	return found ? EPOLLIN | EPOLLRDNORM : 0;
}

static struct waitq *epoll_waitq(struct file *f)
{
	return &((struct epoll *)f->data)->wq;
}

static void epoll_release(struct file *f)
{
	struct epoll *ep = f->data;
	struct epitem *it, *tmp;

	pthread_mutex_lock(&ep->lock);
	HASH_ITER(hh, ep->items, it, tmp)
		item_remove(it);
	pthread_mutex_unlock(&ep->lock);
	epoll_put(ep);
}

static s64 epoll_show(struct file *f, char *buf, size_t len)
{
	struct epoll *ep = f->data;
	struct epitem *it, *tmp;
	size_t n = 0;

	pthread_mutex_lock(&ep->lock);
	HASH_ITER(hh, ep->items, it, tmp) {
		n += snprintf(buf + n, len - n, "tfd: %8d events: %8x data: %16llx  pos:%lli ino:%llx sdev:%llx\n",
			      (int)it->key.fd, atomic_load(&it->events), (unsigned long long)it->data.u64, 0LL,
			      (unsigned long long)it->key.file->inode->ino,
			      (unsigned long long)(it->key.file->inode->super ? it->key.file->inode->super->dev : 0));
		if (n >= len) {
			n = len;
			break;
		}
	}
	pthread_mutex_unlock(&ep->lock);
	return n;
}

static const struct file_ops epoll_file_ops = {
	.poll = epoll_poll,
	.waitq = epoll_waitq,
	.release = epoll_release,
	.show = epoll_show,
	.anon_name = "[eventpoll]",
};

/*
 * The last reference of a watched file is gone. Its epolls may go at the same time: hold each while its lock is
 * waited for, and look again afterwards.
 */
void epoll_file_released(struct file *f)
{
	struct epitem *it;
	struct epoll *ep;

	for (;;) {
		pthread_mutex_lock(link_lock(f));
		it = TAILQ_FIRST(&f->epoll->items);
		ep = it ? it->ep : NULL;
		if (ep)
			atomic_fetch_add(&ep->refs, 1);
		pthread_mutex_unlock(link_lock(f));
		if (!ep)
			break;

		pthread_mutex_lock(&ep->lock);
		pthread_mutex_lock(link_lock(f));
		it = TAILQ_FIRST(&f->epoll->items);
		if (it && it->ep != ep)
			it = NULL;
		pthread_mutex_unlock(link_lock(f));
		if (it)
			item_remove(it);
		pthread_mutex_unlock(&ep->lock);
		epoll_put(ep);
	}
	free(f->epoll);
	f->epoll = NULL;
}

int epoll_new(struct file **out)
{
	struct epoll *ep = calloc(1, sizeof(*ep));

	if (!ep)
		return -ENOMEM;
	pthread_mutex_init(&ep->lock, NULL);
	pthread_mutex_init(&ep->ready_lock, NULL);
	TAILQ_INIT(&ep->ready);
	waitq_init(&ep->wq);
	atomic_init(&ep->refs, 1);
	*out = file_new_anon(&epoll_file_ops, O_RDWR, ep);
	if (!*out) {
		epoll_put(ep);
		return -ENFILE;
	}
	return 0;
}
