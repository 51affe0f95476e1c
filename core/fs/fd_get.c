/* Finding, letting go of and positioning an open file: the part of fd_table.c and file.c that runs inside too. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/fd_table.h"
#include "lib/inside.h"

/* Inside, the last reference is the host's to put. */
void inside_file_put(struct file *f)
{
	int n = atomic_load(&f->refs);

	while (n > 1 && !atomic_compare_exchange_weak(&f->refs, &n, n - 1))
		;
	if (n > 1)
		return;
	if (inside())
		inside_host(gate_file_put, f);
	else
		gate_file_put(f);
}

struct file *fd_get(struct fd_table *t, int fd)
{
	for (;;) {
		struct fd_array *a = t->array;
		struct file *f;
		int n;

		if ((u32)fd >= a->size)
			return NULL;
		f = a->slot[fd];
		if (!f)
			return NULL;
		n = atomic_load(&f->refs);
		while (n > 0 && !atomic_compare_exchange_weak(&f->refs, &n, n + 1))
			;
		if (n <= 0)
			continue;
		if (a == t->array && f == a->slot[fd])
			return f;
		inside_file_put(f);
	}
}

struct file *fd_get_io(struct fd_table *t, int fd)
{
	struct file *f = fd_get(t, fd);

	if (f && (f->flags & O_PATH)) {
		inside_file_put(f);
		return NULL;
	}
	return f;
}

s64 file_seek_generic(struct file *f, s64 offset, int whence)
{
	struct page_cache *pc = f->inode->cache;
	u64 size = pc ? pc->size : 0;
	s64 base = 0;

	switch (whence) {
	case SEEK_SET:
		break;
	case SEEK_CUR:
		base = f->pos;
		break;
	case SEEK_END:
		base = size;
		break;
	case SEEK_DATA:
	case SEEK_HOLE:
		if (inside())
			return -EHOST;
		if (offset < 0 || (u64)offset >= size)
			return -ENXIO;
		offset = gate_page_cache_seek(pc, offset, whence == SEEK_DATA);
		if (offset < 0)
			return offset;
		break;
	default:
		return -EINVAL;
	}
	if (__builtin_add_overflow(base, offset, &offset))
		return offset < 0 ? -EOVERFLOW : -EINVAL;
	if (offset < 0)
		return -EINVAL;
	f->pos = offset;
	return offset;
}
