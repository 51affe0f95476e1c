/* /proc/PID/fd and fdinfo. A link leads to the open file's place itself, not along its name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/dentry.h"
#include "fs/hostfile.h"
#include "fs/proc.h"
#include "task/task.h"

#define SHOW_MAX	65536		/* of ops->show: an epoll with many items */

static struct file *fd_file(const struct pseudo *p, int fd)
{
	struct fd_table *files;
	struct file *f = NULL;
	struct target x;

	if (target_get(p, &x))
		goto out;
	files = target_files(&x);
	if (files) {
		f = fd_get(files, fd);
		fd_table_put(files);
	}
out:
	target_put(&x);
	return f;
}

/* May the viewer use this link? Directory permissions keep strangers out of readdir only. */
static int fd_allowed(const struct pseudo *p, struct task *viewer)
{
	struct target x;
	int err = target_get(p, &x);

	if (!err)
		err = target_allowed(&x, viewer);
	target_put(&x);
	return err;
}

static int fd_follow(const struct pseudo *p, struct task *t, struct path *out)
{
	int err = fd_allowed(p, t);
	struct file *f = err ? NULL : fd_file(p, p->num);

	if (err)
		return err;
	if (!f)
		return -ENOENT;
	err = file_to_path(f, out);
	file_put(f);
	return err;
}

static int fd_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	int err = fd_allowed(p, viewer);
	struct file *f = err ? NULL : fd_file(p, p->num);
	struct path path;
	char host[256];
	s64 n;

	if (err)
		return err;
	if (!f)
		return -ENOENT;
	n = hostfile_name(f->inode, host, sizeof(host));
	if (n > 0) {
		seq_write(s, host, n);
	} else {
		err = file_to_path(f, &path);
		if (!err) {
			seq_path(s, viewer, &path, "");
			path_put(&path);
		}
	}
	file_put(f);
	return err;
}

/* The link's own mode tells how the file is open. */
static const struct pseudo_entry fd_entries[] = {
	{ .name = "fd", .mode = S_IFLNK | 0500, .show = fd_show, .follow = fd_follow },
	{ .name = "fd", .mode = S_IFLNK | 0300, .show = fd_show, .follow = fd_follow },
	{ .name = "fd", .mode = S_IFLNK | 0700, .show = fd_show, .follow = fd_follow },
	{ .name = "fd", .mode = S_IFLNK | 0000, .show = fd_show, .follow = fd_follow },
};

static u32 fd_mode(const struct file *f)
{
	u32 flags = atomic_load(&f->flags);

	return flags & O_PATH ? 3 : flags & O_ACCMODE;
}

static int fdinfo_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct file *f = fd_file(p, p->num);
	char *more;

	if (!f)
		return -ENOENT;
	seq_printf(s, "pos:\t%lli\nflags:\t0%o\nmnt_id:\t%i\nino:\t%llu\n", (long long)f->pos, atomic_load(&f->flags),
		   f->path.mnt ? f->path.mnt->id : 0, (unsigned long long)f->inode->ino);
	more = f->ops->show ? malloc(SHOW_MAX) : NULL;
	if (more) {
		s64 n = f->ops->show(f, more, SHOW_MAX);

		if (n > 0)
			seq_write(s, more, MIN(n, SHOW_MAX));
		free(more);
	}
	file_put(f);
	return 0;
}

static const struct pseudo_entry fdinfo_entry = { .name = "fdinfo", .mode = S_IFREG | 0444, .show = fdinfo_show };

static int lookup(const struct pseudo *p, const char *name, bool info, struct pseudo *out)
{
	int fd = proc_parse_number(name);
	struct file *f = fd < 0 ? NULL : fd_file(p, fd);

	if (!f)
		return -ENOENT;
	*out = (struct pseudo){ .e = info ? &fdinfo_entry : &fd_entries[fd_mode(f)], .pid = p->pid, .tid = p->tid, .num = fd };
	file_put(f);
	return 0;
}

static int next(const struct pseudo *p, int from, char name[32], bool info, struct pseudo *out)
{
	struct fd_table *files = NULL;
	struct target x;
	int fd = -1;

	if (!target_get(p, &x))
		files = target_files(&x);
	if (files) {
		fd = fd_next(files, from);
		fd_table_put(files);
	}
	target_put(&x);
	if (fd < 0)
		return -1;
	snprintf(name, 32, "%d", fd);
	*out = (struct pseudo){ .e = info ? &fdinfo_entry : &fd_entries[0], .pid = p->pid, .tid = p->tid, .num = fd };
	return fd;
}

int proc_fd_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	return lookup(p, name, false, out);
}

int proc_fd_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	return next(p, from, name, false, out);
}

int proc_fdinfo_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	return lookup(p, name, true, out);
}

int proc_fdinfo_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	return next(p, from, name, true, out);
}
