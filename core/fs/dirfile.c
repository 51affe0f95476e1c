/* Open directories: their reads fail, their position is the file system's, and readdir goes through the inode. */
#include <errno.h>
#include <unistd.h>

#include "fs/memfs.h"

static s64 dir_read(struct file *f, struct uio *u, u64 *pos)
{
	return -EISDIR;
}

static s64 dir_seek(struct file *f, s64 offset, int whence)
{
	if (whence == SEEK_CUR)
		offset += f->pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	if (offset < 0)
		return -EINVAL;
	f->pos = offset;
	return offset;
}

static int dir_fsync(struct file *f, bool data_only)
{
	return 0;
}

const struct file_ops dir_file_ops = {
	.read	= dir_read,
	.seek	= dir_seek,
	.fsync	= dir_fsync,
};
