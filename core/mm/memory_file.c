/*
 * The memory file: one sparse memfd that holds all guest pages, mapped once in the sentry.
 *
 * It is cut into chunks of 2 MiB, each with a bitmap of free pages. Chunks stand on lists by the largest naturally
 * aligned free run they have, last freed first, so that memory still warm is handed out again first.
 *
 * Free memory is either clean (a hole in the file, reads as zeros) or dirty (still holds old bytes). Clearing a dirty
 * page when it is handed out costs less than punching it out and faulting it in again, so up to mm.recycle_mb of it
 * is kept and only the rest is punched out, a chunk at a time.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/huge_file.h"
#include "mm/internal.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define CHUNK_PAGES	512
#define CHUNK_ORDER	9
#define WORDS		(CHUNK_PAGES / 64)
#define ENTER_MIN	4		/* pages from which a call costs less than the faults it saves */
#define MAX_LIMIT	((u64)1 << 40)

struct chunk {
	u64 free[WORDS];		/* a set bit: free */
	u64 dirty[WORDS];		/* of the free ones: holds old bytes */
	/* Was cleared by us, so the sentry's own page table has it, until it is punched out. */
	u64 cleared[WORDS];
	TAILQ_ENTRY(chunk) link;	/* on by_order[order], unless order is -1 */
	TAILQ_ENTRY(chunk) dirty_link;	/* on with_dirty, if ndirty */
	int order;			/* largest free aligned run is 1 << order pages; -1: none */
	u32 ndirty;
};
TAILQ_HEAD(chunk_list, chunk);

static struct backing backing = { .fd = -1 };
u8 *memory_base;
static _Atomic u32 *refs;		/* a page; who holds a reference may read or add, see memory_put */
static _Atomic u64 used;		/* pages handed out, and charged */
static u64 limit_pages;
static bool huge;			/* the host gives whole chunks at a touch */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* innermost: guards all below */
static struct chunk *chunks;
static u64 nchunks, fresh;		/* chunks from `fresh` on were never used */
static struct chunk_list by_order[CHUNK_ORDER + 1];
static struct chunk_list with_dirty = TAILQ_HEAD_INITIALIZER(with_dirty);
static u64 total_dirty;
static bool trimming;

const struct backing *memory_file(void) { return &backing; }
u64 memory_used(void) { return atomic_load_explicit(&used, memory_order_relaxed); }
u64 memory_limit(void) { return limit_pages; }
bool memory_huge(void) { return huge; }

/* ---- start-up ---- */

static u64 read_number(const char *file, const char *key)
{
	FILE *f = fopen(file, "re");
	char line[256];
	u64 n = 0;

	while (f && !n && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			n = strtoull(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return n;
}

static u64 default_limit(void)
{
	u64 avail = read_number("/proc/meminfo", "MemAvailable:") << 10;
	u64 cgroup = read_number("/sys/fs/cgroup/memory.max", "");

	if (!avail)
		avail = (u64)sysconf(_SC_PHYS_PAGES) << PAGE_SHIFT;
	if (cgroup)
		avail = MIN(avail, cgroup);
	return avail / 4 * 3;
}

static void *reserve(u64 len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Windows are cut by masks: round the knobs down to powers of two. */
static void settle_knobs(void)
{
	long *const windows[] = { &knob_fault_around_kb, &knob_fault_max_kb, &knob_cow_around_kb, &knob_cow_file_kb,
					&knob_takeover_kb };

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++)
		*windows[i] = 1l << (63 - __builtin_clzl(MAX(*windows[i], 4)));
}

/*
 * A memfd can be sealed, so that nobody who comes by the descriptor cuts the file short under the sentry; the other
 * kind can't. Descriptors are in stub processes only, which may neither truncate nor write.
 */
static int open_file(u64 size)
{
	int fd = knob_huge ? host_huge_file() : -ENOSYS;

	huge = fd >= 0;
	if (huge) {
		if (!ftruncate(fd, size))
			return fd;
	} else {
		fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd < 0)
			return -errno;
		if (!ftruncate(fd, size) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
			return fd;
	}
	close(fd);
	return -ENOMEM;
}

/* Where huge pages of the file can be mapped whole. */
static u8 *map_file(int fd, u64 size)
{
	const u64 align = CHUNK_PAGES * PAGE_SIZE;
	u8 *room = mmap(SENTRY_FILE_HINT, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *at;

	if (room == MAP_FAILED)
		return MAP_FAILED;
	at = (u8 *)align_up((u64)room, align);
	if (at > room)
		munmap(room, at - room);
	if (room + align > at)
		munmap(at + size, room + align - at);
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
}

int memory_file_init(u64 limit)
{
	int err;

	settle_knobs();

	if (!limit)
		limit = knob_memory_mb ? (u64)knob_memory_mb << 20 : default_limit();
	limit = align_down(MIN(limit, MAX_LIMIT), CHUNK_PAGES * PAGE_SIZE);
	limit = MAX(limit, CHUNK_PAGES * PAGE_SIZE);

	for (int i = 0; i <= CHUNK_ORDER; i++)
		TAILQ_INIT(&by_order[i]);
	backing.fd = open_file(limit);
	if (backing.fd < 0)
		return backing.fd;
	backing.base = map_file(backing.fd, limit);
	if (backing.base == MAP_FAILED)
		goto fail;
	backing.size = limit;
	memory_base = backing.base;
	limit_pages = limit >> PAGE_SHIFT;
	nchunks = limit_pages / CHUNK_PAGES;
	refs = reserve(limit_pages * sizeof(*refs));
	chunks = reserve(nchunks * sizeof(*chunks));
	if (refs && chunks)
		return 0;
fail:
	err = -errno;
	close(backing.fd);
	backing.fd = -1;
	return err;
}

/* ---- bitmaps of one chunk; `lock` held ---- */

/* Bits at which a free, naturally aligned run of 1 << order (at most 64) begins. */
static u64 runs_in_word(u64 w, int order)
{
	static const u64 starts[] = {
		~0ull, 0x5555555555555555, 0x1111111111111111, 0x0101010101010101,
		0x0001000100010001, 0x0000000100000001, 1,
	};

	for (int i = 0; i < order; i++)
		w &= w >> (1 << i);
	return w & starts[order];
}

static int find_run(const struct chunk *c, int order)
{
	int step = order > 6 ? 1 << (order - 6) : 1;

	for (int w = 0; w < WORDS; w += step) {
		u64 all = c->free[w], runs;

		for (int i = 1; i < step; i++)
			all &= c->free[w + i];
		runs = runs_in_word(all, MIN(order, 6));
		if (runs)
			return w * 64 + __builtin_ctzll(runs);
	}
	return -1;
}

static int largest_order(const struct chunk *c)
{
	int order = CHUNK_ORDER;

	while (order >= 0 && find_run(c, order) < 0)
		order--;
	return order;
}

/* Put the chunk on the list it belongs on now; at the head if memory was freed. */
static void relist(struct chunk *c, bool head)
{
	int order = largest_order(c);

	if (order == c->order && !head)
		return;
	if (c->order >= 0)
		TAILQ_REMOVE(&by_order[c->order], c, link);
	c->order = order;
	if (order >= 0)
		TAILQ_INSERT_HEAD(&by_order[order], c, link);
}

static void set_ndirty(struct chunk *c, u32 n)
{
	if (c->ndirty && !n)
		TAILQ_REMOVE(&with_dirty, c, dirty_link);
	if (!c->ndirty && n)
		TAILQ_INSERT_HEAD(&with_dirty, c, dirty_link);
	total_dirty += (s64)n - c->ndirty;
	c->ndirty = n;
}

static u64 word_mask(u32 from, u32 n) { return (n >= 64 ? ~0ull : (1ull << n) - 1) << from; }

/*
 * Take pages [first, first + n) of a chunk; `dirty` gets the bits of those that hold old bytes, `cold` of those never
 * cleared.
 */
static void take(struct chunk *c, u32 first, u32 n, u64 dirty[WORDS], u64 cold[WORDS])
{
	u32 ndirty = c->ndirty;

	for (u32 at = first; at < first + n;) {
		u32 w = at / 64, len = MIN(64 - at % 64, first + n - at);
		u64 mask = word_mask(at % 64, len);

		c->free[w] &= ~mask;
		dirty[w] = c->dirty[w] & mask;
		cold[w] = dirty[w] & ~c->cleared[w];
		c->dirty[w] &= ~mask;
		ndirty -= __builtin_popcountll(dirty[w]);
		at += len;
	}
	set_ndirty(c, ndirty);
}

static struct chunk *chunk_for(int order)
{
	struct chunk *c;

	for (int o = order; o <= CHUNK_ORDER; o++)
		if (!TAILQ_EMPTY(&by_order[o]))
			return TAILQ_FIRST(&by_order[o]);
	if (fresh == nchunks)
		return NULL;
	c = &chunks[fresh++];
	memset(c->free, 0xff, sizeof(c->free));
	c->order = CHUNK_ORDER;
	TAILQ_INSERT_HEAD(&by_order[CHUNK_ORDER], c, link);
	return c;
}

/* ---- allocation ---- */

/* Call `fn` for each run of set bits. */
static void for_each_run(const u64 bits[WORDS], u64 base, void (*fn)(u64 page, u64 n))
{
	u32 at = 0, n;

	while (at < CHUNK_PAGES) {
		u64 w = bits[at / 64] >> at % 64;

		if (!w) {
			at = (at / 64 + 1) * 64;
			continue;
		}
		at += __builtin_ctzll(w);
		for (n = 0; at + n < CHUNK_PAGES && bits[(at + n) / 64] >> (at + n) % 64 & 1;)
			n++;
		fn(base + at, n);
		at += n;
	}
}

static void clear_pages(u64 page, u64 n) { guest_zero(backing.base + (page << PAGE_SHIFT), n << PAGE_SHIFT); }

/* One call instead of a fault a page when the sentry is about to write them. Only a hint, errors do not matter. */
static void enter_pages(u64 page, u64 n)
{
	if (n >= ENTER_MIN)
		madvise(backing.base + (page << PAGE_SHIFT), n << PAGE_SHIFT, MADV_POPULATE_WRITE);
}

void memory_enter(u64 offset, u64 npages) { enter_pages(offset >> PAGE_SHIFT, npages); }

static void punch_pages(u64 page, u64 n)
{
	if (fallocate(backing.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page << PAGE_SHIFT, n << PAGE_SHIFT))
		clear_pages(page, n);
}

static int order_of(u64 n) { return n <= 1 ? 0 : 64 - __builtin_clzll(n - 1); }

/* Count pages as used; false: past the limit. */
static bool count_used(u64 n)
{
	if (atomic_fetch_add_explicit(&used, n, memory_order_relaxed) + n <= limit_pages)
		return true;
	atomic_fetch_sub_explicit(&used, n, memory_order_relaxed);
	return false;
}

/* Memory of the sentry itself that a guest can make grow counts towards the guests' limit. */
bool memory_charge(u64 npages)
{
	if (count_used(npages))
		return true;
	page_cache_reclaim(MAX(npages, 1024));
	return count_used(npages);
}

void memory_uncharge(u64 npages) { atomic_fetch_sub_explicit(&used, npages, memory_order_relaxed); }

/* First page of a free run of n, or -1. */
static s64 alloc_run(u64 n, bool zero)
{
	u64 dirty[WORDS] = { 0 }, cold[WORDS] = { 0 };
	struct chunk *c;
	s64 page = -1;

	if (!count_used(n))
		return -1;
	pthread_mutex_lock(&lock);
	c = chunk_for(order_of(n));
	if (c) {
		int first = find_run(c, order_of(n));

		take(c, first, n, dirty, cold);
		for (int w = 0; zero && w < WORDS; w++)
			c->cleared[w] |= cold[w];
		relist(c, false);
		page = (c - chunks) * CHUNK_PAGES + first;
	}
	pthread_mutex_unlock(&lock);
	if (page < 0) {
		memory_uncharge(n);
		return -1;
	}
	if (zero) {
		for_each_run(cold, align_down(page, CHUNK_PAGES), enter_pages);
		for_each_run(dirty, align_down(page, CHUNK_PAGES), clear_pages);
	}
	for (u64 i = 0; i < n; i++)
		atomic_store_explicit(&refs[page + i], 1, memory_order_relaxed);
	return page;
}

int memory_alloc_upto(u64 want, bool zero, u64 *offset, u64 *got)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		for (u64 n = want; n; n /= 2) {
			s64 page = alloc_run(n, zero);

			if (page >= 0) {
				*offset = (u64)page << PAGE_SHIFT;
				*got = n;
				return 0;
			}
		}
		page_cache_reclaim(MAX(want, 1024));
	}
	return -ENOMEM;
}

int memory_alloc_whole(u64 npages, u64 *offset)
{
	s64 page = alloc_run(npages, true);

	if (page < 0)
		return -ENOMEM;
	*offset = (u64)page << PAGE_SHIFT;
	return 0;
}

int memory_alloc(u64 npages, bool zero, u64 *offset)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		s64 page = alloc_run(npages, zero);

		if (page >= 0) {
			*offset = (u64)page << PAGE_SHIFT;
			return 0;
		}
		page_cache_reclaim(MAX(npages, 1024));
	}
	return -ENOMEM;
}

/* ---- references and freeing ---- */

void memory_get(u64 offset, u64 npages)
{
	u64 page = offset >> PAGE_SHIFT;

	for (u64 i = 0; i < npages; i++)
		atomic_fetch_add_explicit(&refs[page + i], 1, memory_order_relaxed);
}

u32 memory_refs(u64 offset) { return atomic_load_explicit(&refs[offset >> PAGE_SHIFT], memory_order_acquire); }

/* Back from take(): free and clean now. */
static void give_back_clean(struct chunk *c, const u64 bits[WORDS])
{
	pthread_mutex_lock(&lock);
	for (int w = 0; w < WORDS; w++)
		c->free[w] |= bits[w];
	relist(c, true);
	pthread_mutex_unlock(&lock);
}

/*
 * Punch out dirty pages beyond what may be kept, oldest chunk first. They are taken while that is done, so that
 * nobody is handed a page that then loses its contents. One thread at a time; others go on.
 */
static void trim(void)
{
	u64 keep = ((u64)knob_recycle_mb << 20) >> PAGE_SHIFT;

	pthread_mutex_lock(&lock);
	if (trimming || total_dirty <= keep) {
		pthread_mutex_unlock(&lock);
		return;
	}
	trimming = true;
	while (total_dirty > keep - keep / 8) {
		struct chunk *c = TAILQ_LAST(&with_dirty, chunk_list);
		u64 bits[WORDS];

		memcpy(bits, c->dirty, sizeof(bits));
		for (int w = 0; w < WORDS; w++) {
			c->free[w] &= ~bits[w];
			c->cleared[w] &= ~bits[w];
			c->dirty[w] = 0;
		}
		set_ndirty(c, 0);
		relist(c, false);
		pthread_mutex_unlock(&lock);
		for_each_run(bits, (c - chunks) * CHUNK_PAGES, punch_pages);
		give_back_clean(c, bits);
		pthread_mutex_lock(&lock);
	}
	trimming = false;
	pthread_mutex_unlock(&lock);
}

static void free_run(u64 page, u64 n)
{
	bool full;

	pthread_mutex_lock(&lock);
	atomic_fetch_sub_explicit(&used, n, memory_order_relaxed);
	while (n) {
		struct chunk *c = &chunks[page / CHUNK_PAGES];
		u32 first = page % CHUNK_PAGES, len = MIN(n, CHUNK_PAGES - first), at = first;

		while (at < first + len) {
			u32 part = MIN(64 - at % 64, first + len - at);
			u64 mask = word_mask(at % 64, part);

			c->free[at / 64] |= mask;
			c->dirty[at / 64] |= mask;
			at += part;
		}
		set_ndirty(c, c->ndirty + len);
		relist(c, true);
		page += len;
		n -= len;
	}
	full = total_dirty > ((u64)knob_recycle_mb << 20) >> PAGE_SHIFT;
	pthread_mutex_unlock(&lock);
	if (full)
		trim();
}

/*
 * Put one reference; true if it was the last. A count of one is ours alone, and can only grow through a reference, so
 * no locked instruction is needed then.
 */
static bool put_page(u64 page)
{
	u32 n = atomic_load_explicit(&refs[page], memory_order_acquire);

	if (n == 1) {
		atomic_store_explicit(&refs[page], 0, memory_order_relaxed);
		return true;
	}
	if (!n)
		die("memory file: page %llu is put once too often", (unsigned long long)page);
	return atomic_fetch_sub_explicit(&refs[page], 1, memory_order_acq_rel) == 1;
}

void memory_put(u64 offset, u64 npages)
{
	u64 page = offset >> PAGE_SHIFT, end = page + npages;

	while (page < end) {
		u64 n = 0;

		while (page + n < end && put_page(page + n))
			n++;
		if (n)
			free_run(page, n);
		page += n + (page + n < end);
	}
}
