/*
 * /dev: an ordinary tmpfs that starts with the usual names in it. Guests may add and remove their own; a device node
 * works by its number wherever it stands (devices.c).
 */
#include <errno.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "fs/special.h"

static const struct node {
	const char *name;
	u32 mode;
	u32 major, minor;
} nodes[] = {
	{ "null",	S_IFCHR | 0666, 1, 3 },
	{ "zero",	S_IFCHR | 0666, 1, 5 },
	{ "full",	S_IFCHR | 0666, 1, 7 },
	{ "random",	S_IFCHR | 0666, 1, 8 },
	{ "urandom",	S_IFCHR | 0666, 1, 9 },
	{ "tty",	S_IFCHR | 0666, 5, 0 },
	{ "console",	S_IFCHR | 0600, 5, 1 },
	{ "ptmx",	S_IFCHR | 0666, 5, 2 },
	{ "loop-control", S_IFCHR | 0660, 10, 237 },
	{ "pts",	S_IFDIR | 0755, 0, 0 },		/* devpts is mounted here */
	{ "shm",	S_IFDIR | 01777, 0, 0 },
	{ "mqueue",	S_IFDIR | 01777, 0, 0 },
};

static const struct { const char *name, *target; } links[] = {
	{ "fd",		"/proc/self/fd" },
	{ "stdin",	"/proc/self/fd/0" },
	{ "stdout",	"/proc/self/fd/1" },
	{ "stderr",	"/proc/self/fd/2" },
};

static int make_loops(struct inode *dir)
{
	struct inode *in;
	char name[16];
	int err = 0;

	for (u32 i = 0; i < LOOP_DEVICES && !err; i++) {
		snprintf(name, sizeof(name), "loop%u", i);
		err = dir->ops->create(dir, name, S_IFBLK | 0660, makedev(7, i), NULL, &in);
		if (!err)
			inode_put(in);
	}
	return err;
}

int devfs_populate(struct inode *dir)
{
	struct inode *in;
	int err = make_loops(dir);

	if (err)
		return err;

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		const struct node *n = &nodes[i];

		err = dir->ops->create(dir, n->name, n->mode, makedev(n->major, n->minor), NULL, &in);
		if (err)
			return err;
		inode_put(in);
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		err = dir->ops->symlink(dir, links[i].name, links[i].target, NULL, &in);
		if (err)
			return err;
		inode_put(in);
	}
	return 0;
}
