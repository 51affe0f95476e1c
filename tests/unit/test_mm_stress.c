/*
 * A random walk over address spaces: map, write, fork, unmap, mprotect, mremap, madvise, truncate, uaccess; what a
 * guest reads is compared with a model, and the invariants of the page table with what the platform shows.
 */
#include "fake_platform.h"

#define BASE	((gva_t)0x10000000)
#define PAGES	400
#define NMM	4
#define STEPS	20000
#define RW	(PROT_READ | PROT_WRITE)

/* The model of one page of one mm. `cell` is where its value lives: its own, or that of a shared object. */
struct page {
	bool mapped, shared;
	u32 prot;
	u32 own;
	u32 *cell;			/* NULL: own */
	u64 file_index;			/* for the shared file: beyond its size is SIGBUS */
	bool in_file;
};

struct world {
	struct mm *mm;
	struct page page[PAGES];
};

static struct world worlds[NMM];
static u32 *objects[STEPS];
static int nobjects;
static struct fake_file fixed, changing;
static u32 changing_cells[PAGES];
static u64 changing_pages = PAGES;

static u32 pick(u32 n) { return (u32)random() % n; }
static u32 fixed_value(u64 index) { return 0x5000000 + index; }
static gva_t at(u32 page) { return BASE + (u64)page * PAGE_SIZE; }

static u32 *cell_of(struct page *p) { return p->cell ? p->cell : &p->own; }

static int fill_fixed(struct page_cache *pc, u64 index, u64 n, void *dst)
{
	for (u64 i = 0; i < n; i++)
		*(u32 *)((u8 *)dst + i * PAGE_SIZE) = fixed_value(index + i);
	return 0;
}
static const struct page_cache_ops fixed_ops = { .fill = fill_fixed };

static void range(u32 *from, u32 *n)
{
	*from = pick(PAGES);
	*n = 1 + pick(MIN(40, PAGES - *from));
}

static void do_map(struct world *w)
{
	static const u32 prots[] = { PROT_NONE, PROT_READ, RW, RW, RW, RW };
	u32 from, n, prot = prots[pick(ARRAY_SIZE(prots))], kind = pick(4), shift;

	range(&from, &n);
	shift = pick(PAGES - n + 1);
	if (kind == 0)
		assert_int_equal(map_anon(w->mm, at(from), n * PAGE_SIZE, prot, MAP_PRIVATE | MAP_FIXED), at(from));
	else if (kind == 1)
		assert_int_equal(map_anon(w->mm, at(from), n * PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED), at(from));
	else
		assert_int_equal(map_file(w->mm, at(from), n * PAGE_SIZE, prot,
					  (kind == 2 ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED,
					  kind == 2 ? &fixed : &changing, shift * PAGE_SIZE), at(from));
	if (kind == 1)
		objects[nobjects++] = calloc(n, sizeof(u32));
	for (u32 i = 0; i < n; i++) {
		struct page *p = &w->page[from + i];

		*p = (struct page){ .mapped = true, .prot = prot, .shared = kind & 1 };
		if (kind == 1)
			p->cell = &objects[nobjects - 1][i];
		if (kind == 2)
			p->own = fixed_value(shift + i);
		if (kind == 3) {
			p->cell = &changing_cells[shift + i];
			p->in_file = true;
			p->file_index = shift + i;
		}
	}
}

static void do_unmap(struct world *w)
{
	u32 from, n;

	range(&from, &n);
	assert_int_equal(mm_unmap(w->mm, at(from), n * PAGE_SIZE), 0);
	memset(&w->page[from], 0, n * sizeof(struct page));
}

static void do_protect(struct world *w)
{
	u32 from, n, prot = pick(3) ? RW : pick(2) ? PROT_READ : PROT_NONE;
	int err, want = 0;

	range(&from, &n);
	err = mm_protect(w->mm, at(from), n * PAGE_SIZE, prot);
	for (u32 i = from; i < from + n && !want; i++) {
		if (w->page[i].mapped)
			w->page[i].prot = prot;
		else
			want = -ENOMEM;
	}
	assert_int_equal(err, want);
}

static int expected(struct page *p, enum access want)
{
	if (!p->mapped)
		return -EFAULT;
	if (want == ACCESS_WRITE ? !(p->prot & PROT_WRITE) : !p->prot)
		return -EACCES;
	return p->in_file && p->file_index >= changing_pages ? -ENXIO : 0;
}

static void do_touch(struct world *w, enum access want)
{
	u32 i = pick(PAGES);

	for (u32 n = 1 + pick(8); n && i < PAGES; n--, i++) {
		struct page *p = &w->page[i];
		int err = 0;
		u8 *host = guest_touch(w->mm, at(i), want, &err);

		assert_int_equal(err, expected(p, want));
		if (!host)
			continue;
		assert_int_equal(*(u32 *)host, *cell_of(p));
		if (want == ACCESS_WRITE)
			*(u32 *)host = *cell_of(p) = random();
	}
}

static void do_uaccess(struct world *w)
{
	u32 i = pick(PAGES), value = random(), got = 0;
	struct page *p = &w->page[i];

	if (pick(2)) {
		int err = copy_out(w->mm, at(i), &value, 4);

		assert_int_equal(err, expected(p, ACCESS_WRITE) ? -EFAULT : 0);
		if (!err)
			*cell_of(p) = value;
	} else {
		int err = copy_in(w->mm, &got, at(i), 4);

		assert_int_equal(err, expected(p, ACCESS_READ) ? -EFAULT : 0);
		if (!err)
			assert_int_equal(got, *cell_of(p));
	}
}

static void do_fork(struct world *w)
{
	struct world *child = &worlds[pick(NMM)];

	if (child == w)
		return;
	mm_put(child->mm);
	assert_int_equal(mm_fork(w->mm, &child->mm), 0);
	memcpy(child->page, w->page, sizeof(w->page));
}

static void do_dontneed(struct world *w)
{
	u32 from, n;

	range(&from, &n);
	mm_advise(w->mm, at(from), n * PAGE_SIZE, MADV_DONTNEED);
	for (u32 i = from; i < from + n; i++) {
		struct page *p = &w->page[i];
		struct vma *v;

		if (!p->mapped || p->shared)
			continue;
		pthread_mutex_lock(&w->mm->lock);
		v = vma_find(w->mm, at(i));
		p->own = v->file ? fixed_value(vma_file_offset(v, at(i)) >> PAGE_SHIFT) : 0;
		pthread_mutex_unlock(&w->mm->lock);
	}
}

static void do_remap(struct world *w)
{
	u32 from, n, to = pick(PAGES);
	struct page moved[PAGES];
	s64 got;

	range(&from, &n);
	if (to + n > PAGES)
		return;
	got = mm_remap(w->mm, &(struct remap_request){
		.addr = at(from), .new_addr = at(to), .len = n * PAGE_SIZE, .new_len = n * PAGE_SIZE,
		.flags = MREMAP_MAYMOVE | MREMAP_FIXED });
	if (got < 0)
		return;
	memcpy(moved, &w->page[from], n * sizeof(struct page));
	memset(&w->page[from], 0, n * sizeof(struct page));
	memcpy(&w->page[to], moved, n * sizeof(struct page));
}

static void do_file(void)
{
	u32 index = pick(PAGES), value = random();
	struct iovec iov = { &value, 4 };

	if (pick(4) == 0) {
		page_cache_truncate(&changing.cache, index * PAGE_SIZE);
		for (u32 i = index; i < PAGES; i++)
			changing_cells[i] = 0;
		changing_pages = index;
	} else {
		assert_int_equal(page_cache_write(&changing.cache, &iov, 1, index * PAGE_SIZE), 4);
		changing_cells[index] = value;
		changing_pages = MAX(changing_pages, index + 1);
	}
	if (pick(4) == 0) {
		assert_int_equal(page_cache_truncate(&changing.cache, PAGES * PAGE_SIZE), 0);
		changing_pages = PAGES;
	}
}

static void step(struct world *w)
{
	switch (pick(16)) {
	case 0: case 1: do_map(w); break;
	case 2: do_unmap(w); break;
	case 3: do_protect(w); break;
	case 4: do_remap(w); break;
	case 5: do_dontneed(w); break;
	case 6: if (pick(2)) do_fork(w); break;
	case 7: do_file(); break;
	case 8: case 9: do_uaccess(w); break;
	case 10: case 11: case 12: do_touch(w, ACCESS_READ); break;
	default: do_touch(w, ACCESS_WRITE);
	}
}

static void walk(void **state)
{
	fake_file_init(&fixed, &fixed_ops, PAGES * PAGE_SIZE, O_RDWR);
	fake_file_init(&changing, NULL, PAGES * PAGE_SIZE, O_RDWR);
	for (int i = 0; i < NMM; i++)
		assert_int_equal(mm_create(&worlds[i].mm), 0);
	for (int i = 0; i < STEPS; i++) {
		step(&worlds[pick(NMM)]);
		if (i % 64 == 0)
			for (int k = 0; k < NMM; k++)
				check_mm(worlds[k].mm);
	}
	for (int i = 0; i < NMM; i++)
		mm_put(worlds[i].mm);
	fake_file_destroy(&fixed);
	fake_file_destroy(&changing);
	for (int i = 0; i < nobjects; i++)
		free(objects[i]);
	assert_int_equal(memory_used(), 0);
	assert_int_equal(fake.spaces, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(walk) };

	srandom(argc > 1 ? atoi(argv[1]) : 1);
	if (argc > 2) {
		knob_fault_around_kb = 4 << pick(6);
		knob_fault_max_kb = 4 << pick(10);
		knob_cow_around_kb = 4 << pick(5);
		knob_fork_eager = pick(2);
		knob_recycle_mb = pick(2);
	}
	if (memory_file_init((u64)64 << 20))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
