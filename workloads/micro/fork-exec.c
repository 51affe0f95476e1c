/* fork; the child executes this program's own file, which ends at once (--describe, output closed); the parent reaps it. */
#include "workload.h"

static void run_self(void)
{
	char *argv[] = { workload_argv[0], "--describe", 0 };
	char *envp[] = { 0 };

	sys1(__NR_close, 1);
	sys3(__NR_execve, argv[0], argv, envp);
	sys1(__NR_exit_group, 99);
}

static u64 batch(u64 n)
{
	u64 right = 0, i;
	long pid;

	for (i = 0; i < n; i++) {
		int status = -1;

		pid = trap0(__NR_fork);
		if (!pid)
			run_self();
		right += good(trap4(__NR_wait4, pid, &status, 0, 0) == pid && status == 0);
	}
	return right;
}

const struct workload workload = {
	.name = "fork-exec", .help = "fork, execve of a small static program, its exit, wait4",
	.class = CLASS_TASK, .placements = PLACE_SAME | PLACE_FREE, .traps = 4,
	.batch = batch,
};
