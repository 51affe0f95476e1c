/*
 * AIO contexts. Requests are carried out when they are submitted, so all that is kept is completions.
 *
 * Threat: `ctx` is any number. It is looked up among the caller's mappings, and only a mapping of a file with
 * our operations, from its start, is a context. The page itself is the guest's to scribble on: nothing is read from it.
 */
#include "fs/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "fs/memfs.h"
#include "fs/sysctl.h"
#include "task/task.h"

#define EVENTS_MIN	64		/* Linux too rounds small contexts up */

struct aio {				/* file->data */
	pthread_mutex_t lock;		/* guards all below but wq */
	struct io_event *ring;
	u32 size, head, count, reserved;
	u32 asked;			/* immutable: what counts against aio-max-nr */
	struct waitq wq;
};

static _Atomic s64 events_asked;

static void aio_release(struct file *f)
{
	struct aio *a = f->data;

	atomic_fetch_sub(&events_asked, a->asked);
	pthread_mutex_destroy(&a->lock);
	free(a->ring);
	free(a);
}

static int aio_mmap(struct file *f, struct vma *v)
{
	return 0;
}

static const struct file_ops aio_ops = { .mmap = aio_mmap, .release = aio_release, .anon_name = "[aio]" };

static struct aio *aio_new(u32 events)
{
	struct aio *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->size = MAX(events, EVENTS_MIN);
	a->asked = events;
	a->ring = calloc(a->size, sizeof(*a->ring));
	if (!a->ring) {
		free(a);
		return NULL;
	}
	pthread_mutex_init(&a->lock, NULL);
	waitq_init(&a->wq);
	return a;
}

/* A page of memory with our operations. */
static int aio_file(struct task *t, struct aio *a, struct file **out)
{
	struct file *mem;
	int err = memfd_open(t, "[aio]", false, O_RDWR, &mem);

	if (err)
		return err;
	*out = file_new(mem->inode, &aio_ops, O_RDWR);
	if (*out) {
		(*out)->path = mem->path;
		path_get(&(*out)->path);
		(*out)->data = a;
		page_cache_truncate(mem->inode->cache, PAGE_SIZE);
	}
	file_put(mem);
	return *out ? 0 : -ENOMEM;
}

s64 aio_create(struct task *t, u32 events)
{
	struct map_request req = { .len = PAGE_SIZE, .prot = PROT_READ | PROT_WRITE, .flags = MAP_PRIVATE };
	struct aio *a;
	s64 at;
	int err;

	if (atomic_fetch_add(&events_asked, events) + events > sysctl_aio_max_nr.value) {
		atomic_fetch_sub(&events_asked, events);
		return -EAGAIN;
	}
	a = aio_new(events);
	if (!a) {
		atomic_fetch_sub(&events_asked, events);
		return -ENOMEM;
	}
	err = aio_file(t, a, &req.file);
	if (err) {
		atomic_fetch_sub(&events_asked, events);
		free(a->ring);
		free(a);
		return err;
	}
	at = mm_map(t->mm, &req);
	file_put(req.file);
	if (at > 0)
		mm_advise(t->mm, at, PAGE_SIZE, MADV_DONTFORK);
	return at;
}

struct file *aio_get(struct task *t, gva_t ctx)
{
	struct file *f = NULL;
	struct vma *v;

	pthread_mutex_lock(&t->mm->lock);
	v = vma_find(t->mm, ctx);
	if (v && v->start == ctx && v->file && v->file->ops == &aio_ops && !v->offset) {
		f = v->file;
		file_get(f);
	}
	pthread_mutex_unlock(&t->mm->lock);
	return f;
}

int aio_reserve(struct file *ctx)
{
	struct aio *a = ctx->data;
	bool room;

	pthread_mutex_lock(&a->lock);
	room = a->count + a->reserved < a->size;
	a->reserved += room;
	pthread_mutex_unlock(&a->lock);
	return room ? 0 : -EAGAIN;
}

void aio_unreserve(struct file *ctx)
{
	struct aio *a = ctx->data;

	pthread_mutex_lock(&a->lock);
	a->reserved--;
	pthread_mutex_unlock(&a->lock);
}

void aio_complete(struct file *ctx, const struct io_event *e)
{
	struct aio *a = ctx->data;

	pthread_mutex_lock(&a->lock);
	a->ring[(a->head + a->count) % a->size] = *e;
	a->count++;
	a->reserved--;
	pthread_mutex_unlock(&a->lock);
	waitq_wake(&a->wq, EPOLLIN);
}

static u32 take(struct aio *a, u32 n, struct io_event *out)
{
	u32 got;

	pthread_mutex_lock(&a->lock);
	got = MIN(n, a->count);
	for (u32 i = 0; i < got; i++)
		out[i] = a->ring[(a->head + i) % a->size];
	a->head = (a->head + got) % a->size;
	a->count -= got;
	pthread_mutex_unlock(&a->lock);
	return got;
}

s64 aio_take(struct task *t, struct file *ctx, u32 min, u32 n, struct io_event *out, u64 deadline)
{
	struct aio *a = ctx->data;
	struct waiter w = { .task = t };
	u32 got = 0;
	int err = 0;

	waitq_add(&a->wq, &w);
	for (;;) {
		got += take(a, n - got, out + got);
		if (got >= min || err)
			break;
		err = task_block(t, deadline);
	}
	waitq_remove(&w);
	return got || err != -EINTR ? (s64)got : -EINTR;
}
