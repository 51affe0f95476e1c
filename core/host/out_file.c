/* Files written at the end: see out_file.h. */
#include "host/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/hostfs_calls.h"

int out_file_open(struct out_file *f, const char *path)
{
	struct stat st;
	char *slash;

	*f = (struct out_file){ .path = path, .dir = -1, .fd = -1 };
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		f->fd = open(path, O_WRONLY | O_CLOEXEC);
		return f->fd < 0 ? -errno : 0;
	}
	f->dir_path = strdup(path);
	if (!f->dir_path)
		return -ENOMEM;
	slash = strrchr(f->dir_path, '/');
	f->name = slash ? slash + 1 : f->dir_path;
	if (!*f->name)
		return -EISDIR;
	if (slash)
		*slash = 0;
	f->dir = host_open_root(!slash ? "." : slash == f->dir_path ? "/" : f->dir_path);
	return f->dir < 0 ? f->dir : 0;
}

static int fill(int fd, int (*write)(FILE *to))
{
	FILE *to = fdopen(fd, "w");
	int err;

	if (!to) {
		err = -errno;
		close(fd);
		return err;
	}
	err = write(to);
	if (!err && ferror(to))
		err = -EIO;
	if (fclose(to) && !err)		/* a full disk shows here */
		err = -errno;
	return err;
}

static int replace(const struct out_file *f, int (*write)(FILE *to))
{
	char *tmp;
	int fd, err;

	if (asprintf(&tmp, "%s.%d.tmp", f->name, getpid()) < 0)
		return -ENOMEM;
	err = fd = host_open_beneath(f->dir, tmp, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd >= 0) {
		err = fill(fd, write);
		if (!err)
			err = host_rename_at(f->dir, tmp, f->dir, f->name, 0);
		if (err)
			host_unlink_at(f->dir, tmp, false);
	}
	free(tmp);
	return err;
}

int out_file_write(struct out_file *f, int (*write)(FILE *to))
{
	int err = f->fd >= 0 ? fill(f->fd, write) : replace(f, write);

	if (f->dir >= 0)
		close(f->dir);
	free(f->dir_path);
	return err;
}
