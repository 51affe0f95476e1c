/* eventfd(2): a counter that tasks wait for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "fs/eventfd.h"

static u32 eventfd_poll(struct file *f)
{
	struct eventfd *e = f->data;
	u32 ev = 0;

	pthread_mutex_lock(&e->lock);
	if (e->count)
		ev |= EPOLLIN | EPOLLRDNORM;
	if (e->count == UINT64_MAX)
		ev |= EPOLLERR;
	if (UINT64_MAX - e->count > MAX(e->wanted, (u64)1))
		ev |= EPOLLOUT | EPOLLWRNORM;
	pthread_mutex_unlock(&e->lock);
	return ev;
}

static struct waitq *eventfd_waitq(struct file *f)
{
	return &((struct eventfd *)f->data)->wq;
}

static void eventfd_release(struct file *f)
{
	struct eventfd *e = f->data;

	pthread_mutex_destroy(&e->lock);
	free(e);
}

static s64 eventfd_show(struct file *f, char *buf, size_t len)
{
	struct eventfd *e = f->data;
	u64 count;

	pthread_mutex_lock(&e->lock);
	count = e->count;
	pthread_mutex_unlock(&e->lock);
	return snprintf(buf, len, "eventfd-count: %16llx\neventfd-id: %d\n", (unsigned long long)count, e->id);
}

static const struct file_ops eventfd_ops = {
	.inside = true,
	.read = evfd_read,
	.write = evfd_write,
	.poll = eventfd_poll,
	.waitq = eventfd_waitq,
	.release = eventfd_release,
	.show = eventfd_show,
	.anon_name = "[eventfd]",
};

bool is_eventfd(const struct file *f)
{
	return f->ops == &eventfd_ops;
}

void eventfd_signal(struct file *f)
{
	struct eventfd *e = f->data;
	bool over;

	pthread_mutex_lock(&e->lock);
	if (e->count < UINT64_MAX)
		e->count++;
	over = e->count == UINT64_MAX;
	e->wanted = 0;
	pthread_mutex_unlock(&e->lock);
	waitq_wake(&e->wq, EPOLLIN | EPOLLRDNORM | (over ? EPOLLERR : 0));
}

int eventfd_create(u32 initial, int flags, struct file **out)
{
	static atomic_int next_id;
	struct eventfd *e = calloc(1, sizeof(*e));
	u32 file_flags = O_RDWR | (flags & EFD_NONBLOCK ? O_NONBLOCK : 0);

	if (!e)
		return -ENOMEM;
	pthread_mutex_init(&e->lock, NULL);
	waitq_init(&e->wq);
	e->count = initial;
	e->semaphore = flags & EFD_SEMAPHORE;
	e->id = atomic_fetch_add(&next_id, 1);
	*out = file_new_anon(&eventfd_ops, file_flags, e);
	if (!*out) {
		pthread_mutex_destroy(&e->lock);
		free(e);
		return -ENFILE;
	}
	return 0;
}
