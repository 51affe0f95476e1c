/* execve and execveat: vfork, errors in the kernel's order, what survives and what does not, exec from a thread. */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static const char *self;

/* What the new program checks, by its first argument. */
static int second_life(int argc, char **argv)
{
	if (!strcmp(argv[1], "exit"))
		return atoi(argv[2]);
	if (!strcmp(argv[1], "state")) {
		struct sigaction sa;
		sigset_t set;

		CHECK(getpid() == atoi(argv[2]));
		CHECK(fcntl(atoi(argv[3]), F_GETFD) == 0);
		CHECK(fcntl(atoi(argv[4]), F_GETFD) == -1);
		CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL);
		CHECK(sigaction(SIGUSR2, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN);
		CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGTERM));
		CHECK(getenv("SECOND") && !strcmp(getenv("SECOND"), "life") && !getenv("HOME"));
		return 33;
	}
	if (!strcmp(argv[1], "tid")) {
		CHECK(getpid() == atoi(argv[2]) && syscall(SYS_gettid) == getpid());
		return 44;
	}
	if (!strcmp(argv[1], "comm")) {
		char comm[16];

		CHECK(prctl(PR_GET_NAME, comm) == 0 && !strcmp(comm, argv[2]));
		return 55;
	}
	return 99;
}

static int status_of(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void vforked(void)
{
	volatile int seen = 0;
	pid_t pid = vfork();

	if (!pid) {
		seen = 1;
		execl(self, self, "exit", "12", NULL);
		_exit(127);
	}
	CHECK(seen == 1);		/* the memory is shared, and the child went first */
	CHECK(status_of(pid) == 12);
	pid = vfork();
	if (!pid)
		_exit(21);
	CHECK(status_of(pid) == 21);
}

static void errors(void)
{
	char *argv[] = { (char *)self, "exit", "1", NULL }, *none[] = { NULL };
	char dir[] = "/tmp/task_exec.XXXXXX", file[64];
	static char huge[200000];
	char *big[] = { (char *)self, huge, NULL };
	int fd;

	CHECK(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/f", dir);
	CHECK_ERRNO(execve(file, argv, none), ENOENT);
	CHECK_ERRNO(execve("", argv, none), ENOENT);
	CHECK_ERRNO(execve(dir, argv, none), EACCES);
	CHECK_ERRNO(syscall(SYS_execve, 8, argv, none), EFAULT);
	CHECK_ERRNO(syscall(SYS_execve, self, 8, none), EFAULT);
	memset(huge, 'x', sizeof(huge) - 1);
	CHECK_ERRNO(execve(self, big, none), E2BIG);
	fd = open(file, O_CREAT | O_WRONLY, 0644);
	CHECK(fd >= 0);
	CHECK(write(fd, "not a program\n", 14) == 14);
	close(fd);
	CHECK_ERRNO(execve(file, argv, none), EACCES);
	CHECK(chmod(file, 0755) == 0);
	CHECK_ERRNO(execve(file, argv, none), ENOEXEC);
	snprintf(file, sizeof(file), "%s/f/g", dir);
	CHECK_ERRNO(execve(file, argv, none), ENOTDIR);
	CHECK_ERRNO(syscall(SYS_execveat, -1, "x", argv, none, 0), EBADF);
	CHECK_ERRNO(syscall(SYS_execveat, AT_FDCWD, self, argv, none, 0x10), EINVAL);
	snprintf(file, sizeof(file), "%s/f", dir);
	unlink(file);
	rmdir(dir);
}

static void survivors(void)
{
	char pid_arg[16], keep[16], lose[16];
	char *argv[] = { (char *)self, "state", pid_arg, keep, lose, NULL }, *envp[] = { "SECOND=life", NULL };
	sigset_t set;
	pid_t pid = fork();

	if (!pid) {
		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		signal(SIGUSR1, _exit);
		signal(SIGUSR2, SIG_IGN);
		snprintf(pid_arg, sizeof(pid_arg), "%d", getpid());
		snprintf(keep, sizeof(keep), "%d", open("/dev/null", O_RDONLY));
		snprintf(lose, sizeof(lose), "%d", open("/dev/null", O_RDONLY | O_CLOEXEC));
		execve(self, argv, envp);
		_exit(127);
	}
	CHECK(status_of(pid) == 33);
}

static void by_descriptor(void)
{
	char *argv[] = { "x", "exit", "13", NULL }, *none[] = { NULL };
	int fd = open(self, O_RDONLY | O_CLOEXEC);
	pid_t pid = fork();

	if (!pid) {
		syscall(SYS_execveat, fd, "", argv, none, AT_EMPTY_PATH);
		_exit(127);
	}
	CHECK(status_of(pid) == 13);
	close(fd);
}

static void *sleep_for_ever(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

static void *exec_now(void *arg)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	execl(self, self, "tid", pid, NULL);
	_exit(127);
}

static void from_thread(bool leader_ends)
{
	pid_t pid = fork();
	pthread_t th;

	if (!pid) {
		for (int i = 0; i < 5; i++)
			pthread_create(&th, NULL, sleep_for_ever, NULL);
		pthread_create(&th, NULL, exec_now, NULL);
		if (leader_ends)
			syscall(SYS_exit, 3);
		sleep_for_ever(NULL);
	}
	CHECK(status_of(pid) == 44);
}

static void scripts(void)
{
	char dir[] = "/tmp/task_exec.XXXXXX", file[64], line[256];
	int fd;
	pid_t pid;

	CHECK(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/script", dir);
	fd = open(file, O_CREAT | O_WRONLY, 0755);
	snprintf(line, sizeof(line), "#!/bin/sh\nexit 6\n");
	CHECK(write(fd, line, strlen(line)) == (ssize_t)strlen(line));
	close(fd);
	pid = fork();
	if (!pid) {
		execl(file, file, NULL);
		_exit(127);
	}
	CHECK(status_of(pid) == 6);
	unlink(file);
	rmdir(dir);
}

static void names(void)
{
	const char *slash = strrchr(self, '/');
	char want[16] = "";
	pid_t pid = fork();

	strncpy(want, slash ? slash + 1 : self, 15);
	if (!pid) {
		execl(self, "another-name", "comm", want, NULL);
		_exit(127);
	}
	CHECK(status_of(pid) == 55);
}

int main(int argc, char **argv)
{
	static char path[4096];

	if (argc > 1)
		return second_life(argc, argv);
	self = realpath(argv[0], path);
	CHECK(self != NULL);
	vforked();
	errors();
	survivors();
	by_descriptor();
	from_thread(false);
	from_thread(true);
	scripts();
	names();
	puts("task_exec ok");
	return 0;
}
