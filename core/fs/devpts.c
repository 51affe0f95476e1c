/* /dev/pts: a name for each live pty slave, and ptmx. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/hostfile.h"
#include "fs/pseudo.h"
#include "fs/special.h"
#include "fs/tty.h"

#define DEVPTS_MAGIC	0x1cd1

static int slave_open(const struct pseudo *p, struct task *t, struct file *f)
{
	return pty_open_slave(t, p->num, f);
}

static int master_open(const struct pseudo *p, struct task *t, struct file *f)
{
	return pty_open_master(t, f);
}

static const struct pseudo_entry slave_entry = {
	.name = "slave", .mode = S_IFCHR | 0620, .arg = 136 << 8, .open = slave_open,
};

static struct inode *host_inode(const struct pseudo *p)
{
	return hostfile_pts_inode();
}

static const struct pseudo_entry host_entry = { .name = "host", .mode = S_IFCHR | 0620, .inode = host_inode };

static int pts_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	char *end, again[12];
	unsigned long n = strtoul(name, &end, 10);
	u32 uid, gid;

	snprintf(again, sizeof(again), "%u", (u32)n);
	if (*end || strcmp(again, name))
		return -ENOENT;
	if (hostfile_pts_index() >= 0 && n == (unsigned long)hostfile_pts_index()) {
		*out = (struct pseudo){ .e = &host_entry, .num = n };
		return 0;
	}
	if (n >= 256 || pty_owner(n, &uid, &gid))
		return -ENOENT;
	*out = (struct pseudo){ .e = &slave_entry, .num = n };
	return 0;
}

static int pts_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	int n = pty_next(from), host = hostfile_pts_index();
	bool is_host = host >= from && (n < 0 || host < n);

	if (is_host)
		n = host;
	if (n < 0)
		return -1;
	snprintf(name, 32, "%d", n);
	*out = (struct pseudo){ .e = is_host ? &host_entry : &slave_entry, .num = n };
	return n;
}

static void pts_owner(const struct pseudo *p, u32 *uid, u32 *gid)
{
	if (p->e == &slave_entry && pty_owner(p->num, uid, gid))
		*uid = *gid = 0;
}

static const struct pseudo_entry pts_names[] = {
	{ .name = "ptmx", .mode = S_IFCHR | 0666, .arg = 5 << 8 | 2, .open = master_open },
	{ 0 }
};

static const struct pseudo_entry pts_root = {
	.name = "/", .mode = S_IFDIR | 0755, .children = pts_names, .lookup = pts_lookup, .next = pts_next,
};

int devpts_create(struct super **out)
{
	return pseudo_create("devpts", DEVPTS_MAGIC, &pts_root, pts_owner, out);
}
