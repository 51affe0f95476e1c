/*
 * Wait queues: how a task sleeps until an object changes, and how epoll hears of it.
 *
 * The pattern of every blocking call:
 *	waitq_add(&q, &w);			before the condition is tested, so that no wake-up is lost
 *	while (!condition) {
 *		err = task_block(t, deadline);	-EINTR: a signal is pending; -ETIMEDOUT
 *		if (err) break;
 *	}
 *	waitq_remove(&w);
 */
#ifndef TG_WAITQ_H
#define TG_WAITQ_H

#include <pthread.h>
#include <sys/queue.h>

#include "lib/types.h"

struct task;
struct waiter;
TAILQ_HEAD(waiter_list, waiter);

struct waitq {
	pthread_mutex_t lock;
	struct waiter_list waiters;
};

struct waiter {
	TAILQ_ENTRY(waiter) link;	/* locked by q->lock */
	struct waitq *q;
	u32 events;			/* EPOLL* bits it wants; 0: all */
	bool exclusive;			/* at most one such waiter a wake-up */
	struct task *task;		/* woken by task_wake() when `wake` is NULL */
	void (*wake)(struct waiter *w, u32 events);	/* called under q->lock: must not take it, must not block */
};

#define WAITQ_INIT(q)	{ PTHREAD_MUTEX_INITIALIZER, TAILQ_HEAD_INITIALIZER((q).waiters) }
void waitq_init(struct waitq *q);
void waitq_add(struct waitq *q, struct waiter *w);	/* fields events, exclusive, task/wake set by the caller */
void waitq_remove(struct waiter *w);			/* fine if not queued */
void waitq_wake(struct waitq *q, u32 events);		/* all that want any of `events`; cheap when empty */

/* The same for code that also runs inside (lib/inside.h), after it has changed what waiters wait for. */
void inside_waitq_wake(struct waitq *q, u32 events);
struct waitq_wake { struct waitq *q; u32 events; };
void gate_waitq_wake(void *wake);			/* a struct waitq_wake */

#endif
