/* Wait queues: a list of waiters, woken in order. The lock is a leaf: wake callbacks take no lock of the task layer. */
#include "task/waitq.h"

#include "task/task.h"

void waitq_init(struct waitq *q)
{
	pthread_mutex_init(&q->lock, NULL);
	TAILQ_INIT(&q->waiters);
}

void waitq_add(struct waitq *q, struct waiter *w)
{
	w->q = q;
	pthread_mutex_lock(&q->lock);
	TAILQ_INSERT_TAIL(&q->waiters, w, link);
	pthread_mutex_unlock(&q->lock);
}

void waitq_remove(struct waiter *w)
{
	struct waitq *q = w->q;

	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	TAILQ_REMOVE(&q->waiters, w, link);
	pthread_mutex_unlock(&q->lock);
	w->q = NULL;
}

static void wake_one(struct waiter *w, u32 events)
{
	if (w->wake)
		w->wake(w, events);
	else
		task_wake(w->task);
}

/*
 * A task is woken while the queue is locked: it cannot leave the queue, and so cannot end, before we are done with it.
 * An exclusive waiter that was served goes to the end, so that the next wake-up is another's.
 */
void waitq_wake(struct waitq *q, u32 events)
{
	struct waiter *w, *served = NULL;

	pthread_mutex_lock(&q->lock);
	TAILQ_FOREACH(w, &q->waiters, link) {
		if (w->events && !(w->events & events))
			continue;
		if (w->exclusive) {
			if (served)
				continue;
			served = w;
		}
		wake_one(w, events);
	}
	if (served) {
		TAILQ_REMOVE(&q->waiters, served, link);
		TAILQ_INSERT_TAIL(&q->waiters, served, link);
	}
	pthread_mutex_unlock(&q->lock);
}

void gate_waitq_wake(void *wake)
{
	struct waitq_wake *w = wake;

	waitq_wake(w->q, w->events);
}
