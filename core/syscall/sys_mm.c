/*
 * The memory calls: arguments are decoded, limits looked up, and core/mm does the rest.
 */
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/personality.h>

#include "fs/fs.h"
#include "mm/mm.h"
#include "syscall/syscall.h"

#ifndef MAP_SYNC
#define MAP_SYNC	0x80000
#endif
/* All flags but the encoded huge page size. */
#define MAP_KNOWN	(0xffff | MAP_STACK | MAP_HUGETLB | MAP_FIXED_NOREPLACE)
#define MAP_LEGACY	(0xf973 | MAP_STACK | MAP_HUGETLB | 0xfc000000)

/* A limit as core/mm takes it: 0 is none, so a limit of nothing is one byte. */
static u64 limit_of(struct task *t, int resource)
{
	u64 n = task_rlimit(t, resource);

	return n == RLIM_INFINITY ? 0 : n ? n : 1;
}

static u64 memlock_limit(struct task *t)
{
	return cred_capable(t->cred, CAP_IPC_LOCK) ? 0 : limit_of(t, RLIMIT_MEMLOCK);
}

static bool may_lock(struct task *t) { return memlock_limit(t) != 1; }

/* Old programs that ask for readable memory and get it executable as well. */
static u32 implied_prot(struct task *t, u32 prot)
{
	return (prot & PROT_READ) && (t->personality & READ_IMPLIES_EXEC) ? prot | PROT_EXEC : prot;
}

/* ---- mmap and friends ---- */

/* What only mmap can see: the descriptor, and the kinds of mapping that there are not here. */
static int mmap_file(struct task *t, u32 flags, int fd, struct file **out)
{
	*out = NULL;
	if (flags & MAP_ANONYMOUS)
		return flags & MAP_HUGETLB ? -ENOMEM : 0;	/* no huge pages set aside, as on most machines */
	*out = fd_get_io(t->files, fd);
	if (!*out)
		return -EBADF;
	if (flags & MAP_HUGETLB)
		return -EINVAL;
	if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE && flags & ~(u32)MAP_LEGACY)
		return -EOPNOTSUPP;				/* MAP_SYNC too: there is no DAX */
	return 0;
}

long sys_mmap(struct task *t, const u64 *arg)
{
	u32 flags = arg[3];
	struct map_request req = {
		.addr = arg[0],
		.len = arg[1],
		.prot = implied_prot(t, arg[2]),
		.flags = flags & MAP_KNOWN,
		.offset = flags & MAP_ANONYMOUS ? 0 : arg[5],
		.limit_as = limit_of(t, RLIMIT_AS),
		.limit_data = limit_of(t, RLIMIT_DATA),
		.limit_memlock = memlock_limit(t),
	};
	struct file *f;
	long ret;

	if (arg[5] & ~PAGE_MASK)
		return -EINVAL;
	ret = mmap_file(t, flags, arg[4], &f);
	if (ret)
		goto out;
	ret = -EPERM;
	if ((flags & MAP_LOCKED) && !may_lock(t))
		goto out;
	req.file = f;
	ret = mm_map(t->mm, &req);
out:
	if (f)
		file_put(f);
	return ret;
}

long sys_munmap(struct task *t, const u64 *arg) { return mm_unmap(t->mm, arg[0], arg[1]); }

long sys_mprotect(struct task *t, const u64 *arg)
{
	return mm_protect(t->mm, arg[0], arg[1], implied_prot(t, arg[2]));
}

long sys_mremap(struct task *t, const u64 *arg)
{
	struct remap_request req = {
		.addr = arg[0],
		.len = arg[1],
		.new_len = arg[2],
		.flags = arg[3],
		.new_addr = arg[4],
		.limit_as = limit_of(t, RLIMIT_AS),
		.limit_data = limit_of(t, RLIMIT_DATA),
		.limit_memlock = memlock_limit(t),
	};

	return arg[3] >> 32 ? -EINVAL : mm_remap(t->mm, &req);
}

long sys_brk(struct task *t, const u64 *arg)
{
	return mm_brk(t->mm, arg[0], limit_of(t, RLIMIT_AS), limit_of(t, RLIMIT_DATA));
}

long sys_madvise(struct task *t, const u64 *arg) { return mm_advise(t->mm, arg[0], arg[1], arg[2]); }

long sys_msync(struct task *t, const u64 *arg) { return mm_sync(t->mm, arg[0], arg[1], arg[2]); }

long sys_mincore(struct task *t, const u64 *arg)
{
	u64 addr = arg[0], n = page_up(arg[1]) >> PAGE_SHIFT, done = 0;
	u8 vec[512];

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if ((arg[1] && !n) || !guest_range_ok(addr, n << PAGE_SHIFT))
		return -ENOMEM;
	while (done < n) {
		u64 part = MIN(n - done, sizeof(vec));
		int err = mm_incore(t->mm, addr + (done << PAGE_SHIFT), part, vec);

		if (!err)
			err = copy_out(t->mm, arg[2] + done, vec, part);
		if (err)
			return err;
		done += part;
	}
	return 0;
}

/* ---- locking ---- */

static long lock_range(struct task *t, gva_t addr, u64 len, u32 lock)
{
	return may_lock(t) ? mm_lock(t->mm, addr, len, lock, memlock_limit(t)) : -EPERM;
}

long sys_mlock(struct task *t, const u64 *arg) { return lock_range(t, arg[0], arg[1], VMA_LOCKED); }

long sys_mlock2(struct task *t, const u64 *arg)
{
	if ((u32)arg[2] & ~MLOCK_ONFAULT)
		return -EINVAL;
	return lock_range(t, arg[0], arg[1], (u32)arg[2] ? VMA_LOCKED | VMA_ONFAULT : VMA_LOCKED);
}

long sys_munlock(struct task *t, const u64 *arg) { return mm_lock(t->mm, arg[0], arg[1], 0, 0); }

long sys_mlockall(struct task *t, const u64 *arg)
{
	u32 flags = arg[0], lock = VMA_LOCKED | (flags & MCL_ONFAULT ? VMA_ONFAULT : 0);

	if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
		return -EINVAL;
	if (!may_lock(t))
		return -EPERM;
	return mm_lock_all(t->mm, flags & MCL_CURRENT ? lock : 0, flags & MCL_FUTURE ? lock : 0, memlock_limit(t));
}

long sys_munlockall(struct task *t, const u64 *arg) { return mm_lock_all(t->mm, 0, 0, 0); }

/* ---- protection keys: a machine without them ---- */

long sys_pkey_mprotect(struct task *t, const u64 *arg)
{
	return (int)arg[3] == -1 ? sys_mprotect(t, arg) : -EINVAL;
}

long sys_pkey_alloc(struct task *t, const u64 *arg) { return arg[0] || arg[1] & ~3ul ? -EINVAL : -ENOSPC; }

long sys_pkey_free(struct task *t, const u64 *arg) { return -EINVAL; }

/* As Linux has done it for long: a mapping of its own for the window. */
long sys_remap_file_pages(struct task *t, const u64 *arg)
{
	struct map_request req = {
		.addr = arg[0] & PAGE_MASK,
		.len = arg[1] & PAGE_MASK,
		.flags = MAP_SHARED | MAP_FIXED,
		.offset = arg[3] << PAGE_SHIFT,
	};
	struct vma *v;
	long ret = -EINVAL;

	if ((u32)arg[2] || req.addr + req.len <= req.addr || arg[3] + (req.len >> PAGE_SHIFT) < arg[3] ||
	    arg[3] > UINT64_MAX >> PAGE_SHIFT)
		return -EINVAL;
	pthread_mutex_lock(&t->mm->lock);
	v = vma_find(t->mm, req.addr);
	if (v && (v->flags & MAP_SHARED) && v->file && req.addr + req.len <= v->end) {
		req.prot = v->prot;
		req.file = v->file;
		file_get(req.file);
		ret = 0;
	}
	pthread_mutex_unlock(&t->mm->lock);
	if (ret)
		return ret;
	ret = mm_map(t->mm, &req);
	file_put(req.file);
	return ret < 0 ? ret : 0;
}
