/*
 * Page cache: a file's pages in the memory file, for tmpfs and host files alike, for read, write and mmap.
 *
 * Everything is done under the cache's lock, the store's reads and writes included; it comes after mm->lock and before
 * the memory file's. Users get pages with a reference taken under the lock, so a page that only the cache refers to
 * cannot gain another reference while the lock is held: that is what reclaim relies on.
 */
#include <stdlib.h>

#include "mm/cache.h"

void page_cache_init(struct page_cache *pc, const struct page_cache_ops *ops, void *owner, u64 size)
{
	pthread_mutex_init(&pc->lock, NULL);
	pc->ops = ops;
	pc->owner = owner;
	atomic_init(&pc->size, size);
	pc->pages = NULL;
	pc->npages = 0;
	LIST_INIT(&pc->maps);
	reclaim_add(pc);
}

void page_cache_destroy(struct page_cache *pc)
{
	reclaim_remove(pc);
	page_cache_sync(pc);
	pthread_mutex_lock(&pc->lock);
	cache_drop(pc, 0, UINT64_MAX);
	radix_destroy(pc->pages);
	pc->pages = NULL;
	pthread_mutex_unlock(&pc->lock);
	pthread_mutex_destroy(&pc->lock);
}

/* ---- pages; pc->lock held ---- */

static u64 file_pages(struct page_cache *pc) { return (pc->size + PAGE_SIZE - 1) >> PAGE_SHIFT; }

void cache_drop(struct page_cache *pc, u64 first, u64 last)
{
	u64 index = first, entry;

	while (pc->pages && radix_next(pc->pages, &index, &entry) && index <= last) {
		radix_clear(pc->pages, index);
		memory_put(pte_offset(entry), 1);
		cache_count(pc, -1);
		index++;
	}
}

static int insert_run(struct page_cache *pc, u64 index, u64 offset, u64 n)
{
	for (u64 i = 0; i < n; i++) {
		if (!radix_set(pc->pages, index + i, (offset + i * PAGE_SIZE) | CACHE_PRESENT)) {
			memory_put(offset + i * PAGE_SIZE, n - i);
			return i ? 0 : -ENOMEM;
		}
		cache_count(pc, 1);
	}
	return 0;
}

/* From the store if there is one; zeros; whatever, the caller writes all of it. */
enum content { FILL, ZERO, RAW };

/* Make page `index`, and those missing around it in [lo, hi). */
static int make_pages(struct page_cache *pc, u64 index, u64 lo, u64 hi, enum content content)
{
	u64 from = index, to = index + 1, offset, got;
	int err;

	if (!pc->pages)
		pc->pages = radix_create();
	if (!pc->pages)
		return -ENOMEM;
	while (from > lo && !cache_get(pc, from - 1))
		from--;
	while (to < hi && !cache_get(pc, to))
		to++;
	err = memory_alloc_upto(to - from, content != RAW, &offset, &got);
	if (err && reclaim_own(pc, 256))
		err = memory_alloc_upto(to - from, content != RAW, &offset, &got);
	if (err)
		return err;
	if (got < to - from) {
		from = index;
		if (got > to - from)
			memory_put(offset + (to - from) * PAGE_SIZE, got - (to - from));
		got = MIN(got, to - from);
	}
	if (content == RAW || (pc->ops && pc->ops->fill))
		memory_enter(offset, got);
	if (content == FILL && pc->ops && pc->ops->fill) {
		err = pc->ops->fill(pc, from, got, memory_ptr(offset));
		if (err) {
			memory_put(offset, got);
			return err == -ENOMEM ? err : -EIO;
		}
	}
	err = insert_run(pc, from, offset, got);
	reclaim_excess();
	return err;
}

/* The group that is filled together: aligned, within the file. */
static int make_group(struct page_cache *pc, u64 index)
{
	u64 lo = align_down(index, CACHE_RUN), hi = MIN(lo + CACHE_RUN, MAX(file_pages(pc), index + 1));

	return make_pages(pc, index, lo, hi, FILL);
}

static void mark(struct page_cache *pc, u64 index, u64 flags)
{
	radix_set(pc->pages, index, cache_get(pc, index) | flags);
}

int page_cache_grab(struct page_cache *pc, u64 index, u64 lo, u64 hi, bool write, u64 *first, u64 *offsets)
{
	u64 from = index, to = index + 1;
	int err = -ENXIO;

	pthread_mutex_lock(&pc->lock);
	if (index >= file_pages(pc))
		goto out;
	err = cache_get(pc, index) ? 0 : make_group(pc, index);
	if (err)
		goto out;
	write = write && cache_tracked(pc);
	if (write)
		mark(pc, index, CACHE_DIRTY | CACHE_WMAPPED);
	/* Pages that were not written yet must not be mapped writable along with one that was. */
	if (write)
		lo = hi = index;
	while (from > lo && cache_get(pc, from - 1))
		from--;
	hi = MIN(hi, file_pages(pc));
	while (to < hi && cache_get(pc, to))
		to++;
	for (u64 i = from; i < to; i++) {
		offsets[i - from] = pte_offset(cache_get(pc, i));
		memory_get(offsets[i - from], 1);
	}
	*first = from;
	err = to - from;
out:
	pthread_mutex_unlock(&pc->lock);
	return err;
}

u64 page_cache_peek(struct page_cache *pc, u64 *first, u64 hi, u64 *offsets)
{
	u64 entry, n = 0;

	pthread_mutex_lock(&pc->lock);
	hi = MIN(hi, file_pages(pc));
	if (pc->pages && radix_next(pc->pages, first, &entry)) {
		while (n < PT_LEAF_PAGES && *first + n < hi && (entry = cache_get(pc, *first + n))) {
			offsets[n] = pte_offset(entry);
			memory_get(offsets[n++], 1);
		}
	}
	pthread_mutex_unlock(&pc->lock);
	return n;
}

bool page_cache_has(struct page_cache *pc, u64 index)
{
	bool has;

	pthread_mutex_lock(&pc->lock);
	has = cache_get(pc, index) != 0;
	pthread_mutex_unlock(&pc->lock);
	return has;
}

u64 page_cache_resident(struct page_cache *pc)
{
	u64 n;

	pthread_mutex_lock(&pc->lock);
	n = pc->npages;
	pthread_mutex_unlock(&pc->lock);
	return n;
}

/* ---- read and write ---- */

/* A place in an array of segments. */
struct cursor {
	const struct iovec *iov;
	int left;
	u64 done;			/* of the first segment */
};

static u64 iov_bytes(const struct iovec *iov, int n)
{
	u64 sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* Move `n` bytes between the segments and `page`; NULL reads zeros. */
static void cursor_move(struct cursor *c, u8 *page, u64 n, bool to_page)
{
	while (n) {
		u64 part = MIN(n, c->iov->iov_len - c->done);
		u8 *seg = (u8 *)c->iov->iov_base + c->done;

		if (to_page)
			guest_copy(page, seg, part);
		else if (page)
			guest_copy(seg, page, part);
		else
			guest_zero(seg, part);
		page = page ? page + part : NULL;
		n -= part;
		c->done += part;
		if (c->done == c->iov->iov_len && c->left > 1) {
			c->iov++;
			c->left--;
			c->done = 0;
		}
	}
}

ssize_t page_cache_read(struct page_cache *pc, const struct iovec *iov, int iovcnt, u64 pos)
{
	struct cursor c = { iov, iovcnt, 0 };
	u64 len = iov_bytes(iov, iovcnt), done = 0;
	int err = 0;

	pthread_mutex_lock(&pc->lock);
	len = pos < pc->size ? MIN(len, pc->size - pos) : 0;
	while (done < len) {
		u64 at = pos + done, n = MIN(len - done, PAGE_SIZE - (at & ~PAGE_MASK));
		u64 entry = cache_get(pc, at >> PAGE_SHIFT);

		if (!entry && pc->ops && pc->ops->fill) {
			err = make_group(pc, at >> PAGE_SHIFT);
			if (err)
				break;
			entry = cache_get(pc, at >> PAGE_SHIFT);
		}
		cursor_move(&c, entry ? memory_ptr(pte_offset(entry)) + (at & ~PAGE_MASK) : NULL, n, false);
		done += n;
	}
	pthread_mutex_unlock(&pc->lock);
	return done ? (ssize_t)done : err;
}

/* The page for a write of [at, at + n): new ones that are written whole are neither cleared nor filled. */
static int page_for_write(struct page_cache *pc, u64 at, u64 len)
{
	u64 index = at >> PAGE_SHIFT, whole;

	if (cache_get(pc, index))
		return 0;
	/* Files leave an eighth to the programs that could remove them. */
	if (memory_used() >= memory_limit() - memory_limit() / 8)
		return -ENOMEM;
	whole = at & ~PAGE_MASK ? 0 : len >> PAGE_SHIFT;
	if (!whole)
		return make_pages(pc, index, index, index + 1, index < file_pages(pc) ? FILL : ZERO);
	return make_pages(pc, index, index, index + MIN(whole, CACHE_RUN - index % CACHE_RUN), RAW);
}

/* With a store it is the truth: write it first, then what we hold of it; pages not held stay so. */
static int write_through(struct page_cache *pc, u64 pos, struct cursor *c, u64 n)
{
	struct cursor at = *c;
	u8 bounce[PAGE_SIZE];
	u64 entry = cache_get(pc, pos >> PAGE_SHIFT);
	int err;

	cursor_move(c, bounce, n, true);
	err = pc->ops->writeback(pc, pos, bounce, n);
	if (err) {
		*c = at;
		return err;
	}
	if (entry)
		memcpy(memory_ptr(pte_offset(entry)) + (pos & ~PAGE_MASK), bounce, n);
	return 0;
}

static int write_page(struct page_cache *pc, u64 at, struct cursor *c, u64 n, u64 rest)
{
	int err;

	if (pc->ops && pc->ops->writeback)
		return write_through(pc, at, c, n);
	err = page_for_write(pc, at, rest);
	if (err)
		return err == -ENOMEM ? -ENOSPC : err;
	cursor_move(c, memory_ptr(pte_offset(cache_get(pc, at >> PAGE_SHIFT))) + (at & ~PAGE_MASK), n, true);
	if (cache_tracked(pc))
		mark(pc, at >> PAGE_SHIFT, CACHE_DIRTY);
	return 0;
}

ssize_t page_cache_write(struct page_cache *pc, const struct iovec *iov, int iovcnt, u64 pos)
{
	struct cursor c = { iov, iovcnt, 0 };
	u64 len = iov_bytes(iov, iovcnt), done = 0;
	int err = 0;

	if (pos + len < pos || (s64)(pos + len) < 0)
		return -EFBIG;
	pthread_mutex_lock(&pc->lock);
	while (done < len) {
		u64 at = pos + done, n = MIN(len - done, PAGE_SIZE - (at & ~PAGE_MASK));

		err = write_page(pc, at, &c, n, len - done);
		if (err)
			break;
		done += n;
		if (at + n > pc->size)
			pc->size = at + n;
	}
	pthread_mutex_unlock(&pc->lock);
	return done ? (ssize_t)done : err;
}

int page_cache_allocate(struct page_cache *pc, u64 pos, u64 len)
{
	u64 index = pos >> PAGE_SHIFT, end = (pos + len + PAGE_SIZE - 1) >> PAGE_SHIFT;
	int err = 0;

	if (len >> PAGE_SHIFT > memory_limit() - MIN(memory_used() + memory_limit() / 8, memory_limit()))
		return -ENOSPC;
	pthread_mutex_lock(&pc->lock);
	for (; !err && index < end; index++)
		if (!cache_get(pc, index))
			err = make_pages(pc, index, index, MIN(end, align_down(index, CACHE_RUN) + CACHE_RUN), FILL);
	pthread_mutex_unlock(&pc->lock);
	return err == -ENOMEM ? -ENOSPC : err;
}

/* ---- the store ---- */

/*
 * Write back what was written through mappings. A page that is mapped writable may be written again without our
 * hearing of it, so it stays dirty as long as anyone maps the file.
 */
int page_cache_sync(struct page_cache *pc)
{
	u64 index = 0, entry;
	int err = 0;

	if (!pc->ops || !pc->ops->writeback)
		return 0;
	pthread_mutex_lock(&pc->lock);
	for (; pc->pages && radix_next(pc->pages, &index, &entry) && index < file_pages(pc); index++) {
		u64 pos = index << PAGE_SHIFT;
		int e;

		if (!(entry & (CACHE_DIRTY | CACHE_WMAPPED)))
			continue;
		e = pc->ops->writeback(pc, pos, memory_ptr(pte_offset(entry)), MIN(PAGE_SIZE, pc->size - pos));
		err = err ? err : e;
		entry &= ~(u64)CACHE_DIRTY;
		if (LIST_EMPTY(&pc->maps))
			entry &= ~(u64)CACHE_WMAPPED;
		radix_set(pc->pages, index, entry);
	}
	pthread_mutex_unlock(&pc->lock);
	return err;
}
