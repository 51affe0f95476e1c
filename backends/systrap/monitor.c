/*
 * The monitor: one thread that hears of the death of stub processes and guest threads.
 *
 * A stub killed from outside would leave its contexts waiting for ever: their channels' `seq` is moved, so that no wait can
 * begin on the old value, and woken. The guest can undo that; waits then end at their next look (handoff.c).
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/systrap/systrap.h"

enum { STOP = 0 };			/* no watch's id */

static struct {
	pthread_mutex_t lock;		/* guards the list and what it leads to */
	TAILQ_HEAD(watch_list_head, watch) list;
	pthread_t thread;
	u64 last_id;
	int epoll, stop_fd;
} monitor = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void slot_died(struct channel_slot *slot)
{
	slot->dead = true;
	__atomic_fetch_add(&slot->ch->seq, 0x40000000, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &slot->ch->seq, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Without their helper guest threads are of no use; each is then heard of in its turn. */
static void helper_died(struct address_space *as)
{
	struct watch *w;

	as->dead = true;
	TAILQ_FOREACH(w, &monitor.list, link)
		if (w->slot && w->slot->as == as)
			kill(w->slot->tid, SIGKILL);	/* who is watched is not buried yet */
}

static struct watch *find(u64 id)
{
	struct watch *w;

	TAILQ_FOREACH(w, &monitor.list, link)
		if (w->id == id)
			return w;
	return NULL;
}

static void *monitor_main(void *unused)
{
	struct epoll_event ev;
	struct watch *w;

	for (;;) {
		if (epoll_wait(monitor.epoll, &ev, 1, -1) != 1)
			continue;
		if (ev.data.u64 == STOP)
			return NULL;
		pthread_mutex_lock(&monitor.lock);
		w = find(ev.data.u64);		/* NULL: monitor_remove() was quicker */
		if (w) {
			epoll_ctl(monitor.epoll, EPOLL_CTL_DEL, w->pidfd, NULL);
			if (w->slot)
				slot_died(w->slot);
			else
				helper_died(w->as);
		}
		pthread_mutex_unlock(&monitor.lock);
	}
}

int monitor_add(struct watch *w, pid_t pid)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int err = 0, fd = syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	pthread_mutex_lock(&monitor.lock);
	w->pidfd = fd;
	ev.data.u64 = w->id = ++monitor.last_id;
	TAILQ_INSERT_TAIL(&monitor.list, w, link);
	if (epoll_ctl(monitor.epoll, EPOLL_CTL_ADD, w->pidfd, &ev))
		err = -errno;
	pthread_mutex_unlock(&monitor.lock);
	return err;
}

void monitor_remove(struct watch *w)
{
	if (w->pidfd < 0)
		return;
	pthread_mutex_lock(&monitor.lock);
	TAILQ_REMOVE(&monitor.list, w, link);
	close(w->pidfd);			/* leaves the epoll set with it */
	w->pidfd = -1;
	pthread_mutex_unlock(&monitor.lock);
}

int monitor_start(void)
{
	struct epoll_event stop = { .events = EPOLLIN };

	TAILQ_INIT(&monitor.list);
	monitor.epoll = epoll_create1(EPOLL_CLOEXEC);
	monitor.stop_fd = eventfd(0, EFD_CLOEXEC);
	stop.data.u64 = STOP;
	if (monitor.epoll < 0 || epoll_ctl(monitor.epoll, EPOLL_CTL_ADD, monitor.stop_fd, &stop))
		return -errno;
	return -pthread_create(&monitor.thread, NULL, monitor_main, NULL);
}

void monitor_stop(void)
{
	eventfd_write(monitor.stop_fd, 1);
	pthread_join(monitor.thread, NULL);
	close(monitor.epoll);
	close(monitor.stop_fd);
}
