/* Mappings for the fault workloads: 4 KiB pages whatever the machine's huge page policy, touched one byte a page. */
#ifndef WORKLOADS_MEMORY_H
#define WORKLOADS_MEMORY_H

#include <linux/mman.h>

#include "workload.h"

#define PAGE		4096ul
#define PROT_RW		3			/* PROT_READ | PROT_WRITE */
#define MADV_NOHUGE	15			/* MADV_NOHUGEPAGE */
#define MAP_ANON_PRIVATE	0x22

static inline volatile char *map_pages(u64 pages, int prot, int flags, long fd)
{
	long addr = CHECK(sys6(__NR_mmap, 0, pages * PAGE, prot, flags, fd, 0));

	sys3(__NR_madvise, addr, pages * PAGE, MADV_NOHUGE);	/* refused where the kernel has none: just as well */
	return (volatile char *)addr;
}

static inline void unmap_pages(volatile char *base, u64 pages)
{
	CHECK(sys2(__NR_munmap, base, pages * PAGE));
}

/* For twins, and for memory that must be resident before the clock starts. */
static inline void touch_pages(volatile char *base, u64 pages)
{
	u64 i;

	for (i = 0; i < pages; i++)
		base[i * PAGE] = 1;
}

#endif
