/*
 * mmap, munmap, mprotect and brk.
 */
#include "mm/internal.h"

/* RLIMIT_AS and RLIMIT_DATA; 0: no limit. */
bool mm_may_grow(struct mm *mm, u64 pages, bool data, u64 limit_as, u64 limit_data)
{
	if (limit_as && mm->total_pages + pages > limit_as >> PAGE_SHIFT)
		return false;
	return !data || !limit_data || mm->data_pages + pages <= limit_data >> PAGE_SHIFT;
}

int mm_may_lock(struct mm *mm, u64 pages, u64 limit)
{
	return limit && mm->locked_pages + pages > limit >> PAGE_SHIFT ? -EAGAIN : 0;
}

/* ---- munmap ---- */

int unmap_range(struct mm *mm, gva_t start, gva_t end, struct graveyard *dead)
{
	struct vma *v = vma_next(mm, start);
	int err = 0;

	if (!v || v->start >= end)
		return 0;
	if (v->start < start) {
		/* A hole in the middle of one makes two of it; at the limit that fails, as on Linux. */
		err = vma_split(mm, v, start);
		if (err)
			return err;
		v = vma_after(mm, v);
	}
	for (struct vma *last = v; last && last->start < end; last = vma_after(mm, last))
		if (last->end > end)
			err = vma_split(mm, last, end);
	if (!err)
		err = mm_zap(mm, start, end);
	if (err)
		return err;

	while (v && v->start < end) {
		struct vma *after = vma_after(mm, v);

		vma_remove(mm, v, dead);
		v = after;
	}
	gap_freed(mm, end);
	return 0;
}

int mm_unmap(struct mm *mm, gva_t addr, u64 len)
{
	struct graveyard dead = { NULL };
	int err;

	if (addr & ~PAGE_MASK || !len || !guest_range_ok(addr, len))
		return -EINVAL;
	pthread_mutex_lock(&mm->lock);
	err = unmap_range(mm, addr, addr + page_up(len), &dead);
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	return err;
}

/* ---- mmap ---- */

static u64 mapped_pages(struct mm *mm, gva_t start, gva_t end)
{
	u64 n = 0;

	for (struct vma *v = vma_next(mm, start); v && v->start < end; v = vma_after(mm, v))
		n += (MIN(v->end, end) - MAX(v->start, start)) >> PAGE_SHIFT;
	return n;
}

static s64 choose_address(struct mm *mm, const struct map_request *req, u64 len)
{
	gva_t hint = page_up(req->addr);

	if (req->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if (req->addr & ~PAGE_MASK)
			return -EINVAL;
		if (!guest_range_ok(req->addr, len))
			return -ENOMEM;
		if (req->addr < GUEST_MIN)
			return -EPERM;
		if ((req->flags & MAP_FIXED_NOREPLACE) && mapped_pages(mm, req->addr, req->addr + len))
			return -EEXIST;
		return req->addr;
	}
	if (req->addr && hint && gap_fits(mm, MAX(hint, GUEST_MIN), len))
		return MAX(hint, GUEST_MIN);
	/* As Linux places them, so that they can be in huge pages from end to end. */
	if (memory_huge() && !req->file && (req->flags & (MAP_TYPE | MAP_32BIT)) == MAP_PRIVATE && !(len % PT_LEAF_SIZE))
		return gap_find_block(mm, len);
	return gap_find(mm, len, req->flags & MAP_32BIT);
}

/* Flags as mmap checks them; returns those that the vma keeps, or -errno. */
static s64 check_flags(const struct map_request *req)
{
	u32 type = req->flags & MAP_TYPE;
	u32 keep = req->flags & (MAP_GROWSDOWN | MAP_NORESERVE);

	if (req->flags & MAP_LOCKED)
		keep |= VMA_LOCKED;
	if (type == MAP_PRIVATE)
		return MAP_PRIVATE | keep | (req->flags & (VMA_SPECIAL | VMA_DONTFORK));
	if (type != MAP_SHARED && (type != MAP_SHARED_VALIDATE || !req->file))
		return -EINVAL;
	if (req->flags & MAP_GROWSDOWN)
		return -EINVAL;
	return MAP_SHARED | keep | (req->flags & (VMA_SPECIAL | VMA_DONTFORK));
}

/* What is mapped: the file's page cache, or zeros if it has none (/dev/zero), or fresh shared memory. */
static int attach(struct vma *v, const struct map_request *req)
{
	struct file *f = req->file;
	int err;

	v->name = req->name;
	if (f) {
		u32 mode = f->flags & O_ACCMODE;

		if (mode == O_WRONLY || (vma_shared(v) && (v->prot & PROT_WRITE) && mode != O_RDWR))
			return -EACCES;
		if (vma_shared(v) && mode != O_RDWR)
			v->flags |= VMA_NOWRITE;
		file_get(f);
		v->file = f;
		v->offset = req->offset;
		err = f->ops->mmap ? f->ops->mmap(f, v) : 0;
		if (err)
			return err;
		if (!v->cache)
			v->cache = f->inode->cache;
		if (!v->cache && !f->ops->mmap)
			return -ENODEV;
	}
	if (!v->cache && vma_shared(v)) {
		v->cache = shared_anon_create(v->end - v->start);
		if (!v->cache)
			return -ENOMEM;
		v->flags |= VMA_SHARED_ANON;
		v->offset = 0;
	}
	return 0;
}

/* Limits of the mm for the new vma, then a place for it. mm->lock held. */
static s64 place(struct mm *mm, struct vma *v, const struct map_request *req, struct graveyard *dead)
{
	u64 pages = vma_pages(v), replaced = 0;
	bool data = vma_is_data(v->prot, v->flags);
	s64 addr = choose_address(mm, req, v->end);
	int err;

	if (addr < 0)
		return addr;
	if (mm->nvmas >= MAX_VMAS)
		return -ENOMEM;
	v->flags |= mm->lock_future;
	if (v->flags & VMA_LOCKED) {
		err = mm_may_lock(mm, pages, req->limit_memlock);
		if (err)
			return err;
	}
	if (req->flags & MAP_FIXED)
		replaced = mapped_pages(mm, addr, addr + v->end);
	if (!mm_may_grow(mm, pages - replaced, false, req->limit_as, 0) ||
	    !mm_may_grow(mm, pages, data, 0, req->limit_data))
		return -ENOMEM;
	/* One mapping that can never be filled is refused at once, as the kernel's heuristic overcommit does. */
	if (data && !(v->flags & MAP_NORESERVE) && pages > memory_limit())
		return -ENOMEM;
	if (replaced) {
		err = unmap_range(mm, addr, addr + v->end, dead);
		if (err)
			return err;
	}
	v->start = addr;
	v->end += addr;
	return addr;
}

s64 mm_map(struct mm *mm, const struct map_request *req)
{
	u64 len = page_up(req->len);
	struct graveyard dead = { NULL };
	struct vma *v;
	s64 addr, flags;

	if (!req->len)
		return -EINVAL;
	if (!len || len > GUEST_END)
		return -ENOMEM;
	if (req->offset + len < req->offset || (s64)(req->offset + len) < 0)
		return -EOVERFLOW;
	flags = check_flags(req);
	if (flags < 0)
		return flags;
	v = vma_new(0, len, req->prot & (PROT_READ | PROT_WRITE | PROT_EXEC), flags);
	if (!v)
		return -ENOMEM;
	addr = attach(v, req);
	if (addr) {
		vma_free(v);
		return addr;
	}

	pthread_mutex_lock(&mm->lock);
	addr = place(mm, v, req, &dead);
	if (addr < 0) {
		v->next_dead = dead.first;
		dead.first = v;
		flags = 0;
	} else {
		vma_insert(mm, v);
		flags = v->flags;
		if (v->cache)
			fault_ahead(mm, v);
		vma_merge(mm, v, &dead);
	}
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	if (addr >= 0 && ((req->flags & MAP_POPULATE && !(req->flags & MAP_NONBLOCK)) ||
			  (flags & (VMA_LOCKED | VMA_ONFAULT)) == VMA_LOCKED))
		mm_populate(mm, addr, len);
	return addr;
}

/* Errors end it silently, as in the kernel: the guest meets them when it touches the memory. */
void mm_populate(struct mm *mm, gva_t addr, u64 len)
{
	gva_t end = addr + len;
	int err = 0;

	while (addr < end && !err) {
		struct vma *v;

		pthread_mutex_lock(&mm->lock);
		v = vma_next(mm, addr);
		if (!v || v->start >= end) {
			pthread_mutex_unlock(&mm->lock);
			return;
		}
		addr = MAX(addr, v->start);
		if (!v->prot)
			addr = v->end;
		else if (!(pt_get(mm->pt, addr) & PTE_SHOWN))
			err = fault_locked(mm, addr, (v->prot & PROT_WRITE) && !vma_shared(v) ? ACCESS_WRITE
												: ACCESS_READ);
		if (v->prot)
			addr += PAGE_SIZE;
		pthread_mutex_unlock(&mm->lock);
	}
}

/* ---- mprotect ---- */

static int protect_one(struct mm *mm, struct vma *v, gva_t start, gva_t end, u32 prot, struct graveyard *dead,
		       gva_t *next)
{
	u32 old = v->prot;
	int err;

	if ((prot & PROT_WRITE) && (v->flags & VMA_NOWRITE))
		return -EACCES;
	end = MIN(end, v->end);
	*next = end;
	if (prot == old)
		return 0;
	err = vma_isolate(mm, v, MAX(start, v->start), end, &v);
	if (err)
		return err;
	vma_set_flags(mm, v, prot, v->flags);
	err = mm_reprotect(mm, v);
	if (err)
		vma_set_flags(mm, v, old, v->flags);
	vma_merge(mm, v, dead);
	return err;
}

int mm_protect(struct mm *mm, gva_t addr, u64 len, u32 prot)
{
	u32 grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	struct graveyard dead = { NULL };
	gva_t end;
	int err = 0;

	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || addr & ~PAGE_MASK)
		return -EINVAL;
	if (!len)
		return 0;
	len = page_up(len);
	if (!len || !guest_range_ok(addr, len))
		return -ENOMEM;
	if (prot & ~(grows | PROT_READ | PROT_WRITE | PROT_EXEC | 8 /* PROT_SEM */))
		return -EINVAL;
	end = addr + len;

	pthread_mutex_lock(&mm->lock);
	if (grows) {
		struct vma *v = vma_next(mm, addr);

		if (!v || v->start >= end)
			err = -ENOMEM;
		else if (grows == PROT_GROWSUP || !(v->flags & MAP_GROWSDOWN))
			err = -EINVAL;
		else
			addr = v->start;
	}
	while (!err && addr < end) {
		struct vma *v = vma_find(mm, addr);

		err = v ? protect_one(mm, v, addr, end, prot & 7, &dead, &addr) : -ENOMEM;
	}
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	return err;
}

/* ---- brk ---- */

static bool grow_heap(struct mm *mm, gva_t from, gva_t to, u64 limit_as, u64 limit_data, struct graveyard *dead)
{
	u64 pages = (to - from) >> PAGE_SHIFT;
	struct vma *v;

	if (!gap_fits(mm, from, to - from) || mm->nvmas >= MAX_VMAS || pages > memory_limit() ||
	    !mm_may_grow(mm, pages, true, limit_as, limit_data))
		return false;
	v = vma_new(from, to, PROT_READ | PROT_WRITE, MAP_PRIVATE | mm->lock_future);
	if (!v)
		return false;
	v->name = "[heap]";
	vma_insert(mm, v);
	vma_merge(mm, v, dead);
	return true;
}

gva_t mm_brk(struct mm *mm, gva_t brk, u64 limit_as, u64 limit_data)
{
	struct graveyard dead = { NULL };
	gva_t from, to;
	bool ok = false, populate;

	pthread_mutex_lock(&mm->lock);
	from = page_up(mm->brk);
	to = page_up(brk);
	if (brk < mm->brk_start || brk > GUEST_END)
		goto out;
	if (limit_data && (brk - mm->brk_start) + (mm->data_end - mm->data_start) > limit_data)
		goto out;
	if (to > from)
		ok = grow_heap(mm, from, to, limit_as, limit_data, &dead);
	else
		ok = to == from || !unmap_range(mm, to, from, &dead);
	if (ok)
		mm->brk = brk;
out:
	populate = ok && to > from && (mm->lock_future & (VMA_LOCKED | VMA_ONFAULT)) == VMA_LOCKED;
	brk = mm->brk;
	pthread_mutex_unlock(&mm->lock);
	graveyard_empty(&dead);
	if (populate)
		mm_populate(mm, from, to - from);
	return brk;
}
