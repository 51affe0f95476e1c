/* One byte to another process and back over two pipes. */
#include "workload.h"

static int to_child[2], to_parent[2];
static long child;

static _Noreturn void echo(void)
{
	char byte;

	sys1(__NR_close, to_child[1]);
	sys1(__NR_close, to_parent[0]);
	while (sys3(__NR_read, to_child[0], &byte, 1) == 1)
		sys3(__NR_write, to_parent[1], &byte, 1);
	for (;;)
		sys1(__NR_exit_group, 0);
}

static void setup(void)
{
	if (IS_TWIN)
		return;
	CHECK(sys1(__NR_pipe, to_child));
	CHECK(sys1(__NR_pipe, to_parent));
	child = CHECK(sys0(__NR_fork));
	if (!child)
		echo();
	sys1(__NR_close, to_child[0]);
	sys1(__NR_close, to_parent[1]);
}

static u64 batch(u64 n)
{
	u64 right = 0, i;
	char byte;

	for (i = 0; i < n; i++) {
		char sent = (char)i;

		trap3(__NR_write, to_child[1], &sent, 1);
		right += good(trap3(__NR_read, to_parent[0], &byte, 1) == 1 && byte == sent);
	}
	return right;
}

static void finish(void)
{
	if (IS_TWIN)
		return;
	sys1(__NR_close, to_child[1]);
	CHECK(sys4(__NR_wait4, child, 0, 0, 0));
}

const struct workload workload = {
	.name = "pipe-pingpong", .help = "one byte to another process and back over two pipes",
	.class = CLASS_TASK, .placements = PLACE_SAME | PLACE_FREE, .traps = 4,
	.setup = setup, .batch = batch, .finish = finish,
};
