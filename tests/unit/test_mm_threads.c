/*
 * Threads on shared address spaces: touch, copy, map, unmap, protect, fork and truncate at the same time. Built for
 * ThreadSanitizer; each thread owns a slot of every page and nobody else writes it, so lost writes show too.
 */
#include "fake_platform.h"

#define BASE	((gva_t)0x30000000)
#define PAGES	96
#define FILE_AT	(BASE + 2 * PAGES * PAGE_SIZE)
#define THREADS	4
#define ROUNDS	1500
#define RW	(PROT_READ | PROT_WRITE)

static struct mm *mm;
static struct fake_file file;

struct worker {
	pthread_t thread;
	u32 id, seed;
	u32 value[PAGES];		/* what this thread last stored in its slot of each page */
	u64 faults;
};

static u32 pick(struct worker *w, u32 n) { return (u32)rand_r(&w->seed) % n; }

/* A guest's access is one instruction: what it shows must not change under it, so it is done under mm->lock. */
static int access_slot(struct mm *m, gva_t addr, u32 id, u32 *value, bool write)
{
	enum access want = write ? ACCESS_WRITE : ACCESS_READ;

	for (;;) {
		u64 entry;
		int err;

		pthread_mutex_lock(&m->lock);
		entry = radix_get(m->as->pages, addr >> PAGE_SHIFT);
		if (entry & ((u64)want << 1)) {
			_Atomic u32 *slot = (_Atomic u32 *)memory_ptr(entry & PAGE_MASK) + id;

			if (write)
				atomic_store_explicit(slot, *value, memory_order_relaxed);
			else
				*value = atomic_load_explicit(slot, memory_order_relaxed);
			pthread_mutex_unlock(&m->lock);
			return 0;
		}
		pthread_mutex_unlock(&m->lock);
		err = mm_fault(m, addr, want, 8 << 20);
		if (err)
			return err;
	}
}

static void store(struct worker *w)
{
	u32 page = pick(w, PAGES), value = rand_r(&w->seed);
	gva_t addr = BASE + page * PAGE_SIZE;

	if (pick(w, 2)) {
		if (access_slot(mm, addr, w->id, &value, true))
			die("store");
	} else if (copy_out(mm, addr + 4 * w->id, &value, 4)) {
		die("copy_out");
	}
	w->value[page] = value;
}

static void load(struct worker *w)
{
	u32 page = pick(w, PAGES), value = 0;
	gva_t addr = BASE + page * PAGE_SIZE;

	if (pick(w, 2) ? access_slot(mm, addr, w->id, &value, false) : copy_in(mm, &value, addr + 4 * w->id, 4))
		die("load");
	if (value != w->value[page])
		die("thread %u lost a write to page %u", w->id, page);
}

/* The child sees all of this thread's slots as they were at the fork, and its writes stay its own. */
static void fork_child(struct worker *w)
{
	struct mm *child;
	u32 value;

	if (mm_fork(mm, &child))
		die("fork");
	for (u32 i = 0; i < PAGES; i += 1 + pick(w, 7)) {
		value = 0;
		if (access_slot(child, BASE + i * PAGE_SIZE, w->id, &value, false) || value != w->value[i])
			die("the child reads %x, not %x", value, w->value[i]);
		value = 77;
		if (access_slot(child, BASE + i * PAGE_SIZE, w->id, &value, true))
			die("the child can't write");
	}
	check_mm(child);
	mm_put(child);
}

static void remap_own(struct worker *w)
{
	u64 len = (1 + pick(w, 40)) * PAGE_SIZE;
	s64 addr = map_anon(mm, 0, len, RW, MAP_PRIVATE);
	u32 value = 1;

	if (addr < 0 || access_slot(mm, addr, w->id, &value, true))
		die("map");
	mm_protect(mm, addr, PAGE_SIZE, PROT_READ);
	if (mm_unmap(mm, addr, len))
		die("unmap");
}

static void use_file(struct worker *w)
{
	u32 value = 5;

	switch (pick(w, 4)) {
	case 0:
		page_cache_truncate(&file.cache, pick(w, PAGES) * PAGE_SIZE);
		break;
	case 1:
		page_cache_write(&file.cache, &(struct iovec){ &value, 4 }, 1, pick(w, PAGES) * PAGE_SIZE);
		break;
	default:
		access_slot(mm, FILE_AT + pick(w, PAGES) * PAGE_SIZE, w->id, &value, pick(w, 2));
	}
}

static void pin_some(struct worker *w)
{
	struct iovec iov[8];
	struct uaccess_pin pin = { .iov = iov };
	u32 page = pick(w, PAGES - 4), value = rand_r(&w->seed);

	if (uaccess_pin(mm, BASE + page * PAGE_SIZE + 4 * w->id, 2 * PAGE_SIZE, ACCESS_WRITE, &pin, 8) < 0)
		die("pin");
	atomic_store_explicit((_Atomic u32 *)pin.iov[0].iov_base, value, memory_order_relaxed);
	uaccess_unpin(&pin);
	w->value[page] = value;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < ROUNDS; i++) {
		switch (pick(w, 12)) {
		case 0: fork_child(w); break;
		case 1: case 2: remap_own(w); break;
		case 3: case 4: use_file(w); break;
		case 5: pin_some(w); break;
		case 6: case 7: case 8: load(w); break;
		default: store(w);
		}
	}
	return NULL;
}

static void threads(void **state)
{
	struct worker w[THREADS] = { 0 };

	knob_recycle_mb = 0;		/* freed pages are punched out at once, by whoever frees them */
	fake_file_init(&file, NULL, PAGES * PAGE_SIZE, O_RDWR);
	assert_int_equal(mm_create(&mm), 0);
	assert_true(map_anon(mm, BASE, PAGES * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED) > 0);
	assert_true(map_file(mm, FILE_AT, PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, &file, 0) > 0);
	for (u32 i = 0; i < THREADS; i++) {
		w[i].id = w[i].seed = i;
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (u32 i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	check_mm(mm);
	mm_put(mm);
	fake_file_destroy(&file);
	assert_int_equal(memory_used(), 0);
	assert_int_equal(fake.spaces, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(threads) };

	if (memory_file_init((u64)64 << 20))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
