/*
 * Pseudo file systems: inodes from tables, text made at the first read and again when reading starts over (top keeps
 * /proc/stat open and rewinds it).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "fs/dentry.h"
#include "fs/pseudo.h"
#include "task/task.h"

#define STORE_MAX	4096
#define ROOT_INO	1

struct pseudo_super {
	u32 magic;
	pseudo_owner_fn owner;
};

struct snapshot {			/* an open regular file */
	pthread_mutex_t lock;
	struct seq text;
	bool made;
};

static const struct inode_ops pseudo_dir_ops, pseudo_link_ops, pseudo_magic_ops, pseudo_file_inode_ops;
static const struct file_ops pseudo_file_ops;

/* ---- seq ---- */

static bool seq_reserve(struct seq *s, size_t more)
{
	size_t cap = s->cap ? s->cap : 256;
	char *buf;

	if (s->failed)
		return false;
	if (s->len + more <= s->cap)
		return true;
	while (cap < s->len + more)
		cap *= 2;
	buf = realloc(s->buf, cap);
	if (!buf) {
		s->failed = true;
		return false;
	}
	s->buf = buf;
	s->cap = cap;
	return true;
}

void seq_write(struct seq *s, const void *data, size_t len)
{
	if (!seq_reserve(s, len))
		return;
	memcpy(s->buf + s->len, data, len);
	s->len += len;
}

void seq_puts(struct seq *s, const char *text)
{
	seq_write(s, text, strlen(text));
}

void seq_printf(struct seq *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !seq_reserve(s, n + 1))
		return;
	va_start(ap, fmt);
	vsnprintf(s->buf + s->len, n + 1, fmt, ap);
	va_end(ap);
	s->len += n;
}

void seq_path(struct seq *s, struct task *viewer, const struct path *p, const char *escape)
{
	char *name = malloc(PATH_LEN_MAX);
	s64 n = name ? path_name(viewer, p, name, PATH_LEN_MAX) : -ENOMEM;

	for (s64 i = 0; i < n; i++) {
		if (strchr(escape, name[i]))
			seq_printf(s, "\\%03o", (u8)name[i]);
		else
			seq_write(s, &name[i], 1);
	}
	free(name);
}

void seq_free(struct seq *s)
{
	free(s->buf);
	*s = (struct seq){ 0 };
}

/* ---- inodes ---- */

static const struct pseudo *pseudo_of(struct inode *in)
{
	return in->data;
}

static const struct pseudo_super *pseudo_super(const struct super *s)
{
	return s->data;
}

static void pseudo_owner(struct super *s, const struct pseudo *p, u32 *uid, u32 *gid)
{
	*uid = *gid = 0;
	if (pseudo_super(s)->owner)
		pseudo_super(s)->owner(p, uid, gid);
}

static u64 mix(u64 h, u64 v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 29);
}

/*
 * The same for the same thing, another when the owner changes: so a dentry in use is replaced after setuid. 32 bits
 * are plenty, since numbers are only compared under one name.
 */
static u64 pseudo_ino(const struct pseudo *p, u32 uid)
{
	u64 h = mix(mix(mix((u64)(uintptr_t)p->e, (u32)p->pid), (u64)(u32)p->tid << 32 | (u32)p->num), uid);

	return 0x100000000ull | (u32)h;
}

static const struct inode_ops *pseudo_ops(const struct pseudo_entry *e)
{
	if (S_ISDIR(e->mode))
		return &pseudo_dir_ops;
	if (S_ISLNK(e->mode))
		return e->follow ? &pseudo_magic_ops : &pseudo_link_ops;
	return &pseudo_file_inode_ops;
}

static int pseudo_inode(struct super *s, const struct pseudo *p, struct inode **out)
{
	struct pseudo *copy;
	struct inode *in;
	u32 uid, gid;

	if (p->e->inode) {
		*out = p->e->inode(p);
		return *out ? 0 : -ENOENT;
	}
	copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	in = inode_new(s, pseudo_ops(p->e), p->e->mode);
	if (!in) {
		free(copy);
		return -ENOMEM;
	}
	*copy = *p;
	pseudo_owner(s, p, &uid, &gid);
	in->uid = uid;
	in->gid = gid;
	in->data = copy;
	in->ino = pseudo_ino(p, uid);
	if (S_ISCHR(p->e->mode))
		in->rdev = p->e->arg + p->num;
	*out = in;
	return 0;
}

static void pseudo_release(struct inode *in)
{
	free(in->data);
}

static bool pseudo_exists(const struct pseudo *p)
{
	return !p->e->exists || p->e->exists(p);
}

static int pseudo_lookup(struct inode *dir, const char *name, struct inode **out)
{
	const struct pseudo *p = pseudo_of(dir);
	struct pseudo found = *p;
	int err = -ENOENT;

	*out = NULL;
	if (!pseudo_exists(p))
		return -ENOENT;
	for (found.e = p->e->children; found.e && found.e->name; found.e++)
		if (!strcmp(found.e->name, name))
			return pseudo_inode(dir->super, &found, out);
	found.e = NULL;
	if (p->e->lookup)
		err = p->e->lookup(p, name, &found);
	if (err)
		return err == -ENOENT ? 0 : err;
	return pseudo_inode(dir->super, &found, out);
}

/* Positions: 2 + index of a fixed name, then 2 + their number + the number of another. */
static int pseudo_readdir(struct inode *dir, struct file *f, u64 pos, struct dirent_sink *s)
{
	const struct pseudo *p = pseudo_of(dir);
	const struct pseudo_entry *e = p->e->children;
	struct pseudo item = *p;
	u64 at = 2, base;
	char name[32];
	int n;

	if (!pseudo_exists(p))
		return -ENOENT;
	for (; e && e->name; e++, at++) {
		item.e = e;
		if (at >= pos && !s->emit(s, e->name, strlen(e->name), pseudo_ino(&item, 0), at + 1, e->mode >> 12))
			return 0;
	}
	base = at;
	if (!p->e->next || (pos > base && pos - base > INT32_MAX))
		return 0;
	n = p->e->next(p, pos > base ? pos - base : 0, name, &item);
	for (; n >= 0; n = p->e->next(p, n + 1, name, &item)) {
		if (!s->emit(s, name, strlen(name), pseudo_ino(&item, 0), base + n + 1, item.e->mode >> 12))
			return 0;
		item = *p;
	}
	return 0;
}

static int pseudo_getattr(struct inode *in, struct stat *st)
{
	const struct pseudo *p = pseudo_of(in);
	u32 uid, gid;

	inode_stat(in, st);
	pseudo_owner(in->super, p, &uid, &gid);
	st->st_uid = uid;
	st->st_gid = gid;
	st->st_blksize = 1024;
	return 0;
}

/* Times and modes of these files mean nothing, but O_TRUNC and touch must not fail. */
static int pseudo_setattr(struct inode *in, const struct attr *a)
{
	return a->valid & (ATTR_MODE | ATTR_UID | ATTR_GID) ? -EPERM : 0;
}

static int pseudo_show(const struct pseudo *p, struct task *viewer, struct seq *s)
{
	int err = 0;

	if (p->e->show)
		err = p->e->show(s, p, viewer);
	else if (p->e->text)
		seq_puts(s, p->e->text);
	return err ? err : s->failed ? -ENOMEM : 0;
}

static s64 pseudo_readlink(struct inode *in, struct task *t, char *buf, size_t len)
{
	struct seq s = { 0 };
	int err = pseudo_show(pseudo_of(in), t, &s);
	s64 n = err ? err : (s64)MIN(len, s.len);

	if (n > 0)
		memcpy(buf, s.buf, n);
	seq_free(&s);
	return n;
}

static int pseudo_follow(struct inode *in, struct task *t, struct mount **mnt, struct dentry **out)
{
	struct path p = { NULL, NULL };
	int err = pseudo_of(in)->e->follow(pseudo_of(in), t, &p);

	if (!err) {
		*mnt = p.mnt;
		*out = p.dentry;
	}
	return err;
}

static int pseudo_open(struct inode *in, struct task *t, struct file *f)
{
	const struct pseudo *p = pseudo_of(in);
	struct snapshot *snap;

	if (p->e->open)
		return p->e->open(p, t, f);
	if (!S_ISREG(in->mode))
		return 0;
	snap = calloc(1, sizeof(*snap));
	if (!snap)
		return -ENOMEM;
	pthread_mutex_init(&snap->lock, NULL);
	f->ops = &pseudo_file_ops;
	f->data = snap;
	return 0;
}

static const struct inode_ops pseudo_dir_ops = {
	.lookup = pseudo_lookup, .readdir = pseudo_readdir, .getattr = pseudo_getattr, .setattr = pseudo_setattr,
	.release = pseudo_release,
};
static const struct inode_ops pseudo_link_ops = {
	.readlink = pseudo_readlink, .getattr = pseudo_getattr, .setattr = pseudo_setattr, .release = pseudo_release,
};
static const struct inode_ops pseudo_magic_ops = {
	.readlink = pseudo_readlink, .follow = pseudo_follow, .getattr = pseudo_getattr, .setattr = pseudo_setattr,
	.release = pseudo_release,
};
static const struct inode_ops pseudo_file_inode_ops = {
	.open = pseudo_open, .getattr = pseudo_getattr, .setattr = pseudo_setattr, .release = pseudo_release,
};

const struct pseudo *pseudo_dir(const struct inode *in)
{
	return in->ops == &pseudo_dir_ops ? in->data : NULL;
}

/* ---- open files ---- */

static int snapshot_fill(struct file *f, struct snapshot *snap, struct task *viewer)
{
	int err;

	snap->text.len = 0;
	err = pseudo_show(pseudo_of(f->inode), viewer, &snap->text);
	snap->made = !err;
	return err;
}

static s64 pseudo_read(struct file *f, struct uio *u, u64 *pos)
{
	struct snapshot *snap = f->data;
	s64 n = 0;

	pthread_mutex_lock(&snap->lock);
	if (!snap->made || !*pos)
		n = snapshot_fill(f, snap, u->task);
	if (!n && *pos < snap->text.len) {
		n = uio_put(u, snap->text.buf + *pos, snap->text.len - *pos);
		*pos += n;
	}
	pthread_mutex_unlock(&snap->lock);
	return n;
}

static s64 pseudo_write(struct file *f, struct uio *u, u64 *pos)
{
	const struct pseudo *p = pseudo_of(f->inode);
	char data[STORE_MAX + 1];
	u64 len = MIN(u->len, (u64)STORE_MAX);
	s64 n;

	if (!p->e->store)
		return -EINVAL;
	uio_get(u, data, len);
	data[len] = 0;
	n = p->e->store(p, u->task, data, len);
	if (n > 0)
		*pos += n;
	return n;
}

static s64 pseudo_seek(struct file *f, s64 offset, int whence)
{
	if (whence == SEEK_CUR)
		offset += f->pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	if (offset < 0)
		return -EINVAL;
	return f->pos = offset;
}

static void pseudo_file_release(struct file *f)
{
	struct snapshot *snap = f->data;

	if (!snap)
		return;
	pthread_mutex_destroy(&snap->lock);
	seq_free(&snap->text);
	free(snap);
}

static const struct file_ops pseudo_file_ops = {
	.read = pseudo_read,
	.write = pseudo_write,
	.seek = pseudo_seek,
	.release = pseudo_file_release,
};

/* ---- the file system ---- */

static int pseudo_statfs(struct super *s, void *buf)
{
	*(struct statfs *)buf = (struct statfs){
		.f_type = pseudo_super(s)->magic, .f_bsize = PAGE_SIZE, .f_frsize = PAGE_SIZE, .f_namelen = NAME_LEN_MAX,
	};
	return 0;
}

int pseudo_create(const char *type, u32 magic, const struct pseudo_entry *root, pseudo_owner_fn owner, struct super **out)
{
	struct super *s = super_new(type, type, 0);
	struct pseudo_super *ps = calloc(1, sizeof(*ps));
	struct pseudo top = { .e = root };
	struct inode *in;
	int err = -ENOMEM;

	if (!s || !ps)
		goto fail;
	ps->magic = magic;
	ps->owner = owner;
	s->data = ps;
	s->statfs = pseudo_statfs;
	s->dentry_uncached = 1;
	err = pseudo_inode(s, &top, &in);
	if (err)
		goto fail;
	in->ino = ROOT_INO;
	err = super_set_root(s, in);
	if (err)
		goto fail;
	*out = s;
	return 0;
fail:
	free(ps);
	if (s)
		super_put(s);
	return err;
}
