/*
 * System V shared memory: a segment is a file in memory without a name, and attaching maps it.
 *
 * Each attachment opens the file anew (read-only if asked for), so the mappings say by their file which segment they
 * show, and a segment that was removed ends when the last of those files is gone. The number of attachments is the
 * number of mappings on the file's page cache. Segment and file: the segment holds the inode; open files hold the segment.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "fs/memfs.h"
#include "ipc/ipc.h"
#include "task/clock.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY	15
#endif
#define SHM_DEST_BIT	01000
#define SHM_LOCKED_BIT	02000

struct shm {
	struct ipc_object obj;
	struct file *file;		/* immutable: names the inode; attachments are files of their own on it */
	u64 size;			/* immutable */
	/* obj.lock */
	s64 atime, dtime, ctime;
	int cpid, lpid;
	int opens;			/* attachments' files */
};

static void shm_destroy(struct ipc_object *o);

struct ipc_table shm_table = IPC_TABLE(SHM_MNI, shm_destroy);
static _Atomic u64 shm_pages;		/* of all segments */

static struct shm *shm_of(struct ipc_object *o) { return CONTAINER_OF(o, struct shm, obj); }

static s64 now(void) { return clock_now(CLOCK_REALTIME) / NSEC_PER_SEC; }

static void shm_destroy(struct ipc_object *o)
{
	struct shm *s = shm_of(o);

	if (s->file) {
		file_put(s->file);
		atomic_fetch_sub(&shm_pages, page_up(s->size) >> PAGE_SHIFT);
	}
	free(s);
}

/* ---- attachments as files ---- */

static void attachment_release(struct file *f)
{
	struct shm *s = f->data;
	bool last;

	pthread_mutex_lock(&s->obj.lock);
	s->dtime = now();
	last = !--s->opens && s->obj.removed;
	pthread_mutex_unlock(&s->obj.lock);
	if (last)
		ipc_unlink(&shm_table, &s->obj);
	ipc_put(&shm_table, &s->obj);
}

static const struct file_ops attachment_ops = {
	.read = mem_read, .write = mem_write, .seek = file_seek_generic, .release = attachment_release,
};

static bool is_attachment(const struct file *f) { return f->ops == &attachment_ops; }

/* s->obj.lock is not held. Takes a reference on the segment, which the file then has. */
static struct file *attachment_open(struct shm *s, u32 flags)
{
	struct file *f = file_new(s->file->inode, &attachment_ops, flags);

	if (!f)
		return NULL;
	f->path = s->file->path;
	path_get(&f->path);
	f->data = s;
	atomic_fetch_add(&s->obj.refs, 1);
	pthread_mutex_lock(&s->obj.lock);
	s->opens++;
	pthread_mutex_unlock(&s->obj.lock);
	return f;
}

static u64 attachments(struct shm *s)
{
	struct page_cache *pc = s->file->inode->cache;
	struct vma *v;
	u64 n = 0;

	pthread_mutex_lock(&pc->lock);
	LIST_FOREACH(v, &pc->maps, cache_link)
		n++;
	pthread_mutex_unlock(&pc->lock);
	return n;
}

/* ---- shmget ---- */

static int file_make(struct shm *s, const struct ipc_get *g)
{
	char name[32];
	int err;

	snprintf(name, sizeof(name), "/SYSV%08x (deleted)", (u32)g->key);
	err = mem_unnamed_file(g->t, name, O_RDWR, &s->file);
	if (err)
		return err;
	err = page_cache_truncate(s->file->inode->cache, g->size);
	if (err) {
		file_put(s->file);
		s->file = NULL;
	}
	return err;
}

static struct ipc_object *shm_make(const struct ipc_get *g, int *err)
{
	u64 pages = page_up(g->size) >> PAGE_SHIFT;
	struct shm *s;

	*err = -EINVAL;
	if (!g->size || g->size > MIN((u64)sysctl_shmmax.value, SHM_MAX))
		return NULL;
	/* No huge pages are set aside, as on most machines; who may not lock that much may not ask for them either. */
	*err = -EPERM;
	if ((g->flags & SHM_HUGETLB) && !cred_capable(g->t->cred, CAP_IPC_LOCK) && g->size > task_rlimit(g->t, RLIMIT_MEMLOCK))
		return NULL;
	*err = g->flags & SHM_HUGETLB ? -ENOMEM : -ENOSPC;
	if (g->flags & SHM_HUGETLB || pages > (1ull << 40))
		return NULL;
	*err = -ENOMEM;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	ipc_object_init(&s->obj, g);
	s->size = g->size;
	s->ctime = now();
	s->cpid = g->t->tg->tgid;
	*err = file_make(s, g);
	if (*err) {
		ipc_put(&shm_table, &s->obj);
		return NULL;
	}
	atomic_fetch_add(&shm_pages, pages);
	return &s->obj;
}

static int shm_check(struct ipc_object *o, const struct ipc_get *g)
{
	return g->size > shm_of(o)->size ? -EINVAL : 0;
}

long shm_get(struct task *t, int key, u64 size, int flags)
{
	struct ipc_get g = { .t = t, .key = key, .flags = flags, .size = size, .make = shm_make, .check = shm_check };

	return ipc_get(&shm_table, &g);
}

/* ---- shmat, shmdt ---- */

static int attach_request(struct task *t, gva_t addr, int flags, struct map_request *req)
{
	u64 limit = task_rlimit(t, RLIMIT_AS);

	*req = (struct map_request){
		.addr = addr, .prot = PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0),
		.flags = MAP_SHARED, .limit_as = limit == RLIM_INFINITY ? 0 : MAX(limit, (u64)1),
	};
	if (!addr)
		return flags & SHM_REMAP ? -EINVAL : 0;
	if (addr & ~PAGE_MASK) {
		if (!(flags & SHM_RND))
			return -EINVAL;
		req->addr = page_down(addr);
		if (!req->addr && (flags & SHM_REMAP))
			return -EINVAL;
	}
	if (req->addr)
		req->flags |= flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	return 0;
}

static int attach_allowed(struct shm *s, struct task *t, int flags)
{
	u32 want = IPC_READ | (flags & SHM_RDONLY ? 0 : IPC_WRITE) | (flags & SHM_EXEC ? IPC_EXEC : 0);
	int err;

	pthread_mutex_lock(&s->obj.lock);
	err = ipc_permission(&s->obj, t, want);
	if (!err && s->obj.removed && !s->opens)
		err = -EIDRM;
	pthread_mutex_unlock(&s->obj.lock);
	return err;
}

static s64 attach(struct shm *s, struct task *t, struct map_request *req, int flags)
{
	s64 addr;

	req->file = attachment_open(s, flags & SHM_RDONLY ? O_RDONLY : O_RDWR);
	if (!req->file)
		return -ENOMEM;
	req->len = s->size;
	addr = mm_map(t->mm, req);
	if (addr >= 0) {
		pthread_mutex_lock(&s->obj.lock);
		s->atime = now();
		s->lpid = t->tg->tgid;
		pthread_mutex_unlock(&s->obj.lock);
	}
	file_put(req->file);
	return addr == -EEXIST ? -EINVAL : addr;
}

long shm_attach(struct task *t, int id, gva_t addr, int flags)
{
	struct map_request req;
	struct ipc_object *o;
	s64 r;

	if (id < 0)
		return -EINVAL;
	r = attach_request(t, addr, flags, &req);
	if (!r)
		r = ipc_find(&shm_table, id, &o);
	if (r)
		return r;
	r = attach_allowed(shm_of(o), t, flags);
	if (!r)
		r = attach(shm_of(o), t, &req, flags);
	ipc_put(&shm_table, o);
	return r;
}

/* The first mapping at or above `at` that shows the segment as attached at `addr`; its file gets a reference the first time. */
static bool attached_range(struct mm *mm, gva_t at, gva_t addr, struct file **f, gva_t range[2])
{
	struct vma *v;
	bool found = false;

	pthread_mutex_lock(&mm->lock);
	for (v = vma_next(mm, at); v && !found; v = found ? v : vma_next(mm, v->end)) {
		if (*f && v->start - addr >= page_up((*f)->inode->cache->size))
			break;
		if (!v->file || (*f ? v->file != *f : !is_attachment(v->file)) || v->start < addr || v->start - addr != v->offset)
			continue;
		found = true;
		range[0] = v->start;
		range[1] = v->end;
		if (!*f) {
			*f = v->file;
			file_get(*f);
		}
	}
	pthread_mutex_unlock(&mm->lock);
	return found;
}

long shm_detach(struct task *t, gva_t addr)
{
	struct file *f = NULL;
	gva_t range[2], at = addr;
	struct shm *s;

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	/* Parts may have been unmapped, or their access changed: what is left of it goes, other mappings stay. */
	while (attached_range(t->mm, at, addr, &f, range)) {
		mm_unmap(t->mm, range[0], range[1] - range[0]);
		at = range[1];
	}
	if (!f)
		return -EINVAL;
	s = f->data;
	pthread_mutex_lock(&s->obj.lock);
	s->lpid = t->tg->tgid;
	s->dtime = now();
	pthread_mutex_unlock(&s->obj.lock);
	file_put(f);
	return 0;
}

/* ---- shmctl ---- */

struct shmid64_ds {
	struct ipc64_perm perm;
	u64 segsz;
	s64 atime, dtime, ctime;
	int cpid, lpid;
	u64 nattch, unused[2];
};
_Static_assert(sizeof(struct shmid64_ds) == sizeof(struct shmid_ds), "struct shmid64_ds of the x86-64 ABI");

static void shm_show(struct shm *s, struct shmid64_ds *ds)
{
	*ds = (struct shmid64_ds){
		.segsz = s->size, .atime = s->atime, .dtime = s->dtime, .ctime = s->ctime,
		.cpid = s->cpid, .lpid = s->lpid, .nattch = attachments(s),
	};
	ipc_perm_show(&s->obj, &ds->perm);
}

void shm_facts(struct ipc_object *o, struct shm_facts *f)
{
	struct shm *s = shm_of(o);

	*f = (struct shm_facts){ .size = s->size, .nattch = attachments(s) };
	f->rss = page_cache_resident(s->file->inode->cache) * PAGE_SIZE;
	pthread_mutex_lock(&o->lock);
	ipc_perm_show(o, &f->perm);
	f->atime = s->atime;
	f->dtime = s->dtime;
	f->ctime = s->ctime;
	f->cpid = s->cpid;
	f->lpid = s->lpid;
	pthread_mutex_unlock(&o->lock);
}

static long shm_stat(struct task *t, struct ipc_object *o, int cmd, gva_t buf)
{
	struct shmid64_ds ds;
	int err = 0;

	pthread_mutex_lock(&o->lock);
	if (cmd != SHM_STAT_ANY)
		err = ipc_permission(o, t, IPC_READ);
	if (!err)
		shm_show(shm_of(o), &ds);
	pthread_mutex_unlock(&o->lock);
	if (!err)
		err = put_user(t->mm, buf, &ds);
	return err ? err : cmd == IPC_STAT ? 0 : o->id;
}

static long shm_set(struct task *t, struct ipc_object *o, const struct ipc64_perm *perm)
{
	int err;

	pthread_mutex_lock(&o->lock);
	err = ipc_owns(o, t);
	if (!err)
		err = ipc_perm_set(o, perm);
	if (!err)
		shm_of(o)->ctime = now();
	pthread_mutex_unlock(&o->lock);
	return err;
}

/* Removed at once if nobody has it attached; else its key is free, and it goes with the last attachment. */
static long shm_remove(struct task *t, struct ipc_object *o)
{
	struct shm *s = shm_of(o);
	bool gone = false;
	int err;

	pthread_mutex_lock(&o->lock);
	err = ipc_owns(o, t);
	if (!err) {
		o->removed = true;
		o->mode |= SHM_DEST_BIT;
		gone = !s->opens;
	}
	pthread_mutex_unlock(&o->lock);
	if (err)
		return err;
	if (gone)
		ipc_unlink(&shm_table, o);
	else
		ipc_forget_key(&shm_table, o);
	return 0;
}

static long shm_lock(struct task *t, struct ipc_object *o, bool lock)
{
	u32 euid = t->cred->euid;
	int err = 0;

	pthread_mutex_lock(&o->lock);
	if (!cred_capable(t->cred, CAP_IPC_LOCK) &&
	    ((euid != o->uid && euid != o->cuid) || (lock && !task_rlimit(t, RLIMIT_MEMLOCK))))
		err = -EPERM;
	else
		o->mode = lock ? o->mode | SHM_LOCKED_BIT : o->mode & ~(u32)SHM_LOCKED_BIT;
	pthread_mutex_unlock(&o->lock);
	return err;
}

struct shminfo64 {
	u64 max, min, mni, seg, all, unused[4];
};
struct shm_info64 {
	int used_ids, pad;
	u64 total, resident, swapped, swap_attempts, swap_successes;
};

static long shm_info(struct task *t, int cmd, gva_t buf)
{
	struct shminfo64 limits = {
		.max = sysctl_shmmax.value, .min = 1, .mni = shm_table.max.value, .seg = shm_table.max.value, .all = SHM_MAX,
	};
	struct shm_info64 info = { .used_ids = ipc_used(&shm_table), .total = atomic_load(&shm_pages) };
	int err, highest = ipc_highest(&shm_table);

	if (cmd == SHM_INFO)
		for (struct ipc_object *o = ipc_next(&shm_table, NULL); o; o = ipc_next(&shm_table, o))
			info.resident += page_cache_resident(shm_of(o)->file->inode->cache);
	err = cmd == IPC_INFO ? put_user(t->mm, buf, &limits) : put_user(t->mm, buf, &info);
	return err ? err : highest;
}

static long shm_ctl_object(struct task *t, struct ipc_object *o, int cmd, gva_t buf)
{
	struct shmid64_ds ds;

	switch (cmd) {
	case IPC_STAT: case SHM_STAT: case SHM_STAT_ANY:
		return shm_stat(t, o, cmd, buf);
	case IPC_SET:
		return get_user(t->mm, &ds, buf) ? -EFAULT : shm_set(t, o, &ds.perm);
	case IPC_RMID:
		return shm_remove(t, o);
	default:
		return shm_lock(t, o, cmd == SHM_LOCK);
	}
}

long shm_ctl(struct task *t, int id, int cmd, gva_t buf)
{
	struct ipc_object *o;
	long r;

	if (id < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO: case SHM_INFO:
		return shm_info(t, cmd, buf);
	case SHM_STAT: case SHM_STAT_ANY:
		r = ipc_find_slot(&shm_table, id, &o);
		break;
	case IPC_STAT: case IPC_SET: case IPC_RMID: case SHM_LOCK: case SHM_UNLOCK:
		r = ipc_find(&shm_table, id, &o);
		break;
	default:
		return -EINVAL;
	}
	if (r)
		return r;
	r = shm_ctl_object(t, o, cmd, buf);
	ipc_put(&shm_table, o);
	return r;
}
