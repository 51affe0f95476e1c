/*
 * The floor of anonymous faults in a sandbox: a 64 KiB run mapped and populated in one call from a memory file whose
 * pages do not exist yet, and a write to each page. One operation is one page.
 */
#include "floor.h"

#define PAGES	2048ul
#define RUN	16ul
#define PAGE	4096ul

static char *base;
static int fd;

static void setup(void)
{
	fd = CHECK_LIBC(memfd_create("floor", MFD_CLOEXEC));
	base = CHECK_LIBC(mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

static void prepare(u64 n)
{
	(void)n;
	CHECK_LIBC(mmap(base, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0));
	CHECK_LIBC(ftruncate(fd, 0));
	CHECK_LIBC(ftruncate(fd, PAGES * PAGE));
}

static u64 batch(u64 n)
{
	u64 right = 0, i, at;

	for (i = 0; i < n; i++) {
		at = i * PAGE;
		if (i % RUN == 0)
			mmap(base + at, RUN * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
			     fd, at);
		right += *(volatile char *)(base + at) == 0;
		*(volatile char *)(base + at) = 1;
	}
	return right;
}

const struct workload workload = {
	.name = "floor-populate", .help = "one page of a 64 KiB run mapped and populated from a memory file",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE, .fixed_inner = PAGES,
	.setup = setup, .prepare = prepare, .batch = batch,
};
