/* fork, exit and wait4: statuses, options, errors, usage. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static pid_t child_exits(int code)
{
	pid_t pid = fork();

	if (!pid)
		_exit(code);
	return pid;
}

static void statuses(void)
{
	int status;
	pid_t pid;

	pid = child_exits(7);
	CHECK(pid > 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	pid = child_exits(0x1ff);
	CHECK(wait(&status) == pid && WEXITSTATUS(status) == 0xff);
	pid = fork();
	if (!pid) {
		kill(getpid(), SIGTERM);
		pause();
	}
	CHECK(waitpid(-1, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM && !WCOREDUMP(status));
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL);
	CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
	CHECK_ERRNO(wait(NULL), ECHILD);
	CHECK_ERRNO(kill(pid, 0), ESRCH);
}

static void options(void)
{
	struct rusage ru;
	int status;
	pid_t pid;

	CHECK_ERRNO(waitpid(-1, &status, 0x40), EINVAL);
	CHECK_ERRNO(syscall(SYS_wait4, -2147483647 - 1, &status, 0, 0), ESRCH);
	pid = child_exits(1);
	CHECK_ERRNO(waitpid(pid, &status, __WCLONE), ECHILD);
	CHECK(waitpid(pid, &status, __WALL) == pid);
	pid = child_exits(2);
	CHECK(wait4(0, &status, 0, &ru) == pid);
	CHECK(ru.ru_maxrss > 0);
	pid = child_exits(3);
	CHECK(waitpid(-getpgrp(), &status, 0) == pid && WEXITSTATUS(status) == 3);
	CHECK_ERRNO(waitpid(-32000, &status, 0), ECHILD);
	CHECK(getrusage(RUSAGE_CHILDREN, &ru) == 0 && ru.ru_maxrss > 0);
}

static void memory_is_private(void)
{
	static volatile int value = 1;
	int fds[2], status;
	char c;
	pid_t pid;

	CHECK(pipe(fds) == 0);
	pid = fork();
	if (!pid) {
		value = 2;
		_exit(write(fds[1], "x", 1) == 1 && getppid() > 1 ? 0 : 1);
	}
	CHECK(read(fds[0], &c, 1) == 1 && c == 'x');
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(value == 1);
}

static void many(void)
{
	int status, sum = 0;
	pid_t pids[40];

	for (int i = 0; i < 40; i++)
		pids[i] = child_exits(i);
	for (int i = 39; i >= 0; i--) {
		CHECK(waitpid(pids[i], &status, 0) == pids[i]);
		sum += WEXITSTATUS(status);
	}
	CHECK(sum == 39 * 40 / 2);
}

static void tree(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		for (int depth = 0; depth < 8; depth++) {
			pid = fork();
			if (pid) {
				waitpid(pid, &status, 0);
				_exit(WEXITSTATUS(status) + 1);
			}
		}
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 8);
}

static int shared_value;

static int clone_child(void *arg)
{
	shared_value = 42;
	return 5;
}

static void clone_vm(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int status;
	pid_t pid;

	pid = clone(clone_child, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
	CHECK(pid > 0);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
	CHECK(shared_value == 42);
	pid = clone(clone_child, stack + sizeof(stack), CLONE_VM, NULL);	/* no exit signal: a "clone child" */
	CHECK(pid > 0);
	CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
	CHECK(waitpid(pid, &status, __WCLONE) == pid);
	CHECK_ERRNO(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0), EINVAL);
}

int main(void)
{
	statuses();
	options();
	memory_is_private();
	many();
	tree();
	clone_vm();
	puts("task_fork ok");
	return 0;
}
