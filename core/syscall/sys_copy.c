/* From file to file without a detour through the guest: sendfile, copy_file_range. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "syscall/file_calls.h"

#define COPY_BYTES	(64u << 10)

struct end {
	struct file *f;
	u64 pos;			/* the call's own */
	bool own;			/* uses and moves the file's position instead */
};

/* The file's own position goes to its operations as that very pointer: host streams share theirs with the outside. */
static u64 *where(struct end *e)
{
	if (!file_positional(e->f))
		return NULL;
	return e->own ? &e->f->pos : &e->pos;
}

/* What was read but could not be written was not read. */
static void unread(struct end *in, s64 n)
{
	if (!in->own)
		in->pos -= n;
	else if (in->f->ops->seek)
		in->f->ops->seek(in->f, -n, SEEK_CUR);
}

/* Up to len bytes. */
static s64 copy(struct task *t, struct end *in, struct end *out, u64 len)
{
	u8 *buf = malloc(COPY_BYTES);
	s64 done = 0, n = 0;

	if (!buf)
		return -ENOMEM;
	while ((u64)done < len) {
		s64 wrote;

		n = file_read_wait(t, in->f, buf, MIN(len - done, COPY_BYTES), where(in));
		if (n <= 0)
			break;
		wrote = file_write_wait(t, out->f, buf, n, where(out));
		done += MAX(wrote, 0);
		if (wrote < n) {
			unread(in, n - MAX(wrote, 0));
			n = wrote;
			break;
		}
		if (task_interrupted(t))
			break;
	}
	free(buf);
	return done ? done : MIN(n, 0);
}

/* The positions of one or both files are used: their locks in order of address, once if it is one file. */
static void lock_ends(struct end *a, struct end *b, bool lock)
{
	struct file *first = a->own && file_positional(a->f) ? a->f : NULL;
	struct file *second = b->own && file_positional(b->f) && b->f != first ? b->f : NULL;

	if (second && first && second < first) {
		struct file *f = first;

		first = second;
		second = f;
	}
	if (first)
		(lock ? pthread_mutex_lock : pthread_mutex_unlock)(&first->pos_lock);
	if (second)
		(lock ? pthread_mutex_lock : pthread_mutex_unlock)(&second->pos_lock);
}

static s64 copy_ends(struct task *t, struct end *in, struct end *out, u64 len)
{
	s64 n = 0;

	lock_ends(in, out, true);
	if (file_positional(out->f))
		n = file_size_limit(t, out->f, *where(out), &len);
	if (!n)
		n = copy(t, in, out, len);
	lock_ends(in, out, false);
	return n;
}

static int pos_in(struct task *t, struct end *e, u64 gva)
{
	e->own = !gva;
	if (!gva)
		return 0;
	if (get_user(t->mm, &e->pos, gva))
		return -EFAULT;
	if (!file_positional(e->f))
		return -ESPIPE;
	return (s64)e->pos < 0 ? -EINVAL : 0;
}

static long pos_out(struct task *t, const struct end *e, u64 gva, s64 n)
{
	return gva && n >= 0 && put_user(t->mm, gva, &e->pos) ? -EFAULT : n;
}

long sys_sendfile(struct task *t, const u64 *arg)
{
	struct end out = { .own = true }, in = { .own = true };
	s64 n;

	in.f = file_readable(t, arg[1]);
	out.f = file_writable(t, arg[0]);
	n = -EBADF;
	if (!in.f || !out.f)
		goto put;
	n = pos_in(t, &in, arg[2]);
	if (!n && (!S_ISREG(in.f->inode->mode) && !S_ISBLK(in.f->inode->mode) && !file_positional(in.f)))
		n = -EINVAL;
	if (!n && (out.f->flags & O_APPEND))
		n = -EINVAL;
	if (!n)
		n = copy_ends(t, &in, &out, MIN(arg[3], RW_MAX));
	n = pos_out(t, &in, arg[2], n);
put:
	file_put(in.f);
	file_put(out.f);
	return n;
}

static int copy_range_check(const struct end *in, const struct end *out, u64 len)
{
	if (S_ISDIR(in->f->inode->mode) || S_ISDIR(out->f->inode->mode))
		return -EISDIR;
	if (!S_ISREG(in->f->inode->mode) || !S_ISREG(out->f->inode->mode))
		return -EINVAL;
	if (out->f->flags & O_APPEND)
		return -EBADF;
	if (in->f->inode == out->f->inode && in->pos < out->pos + len && out->pos < in->pos + len)
		return -EINVAL;
	return 0;
}

long sys_copy_file_range(struct task *t, const u64 *arg)
{
	struct end in = { .own = true }, out = { .own = true };
	u64 len = MIN(arg[4], RW_MAX);
	s64 n;

	if ((u32)arg[5])
		return -EINVAL;
	in.f = file_readable(t, arg[0]);
	out.f = file_writable(t, arg[2]);
	n = -EBADF;
	if (!in.f || !out.f)
		goto put;
	n = pos_in(t, &in, arg[1]);
	if (!n)
		n = pos_in(t, &out, arg[3]);
	if (in.own)
		in.pos = in.f->pos;
	if (out.own)
		out.pos = out.f->pos;
	if (!n)
		n = copy_range_check(&in, &out, len);
	if (!n)
		n = copy_ends(t, &in, &out, len);
	n = pos_out(t, &out, arg[3], pos_out(t, &in, arg[1], n));
put:
	file_put(in.f);
	file_put(out.f);
	return n;
}
