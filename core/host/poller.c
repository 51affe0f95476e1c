/*
 * The poller: epoll on the host, one shot a time. A watch is named by its slot and the slot's generation, so that an
 * event that was under way when its watch was removed finds nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "host/poller.h"
#include "lib/log.h"
#include "lib/sigmask.h"

#define POLLER_STACK	(64 << 10)

struct slot {
	struct host_watch *watch;
	u32 generation;
};

static struct {
	pthread_mutex_t lock;		/* guards all; held while ready() runs */
	int epfd;			/* -1 before the first watch */
	struct slot *slots;		/* [0] is never used */
	u32 nslots;
} poller = { .lock = PTHREAD_MUTEX_INITIALIZER, .epfd = -1 };

static void poller_dispatch(const struct epoll_event *ev)
{
	u32 slot = (u32)ev->data.u64, generation = ev->data.u64 >> 32;

	pthread_mutex_lock(&poller.lock);
	if (slot < poller.nslots && poller.slots[slot].watch && poller.slots[slot].generation == generation)
		poller.slots[slot].watch->ready(poller.slots[slot].watch, ev->events);
	pthread_mutex_unlock(&poller.lock);
}

static void *poller_main(void *unused)
{
	struct epoll_event ev[16];

	for (;;) {
		int n = epoll_wait(poller.epfd, ev, ARRAY_SIZE(ev), -1);

		if (n < 0 && errno != EINTR)
			die("the poller cannot wait: error %d", errno);
		for (int i = 0; i < n; i++)
			poller_dispatch(&ev[i]);
	}
	return NULL;
}

/* Signals are for the task threads: this one takes none. */
static int poller_start(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	poller.epfd = epoll_create1(EPOLL_CLOEXEC);
	if (poller.epfd < 0)
		return -errno;
	sigmask_most(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, POLLER_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, &attr, poller_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

static int slot_alloc(struct host_watch *w)
{
	u32 i;

	for (i = 1; i < poller.nslots && poller.slots[i].watch; i++)
		;
	if (i >= poller.nslots) {
		u32 n = poller.nslots ? 2 * poller.nslots : 8;
		struct slot *s = realloc(poller.slots, n * sizeof(*s));

		if (!s)
			return -ENOMEM;
		for (u32 k = poller.nslots; k < n; k++)
			s[k] = (struct slot){ 0 };
		i = MAX(poller.nslots, 1u);
		poller.slots = s;
		poller.nslots = n;
	}
	poller.slots[i].watch = w;
	poller.slots[i].generation++;
	w->slot = i;
	return 0;
}

static void slot_free(struct host_watch *w)
{
	poller.slots[w->slot].watch = NULL;
	w->slot = 0;
}

int poller_arm(struct host_watch *w, u32 events)
{
	struct epoll_event ev = { .events = events | EPOLLONESHOT };
	int op = EPOLL_CTL_MOD, err = 0;

	pthread_mutex_lock(&poller.lock);
	if (poller.epfd < 0)
		err = poller_start();
	if (!err && !w->slot) {
		op = EPOLL_CTL_ADD;
		err = slot_alloc(w);
	}
	if (err)
		goto out;
	ev.data.u64 = (u64)poller.slots[w->slot].generation << 32 | w->slot;
	if (epoll_ctl(poller.epfd, op, w->fd, &ev) < 0) {
		err = -errno;
		if (op == EPOLL_CTL_ADD)
			slot_free(w);
	}
out:
	pthread_mutex_unlock(&poller.lock);
	return err;
}

void poller_remove(struct host_watch *w)
{
	pthread_mutex_lock(&poller.lock);
	if (w->slot) {
		epoll_ctl(poller.epfd, EPOLL_CTL_DEL, w->fd, NULL);
		slot_free(w);
	}
	pthread_mutex_unlock(&poller.lock);
}
