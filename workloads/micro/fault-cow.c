/* First write after fork to a page that parent and child share: copy on write. The child only holds its references. */
#include "memory.h"

#define PAGES	1024ul

static volatile char *base;
static int ends[2];
static long child;

static void setup(void)
{
	base = map_pages(PAGES, PROT_RW, MAP_ANON_PRIVATE, -1);
	touch_pages(base, PAGES);
}

static void prepare(u64 n)
{
	char byte;

	(void)n;
	if (IS_TWIN)
		return;
	CHECK(sys1(__NR_pipe, ends));
	child = CHECK(sys0(__NR_fork));
	if (!child) {
		sys1(__NR_close, ends[1]);
		sys3(__NR_read, ends[0], &byte, 1);
		sys1(__NR_exit_group, base[0] == 1 ? 0 : 1);
	}
	sys1(__NR_close, ends[0]);
}

static u64 batch(u64 n)
{
	u64 right = 0, i;

	for (i = 0; i < n; i++) {
		right += base[i * PAGE] == 1;
		base[i * PAGE] = 2;
	}
	return right;
}

/* The child looks at its first page after the parent has written to it: a shared page would show. */
static void cleanup(u64 n)
{
	int status = -1;
	u64 i;

	if (!IS_TWIN) {
		sys1(__NR_close, ends[1]);
		CHECK(sys4(__NR_wait4, child, &status, 0, 0));
		if (status)
			workload_fail(5, __LINE__);
	}
	for (i = 0; i < n; i++)
		base[i * PAGE] = 1;
}

const struct workload workload = {
	.name = "fault-cow", .help = "first write after fork to one page: copy on write",
	.class = CLASS_FAULT, .placements = PLACE_SAME, .fixed_inner = PAGES,
	.setup = setup, .prepare = prepare, .batch = batch, .cleanup = cleanup,
};
