/*
 * Loop devices: regular files of the guest's that are read and written as block devices. Nothing here reaches further
 * than the file itself does: no file system can be mounted from them (mount(2) knows none that stands on a device).
 *
 * A hostile guest may detach, resize or truncate what another task is reading: each transfer takes the file, its bounds
 * and a reference under the lock, and the file's own operations do the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <string.h>

#include "fs/special.h"
#include "task/task.h"

#define SECTOR		512
#define LOOP_FLAGS	(LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN)	/* no partition is ever found */

static struct loop {
	pthread_mutex_t lock;		/* all below */
	struct file *backing;		/* with a reference; NULL: free */
	struct loop_info64 info;	/* as the guest set it; lo_flags hold LO_FLAGS_READ_ONLY */
	u64 size;			/* bytes */
	u64 readahead;			/* sectors; kept for who asks, as is: */
	u32 block;			/* bytes */
	int opens;
} loops[LOOP_DEVICES] = { [0 ... LOOP_DEVICES - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER, .readahead = 256, .block = SECTOR } };

/* ---- attach and detach: loop->lock held ---- */

static int measure(struct loop *l, struct task *t)
{
	u64 skip = l->info.lo_offset, size;
	struct stat st;
	int err = vfs_stat_inode(t, l->backing->inode, &st);

	if (err)
		return err;
	size = (u64)st.st_size > skip ? st.st_size - skip : 0;
	if (l->info.lo_sizelimit)
		size = MIN(size, (u64)l->info.lo_sizelimit);
	l->size = size - size % SECTOR;
	return 0;
}

static struct file *detach(struct loop *l)
{
	struct file *f = l->backing;

	l->backing = NULL;
	l->size = 0;
	l->block = SECTOR;
	memset(&l->info, 0, sizeof(l->info));
	return f;
}

static int set_info(struct loop *l, struct task *t, const struct loop_info64 *new)
{
	u32 keep = l->info.lo_flags & (LO_FLAGS_READ_ONLY | LO_FLAGS_PARTSCAN);

	if (!l->backing)
		return -ENXIO;
	if (new->lo_offset > INT64_MAX || new->lo_sizelimit > INT64_MAX || new->lo_encrypt_type)
		return -EINVAL;
	l->info = *new;
	l->info.lo_flags = (new->lo_flags & (LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN)) | keep;
	l->info.lo_file_name[LO_NAME_SIZE - 1] = 0;
	return measure(l, t);
}

/* One that appends can't be written at a place. */
static bool usable(const struct file *f)
{
	return S_ISREG(f->inode->mode) && f->ops->read && (f->flags & O_ACCMODE) != O_WRONLY && !(f->flags & O_APPEND);
}

/* Takes the reference of `f` over; not on failure. */
static int attach(struct loop *l, struct task *t, struct file *f, const struct loop_info64 *info)
{
	u32 mode = f->flags & O_ACCMODE;
	int err;

	if (!usable(f))
		return -EINVAL;
	if (l->backing)
		return -EBUSY;
	l->backing = f;
	l->info.lo_flags = mode == O_RDONLY || !f->ops->write ? LO_FLAGS_READ_ONLY : info->lo_flags & LO_FLAGS_READ_ONLY;
	err = set_info(l, t, info);
	if (err)
		detach(l);
	return err;
}

/* ---- reading and writing ---- */

/* What [pos, end) of the device is in the file; the file with a reference, or NULL at the end. */
static struct file *locate(struct loop *l, bool write, u64 pos, u64 *at, u64 *left, s64 *err)
{
	struct file *f = NULL;

	pthread_mutex_lock(&l->lock);
	if (write && (l->info.lo_flags & LO_FLAGS_READ_ONLY)) {
		*err = -EPERM;
	} else if (pos >= l->size) {
		*err = write ? -ENOSPC : 0;
	} else {
		f = l->backing;
		file_get(f);
		*at = l->info.lo_offset + pos;
		*left = l->size - pos;
	}
	pthread_mutex_unlock(&l->lock);
	return f;
}

static s64 transfer(struct file *f, struct uio *u, u64 *pos, bool write)
{
	u64 at = 0, left = 0, done = 0;
	s64 n = 0;
	struct file *backing = u->len ? locate(f->data, write, *pos, &at, &left, &n) : NULL;

	if (!backing)
		return n;
	while (left && u->len && u->iovcnt) {
		struct iovec iov = { u->iov->iov_base, MIN(u->iov->iov_len, left) };
		struct uio part = { .iov = &iov, .iovcnt = 1, .len = iov.iov_len, .task = u->task };

		if (!iov.iov_len) {
			u->iov++;
			u->iovcnt--;
			continue;
		}
		n = write ? backing->ops->write(backing, &part, &at) : backing->ops->read(backing, &part, &at);
		if (n <= 0)
			break;
		uio_advance(u, n);
		left -= n;
		done += n;
	}
	file_put(backing);
	*pos += done;
	return done ? (s64)done : n;
}

static s64 loop_read(struct file *f, struct uio *u, u64 *pos) { return transfer(f, u, pos, false); }
static s64 loop_write(struct file *f, struct uio *u, u64 *pos) { return transfer(f, u, pos, true); }

static s64 loop_seek(struct file *f, s64 offset, int whence)
{
	struct loop *l = f->data;
	s64 base = 0, size;

	pthread_mutex_lock(&l->lock);
	size = l->size;
	pthread_mutex_unlock(&l->lock);
	if (whence == SEEK_CUR)
		base = f->pos;
	else if (whence == SEEK_END)
		base = size;
	else if (whence != SEEK_SET)
		return -EINVAL;
	if (__builtin_add_overflow(base, offset, &offset) || offset < 0 || offset > size)
		return -EINVAL;
	return f->pos = offset;
}

static int loop_fsync(struct file *f, bool data_only)
{
	struct loop *l = f->data;
	struct file *backing;
	int err = 0;

	pthread_mutex_lock(&l->lock);
	backing = l->backing;
	if (backing)
		file_get(backing);
	pthread_mutex_unlock(&l->lock);
	if (backing && backing->ops->fsync)
		err = backing->ops->fsync(backing, data_only);
	file_put(backing);
	return err;
}

static void loop_release(struct file *f)
{
	struct loop *l = f->data;
	struct file *gone = NULL;

	pthread_mutex_lock(&l->lock);
	if (!--l->opens && (l->info.lo_flags & LO_FLAGS_AUTOCLEAR))
		gone = detach(l);
	pthread_mutex_unlock(&l->lock);
	file_put(gone);
}

/* ---- ioctl ---- */

static s64 set_file(struct loop *l, struct task *t, int fd, const struct loop_info64 *info, u32 block)
{
	struct file *f = fd_get_io(t->files, fd);
	int err;

	if (!f)
		return -EBADF;
	pthread_mutex_lock(&l->lock);
	err = attach(l, t, f, info);
	if (!err)
		l->block = block;
	pthread_mutex_unlock(&l->lock);
	/* Not under the lock: it may be the last reference of an open loop device, whose release takes it. */
	if (err)
		file_put(f);
	return err;
}

static bool block_ok(u64 size)
{
	return size >= SECTOR && size <= PAGE_SIZE && !(size & (size - 1));
}

static s64 set_block(struct loop *l, u64 size)
{
	int err = -EINVAL;

	pthread_mutex_lock(&l->lock);
	if (!l->backing)
		err = -ENXIO;
	else if (block_ok(size))
		err = 0;
	if (!err)
		l->block = size;
	pthread_mutex_unlock(&l->lock);
	return err;
}

/* Another file of the same size in place of the one that only is read. */
static s64 change_file(struct loop *l, struct task *t, int fd)
{
	struct file *f = fd_get_io(t->files, fd), *old;
	u64 size;
	int err;

	if (!f)
		return -EBADF;
	pthread_mutex_lock(&l->lock);
	old = l->backing;
	size = l->size;
	err = !old ? -ENXIO : (l->info.lo_flags & LO_FLAGS_READ_ONLY) && usable(f) ? 0 : -EINVAL;
	if (!err) {
		l->backing = f;
		err = measure(l, t);
		if (!err && l->size != size)
			err = -EINVAL;
		if (err) {
			l->backing = old;
			l->size = size;
		}
	}
	pthread_mutex_unlock(&l->lock);
	file_put(err ? f : old);
	return err;
}

static s64 configure(struct loop *l, struct task *t, gva_t arg)
{
	struct loop_config c;

	if (get_user(t->mm, &c, arg))
		return -EFAULT;
	if ((c.info.lo_flags & ~LOOP_FLAGS) || (c.block_size && !block_ok(c.block_size)))
		return -EINVAL;
	return set_file(l, t, (int)c.fd, &c.info, c.block_size ? c.block_size : SECTOR);
}

static s64 clear(struct loop *l)
{
	struct file *gone;

	pthread_mutex_lock(&l->lock);
	gone = detach(l);
	pthread_mutex_unlock(&l->lock);
	if (!gone)
		return -ENXIO;
	file_put(gone);
	return 0;
}

static s64 get_status(struct loop *l, struct task *t, u32 cmd, gva_t arg)
{
	struct loop_info64 new = { 0 };
	struct loop_info old = { 0 };
	struct stat st = { 0 };
	int err;

	pthread_mutex_lock(&l->lock);
	err = l->backing ? vfs_stat_inode(t, l->backing->inode, &st) : -ENXIO;
	if (!err)
		new = l->info;
	pthread_mutex_unlock(&l->lock);
	if (err)
		return err;
	new.lo_number = l - loops;
	new.lo_device = st.st_dev;
	new.lo_inode = st.st_ino;
	if (cmd == LOOP_GET_STATUS64)
		return put_user(t->mm, arg, &new);
	old.lo_number = new.lo_number;
	old.lo_device = new.lo_device;
	old.lo_inode = new.lo_inode;
	old.lo_offset = new.lo_offset;
	old.lo_flags = new.lo_flags;
	memcpy(old.lo_name, new.lo_file_name, LO_NAME_SIZE);
	if ((u64)old.lo_offset != new.lo_offset || old.lo_inode != new.lo_inode)
		return -EOVERFLOW;
	return put_user(t->mm, arg, &old);
}

static s64 set_status(struct loop *l, struct task *t, u32 cmd, gva_t arg)
{
	struct loop_info64 new = { 0 };
	struct loop_info old;
	int err;

	if (cmd == LOOP_SET_STATUS64) {
		if (get_user(t->mm, &new, arg))
			return -EFAULT;
	} else {
		if (get_user(t->mm, &old, arg))
			return -EFAULT;
		new.lo_offset = (s64)old.lo_offset;
		new.lo_encrypt_type = old.lo_encrypt_type;
		new.lo_flags = old.lo_flags;
		memcpy(new.lo_file_name, old.lo_name, LO_NAME_SIZE);
	}
	pthread_mutex_lock(&l->lock);
	err = set_info(l, t, &new);
	pthread_mutex_unlock(&l->lock);
	return err;
}

static s64 set_capacity(struct loop *l, struct task *t)
{
	int err;

	pthread_mutex_lock(&l->lock);
	err = l->backing ? measure(l, t) : -ENXIO;
	pthread_mutex_unlock(&l->lock);
	return err;
}

static s64 put_u64(struct task *t, gva_t arg, u64 v) { return put_user(t->mm, arg, &v); }
static s64 put_int(struct task *t, gva_t arg, int v) { return put_user(t->mm, arg, &v); }

/* What any block device answers. */
static s64 block_get(struct loop *l, struct task *t, u32 cmd, gva_t arg)
{
	u64 size, readahead;
	bool readonly;
	u32 block;

	pthread_mutex_lock(&l->lock);
	size = l->size;
	readahead = l->readahead;
	block = l->block;
	readonly = l->info.lo_flags & LO_FLAGS_READ_ONLY;
	pthread_mutex_unlock(&l->lock);
	switch (cmd) {
	case BLKGETSIZE64:
		return put_u64(t, arg, size);
	case BLKGETSIZE:
		return put_u64(t, arg, size / SECTOR);
	case BLKRAGET:
	case BLKFRAGET:
		return put_u64(t, arg, readahead);
	case BLKROGET:
		return put_int(t, arg, readonly);
	case BLKSSZGET:
	case BLKPBSZGET:
	case BLKIOMIN:
		return put_int(t, arg, block);
	case BLKBSZGET:
		return put_int(t, arg, PAGE_SIZE);
	default:
		return -ENOTTY;
	}
}

static s64 block_set(struct loop *l, struct task *t, u32 cmd, u64 arg)
{
	int readonly = 0;

	if (!cred_capable(t->cred, CAP_SYS_ADMIN))
		return -EACCES;
	if (cmd == BLKROSET && get_user(t->mm, &readonly, arg))
		return -EFAULT;
	pthread_mutex_lock(&l->lock);
	if (cmd == BLKRASET || cmd == BLKFRASET)
		l->readahead = arg;
	else if (readonly || !l->backing || (l->backing->flags & O_ACCMODE) == O_RDONLY)
		l->info.lo_flags |= LO_FLAGS_READ_ONLY;
	else
		l->info.lo_flags &= ~LO_FLAGS_READ_ONLY;
	pthread_mutex_unlock(&l->lock);
	return 0;
}

static s64 loop_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	static const struct loop_info64 plain;
	bool may_change = (f->flags & O_ACCMODE) != O_RDONLY || cred_capable(t->cred, CAP_SYS_ADMIN);
	struct loop *l = f->data;

	switch (cmd) {
	case LOOP_SET_FD:
		return set_file(l, t, (int)arg, &plain, SECTOR);
	case LOOP_CONFIGURE:
		return configure(l, t, arg);
	case LOOP_CLR_FD:
		return clear(l);
	case LOOP_GET_STATUS:
	case LOOP_GET_STATUS64:
		return get_status(l, t, cmd, arg);
	case LOOP_SET_STATUS:
	case LOOP_SET_STATUS64:
		return may_change ? set_status(l, t, cmd, arg) : -EPERM;
	case LOOP_CHANGE_FD:
		return change_file(l, t, (int)arg);
	case LOOP_SET_BLOCK_SIZE:
		return may_change ? set_block(l, arg) : -EPERM;
	case LOOP_SET_CAPACITY:
		return may_change ? set_capacity(l, t) : -EPERM;
	case BLKROSET:
	case BLKRASET:
	case BLKFRASET:
		return block_set(l, t, cmd, arg);
	case BLKFLSBUF:
		return cred_capable(t->cred, CAP_SYS_ADMIN) ? loop_fsync(f, false) : -EACCES;
	default:
		return block_get(l, t, cmd, arg);
	}
}

static const struct file_ops loop_ops = {
	.read		= loop_read,
	.write		= loop_write,
	.seek		= loop_seek,
	.ioctl		= loop_ioctl,
	.fsync		= loop_fsync,
	.release	= loop_release,
};

int loop_open(u32 number, struct file *f)
{
	struct loop *l = &loops[number];

	if (number >= LOOP_DEVICES)
		return -ENXIO;
	pthread_mutex_lock(&l->lock);
	l->opens++;
	pthread_mutex_unlock(&l->lock);
	f->data = l;
	f->ops = &loop_ops;
	return 0;
}

void loop_facts(u32 number, struct loop_facts *out)
{
	struct loop *l = &loops[number];

	*out = (struct loop_facts){ 0 };
	pthread_mutex_lock(&l->lock);
	out->file = l->backing;
	if (out->file)
		file_get(out->file);
	out->sectors = l->size / SECTOR;
	out->offset = l->info.lo_offset;
	out->limit = l->info.lo_sizelimit;
	out->readonly = l->info.lo_flags & LO_FLAGS_READ_ONLY;
	out->autoclear = l->info.lo_flags & LO_FLAGS_AUTOCLEAR;
	out->partscan = l->info.lo_flags & LO_FLAGS_PARTSCAN;
	pthread_mutex_unlock(&l->lock);
}

/* ---- /dev/loop-control ---- */

static s64 control_ioctl(struct file *f, struct task *t, u32 cmd, u64 arg)
{
	if (cmd == LOOP_CTL_ADD)
		return arg < LOOP_DEVICES ? -EEXIST : -ENOSPC;
	if (cmd != LOOP_CTL_GET_FREE)
		return -ENOSYS;
	for (int i = 0; i < LOOP_DEVICES; i++) {
		bool used;

		pthread_mutex_lock(&loops[i].lock);
		used = loops[i].backing;
		pthread_mutex_unlock(&loops[i].lock);
		if (!used)
			return i;
	}
	return -ENOSPC;
}

const struct file_ops loop_control_ops = { .ioctl = control_ioctl };
