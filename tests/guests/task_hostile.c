/* What a hostile program might give to the calls about tasks: it gets its own errors, and nothing worse. */
#include <linux/futex.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define BAD	((void *)0x10)
#define KERNEL	((void *)0xffffffff81000000ul)

static int status_of(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* Each child leaves with another broken robust list; the walk must end. */
static void robust_lists(void)
{
	struct robust_list_head *head = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct robust_list *a = (void *)(head + 1), *b = a + 1;

	CHECK(head != MAP_FAILED);
	for (int i = 0; i < 6; i++) {
		pid_t pid = fork();

		if (pid) {
			CHECK(status_of(pid) == 0);
			continue;
		}
		head->futex_offset = i == 4 ? -(1ul << 62) : 64;
		head->list_op_pending = i == 2 ? KERNEL : i == 3 ? (void *)(((uintptr_t)a) | 1) : NULL;
		head->list.next = i == 0 ? a : i == 1 ? BAD : a;
		a->next = b;
		b->next = i == 5 ? KERNEL : a;		/* round and round */
		syscall(SYS_set_robust_list, i == 1 ? KERNEL : head, sizeof(*head));
		_exit(0);
	}
	CHECK_ERRNO(syscall(SYS_set_robust_list, head, 8), EINVAL);
	munmap(head, 4096);
}

static void tid_pointers(void)
{
	pid_t pid = fork();

	if (!pid) {
		syscall(SYS_set_tid_address, KERNEL);
		_exit(0);
	}
	CHECK(status_of(pid) == 0);
	pid = syscall(SYS_clone, CLONE_CHILD_SETTID | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
		      0, BAD, KERNEL, 0);
	if (!pid)
		_exit(0);
	CHECK(pid > 0 && status_of(pid) == 0);
	pid = syscall(SYS_clone, SIGCHLD, 0x7ffffffffff8ul, 0, 0, 0);	/* a stack that is none */
	if (!pid)
		syscall(SYS_exit, 0);
	CHECK(pid > 0);
	status_of(pid);
}

static void clone_arguments(void)
{
	struct clone_args a = { .exit_signal = SIGCHLD };
	char big[5000] = "";

	CHECK_ERRNO(syscall(SYS_clone3, BAD, sizeof(a)), EFAULT);
	CHECK_ERRNO(syscall(SYS_clone3, &a, 8), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone3, big, sizeof(big)), E2BIG);
	big[200] = 1;
	CHECK_ERRNO(syscall(SYS_clone3, big, 256), E2BIG);
	a.exit_signal = 65;
	CHECK_ERRNO(syscall(SYS_clone3, &a, sizeof(a)), EINVAL);
	a = (struct clone_args){ .flags = CLONE_SIGHAND };
	CHECK_ERRNO(syscall(SYS_clone3, &a, sizeof(a)), EINVAL);
	a = (struct clone_args){ .flags = 1ull << 40 };
	CHECK_ERRNO(syscall(SYS_clone3, &a, sizeof(a)), EINVAL);
	a = (struct clone_args){ .stack = 4096 };
	CHECK_ERRNO(syscall(SYS_clone3, &a, sizeof(a)), EINVAL);
	a = (struct clone_args){ .flags = CLONE_SETTLS, .tls = (uintptr_t)KERNEL };
	CHECK_ERRNO(syscall(SYS_clone3, &a, sizeof(a)), EPERM);
}

static void out_pointers(void)
{
	siginfo_t si;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	CHECK(waitid(P_PID, pid, &si, WEXITED | WNOWAIT) == 0);
	CHECK_ERRNO(syscall(SYS_wait4, pid, KERNEL, 0, NULL), EFAULT);	/* reaped all the same, as in the kernel */
	CHECK_ERRNO(syscall(SYS_wait4, pid, NULL, 0, NULL), ECHILD);
	CHECK_ERRNO(syscall(SYS_getrusage, 0, BAD), EFAULT);
	CHECK_ERRNO(syscall(SYS_prlimit64, 0, 0, KERNEL, NULL), EFAULT);
	CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 128, BAD), EFAULT);
	CHECK_ERRNO(syscall(SYS_getresuid, BAD, BAD, BAD), EFAULT);
	CHECK_ERRNO(syscall(SYS_execve, "/bin/true", KERNEL, NULL), EFAULT);
	CHECK_ERRNO(syscall(SYS_futex, KERNEL, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
	CHECK_ERRNO(syscall(SYS_futex, -4ul, FUTEX_WAIT, 1, NULL, NULL, 0), EFAULT);
}

/* Far too many arguments: the limit, in bounded time. */
static void endless_arguments(void)
{
	const size_t len = 64 << 20;
	char **argv = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(argv != MAP_FAILED);
	for (size_t i = 0; i < len / sizeof(*argv); i++)
		argv[i] = i == len / sizeof(*argv) - 1 ? NULL : "x";
	CHECK_ERRNO(syscall(SYS_execve, "/bin/true", argv, NULL), E2BIG);
	munmap(argv, len);
}

int main(void)
{
	robust_lists();
	tid_pointers();
	clone_arguments();
	out_pointers();
	endless_arguments();
	puts("task_hostile ok");
	return 0;
}
