/* Leases, signals of descriptors, and programs that may not be written while they run. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define NAME	"lease.tmp"

static sigset_t usr1;

static int taken(void)
{
	struct timespec soon = { 5, 0 };
	siginfo_t si;

	return sigtimedwait(&usr1, &si, &soon) == SIGUSR1 ? si.si_fd : -1;
}

static void refusals(void)
{
	int fd = open(NAME, O_RDWR | O_CREAT, 0600), pipes[2];

	CHECK_ERRNO(fcntl(fd, F_SETLEASE, F_RDLCK), EAGAIN);
	CHECK_ERRNO(fcntl(fd, F_SETLEASE, 77), EINVAL);
	CHECK_ERRNO(fcntl(fd, F_SETLEASE, F_UNLCK), EAGAIN);
	CHECK(fcntl(fd, F_GETLEASE) == F_UNLCK);
	CHECK(pipe(pipes) == 0);
	CHECK_ERRNO(fcntl(pipes[0], F_SETLEASE, F_RDLCK), EINVAL);
	close(fd);
}

static void broken(void)
{
	int fd = open(NAME, O_RDONLY), status;
	pid_t pid;

	CHECK(fcntl(fd, F_SETLEASE, F_RDLCK) == 0 && fcntl(fd, F_GETLEASE) == F_RDLCK);
	CHECK(fcntl(fd, F_SETSIG, SIGUSR1) == 0 && fcntl(fd, F_GETSIG) == SIGUSR1);
	/* Readers are no conflict. */
	close(open(NAME, O_RDONLY));
	CHECK_ERRNO(open(NAME, O_WRONLY | O_NONBLOCK), EAGAIN);
	CHECK(taken() == fd && fcntl(fd, F_GETLEASE) == F_UNLCK);
	/* The end of a lease ends the ownership too. */
	CHECK(fcntl(fd, F_SETLEASE, F_UNLCK) == 0 && fcntl(fd, F_GETSIG) == 0 && fcntl(fd, F_GETOWN) == 0);
	CHECK(fcntl(fd, F_SETLEASE, F_RDLCK) == 0 && fcntl(fd, F_SETSIG, SIGUSR1) == 0);
	pid = fork();
	if (!pid) {
		close(fd);
		_exit(open(NAME, O_WRONLY) < 0);
	}
	CHECK(taken() == fd);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	CHECK(fcntl(fd, F_SETLEASE, F_UNLCK) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(fd);
}

static void async(void)
{
	int pipes[2];

	CHECK(pipe(pipes) == 0);
	CHECK(fcntl(pipes[0], F_SETOWN, getpid()) == 0 && fcntl(pipes[0], F_GETOWN) == getpid());
	CHECK(fcntl(pipes[0], F_SETSIG, SIGUSR1) == 0);
	CHECK(fcntl(pipes[0], F_SETFL, fcntl(pipes[0], F_GETFL) | O_ASYNC) == 0);
	CHECK(fcntl(pipes[0], F_GETFL) & O_ASYNC);
	CHECK(write(pipes[1], "x", 1) == 1 && taken() == pipes[0]);
	CHECK(fcntl(pipes[0], F_SETOWN, -getpgrp()) == 0 && fcntl(pipes[0], F_GETOWN) == -getpgrp());
	CHECK_ERRNO(fcntl(pipes[0], F_SETOWN, 0x3fffffff), ESRCH);
	CHECK_ERRNO(fcntl(pipes[0], F_SETSIG, 65), EINVAL);
	close(pipes[0]);
	close(pipes[1]);
}

/* This program's own file is copied and run. */
static void busy_text(void)
{
	int in = open("/proc/self/exe", O_RDONLY), out = open("busy.tmp", O_WRONLY | O_CREAT, 0700), ready[2], status, n;
	static char buf[65536];
	pid_t pid;
	char c;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		CHECK(write(out, buf, n) == n);
	CHECK_ERRNO(execl("./busy.tmp", "busy", "wait", NULL), ETXTBSY);
	close(out);
	CHECK(pipe(ready) == 0);
	pid = fork();
	if (!pid) {
		dup2(ready[1], 1);
		execl("./busy.tmp", "busy", "wait", NULL);
		_exit(99);
	}
	CHECK(read(ready[0], &c, 1) == 1);
	CHECK_ERRNO(open("busy.tmp", O_WRONLY), ETXTBSY);
	CHECK_ERRNO(open("busy.tmp", O_RDONLY | O_TRUNC), ETXTBSY);
	CHECK_ERRNO(truncate("busy.tmp", 0), ETXTBSY);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	out = open("busy.tmp", O_WRONLY);
	CHECK(out >= 0);
	CHECK(unlink("busy.tmp") == 0);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		CHECK(write(1, "r", 1) == 1);
		pause();
	}
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	refusals();
	broken();
	async();
	busy_text();
	CHECK(unlink(NAME) == 0);
	return 0;
}
