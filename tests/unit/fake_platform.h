/*
 * A platform for unit tests of core/mm: it records what is shown at each page of an address space, checks every call,
 * and lets the test touch memory as a guest would. Also the few functions of the file layer that core/mm calls.
 */
#ifndef TG_TESTS_FAKE_PLATFORM_H
#define TG_TESTS_FAKE_PLATFORM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mm/internal.h"
#include "mm/radix.h"

struct address_space {
	struct radix *pages;		/* page number -> offset | prot << 1 | 1 */
};

struct fake_counts {
	_Atomic u64 spaces, maps, unmaps, protects, faults;
};
static struct fake_counts fake;
static int fake_fail_one_in;		/* as_map and as_protect fail half-way now and then; 0: never */

static inline bool fake_fails(u64 *len)
{
	if (!fake_fail_one_in || random() % fake_fail_one_in)
		return false;
	*len = *len / 2 & PAGE_MASK;
	return true;
}

static int fake_as_create(struct address_space **out)
{
	*out = calloc(1, sizeof(**out));
	(*out)->pages = radix_create();
	fake.spaces++;
	return 0;
}

static void fake_as_destroy(struct address_space *as)
{
	radix_destroy(as->pages);
	free(as);
	fake.spaces--;
}

static void check_range(gva_t addr, u64 len)
{
	if (addr & ~PAGE_MASK || len & ~PAGE_MASK || !len || !guest_range_ok(addr, len))
		die("bad range %llx+%llx", (unsigned long long)addr, (unsigned long long)len);
}

static int fake_as_map(struct address_space *as, gva_t addr, u64 len, enum access prot, const struct backing *file,
		       u64 offset, u32 how)
{
	bool fails;

	check_range(addr, len);
	fake.maps++;
	fails = fake_fails(&len);
	if (file != memory_file() || offset & ~PAGE_MASK || offset + len > file->size)
		die("bad offset");
	for (u64 at = 0; at < len; at += PAGE_SIZE) {
		if (!memory_refs(offset + at))
			die("a free page is mapped");
		if ((how & AS_MAP_FRESH) && radix_get(as->pages, (addr + at) >> PAGE_SHIFT))
			die("not fresh at %llx", (unsigned long long)(addr + at));
		radix_set(as->pages, (addr + at) >> PAGE_SHIFT, (offset + at) | (u64)prot << 1 | 1);
	}
	return fails ? -ENOMEM : 0;
}

static int fake_as_unmap(struct address_space *as, gva_t addr, u64 len)
{
	u64 index = addr >> PAGE_SHIFT, entry;

	check_range(addr, len);
	fake.unmaps++;
	while (radix_next(as->pages, &index, &entry) && index < (addr + len) >> PAGE_SHIFT)
		radix_clear(as->pages, index);
	return 0;
}

static int fake_as_protect(struct address_space *as, gva_t addr, u64 len, enum access prot)
{
	u64 index = addr >> PAGE_SHIFT, entry;
	bool fails;

	check_range(addr, len);
	fake.protects++;
	fails = fake_fails(&len);
	for (; radix_next(as->pages, &index, &entry) && index < (addr + len) >> PAGE_SHIFT; index++)
		radix_set(as->pages, index, (entry & PAGE_MASK) | (u64)prot << 1 | 1);
	return fails ? -ENOMEM : 0;
}

static const struct platform_ops fake_platform = {
	.name = "fake",
	.as_create = fake_as_create,
	.as_destroy = fake_as_destroy,
	.as_map = fake_as_map,
	.as_unmap = fake_as_unmap,
	.as_protect = fake_as_protect,
};
const struct platform_ops *platform = &fake_platform;

/* ---- the file layer ---- */

void file_get(struct file *f) { f->refs++; }
void file_put(struct file *f) { f->refs--; }

struct fake_file {
	struct file file;
	struct inode inode;
	struct page_cache cache;
};
static const struct file_ops fake_file_ops;

static inline void fake_file_init(struct fake_file *f, const struct page_cache_ops *ops, u64 size, u32 flags)
{
	memset(f, 0, sizeof(*f));
	page_cache_init(&f->cache, ops, f, size);
	f->inode.cache = &f->cache;
	f->file.inode = &f->inode;
	f->file.ops = &fake_file_ops;
	f->file.flags = flags;
	f->file.refs = 1;
}

static inline void fake_file_destroy(struct fake_file *f)
{
	if (f->file.refs != 1)
		die("a file keeps %d references", f->file.refs);
	page_cache_destroy(&f->cache);
}

/* ---- a guest's access ---- */

/* Where a guest that wants `want` at `addr` gets to: a host pointer, or NULL with the fault's error in *err. */
static inline u8 *guest_touch(struct mm *mm, gva_t addr, enum access want, int *err)
{
	for (int tries = 0; tries < 3; tries++) {
		u64 entry;

		pthread_mutex_lock(&mm->lock);
		entry = radix_get(mm->as->pages, addr >> PAGE_SHIFT);
		pthread_mutex_unlock(&mm->lock);
		if (entry & ((u64)want << 1))
			return memory_ptr(entry & PAGE_MASK) + (addr & ~PAGE_MASK);
		fake.faults++;
		*err = mm_fault(mm, addr, want, (u64)8 << 20);
		if (*err)
			return NULL;
	}
	die("a fault at %llx does not resolve", (unsigned long long)addr);
}

/* Everything shown is in the page table, referenced, allowed by its vma, and not writable while it is shared. */
static inline void check_mm(struct mm *mm)
{
	u64 index = 0, entry, rss = 0, total = 0, data = 0;
	struct vma *v, *last = NULL;
	struct pt_run run;

	pthread_mutex_lock(&mm->lock);
	for (; radix_next(mm->as->pages, &index, &entry); index++) {
		gva_t addr = index << PAGE_SHIFT;
		u64 e = pt_get(mm->pt, addr);
		u32 prot = entry >> 1 & 7;

		v = vma_find(mm, addr);
		assert_non_null(v);
		assert_true(e & PTE_SHOWN);
		assert_int_equal(e & PAGE_MASK, entry & PAGE_MASK);
		assert_true(pte_shown(e) == prot || fake_fail_one_in);
		assert_int_equal(fake_fail_one_in ? 0 : prot & ~pte_access(v, e), 0);
		assert_true(memory_refs(e & PAGE_MASK) > 0);
		assert_false((prot & PROT_WRITE) && (e & PTE_COW) && memory_refs(e & PAGE_MASK) > 1);
		assert_false((prot & PROT_WRITE) && !vma_shared(v) && !(e & PTE_ANON));
		assert_int_equal(prot & ~(v->prot ? v->prot | PROT_READ : 0), 0);
	}
	for (gva_t pos = 0; pt_next_run(mm->pt, &pos, GUEST_END, &run);) {
		rss += run.n;
		assert_non_null(vma_find(mm, run.addr));
		assert_non_null(vma_find(mm, pos - 1));
	}
	assert_int_equal(rss, mm->rss_pages);
	RB_FOREACH(v, vma_tree, &mm->vmas) {
		assert_true(v->start < v->end && v->mm == mm);
		assert_true(!last || last->end <= v->start);
		total += vma_pages(v);
		data += vma_is_data(v->prot, v->flags) ? vma_pages(v) : 0;
		last = v;
	}
	assert_int_equal(total, mm->total_pages);
	assert_int_equal(data, mm->data_pages);
	pthread_mutex_unlock(&mm->lock);
}

static inline s64 map_anon(struct mm *mm, gva_t addr, u64 len, u32 prot, u32 flags)
{
	return mm_map(mm, &(struct map_request){
		.addr = addr, .len = len, .prot = prot, .flags = flags | MAP_ANONYMOUS });
}

static inline s64 map_file(struct mm *mm, gva_t addr, u64 len, u32 prot, u32 flags, struct fake_file *f, u64 offset)
{
	return mm_map(mm, &(struct map_request){
		.addr = addr, .len = len, .prot = prot, .flags = flags, .file = &f->file, .offset = offset });
}

#endif
