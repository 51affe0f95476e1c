/* What the file calls share. */
#include <fcntl.h>

#include "syscall/file_calls.h"

int path_in(struct task *t, char *buf, u64 gva)
{
	s64 len = copy_in_str(t->mm, buf, gva, PATH_LEN_MAX);

	return len < 0 ? len : 0;
}

int walk_in(struct task *t, int dirfd, u64 gva, u32 flags, struct path *out)
{
	char name[PATH_LEN_MAX];
	int err = path_in(t, name, gva);

	return err ? err : path_walk(t, dirfd, name, flags, out);
}

int walk_at(struct task *t, int dirfd, u64 gva, u32 at, u32 allowed, struct path *out)
{
	if (at & ~allowed)
		return -EINVAL;
	return walk_in(t, dirfd, gva, (at & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) |
		       (at & AT_EMPTY_PATH ? WALK_EMPTY : 0), out);
}

static struct file *file_for(struct task *t, int fd, int wrong)
{
	struct file *f = fd_get_io(t->files, fd);

	if (f && (f->flags & O_ACCMODE) == (u32)wrong) {
		file_put(f);
		return NULL;
	}
	return f;
}

struct file *file_readable(struct task *t, int fd)
{
	return file_for(t, fd, O_WRONLY);
}

struct file *file_writable(struct task *t, int fd)
{
	return file_for(t, fd, O_RDONLY);
}

bool file_positional(const struct file *f)
{
	return f->ops->seek;
}
