/* As scale-tasks, with PROCS processes: each has an address space, and a sandbox a stub or page tables, of its own. */
#include <linux/futex.h>
#include <linux/mman.h>

#include "crew.h"

static struct crew *crew;

static void setup(void)
{
	u64 i;

	crew = (struct crew *)CHECK(sys6(__NR_mmap, 0, sizeof(*crew), 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	crew_init(crew, workload_param);
	for (i = 1; i < crew->size; i++)
		if (!CHECK(sys0(__NR_fork)))
			crew_work(crew, i);
}

static u64 batch(u64 n)
{
	return crew_batch(crew, n);
}

/* They end by themselves, so that nothing is left to kill. */
static void finish(void)
{
	u64 i;

	crew_batch(crew, CREW_END);
	for (i = 1; i < crew->size; i++)
		CHECK(sys4(__NR_wait4, -1, 0, 0, 0));
}

static const u64 sizes[] = { 1, 2, 4, 8, 16, 0 };

const struct workload workload = {
	.name = "scale-procs", .help = "one getpid in each of so many processes",
	.class = CLASS_TASK, .placements = PLACE_FREE, .traps = 1,
	.param_name = "procs", .levels = sizes, .param = 2,
	.setup = setup, .batch = batch, .finish = finish,
};
