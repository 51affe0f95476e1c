/* First read of each page of a private file mapping whose pages the system already holds. One operation is one page. */
#include "memory.h"

#define PAGES	1024ul

static volatile char *base;
static long fd;

static void setup(void)
{
	static char chunk[64 * 1024];
	static char path[] = "/tmp/trapgate-fault-file-########";
	u64 i, pid = (u64)sys0(__NR_getpid);

	for (i = sizeof(path) - 2; path[i] == '#'; i--, pid >>= 4)
		path[i] = "0123456789abcdef"[pid & 15];
	for (i = 0; i < sizeof(chunk); i += PAGE)
		chunk[i] = 'x';
	fd = CHECK(sys3(__NR_open, path, 0302, 0600));		/* O_RDWR | O_CREAT | O_EXCL */
	CHECK(sys1(__NR_unlink, path));
	for (i = 0; i < PAGES * PAGE; i += sizeof(chunk))
		CHECK(sys3(__NR_write, fd, chunk, sizeof(chunk)));
}

static void prepare(u64 n)
{
	base = map_pages(PAGES, 1, IS_TWIN ? 0x8002 : 0x2, fd);	/* PROT_READ, MAP_PRIVATE, twin: MAP_POPULATE */
	(void)n;
}

static u64 batch(u64 n)
{
	u64 right = 0, i;

	for (i = 0; i < n; i++)
		right += base[i * PAGE] == 'x';
	return right;
}

static void cleanup(u64 n)
{
	(void)n;
	unmap_pages(base, PAGES);
}

const struct workload workload = {
	.name = "fault-file", .help = "first read of one page of a private mapping of a cached file",
	.class = CLASS_FAULT, .placements = PLACE_SAME, .exact = true, .fixed_inner = PAGES,
	.setup = setup, .prepare = prepare, .batch = batch, .cleanup = cleanup,
};
