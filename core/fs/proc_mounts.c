/* /proc/PID/mounts and mountinfo: the mounts below the process's root. */
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "fs/dentry.h"
#include "fs/proc.h"

#define ESCAPED	" \t\n\\"

struct mount_list_copy {
	struct mount **m;
	size_t n, cap;
};

/* Names are built later, without mount_lock. */
static bool collect(struct mount *m, void *arg)
{
	struct mount_list_copy *l = arg;

	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct mount **more = realloc(l->m, cap * sizeof(*more));

		if (!more)
			return false;
		l->m = more;
		l->cap = cap;
	}
	mount_get(m);
	l->m[l->n++] = m;
	return true;
}

static void mount_options(struct seq *s, const struct mount *m)
{
	seq_puts(s, mount_readonly(m) ? "ro" : "rw");
	seq_puts(s, m->flags & ST_NOSUID ? ",nosuid" : "");
	seq_puts(s, m->flags & ST_NODEV ? ",nodev" : "");
	seq_puts(s, m->flags & ST_NOEXEC ? ",noexec" : "");
	seq_puts(s, ",relatime");
	seq_puts(s, m->flags & ST_NOSYMFOLLOW ? ",nosymfollow" : "");
}

static void mount_point(struct seq *s, struct task *viewer, struct mount *m)
{
	struct path at = { m, m->root };

	seq_path(s, viewer, &at, ESCAPED);
}

static void mounts_line(struct seq *s, struct task *viewer, struct mount *m)
{
	seq_printf(s, "%s ", m->super->source);
	mount_point(s, viewer, m);
	seq_printf(s, " %s ", m->super->type);
	mount_options(s, m);
	seq_puts(s, " 0 0\n");
}

static void mountinfo_line(struct seq *s, struct task *viewer, struct mount *m)
{
	seq_printf(s, "%d %d %u:%u / ", m->id, m->parent ? m->parent->id : m->id, major(m->super->dev), minor(m->super->dev));
	mount_point(s, viewer, m);
	seq_puts(s, " ");
	mount_options(s, m);
	seq_printf(s, " - %s %s %s\n", m->super->type, m->super->source, m->super->flags & ST_RDONLY ? "ro" : "rw");
}

static int show(struct seq *s, const struct pseudo *p, struct task *viewer,
		void (*line)(struct seq *s, struct task *viewer, struct mount *m))
{
	struct mount_list_copy l = { 0 };
	struct fs_place *place;
	struct target x;
	int err = target_get(p, &x);

	if (err)
		return err;
	place = target_place(&x);
	target_put(&x);
	if (!place)
		return 0;
	if (place->ns)
		mount_for_each(place->ns, collect, &l);
	fs_place_put(place);
	for (size_t i = 0; i < l.n; i++) {
		line(s, viewer, l.m[i]);
		mount_put(l.m[i]);
	}
	free(l.m);
	return 0;
}

int proc_pid_mounts(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	return show(s, p, viewer, mounts_line);
}

int proc_pid_mountinfo(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	return show(s, p, viewer, mountinfo_line);
}
