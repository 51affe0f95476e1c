/* stat, statx, access, readlink, statfs and their relatives. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "syscall/file_calls.h"

_Static_assert(sizeof(struct stat) == 144, "libc's struct stat is the kernel's on x86-64");
_Static_assert(sizeof(struct statfs) == 120, "and so is struct statfs");

#define AT_STATX_FLAGS	0x6000		/* AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC */
#define STAT_AT_FLAGS	(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_FLAGS)

static long stat_fd(struct task *t, int fd, struct stat *st)
{
	struct file *f = fd_get(t->files, fd);
	int err;

	if (!f)
		return -EBADF;
	err = vfs_stat_inode(t, f->inode, st);
	file_put(f);
	return err;
}

/* The common way in for newfstatat and statx: an empty name with AT_EMPTY_PATH is the descriptor itself. */
static int stat_at(struct task *t, int dirfd, u64 name_gva, u32 at, struct stat *st, struct statx *stx)
{
	char name[PATH_LEN_MAX] = "";
	struct path p;
	int err = 0;

	if (at & ~STAT_AT_FLAGS)
		return -EINVAL;
	if (name_gva || !(at & AT_EMPTY_PATH))
		err = path_in(t, name, name_gva);
	if (err)
		return err;
	if (!*name && (at & AT_EMPTY_PATH) && dirfd != AT_FDCWD && !stx)
		return stat_fd(t, dirfd, st);
	err = path_walk(t, dirfd, name, (at & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) |
			(at & AT_EMPTY_PATH ? WALK_EMPTY : 0), &p);
	if (err)
		return err;
	err = vfs_stat(t, &p, st);
	if (stx) {
		struct timespec b = p.dentry->inode->btime;

		stx->stx_btime = (struct statx_timestamp){ .tv_sec = b.tv_sec, .tv_nsec = b.tv_nsec };
		stx->stx_mask = STATX_BASIC_STATS | (b.tv_sec ? STATX_BTIME : 0) | STATX_MNT_ID;
		stx->stx_mnt_id = p.mnt->id;
		stx->stx_attributes_mask = STATX_ATTR_MOUNT_ROOT;
		if (p.dentry == p.mnt->root)
			stx->stx_attributes |= STATX_ATTR_MOUNT_ROOT;
	}
	path_put(&p);
	return err;
}

static long stat_out(struct task *t, u64 gva, const struct stat *st, int err)
{
	return err ? err : put_user(t->mm, gva, st);
}

long sys_stat(struct task *t, const u64 *arg)
{
	struct stat st;

	return stat_out(t, arg[1], &st, stat_at(t, AT_FDCWD, arg[0], 0, &st, NULL));
}

long sys_lstat(struct task *t, const u64 *arg)
{
	struct stat st;

	return stat_out(t, arg[1], &st, stat_at(t, AT_FDCWD, arg[0], AT_SYMLINK_NOFOLLOW, &st, NULL));
}

long sys_fstat(struct task *t, const u64 *arg)
{
	struct stat st;

	return stat_out(t, arg[1], &st, stat_fd(t, arg[0], &st));
}

long sys_newfstatat(struct task *t, const u64 *arg)
{
	struct stat st;

	return stat_out(t, arg[2], &st, stat_at(t, arg[0], arg[1], arg[3], &st, NULL));
}

static struct statx_timestamp stamp(struct timespec ts)
{
	return (struct statx_timestamp){ .tv_sec = ts.tv_sec, .tv_nsec = ts.tv_nsec };
}

static void statx_fill(struct statx *x, const struct stat *st)
{
	x->stx_blksize = st->st_blksize;
	x->stx_nlink = st->st_nlink;
	x->stx_uid = st->st_uid;
	x->stx_gid = st->st_gid;
	x->stx_mode = st->st_mode;
	x->stx_ino = st->st_ino;
	x->stx_size = st->st_size;
	x->stx_blocks = st->st_blocks;
	x->stx_atime = stamp(st->st_atim);
	x->stx_mtime = stamp(st->st_mtim);
	x->stx_ctime = stamp(st->st_ctim);
	x->stx_rdev_major = major(st->st_rdev);
	x->stx_rdev_minor = minor(st->st_rdev);
	x->stx_dev_major = major(st->st_dev);
	x->stx_dev_minor = minor(st->st_dev);
}

long sys_statx(struct task *t, const u64 *arg)
{
	struct statx x = { .stx_mask = 0 };
	struct stat st;
	int err;

	if ((arg[2] & AT_STATX_FLAGS) == AT_STATX_FLAGS || ((u32)arg[3] & STATX__RESERVED))
		return -EINVAL;
	err = stat_at(t, arg[0], arg[1], arg[2], &st, &x);
	if (err)
		return err;
	statx_fill(&x, &st);
	return put_user(t->mm, arg[4], &x);
}

/* ---- access ---- */

/* The credentials of the real user, as access(2) asks for. */
static void real_cred(struct cred *c, const struct cred *of)
{
	*c = *of;
	c->fsuid = of->uid;
	c->fsgid = of->gid;
	c->cap_effective = of->uid ? 0 : of->cap_permitted;
}

static long access_call(struct task *t, int dirfd, u64 name_gva, u32 mode, u32 at)
{
	char name[PATH_LEN_MAX];
	struct inode *in;
	struct cred c;
	struct path p;
	int err;

	if ((mode & ~(R_OK | W_OK | X_OK)) || (at & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
		return -EINVAL;
	err = path_in(t, name, name_gva);
	if (err)
		return err;
	if (at & AT_EACCESS)
		c = *t->cred;
	else
		real_cred(&c, t->cred);
	err = path_walk_cred(t, &c, dirfd, name, (at & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) |
			     (at & AT_EMPTY_PATH ? WALK_EMPTY : 0), &p);
	if (err)
		return err;
	in = p.dentry->inode;
	if ((mode & X_OK) && S_ISREG(in->mode) && (p.mnt->flags & ST_NOEXEC))
		err = -EACCES;
	if (!err && mode)
		err = inode_permission(&c, in, mode);
	if (!err && (mode & W_OK) && mount_readonly(p.mnt) && (S_ISREG(in->mode) || S_ISDIR(in->mode)))
		err = -EROFS;
	path_put(&p);
	return err;
}

long sys_access(struct task *t, const u64 *arg) { return access_call(t, AT_FDCWD, arg[0], arg[1], 0); }
long sys_faccessat(struct task *t, const u64 *arg) { return access_call(t, arg[0], arg[1], arg[2], 0); }
long sys_faccessat2(struct task *t, const u64 *arg) { return access_call(t, arg[0], arg[1], arg[2], arg[3]); }

/* ---- readlink ---- */

static long readlink_call(struct task *t, int dirfd, u64 name_gva, u64 buf_gva, s32 size)
{
	char name[PATH_LEN_MAX], buf[PATH_LEN_MAX];
	struct inode *in;
	struct path p;
	s64 len;

	if (size <= 0)
		return -EINVAL;
	len = path_in(t, name, name_gva);
	if (!len)
		len = path_walk(t, dirfd, name, WALK_NOFOLLOW | WALK_EMPTY, &p);
	if (len)
		return len;
	in = p.dentry->inode;
	if (!S_ISLNK(in->mode))
		len = *name ? -EINVAL : -ENOENT;
	else
		len = in->ops->readlink ? in->ops->readlink(in, t, buf, MIN((size_t)size, sizeof(buf))) : -EINVAL;
	if (len > 0 && copy_out(t->mm, buf_gva, buf, len))
		len = -EFAULT;
	path_put(&p);
	return len;
}

long sys_readlink(struct task *t, const u64 *arg) { return readlink_call(t, AT_FDCWD, arg[0], arg[1], arg[2]); }
long sys_readlinkat(struct task *t, const u64 *arg) { return readlink_call(t, arg[0], arg[1], arg[2], arg[3]); }

/* ---- statfs ---- */

static long statfs_out(struct task *t, struct super *s, u32 mount_flags, u64 gva)
{
	struct statfs st = { .f_type = ANON_INODE_FS_MAGIC, .f_bsize = PAGE_SIZE, .f_namelen = NAME_LEN_MAX };
	int err = s->statfs ? s->statfs(s, &st) : 0;

	if (err)
		return err;
	st.f_flags = 0x20 | s->flags | mount_flags;	/* ST_VALID: the flags mean something */
	if (!st.f_frsize)
		st.f_frsize = st.f_bsize;
	memcpy(&st.f_fsid, &s->dev, sizeof(st.f_fsid));
	return put_user(t->mm, gva, &st);
}

long sys_statfs(struct task *t, const u64 *arg)
{
	struct path p;
	long ret = walk_in(t, AT_FDCWD, arg[0], 0, &p);

	if (ret)
		return ret;
	ret = statfs_out(t, p.dentry->super, p.mnt->flags, arg[1]);
	path_put(&p);
	return ret;
}

long sys_fstatfs(struct task *t, const u64 *arg)
{
	struct file *f = fd_get(t->files, arg[0]);
	long ret;

	if (!f)
		return -EBADF;
	ret = statfs_out(t, f->inode->super, f->path.mnt ? f->path.mnt->flags : 0, arg[1]);
	file_put(f);
	return ret;
}

/* ---- the old ones ---- */

struct ustat_kernel {
	s32 free_blocks;
	u64 free_inodes;
	char name[6], pack[6];
};
_Static_assert(sizeof(struct ustat_kernel) == 32, "struct ustat of the x86-64 ABI");

struct by_dev {
	u64 dev;
	struct super *super;
};

static bool mount_is(struct mount *m, void *arg)
{
	struct by_dev *want = arg;

	if (m->super->dev != want->dev)
		return true;
	want->super = m->super;
	super_get(m->super);
	return false;
}

long sys_ustat(struct task *t, const u64 *arg)
{
	struct by_dev want = { .dev = (u32)arg[0] };
	struct ustat_kernel u = { 0 };
	struct statfs st = { 0 };

	mount_for_each(t->place->ns, mount_is, &want);
	if (!want.super)
		return -EINVAL;
	if (want.super->statfs)
		want.super->statfs(want.super, &st);
	super_put(want.super);
	u.free_blocks = st.f_bfree;
	u.free_inodes = st.f_ffree;
	return put_user(t->mm, arg[1], &u);
}

/* sysfs(2): file system types by number and name. */
long sys_sysfs(struct task *t, const u64 *arg)
{
	static const char *const types[] = { "sysfs", "tmpfs", "proc", "devpts", "overlay" };
	char name[32];
	s64 len;

	switch ((s32)arg[0]) {
	case 1:
		len = copy_in_str(t->mm, name, arg[1], sizeof(name));
		if (len < 0)
			return len == -ENAMETOOLONG ? -EINVAL : len;
		for (size_t i = 0; i < ARRAY_SIZE(types); i++)
			if (!strcmp(types[i], name))
				return i;
		return -EINVAL;
	case 2:
		if (arg[1] >= ARRAY_SIZE(types))
			return -EINVAL;
		return copy_out(t->mm, arg[2], types[arg[1]], strlen(types[arg[1]]) + 1);
	case 3:
		return ARRAY_SIZE(types);
	default:
		return -EINVAL;
	}
}
