/*
 * Fifos: an inode of any file system that is a pipe while somebody has it open. in->pipe is that pipe, guarded by
 * in->lock; the last file to go takes it away (pipe_release).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "fs/pipe.h"
#include "fs/special.h"
#include "task/task.h"

/* The inode's pipe with `f` counted in, or NULL: out of memory. */
static struct pipe *fifo_join(struct task *t, struct inode *in, u32 flags, u32 *readers_seen, u32 *writers_seen)
{
	struct pipe *p;

	pthread_mutex_lock(&in->lock);
	p = in->pipe ? in->pipe : pipe_new(t);
	in->pipe = p;
	if (p) {
		pthread_mutex_lock(&p->lock);
		*readers_seen = p->reader_opens;
		*writers_seen = p->writer_opens;
		pipe_count(p, flags, 1);
		p->files++;
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&in->lock);
	return p;
}

static void fifo_leave(struct inode *in, struct pipe *p, u32 flags)
{
	bool last;

	pthread_mutex_lock(&in->lock);
	pthread_mutex_lock(&p->lock);
	pipe_count(p, flags, -1);
	last = --p->files == 0;
	if (last)
		in->pipe = NULL;
	pthread_mutex_unlock(&p->lock);
	if (!last)
		waitq_wake(&p->wq, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP);
	pthread_mutex_unlock(&in->lock);
	if (last)
		pipe_free(p);
}

/* Has the other end come (even if it has gone again) since `seen`? */
static bool fifo_met(struct pipe *p, bool reader, u32 seen)
{
	bool met;

	pthread_mutex_lock(&p->lock);
	met = reader ? p->writers || p->writer_opens != seen : p->readers || p->reader_opens != seen;
	pthread_mutex_unlock(&p->lock);
	return met;
}

static int fifo_wait(struct task *t, struct pipe *p, bool reader, u32 seen)
{
	struct waiter w = { .task = t };
	int err = 0;

	waitq_add(&p->wq, &w);
	while (!fifo_met(p, reader, seen)) {
		err = task_block(t, TIME_FOREVER);
		if (err)
			break;
	}
	waitq_remove(&w);
	return err ? -ERESTARTSYS : 0;
}

int fifo_open(struct inode *in, struct task *t, struct file *f)
{
	u32 flags = atomic_load(&f->flags), mode = flags & O_ACCMODE, readers_seen, writers_seen;
	struct pipe *p;
	int err = 0;

	/* A fifo of the host's (standard streams): its file system opens it. */
	if (in->ops->open)
		return in->ops->open(in, t, f);
	p = fifo_join(t, in, flags, &readers_seen, &writers_seen);
	if (!p)
		return -ENOMEM;
	waitq_wake(&p->wq, EPOLLIN | EPOLLOUT);
	/* A pipe that is opened by way of /proc/PID/fd waits for nobody. */
	if (inode_is_pipe(in)) {
		err = 0;
	} else if (mode == O_RDONLY) {
		if (flags & O_NONBLOCK)
			f->pos = fifo_met(p, true, writers_seen) ? 0 : writers_seen;
		else
			err = fifo_wait(t, p, true, writers_seen);
	} else if (mode == O_WRONLY) {
		if (!(flags & O_NONBLOCK))
			err = fifo_wait(t, p, false, readers_seen);
		else if (!fifo_met(p, false, readers_seen))
			err = -ENXIO;
	}
	if (err) {
		fifo_leave(in, p, flags);
		return err;
	}
	f->ops = &pipe_file_ops;
	f->data = p;
	return 0;
}
