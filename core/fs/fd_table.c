/*
 * Descriptor tables.
 *
 * fd_get() (fd_get.c) is on the path of every read and write and takes no lock: it reads the slot, takes a reference
 * unless the count is zero, and looks at the slot again. That is safe because files are recycled, never freed (file.c),
 * and because an outgrown slot array lives as long as its table. All changes are made under `lock`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fs/fd_table.h"
#include "fs/fs.h"
#include "fs/special.h"
#include "task/task.h"

#define FD_HARD_MAX	(1u << 20)	/* fs.nr_open */

static bool bit_test(const u64 *map, u32 n) { return map[n / 64] >> (n % 64) & 1; }
static void bit_set(u64 *map, u32 n) { map[n / 64] |= 1ull << (n % 64); }
static void bit_clear(u64 *map, u32 n) { map[n / 64] &= ~(1ull << (n % 64)); }

static struct fd_array *array_new(u32 size)
{
	struct fd_array *a = calloc(1, sizeof(*a) + size * sizeof(a->slot[0]) + 2 * size / 8);

	if (!a)
		return NULL;
	a->size = size;
	a->open = (u64 *)&a->slot[size];
	a->cloexec = a->open + size / 64;
	return a;
}

static struct fd_table *table_new(u32 size)
{
	struct fd_table *t = calloc(1, sizeof(*t));
	struct fd_array *a = array_new(size);

	if (!t || !a) {
		free(t);
		free(a);
		return NULL;
	}
	pthread_mutex_init(&t->lock, NULL);
	atomic_init(&t->refs, 1);
	atomic_init(&t->array, a);
	return t;
}

struct fd_table *fd_table_new(void)
{
	return table_new(FD_FIRST_SIZE);
}

/* The table's lock held. */
static int grow(struct fd_table *t, u32 fd)
{
	struct fd_array *old = t->array, *a;
	u32 size = old->size;

	if (fd < size)
		return 0;
	while (size <= fd)
		size *= 2;
	a = array_new(size);
	if (!a)
		return -ENOMEM;
	for (u32 i = 0; i < old->size; i++)
		atomic_init(&a->slot[i], atomic_load_explicit(&old->slot[i], memory_order_relaxed));
	memcpy(a->open, old->open, old->size / 8);
	memcpy(a->cloexec, old->cloexec, old->size / 8);
	a->older = old;
	t->array = a;
	return 0;
}

static u32 used_size(const struct fd_array *a)
{
	u32 words = a->size / 64;

	while (words && !a->open[words - 1])
		words--;
	return MAX(words * 64, (u32)FD_FIRST_SIZE);
}

u32 fd_table_span(struct fd_table *t)
{
	u32 span;

	pthread_mutex_lock(&t->lock);
	span = used_size(t->array);
	pthread_mutex_unlock(&t->lock);
	return span;
}

struct fd_table *fd_table_copy(struct fd_table *t)
{
	struct fd_table *copy;
	struct fd_array *from, *to;
	u32 size;

	pthread_mutex_lock(&t->lock);
	from = t->array;
	for (size = FD_FIRST_SIZE; size < used_size(from);)
		size *= 2;
	copy = table_new(size);
	if (!copy)
		goto out;
	to = copy->array;
	copy->next = t->next;
	memcpy(to->open, from->open, size / 8);
	memcpy(to->cloexec, from->cloexec, size / 8);
	for (u32 i = 0; i < size; i++) {
		struct file *f = from->slot[i];

		if (f)
			file_get(f);
		atomic_init(&to->slot[i], f);
	}
out:
	pthread_mutex_unlock(&t->lock);
	return copy;
}

void fd_table_get(struct fd_table *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

/* What close(2) does beyond dropping the reference. */
static void close_file(struct fd_table *t, struct task *task, struct file *f)
{
	if (f->ops->flush)
		f->ops->flush(f, task);
	if (f->inode->locks)
		file_locks_closed(t, f);
	file_put(f);
}

bool fd_table_shared(struct fd_table *t)
{
	return atomic_load(&t->refs) > 1;
}

void fd_table_put(struct fd_table *t)
{
	struct fd_array *a, *older;

	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	a = t->array;
	for (u32 i = 0; i < a->size; i++)
		if (a->slot[i])
			close_file(t, NULL, a->slot[i]);
	for (; a; a = older) {
		older = a->older;
		free(a);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* Lowest free descriptor >= from, which may lie past the array. Lock held. */
static u32 find_free(struct fd_table *t, u32 from)
{
	struct fd_array *a = t->array;

	while (from < a->size) {
		u64 word = ~a->open[from / 64] & (~0ull << (from % 64));

		if (word)
			return align_down(from, 64) + __builtin_ctzll(word);
		from = align_down(from, 64) + 64;
	}
	return from;
}

/* Lock held, the array large enough. Returns what was there. */
static struct file *set_slot(struct fd_table *t, u32 fd, struct file *f, bool cloexec)
{
	struct fd_array *a = t->array;
	struct file *old = a->slot[fd];

	a->slot[fd] = f;
	if (f)
		bit_set(a->open, fd);
	else
		bit_clear(a->open, fd);
	if (f && cloexec)
		bit_set(a->cloexec, fd);
	else
		bit_clear(a->cloexec, fd);
	if (!f && fd < t->next)
		t->next = fd;
	return old;
}

static u32 fd_limit(struct task *task)
{
	return MIN(task_rlimit(task, RLIMIT_NOFILE), (u64)FD_HARD_MAX);
}

int fd_install(struct task *task, struct file *f, int lowest, bool cloexec)
{
	struct fd_table *t = task->files;
	u32 fd, limit = fd_limit(task);
	int err = -EMFILE;

	pthread_mutex_lock(&t->lock);
	fd = find_free(t, MAX((u32)lowest, t->next));
	if (fd >= limit)
		goto fail;
	err = grow(t, fd);
	if (err)
		goto fail;
	set_slot(t, fd, f, cloexec);
	if ((u32)lowest <= t->next)
		t->next = fd + 1;
	pthread_mutex_unlock(&t->lock);
	return fd;
fail:
	pthread_mutex_unlock(&t->lock);
	file_put(f);
	return err;
}

int fd_replace(struct task *task, int fd, struct file *f, bool cloexec)
{
	struct fd_table *t = task->files;
	struct file *old = NULL;
	int err = -EBADF;

	pthread_mutex_lock(&t->lock);
	if ((u32)fd < fd_limit(task))
		err = grow(t, fd);
	if (!err)
		old = set_slot(t, fd, f, cloexec);
	pthread_mutex_unlock(&t->lock);
	if (err)
		file_put(f);
	else if (old)
		close_file(t, task, old);
	return err ? err : fd;
}

int fd_close(struct task *task, int fd)
{
	struct fd_table *t = task->files;
	struct file *f = NULL;

	pthread_mutex_lock(&t->lock);
	if ((u32)fd < t->array->size)
		f = set_slot(t, fd, NULL, false);
	pthread_mutex_unlock(&t->lock);
	if (!f)
		return -EBADF;
	close_file(t, task, f);
	return 0;
}

void fd_table_exec(struct fd_table *t, struct task *task)
{
	for (u32 i = 0;; i++) {
		struct file *f = NULL;

		pthread_mutex_lock(&t->lock);
		for (; i < t->array->size; i++)
			if (bit_test(t->array->cloexec, i)) {
				f = set_slot(t, i, NULL, false);
				break;
			}
		pthread_mutex_unlock(&t->lock);
		if (!f)
			return;
		close_file(t, task, f);
	}
}

bool fd_cloexec(struct fd_table *t, int fd)
{
	bool on;

	pthread_mutex_lock(&t->lock);
	on = (u32)fd < t->array->size && bit_test(t->array->cloexec, fd);
	pthread_mutex_unlock(&t->lock);
	return on;
}

void fd_set_cloexec(struct fd_table *t, int fd, bool on)
{
	pthread_mutex_lock(&t->lock);
	if ((u32)fd < t->array->size && bit_test(t->array->open, fd)) {
		if (on)
			bit_set(t->array->cloexec, fd);
		else
			bit_clear(t->array->cloexec, fd);
	}
	pthread_mutex_unlock(&t->lock);
}

int fd_next(struct fd_table *t, int from)
{
	struct fd_array *a;
	int found = -1;

	pthread_mutex_lock(&t->lock);
	a = t->array;
	for (u32 i = MAX(from, 0); found < 0 && i < a->size; i = align_down(i, 64) + 64) {
		u64 word = a->open[i / 64] & (~0ull << (i % 64));

		if (word)
			found = align_down(i, 64) + __builtin_ctzll(word);
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}
