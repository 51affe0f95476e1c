/* core/mm call by call: results and errors as in the man pages, and what the platform is asked to do. */
#include "fake_platform.h"

#define BASE	((gva_t)0x20000000)
#define RW	(PROT_READ | PROT_WRITE)
#define ANON	(MAP_PRIVATE | MAP_FIXED)
#define P	PAGE_SIZE

static struct mm *mm;

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	return mm_create(&mm);
}

static int teardown(void **state)
{
	check_mm(mm);
	mm_put(mm);
	assert_int_equal(memory_used(), 0);
	assert_int_equal(fake.spaces, 0);
	return 0;
}

static int put8(struct mm *m, gva_t addr, u8 value)
{
	int err = 0;
	u8 *p = guest_touch(m, addr, ACCESS_WRITE, &err);

	if (p)
		*p = value;
	return err;
}

static int get8(struct mm *m, gva_t addr)
{
	int err = 0;
	u8 *p = guest_touch(m, addr, ACCESS_READ, &err);

	return p ? *p : err;
}

static size_t count_vmas(void)
{
	struct vma_info *info;
	size_t n;

	assert_int_equal(mm_snapshot(mm, true, &info, &n), 0);
	mm_snapshot_free(info, n);
	return n;
}

/* ---- mmap, munmap ---- */

static void map_errors(void **state)
{
	assert_int_equal(map_anon(mm, 0, 0, RW, MAP_PRIVATE), -EINVAL);
	assert_int_equal(map_anon(mm, 0, P, RW, 0), -EINVAL);
	assert_int_equal(map_anon(mm, 0, P, RW, MAP_SHARED_VALIDATE), -EINVAL);
	assert_int_equal(map_anon(mm, 0, P, RW, MAP_SHARED | MAP_GROWSDOWN), -EINVAL);
	assert_int_equal(map_anon(mm, BASE + 1, P, RW, ANON), -EINVAL);
	assert_int_equal(map_anon(mm, GUEST_END, P, RW, ANON), -ENOMEM);
	assert_int_equal(map_anon(mm, ~0ull & PAGE_MASK, P, RW, ANON), -ENOMEM);
	assert_int_equal(map_anon(mm, 0, ~0ull, RW, MAP_PRIVATE), -ENOMEM);
	assert_int_equal(map_anon(mm, 0, P, RW, ANON), -EPERM);
	assert_int_equal(map_anon(mm, 0, (memory_limit() + 1) * P, RW, MAP_PRIVATE), -ENOMEM);
	assert_true(map_anon(mm, 0, (memory_limit() + 1) * P, RW, MAP_PRIVATE | MAP_NORESERVE) > 0);
	assert_int_equal(map_anon(mm, BASE, P, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE), BASE);
	assert_int_equal(map_anon(mm, BASE, P, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE), -EEXIST);
	assert_int_equal(mm_unmap(mm, BASE + 1, P), -EINVAL);
	assert_int_equal(mm_unmap(mm, BASE, 0), -EINVAL);
	assert_int_equal(mm_unmap(mm, BASE, ~0ull), -EINVAL);
	assert_int_equal(mm_unmap(mm, BASE + 64 * P, P), 0);
}

static void limits(void **state)
{
	struct map_request req = { .len = 4 * P, .prot = RW, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .limit_as = 4 * P };

	assert_true(mm_map(mm, &req) > 0);
	assert_int_equal(mm_map(mm, &req), -ENOMEM);
	req.limit_as = 0;
	req.limit_data = 7 * P;
	assert_int_equal(mm_map(mm, &req), -ENOMEM);
	req.prot = PROT_READ;
	assert_true(mm_map(mm, &req) > 0);
	req.limit_memlock = 3 * P;
	req.flags |= MAP_LOCKED;
	assert_int_equal(mm_map(mm, &req), -EAGAIN);
}

static void merge_and_gaps(void **state)
{
	s64 a = map_anon(mm, 0, P, RW, MAP_PRIVATE), b = map_anon(mm, 0, P, RW, MAP_PRIVATE);

	assert_int_equal(b, a - (s64)P);
	assert_int_equal(count_vmas(), 1);
	assert_true(map_anon(mm, 0, 3 * P, RW, MAP_PRIVATE) == b - 3 * (s64)P);
	assert_int_equal(mm_unmap(mm, b, P), 0);
	assert_int_equal(count_vmas(), 2);
	assert_int_equal(map_anon(mm, 0, 2 * P, PROT_READ, MAP_PRIVATE), b - 5 * (s64)P);
	assert_int_equal(map_anon(mm, 0, P, RW, MAP_PRIVATE), b);
	assert_int_equal(map_anon(mm, a, P, RW, MAP_PRIVATE), b - 6 * (s64)P);	/* a hint that is taken */
	assert_int_equal(map_anon(mm, BASE + 5, P, RW, MAP_PRIVATE), BASE + P);
	assert_in_range(map_anon(mm, 0, P, RW, MAP_PRIVATE | MAP_32BIT), 0x40000000, 0x80000000 - P);
}

static void untouched_costs_nothing(void **state)
{
	for (int i = 0; i < 10; i++) {
		s64 a = map_anon(mm, 0, 16 * P, RW, MAP_PRIVATE);

		assert_int_equal(mm_protect(mm, a, P, PROT_READ), 0);
		assert_int_equal(mm_unmap(mm, a, 16 * P), 0);
	}
	assert_int_equal(fake.maps + fake.unmaps + fake.protects, 0);
}

/* ---- faults ---- */

static void fault_around(void **state)
{
	map_anon(mm, BASE, 64 * P, RW, ANON);
	assert_int_equal(put8(mm, BASE + 17 * P, 1), 0);
	assert_int_equal(fake.maps, 1);
	assert_int_equal(mm->rss_pages, 16);
	for (int i = 16; i < 32; i++)
		assert_int_equal(put8(mm, BASE + i * P, 1), 0);
	assert_int_equal(fake.faults, 1);
	assert_int_equal(put8(mm, BASE + 63 * P, 1), 0);
	assert_int_equal(mm->rss_pages, 32);
}

static void fault_errors(void **state)
{
	map_anon(mm, BASE, P, PROT_READ, ANON);
	map_anon(mm, BASE + P, P, PROT_NONE, ANON);
	assert_int_equal(put8(mm, BASE, 1), -EACCES);
	assert_int_equal(get8(mm, BASE), 0);
	assert_int_equal(get8(mm, BASE + P), -EACCES);
	assert_int_equal(get8(mm, BASE + 2 * P), -EFAULT);
	assert_int_equal(get8(mm, GUEST_END), -EFAULT);
	assert_int_equal(get8(mm, ~0ull), -EFAULT);
	assert_int_equal(mm_fault(mm, BASE, ACCESS_EXEC, 0), -EACCES);
	assert_int_equal(mm_fault(mm, BASE, ACCESS_READ, 0), 0);	/* spurious */
}

static void write_only_is_readable(void **state)
{
	map_anon(mm, BASE, P, PROT_WRITE, ANON);
	assert_int_equal(get8(mm, BASE), 0);
	assert_int_equal(put8(mm, BASE, 3), 0);
	assert_int_equal(get8(mm, BASE), 3);
}

static void stack_growth(void **state)
{
	gva_t top = BASE + 0x4000000;

	map_anon(mm, top - P, P, RW, ANON | MAP_GROWSDOWN);
	assert_int_equal(put8(mm, top - 40 * P, 1), 0);
	assert_int_equal(mm_fault(mm, top - (8 << 20), ACCESS_WRITE, 8 << 20), 0);
	assert_int_equal(mm_fault(mm, top - (8 << 20) - 1, ACCESS_WRITE, 8 << 20), -EFAULT);
	assert_int_equal(map_anon(mm, top - (10 << 20), P, RW, ANON), top - (10 << 20));
	/* Up to the guard gap of one megabyte, no further. */
	assert_int_equal(mm_fault(mm, top - (9 << 20) + P, ACCESS_WRITE, RLIM_INFINITY), 0);
	assert_int_equal(mm_fault(mm, top - (9 << 20) - P, ACCESS_WRITE, RLIM_INFINITY), -EFAULT);
}

static void memory_full(void **state)
{
	u64 n = 0;
	int err = 0;

	map_anon(mm, BASE, 2 * memory_limit() * P, RW, ANON | MAP_NORESERVE);
	while (!err)
		err = put8(mm, BASE + n++ * P, 1);
	assert_int_equal(err, -ENOMEM);
	assert_in_range(n - 1, memory_limit() * 99 / 100, memory_limit());
}

/* ---- fork ---- */

static void fork_isolates(void **state)
{
	struct mm *child;
	u64 maps;

	map_anon(mm, BASE, 32 * P, RW, ANON);
	for (int i = 0; i < 32; i++)
		put8(mm, BASE + i * P, i);
	assert_int_equal(mm_fork(mm, &child), 0);
	maps = fake.faults;
	for (int i = 0; i < 32; i++)
		assert_int_equal(get8(mm, BASE + i * P) + get8(child, BASE + i * P), 2 * i);
	assert_int_equal(fake.faults, maps);		/* neither refaults */
	put8(mm, BASE, 100);
	put8(child, BASE + P, 101);
	assert_int_equal(get8(child, BASE), 0);
	assert_int_equal(get8(mm, BASE + P), 1);
	check_mm(child);
	mm_put(child);
	fake.faults = 0;
	for (int i = 0; i < 32; i++)
		put8(mm, BASE + i * P, 7);
	assert_true(fake.faults <= 3);			/* taken over in long runs */
}

static void fork_pinned(void **state)
{
	struct iovec iov[2];
	struct uaccess_pin pin = { .iov = iov };
	struct mm *child;

	map_anon(mm, BASE, 2 * P, RW, ANON);
	put8(mm, BASE, 1);
	assert_int_equal(uaccess_pin(mm, BASE + 8, P, ACCESS_WRITE, &pin, 2), P);
	assert_int_equal(mm_fork(mm, &child), 0);
	put8(mm, BASE, 2);
	memset(pin.iov[0].iov_base, 9, 16);		/* the file's data arrives late */
	uaccess_unpin(&pin);
	assert_int_equal(get8(mm, BASE + 8), 9);
	assert_int_equal(get8(child, BASE + 8), 0);
	assert_int_equal(get8(child, BASE), 1);
	mm_put(child);
}

static void fork_advice(void **state)
{
	struct mm *child;

	map_anon(mm, BASE, 3 * P, RW, ANON);
	for (int i = 0; i < 3; i++)
		put8(mm, BASE + i * P, 5);
	assert_int_equal(mm_advise(mm, BASE, P, MADV_DONTFORK), 0);
	assert_int_equal(mm_advise(mm, BASE + P, P, MADV_WIPEONFORK), 0);
	assert_int_equal(mm_fork(mm, &child), 0);
	assert_int_equal(get8(child, BASE), -EFAULT);
	assert_int_equal(get8(child, BASE + P), 0);
	assert_int_equal(get8(child, BASE + 2 * P), 5);
	mm_put(child);
}

static void shared_stays_shared(void **state)
{
	struct mm *child;

	map_anon(mm, BASE, 4 * P, RW, MAP_SHARED | MAP_FIXED);
	put8(mm, BASE, 1);
	assert_int_equal(mm_fork(mm, &child), 0);
	put8(child, BASE + 2 * P, 2);
	put8(child, BASE, 3);
	assert_int_equal(get8(mm, BASE), 3);
	assert_int_equal(get8(mm, BASE + 2 * P), 2);
	assert_int_equal(mm_advise(mm, BASE, 4 * P, MADV_DONTNEED), 0);
	assert_int_equal(get8(mm, BASE), 3);
	assert_int_equal(mm_advise(mm, BASE, P, MADV_REMOVE), 0);
	assert_int_equal(get8(child, BASE), 0);
	mm_put(child);
}

/* A guest that breaks copy on write here and there must not end up with more runs than the host gives a process. */
static void scattered_writes(void **state)
{
	u64 n = 30000, runs = 0, next = 0;
	struct mm *child;
	struct pt_run run;

	knob_cow_around_kb = 4;
	map_anon(mm, BASE, n * 2 * P, RW, ANON);
	mm_populate(mm, BASE, n * 2 * P);
	assert_int_equal(mm_fork(mm, &child), 0);
	for (u64 i = 0; i < n; i++)
		assert_int_equal(put8(child, BASE + (i * 7919 % n) * 2 * P, i), 0);
	for (u64 i = 0; i < n; i++)
		assert_int_equal(get8(child, BASE + (i * 7919 % n) * 2 * P), (u8)i);
	for (gva_t pos = 0; pt_next_run(child->pt, &pos, GUEST_END, &run); runs++)
		next = run.addr;
	assert_true(next && runs < 40000);
	check_mm(child);
	mm_put(child);
}

/* ---- mprotect, mremap, brk, madvise ---- */

static void protect(void **state)
{
	map_anon(mm, BASE, 4 * P, RW, ANON);
	put8(mm, BASE, 1);
	assert_int_equal(mm_protect(mm, BASE + 1, P, RW), -EINVAL);
	assert_int_equal(mm_protect(mm, BASE, P, 0x100), -EINVAL);
	assert_int_equal(mm_protect(mm, BASE, P, RW | PROT_GROWSDOWN), -EINVAL);
	assert_int_equal(mm_protect(mm, BASE, 0, RW), 0);
	assert_int_equal(mm_protect(mm, BASE, 5 * P, PROT_READ), -ENOMEM);
	assert_int_equal(put8(mm, BASE + 3 * P, 1), -EACCES);
	assert_int_equal(mm_protect(mm, BASE, 4 * P, RW), 0);
	fake.faults = 0;
	assert_int_equal(put8(mm, BASE + 3 * P, 1), 0);
	assert_int_equal(fake.faults, 0);
	assert_int_equal(mm_protect(mm, BASE, 4 * P, PROT_NONE), 0);
	assert_int_equal(get8(mm, BASE), -EACCES);
	assert_int_equal(mm_protect(mm, BASE + P, P, PROT_READ), 0);
	assert_int_equal(count_vmas(), 3);
	assert_int_equal(mm_protect(mm, BASE + P, P, PROT_NONE), 0);
	assert_int_equal(count_vmas(), 1);
}

static s64 remap(gva_t addr, u64 len, u64 new_len, u32 flags, gva_t to)
{
	struct remap_request req = { .addr = addr, .len = len, .new_len = new_len, .flags = flags, .new_addr = to };

	return mm_remap(mm, &req);
}

static void remaps(void **state)
{
	s64 to;

	map_anon(mm, BASE, 4 * P, RW, ANON);
	map_anon(mm, BASE + 6 * P, P, PROT_READ, ANON);
	put8(mm, BASE + 3 * P, 9);
	assert_int_equal(remap(BASE, 4 * P, 0, 0, 0), -EINVAL);
	assert_int_equal(remap(BASE, 4 * P, P, 0x80, 0), -EINVAL);
	assert_int_equal(remap(BASE, 4 * P, P, MREMAP_FIXED, BASE + 64 * P), -EINVAL);
	assert_int_equal(remap(BASE, 4 * P, 4 * P, MREMAP_FIXED | MREMAP_MAYMOVE, BASE + P), -EINVAL);
	assert_int_equal(remap(BASE, 0, P, MREMAP_MAYMOVE, 0), -EINVAL);
	assert_int_equal(remap(BASE - P, P, 2 * P, 0, 0), -EFAULT);
	assert_int_equal(remap(BASE, 8 * P, 9 * P, MREMAP_MAYMOVE, 0), -EFAULT);
	assert_int_equal(remap(BASE, 4 * P, 6 * P, 0, 0), BASE);
	assert_int_equal(remap(BASE, 6 * P, 7 * P, 0, 0), -ENOMEM);
	to = remap(BASE, 6 * P, 7 * P, MREMAP_MAYMOVE, 0);
	assert_true(to > 0 && to != (s64)BASE);
	assert_int_equal(get8(mm, to + 3 * P), 9);
	assert_int_equal(get8(mm, BASE), -EFAULT);
	assert_int_equal(remap(to, 7 * P, 4 * P, 0, 0), to);
	assert_int_equal(remap(to, 4 * P, 4 * P, MREMAP_MAYMOVE | 4 /* DONTUNMAP */, 0) > 0, 1);
	assert_int_equal(get8(mm, to + 3 * P), 0);
	map_anon(mm, BASE, P, RW, MAP_SHARED | MAP_FIXED);
	put8(mm, BASE, 4);
	to = remap(BASE, 0, P, MREMAP_MAYMOVE, 0);
	assert_int_equal(get8(mm, to), 4);
	put8(mm, to, 5);
	assert_int_equal(get8(mm, BASE), 5);
}

static void heap(void **state)
{
	mm->brk = mm->brk_start = BASE + 100;
	assert_int_equal(mm_brk(mm, 0, 0, 0), BASE + 100);
	assert_int_equal(mm_brk(mm, BASE + 3 * P, 0, 0), BASE + 3 * P);
	assert_int_equal(put8(mm, BASE + P, 1), 0);
	assert_int_equal(mm_brk(mm, BASE + 4 * P, 0, 2 * P), BASE + 3 * P);
	assert_int_equal(mm_brk(mm, BASE + P, 0, 0), BASE + P);
	assert_int_equal(get8(mm, BASE + P), -EFAULT);
	map_anon(mm, BASE + 2 * P, P, RW, ANON);
	assert_int_equal(mm_brk(mm, BASE + 3 * P, 0, 0), BASE + P);
}

static void advice(void **state)
{
	map_anon(mm, BASE, 4 * P, RW, ANON);
	put8(mm, BASE, 1);
	assert_int_equal(mm_advise(mm, BASE, P, MADV_DONTNEED), 0);
	assert_int_equal(get8(mm, BASE), 0);
	assert_int_equal(mm_advise(mm, BASE, P, 12345), -EINVAL);
	assert_int_equal(mm_advise(mm, BASE + 1, P, MADV_NORMAL), -EINVAL);
	assert_int_equal(mm_advise(mm, BASE, 5 * P, MADV_DONTNEED), -ENOMEM);
	assert_int_equal(mm_advise(mm, BASE, 4 * P, 23 /* POPULATE_WRITE */), 0);
	assert_int_equal(mm_advise(mm, BASE, 4 * P, MADV_REMOVE), -EINVAL);
	assert_int_equal(mm_lock(mm, BASE, P, VMA_LOCKED, 0), 0);
	assert_int_equal(mm_advise(mm, BASE, P, MADV_DONTNEED), -EINVAL);
	assert_int_equal(mm->locked_pages, 1);
	assert_int_equal(mm_lock(mm, BASE, 4 * P, VMA_LOCKED, 3 * P), -ENOMEM);
	assert_int_equal(mm_lock_all(mm, 0, 0, 0), 0);
	assert_int_equal(mm->locked_pages, 0);
}

/* ---- files ---- */

static u8 store[8 * 4096];

static int store_fill(struct page_cache *pc, u64 index, u64 n, void *dst)
{
	memcpy(dst, store + index * P, MIN(n * P, pc->size - index * P));
	return 0;
}

static int store_write(struct page_cache *pc, u64 pos, const void *src, u64 len)
{
	memcpy(store + pos, src, len);
	return 0;
}
static const struct page_cache_ops store_ops = { .fill = store_fill, .writeback = store_write };

static void private_file(void **state)
{
	struct fake_file f;

	memset(store, 7, sizeof(store));
	fake_file_init(&f, &store_ops, 3 * P + 5, O_RDONLY);
	assert_int_equal(map_file(mm, BASE, 8 * P, RW, MAP_SHARED | MAP_FIXED, &f, 0), -EACCES);
	assert_int_equal(map_file(mm, BASE, 8 * P, RW, ANON, &f, 0), BASE);
	assert_int_equal(get8(mm, BASE), 7);
	assert_int_equal(get8(mm, BASE + 3 * P + 4), 7);
	assert_int_equal(get8(mm, BASE + 3 * P + 5), 0);
	assert_int_equal(get8(mm, BASE + 4 * P), -ENXIO);
	assert_int_equal(put8(mm, BASE, 1), 0);
	assert_int_equal(store[0], 7);
	assert_int_equal(map_file(mm, BASE, 8 * P, PROT_READ, MAP_SHARED | MAP_FIXED, &f, 0), BASE);
	assert_int_equal(get8(mm, BASE), 7);
	assert_int_equal(mm_protect(mm, BASE, P, RW), -EACCES);
	mm_unmap(mm, BASE, 8 * P);
	fake_file_destroy(&f);
}

static void shared_file_writeback(void **state)
{
	struct fake_file f;
	u8 c = 9;

	memset(store, 7, sizeof(store));
	fake_file_init(&f, &store_ops, 8 * P, O_RDWR);
	assert_int_equal(map_file(mm, BASE, 8 * P, RW, MAP_SHARED | MAP_FIXED, &f, 0), BASE);
	assert_int_equal(get8(mm, BASE), 7);
	assert_int_equal(put8(mm, BASE + P, 8), 0);
	assert_int_equal(store[P], 7);
	assert_int_equal(mm_sync(mm, BASE, 8 * P, MS_SYNC), 0);
	assert_int_equal(store[P], 8);
	put8(mm, BASE + P, 9);			/* no fault: still noticed */
	mm_unmap(mm, BASE, 8 * P);
	assert_int_equal(store[P], 9);
	assert_int_equal(page_cache_write(&f.cache, &(struct iovec){ &c, 1 }, 1, 2 * P), 1);
	assert_int_equal(store[2 * P], 9);
	fake_file_destroy(&f);
}

static void truncation(void **state)
{
	struct fake_file f;
	struct mm *child;

	fake_file_init(&f, NULL, 8 * P, O_RDWR);
	map_file(mm, BASE, 8 * P, RW, MAP_SHARED | MAP_FIXED, &f, 0);
	map_file(mm, BASE + 64 * P, 8 * P, RW, MAP_PRIVATE | MAP_FIXED, &f, 0);
	for (int i = 0; i < 8; i++) {
		put8(mm, BASE + i * P + 100, 1);
		put8(mm, BASE + (64 + i) * P, 2);
	}
	assert_int_equal(mm_fork(mm, &child), 0);
	assert_int_equal(page_cache_truncate(&f.cache, 2 * P + 50), 0);
	assert_int_equal(get8(mm, BASE + 2 * P + 100), 0);
	assert_int_equal(get8(mm, BASE + 3 * P), -ENXIO);
	assert_int_equal(get8(child, BASE + 3 * P), -ENXIO);
	assert_int_equal(get8(child, BASE + 67 * P), -ENXIO);
	assert_int_equal(get8(child, BASE + 64 * P), 2);
	assert_int_equal(page_cache_resident(&f.cache), 3);
	page_cache_truncate(&f.cache, 8 * P);
	assert_int_equal(get8(mm, BASE + 3 * P + 100), 0);
	put8(mm, BASE + 65 * P, 4);
	assert_int_equal(page_cache_punch(&f.cache, P, P), 0);
	assert_int_equal(get8(mm, BASE + P + 100), 0);
	assert_int_equal(get8(mm, BASE + 65 * P), 4);
	check_mm(child);
	mm_put(child);
	mm_unmap(mm, BASE, 256 * P);
	fake_file_destroy(&f);
}

static void read_write_seek(void **state)
{
	struct fake_file f;
	char buf[100] = "hello", back[100];
	struct iovec in[2] = { { buf, 2 }, { buf + 2, 98 } }, out = { back, 100 };

	fake_file_init(&f, NULL, 0, O_RDWR);
	assert_int_equal(page_cache_write(&f.cache, in, 2, 3 * P - 50), 100);
	assert_int_equal(f.cache.size, 3 * P + 50);
	assert_int_equal(page_cache_read(&f.cache, &out, 1, 3 * P - 50), 100);
	assert_memory_equal(buf, back, 100);
	assert_int_equal(page_cache_read(&f.cache, &out, 1, 3 * P + 40), 10);
	assert_int_equal(page_cache_read(&f.cache, &out, 1, 3 * P + 50), 0);
	assert_int_equal(page_cache_read(&f.cache, &out, 1, 0), 100);
	assert_int_equal(back[0], 0);
	assert_int_equal(page_cache_seek(&f.cache, 0, true), 2 * P);
	assert_int_equal(page_cache_seek(&f.cache, 2 * P + 1, true), 2 * P + 1);
	assert_int_equal(page_cache_seek(&f.cache, 2 * P + 1, false), 3 * P + 50);
	assert_int_equal(page_cache_seek(&f.cache, 1, false), 1);
	assert_int_equal(page_cache_seek(&f.cache, 4 * P, true), -ENXIO);
	assert_int_equal(page_cache_write(&f.cache, in, 1, INT64_MAX), -EFBIG);
	assert_int_equal(page_cache_write(&f.cache, in, 1, (u64)INT64_MAX - 2), 2);
	assert_int_equal(page_cache_seek(&f.cache, 4 * P, true), (u64)INT64_MAX & PAGE_MASK);
	assert_int_equal(page_cache_allocate(&f.cache, 0, memory_limit() * P * 2), -ENOSPC);
	fake_file_destroy(&f);
}

/* Pages that the store can give again make room for those that nobody can. */
static int fill_sevens(struct page_cache *pc, u64 index, u64 n, void *dst)
{
	memset(dst, 7, n * P);
	return 0;
}

static void reclaim(void **state)
{
	static const struct page_cache_ops ops = { .fill = fill_sevens };
	u64 pages = memory_limit(), n;
	struct fake_file f;
	u8 c;

	fake_file_init(&f, &ops, pages * P, O_RDONLY);
	for (u64 i = 0; i < pages; i++)
		page_cache_read(&f.cache, &(struct iovec){ &c, 1 }, 1, i * P);
	assert_true(memory_used() > pages / 2);
	map_anon(mm, BASE, pages * P, RW, ANON);
	for (n = 0; n < pages * 15 / 16; n++)
		assert_int_equal(put8(mm, BASE + n * P, 1), 0);
	assert_int_equal(page_cache_read(&f.cache, &(struct iovec){ &c, 1 }, 1, 5 * P), 1);
	assert_int_equal(c, 7);
	fake_file_destroy(&f);
}

/* ---- uaccess ---- */

static void strings(void **state)
{
	char buf[256];

	map_anon(mm, BASE, 2 * P, RW, ANON);
	assert_int_equal(copy_out(mm, BASE + 2 * P - 6, "hello", 6), 0);
	assert_int_equal(copy_in_str(mm, buf, BASE + 2 * P - 6, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(copy_in_str(mm, buf, BASE + 2 * P - 6, 5), -ENAMETOOLONG);
	assert_int_equal(copy_in_str(mm, buf, BASE + 2 * P - 6, 6), 5);
	assert_int_equal(copy_out(mm, BASE + 2 * P - 5, "hello", 5), 0);
	assert_int_equal(copy_in_str(mm, buf, BASE + 2 * P - 5, sizeof(buf)), -EFAULT);
	assert_int_equal(copy_in_str(mm, buf, ~0ull - 3, sizeof(buf)), -EFAULT);
	assert_int_equal(copy_in(mm, buf, BASE + 2 * P - 5, 6), -EFAULT);
	assert_int_equal(copy_in(mm, buf, ~0ull - 3, 6), -EFAULT);
	assert_int_equal(copy_out(mm, GUEST_END - 3, buf, 6), -EFAULT);
	assert_int_equal(clear_out(mm, BASE + P - 10, 20), 0);
	mm_protect(mm, BASE, P, PROT_READ);
	assert_int_equal(copy_out(mm, BASE, buf, 1), -EFAULT);
}

static void pins(void **state)
{
	struct iovec iov[4];
	struct uaccess_pin pin = { .iov = iov };

	map_anon(mm, BASE, 4 * P, RW, ANON);
	assert_int_equal(uaccess_pin(mm, BASE + 100, 5 * P, ACCESS_WRITE, &pin, 4), 4 * P - 100);
	assert_int_equal(pin.iovcnt, 1);
	mm_unmap(mm, BASE, 4 * P);
	assert_int_equal(memory_used() / 4, 1);		/* and what is left of the page table */
	memset(iov[0].iov_base, 1, iov[0].iov_len);
	uaccess_unpin(&pin);
	assert_int_equal(uaccess_pin(mm, BASE, P, ACCESS_READ, &pin, 4), -EFAULT);
}

static void futex_words(void **state)
{
	struct futex_key a, b;
	struct mm *child;
	u32 *w, *x;

	map_anon(mm, BASE, P, RW, MAP_SHARED | MAP_FIXED);
	map_anon(mm, BASE + P, P, RW, ANON);
	assert_int_equal(uaccess_word(mm, BASE + 2, false, ACCESS_READ, &w, &a), -EINVAL);
	assert_int_equal(uaccess_word(mm, BASE + 2 * P, false, ACCESS_READ, &w, &a), -EFAULT);
	assert_int_equal(uaccess_word(mm, BASE + 8, true, ACCESS_WRITE, &w, &a), 0);
	assert_int_equal(mm_fork(mm, &child), 0);
	assert_int_equal(uaccess_word(child, BASE + 8, true, ACCESS_READ, &x, &b), 0);
	assert_ptr_equal(w, x);
	assert_true(!a.object && a.object == b.object && a.offset == b.offset);
	uaccess_word_unpin(w);
	uaccess_word_unpin(x);
	assert_int_equal(uaccess_word(mm, BASE + P, true, ACCESS_READ, &w, &a), 0);
	assert_true(a.object == mm && a.offset == BASE + P);
	uaccess_word_unpin(w);
	mm_put(child);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(map_errors), T(limits), T(merge_and_gaps), T(untouched_costs_nothing), T(fault_around),
		T(fault_errors), T(write_only_is_readable), T(stack_growth), T(memory_full), T(fork_isolates),
		T(fork_pinned),
		T(fork_advice), T(shared_stays_shared), T(scattered_writes), T(protect), T(remaps), T(heap),
		T(advice), T(private_file),
		T(shared_file_writeback), T(truncation), T(read_write_seek), T(reclaim), T(strings),
		T(pins), T(futex_words),
	};

	if (memory_file_init((u64)512 << 20))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
