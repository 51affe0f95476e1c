/*
 * The poller: one host thread that watches host descriptors for readiness, so that guests can sleep on them. It
 * starts with the first watch that is armed; before that it costs nothing.
 */
#ifndef TG_HOST_POLLER_H
#define TG_HOST_POLLER_H

#include "lib/types.h"

struct host_watch {
	int fd;				/* set by the owner; immutable */
	void (*ready)(struct host_watch *w, u32 events);	/* on the poller's thread, its lock held: only wake */
	u32 slot;			/* the poller's; 0: not registered */
};

/*
 * Report once, from now on, when any of `events` (EPOLLIN, EPOLLOUT; errors always) holds. Arming again is fine.
 * 0; -EPERM: this kind of file is always ready; or another -errno.
 */
int poller_arm(struct host_watch *w, u32 events);
/* On return ready() is not running and will not run. */
void poller_remove(struct host_watch *w);

#endif
