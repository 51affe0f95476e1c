/*
 * The guest's tree at start: the root (overlay, or the host directory itself with --rootfs-rw), /dev, /proc and /sys
 * over it, then the user's binds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fs/hostfs.h"
#include "fs/namei.h"
#include "fs/overlay.h"
#include "fs/special.h"
#include "lib/log.h"
#include "task/task.h"

/* No task runs yet: the walks of start-up are made by this one, as root, with the place that is being built. */
static struct cred boot_cred = { .refs = 1, .cap_effective = ~0ull, .cap_permitted = ~0ull };
static struct task boot_task = { .cred = &boot_cred };

static int say(char *why, size_t len, const char *what, const char *name, int err)
{
	snprintf(why, len, "%s %s: %s", what, name, strerror(-err));
	return err;
}

/* Finds a mount point; makes what is missing where that changes nothing outside. */
static int mount_point(const char *path, bool dir, struct path *out)
{
	char part[PATH_LEN_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= len; i++) {
		struct super *s = boot_task.place->root.dentry->super;
		int err;

		if (path[i] != '/' && path[i])
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		err = path_walk(&boot_task, AT_FDCWD, part, 0, out);
		if (!err)
			path_put(out);
		if (err != -ENOENT)
			continue;
		if (!strcmp(s->type, "hostfs"))
			return err;
		err = vfs_mknod(&boot_task, AT_FDCWD, part, dir || path[i] ? S_IFDIR | 0755 : S_IFREG | 0644, 0);
		if (err)
			return err;
	}
	return path_walk(&boot_task, AT_FDCWD, path, 0, out);
}

/* Consumes the super's reference. */
static int mount_super(struct super *s, const char *path, u32 flags)
{
	struct mount *m = mount_new(s, s->root, flags);
	struct path at;
	int err = m ? mount_point(path, true, &at) : -ENOMEM;

	if (!err) {
		err = mount_attach(m, &at);
		path_put(&at);
	}
	mount_put(m);
	super_put(s);
	return err;
}

static int make_dev(struct super **out)
{
	int err = tmpfs_create("udev", 0755, out);

	if (err)
		return err;
	(*out)->type = "devtmpfs";
	return devfs_populate((*out)->root->inode);
}

static int make_shm(struct super **out)
{
	return tmpfs_create("tmpfs", 01777, out);
}

static int mount_system(char *why, size_t len)
{
	static const struct {
		const char *path;
		int (*create)(struct super **out);
		u32 flags;
	} mounts[] = {
		{ "/proc",	procfs_create,	ST_NOSUID | ST_NODEV | ST_NOEXEC },
		{ "/sys",	sysfs_create,	ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_RDONLY },
		{ "/dev",	make_dev,	ST_NOSUID },
		{ "/dev/pts",	devpts_create,	ST_NOSUID | ST_NOEXEC },
		{ "/dev/shm",	make_shm,	ST_NOSUID | ST_NODEV },
	};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		struct super *s;
		int err = mounts[i].create(&s);

		if (!err)
			err = mount_super(s, mounts[i].path, mounts[i].flags);
		/* A writable root is the user's own directory: nothing is made in it that isn't there. */
		if (err == -ENOENT || err == -ENOTDIR)
			log_warn("the root has no directory %s, so it is not mounted", mounts[i].path);
		else if (err)
			return say(why, len, "can't mount", mounts[i].path, err);
	}
	return 0;
}

/* A bind of a file is a mount of that file out of its directory. */
static int bind_parts(const struct bind *b, char *dir, size_t len, const char **file)
{
	struct stat st;
	char *slash;

	*file = NULL;
	if (stat(b->src, &st))
		return -errno;
	if (strlen(b->src) >= len)
		return -ENAMETOOLONG;
	strcpy(dir, b->src);
	if (S_ISDIR(st.st_mode))
		return 0;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	slash = strrchr(dir, '/');
	*file = slash ? slash + 1 - dir + b->src : b->src;
	strcpy(slash ? slash + 1 : dir, ".");
	return 0;
}

static int mount_bind(const struct bind *b, char *why, size_t len)
{
	char dir[PATH_LEN_MAX];
	struct dentry *root;
	struct mount *m = NULL;
	const char *file = NULL;
	struct super *s;
	struct path at;
	int err = bind_parts(b, dir, sizeof(dir), &file);

	if (err)
		return say(why, len, "can't bind", b->src, err);
	err = hostfs_create(dir, b->rw, &s, why, len);
	if (err)
		return err;
	if (file)
		err = dentry_lookup(s->root, file, strlen(file), &root);
	else
		dentry_get(root = s->root);
	if (err)
		goto out;
	m = mount_new(s, root, ST_NOSUID | ST_NODEV | (b->rw ? 0 : ST_RDONLY));
	err = m ? mount_point(b->dst, !file, &at) : -ENOMEM;
	dentry_put(root);
	if (err)
		goto out;
	err = mount_attach(m, &at);
	path_put(&at);
out:
	mount_put(m);
	super_put(s);
	return err ? say(why, len, "can't bind to", b->dst, err) : 0;
}

static int make_root(const struct fs_options *opt, struct super **out, char *why, size_t len)
{
	const char *rootfs = opt->rootfs ? opt->rootfs : "/";

	if (opt->rootfs_rw)
		return hostfs_create(rootfs, true, out, why, len);
	return overlay_create(rootfs, out, why, len);
}

static struct fs_place *make_place(struct super *s)
{
	struct fs_place *place = calloc(1, sizeof(*place));
	struct mount *m = mount_new(s, s->root, 0);

	if (!place || !m)
		die("no memory for the guest's tree");
	pthread_mutex_init(&place->lock, NULL);
	atomic_init(&place->refs, 1);
	place->ns = mount_ns_new(m);
	if (!place->ns)
		die("no memory for the guest's tree");
	place->root = (struct path){ m, s->root };
	dentry_get(s->root);
	place->cwd = place->root;
	path_get(&place->cwd);
	return place;
}

static int set_cwd(struct fs_place *place, const char *cwd, char *why, size_t len)
{
	struct path p;
	int err;

	if (!cwd)
		return 0;
	err = path_walk(&boot_task, AT_FDCWD, cwd, WALK_DIRECTORY, &p);
	if (err)
		return say(why, len, "can't enter working directory", cwd, err);
	path_put(&place->cwd);
	place->cwd = p;
	return 0;
}

int fs_init(const struct fs_options *opt, struct fs_place **out, char *why, size_t len)
{
	struct fs_place *place;
	struct super *s;
	bool writes = opt->rootfs_rw;
	u32 host_umask;
	int err = make_root(opt, &s, why, len);

	if (err)
		return err;
	place = make_place(s);
	super_put(s);
	boot_task.place = place;
	err = mount_system(why, len);
	for (int i = 0; !err && i < opt->nbinds; i++) {
		err = mount_bind(&opt->binds[i], why, len);
		writes |= opt->binds[i].rw;
	}
	if (!err)
		err = set_cwd(place, opt->cwd, why, len);
	if (err)
		return err;
	/*
	 * Guests apply their own umask, which starts as ours; the host must not apply it again to what they make in
	 * binds.
	 */
	host_umask = umask(0);
	if (!writes)
		umask(host_umask);
	place->umask = host_umask;
	*out = place;
	return 0;
}
