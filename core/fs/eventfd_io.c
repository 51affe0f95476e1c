/* eventfd: read and write, inside too (lib/inside.h). */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "fs/eventfd.h"
#include "lib/inside.h"

s64 evfd_read(struct file *f, struct uio *u, u64 *pos)
{
	struct eventfd *e = f->data;
	u64 value;

	if (u->len < sizeof(value))
		return -EINVAL;
	if (!inside_lock(&e->lock))
		return -EHOST;
	value = e->semaphore && e->count ? 1 : e->count;
	e->count -= value;
	if (value)
		e->wanted = 0;
	inside_unlock(&e->lock);
	if (!value)
		return -EAGAIN;
	uio_put(u, &value, sizeof(value));
	inside_waitq_wake(&e->wq, EPOLLOUT | EPOLLWRNORM);
	return sizeof(value);
}

s64 evfd_write(struct file *f, struct uio *u, u64 *pos)
{
	struct eventfd *e = f->data;
	bool fits;
	u64 value;

	if (u->len < sizeof(value))
		return -EINVAL;
	/* Look before taking: the caller comes back with the same bytes after -EAGAIN. */
	struct iovec iov[8];
	int cnt = MIN(u->iovcnt, (int)ARRAY_SIZE(iov));

	for (int i = 0; i < cnt; i++)
		iov[i] = u->iov[i];
	struct uio look = { .iov = iov, .iovcnt = cnt, .len = u->len };

	if (uio_get(&look, &value, sizeof(value)) != sizeof(value) || value == UINT64_MAX)
		return -EINVAL;

	if (!inside_lock(&e->lock))
		return -EHOST;
	fits = value < UINT64_MAX - e->count;
	if (fits) {
		e->count += value;
		e->wanted = 0;
	} else if (!(atomic_load(&f->flags) & O_NONBLOCK)) {
		e->wanted = value;
	}
	inside_unlock(&e->lock);
	if (!fits)
		return -EAGAIN;
	uio_advance(u, sizeof(value));
	if (value)
		inside_waitq_wake(&e->wq, EPOLLIN | EPOLLRDNORM);
	return sizeof(value);
}
