/* waitid, stops and continues, SIGCHLD's siginfo, automatic reaping. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static volatile sig_atomic_t chld_count;
static volatile siginfo_t last;

static void on_chld(int signo, siginfo_t *si, void *uc)
{
	chld_count++;
	*(siginfo_t *)&last = *si;
}

/* In a group of its own, whose parent is in another: ours may be orphaned, and there SIGTSTP stops nobody. */
static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	CHECK(setpgid(pid, pid) == 0);
	return pid;
}

static void stops(void)
{
	pid_t pid = sleeper();
	siginfo_t si;
	int status;

	memset(&si, 0, sizeof(si));
	CHECK(waitid(P_PID, pid, &si, WEXITED | WSTOPPED | WNOHANG) == 0 && si.si_pid == 0);
	CHECK(kill(pid, SIGSTOP) == 0);
	CHECK(waitid(P_PID, pid, &si, WSTOPPED | WNOWAIT) == 0);
	CHECK(si.si_pid == pid && si.si_code == CLD_STOPPED && si.si_status == SIGSTOP && si.si_signo == SIGCHLD);
	CHECK(waitid(P_ALL, 0, &si, WSTOPPED) == 0 && si.si_pid == pid);
	si.si_pid = 0;
	CHECK(waitid(P_PID, pid, &si, WSTOPPED | WNOHANG) == 0 && si.si_pid == 0);
	CHECK(kill(pid, SIGCONT) == 0);
	CHECK(waitid(P_PID, pid, &si, WCONTINUED) == 0);
	CHECK(si.si_code == CLD_CONTINUED && si.si_status == SIGCONT);
	CHECK(kill(pid, SIGTSTP) == 0);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	CHECK(WSTOPSIG(status) == SIGTSTP || WSTOPSIG(status) == SIGSTOP);
	CHECK(kill(pid, SIGCONT) == 0);
	CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	CHECK(kill(pid, SIGSTOP) == 0);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid);
	CHECK(kill(pid, SIGKILL) == 0);			/* kills even what is stopped */
	CHECK(waitid(P_PID, pid, &si, WEXITED) == 0 && si.si_code == CLD_KILLED && si.si_status == SIGKILL);
}

static void exits(void)
{
	siginfo_t si;
	pid_t pid = fork();

	if (!pid)
		_exit(3);
	CHECK(waitid(P_PID, pid, &si, WEXITED | WNOWAIT) == 0);
	CHECK(si.si_code == CLD_EXITED && si.si_status == 3 && si.si_pid == pid && si.si_uid == getuid());
	CHECK(waitid(P_PGID, getpgrp(), &si, WEXITED) == 0 && si.si_pid == pid);
	CHECK_ERRNO(waitid(P_PID, pid, &si, WEXITED), ECHILD);
	CHECK_ERRNO(waitid(P_ALL, 0, &si, 0), EINVAL);
	CHECK_ERRNO(waitid(P_ALL, 0, &si, WEXITED | 0x100), EINVAL);
	CHECK_ERRNO(waitid(P_PID, 0, &si, WEXITED), EINVAL);
	CHECK_ERRNO(waitid(99, 0, &si, WEXITED), EINVAL);
}

static void sigchld(void)
{
	struct sigaction sa = { .sa_sigaction = on_chld, .sa_flags = SA_SIGINFO };
	sigset_t block, old;
	pid_t pid;

	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	CHECK(sigaction(SIGCHLD, &sa, NULL) == 0);
	CHECK(sigprocmask(SIG_BLOCK, &block, &old) == 0);
	pid = fork();
	if (!pid)
		_exit(9);
	while (!chld_count)
		sigsuspend(&old);
	CHECK(last.si_signo == SIGCHLD && last.si_code == CLD_EXITED);
	CHECK(last.si_pid == pid && last.si_status == 9 && last.si_uid == getuid());
	CHECK(waitpid(pid, NULL, 0) == pid);

	chld_count = 0;
	pid = sleeper();
	kill(pid, SIGSTOP);
	while (!chld_count)
		sigsuspend(&old);
	CHECK(last.si_code == CLD_STOPPED && last.si_status == SIGSTOP && last.si_pid == pid);
	chld_count = 0;
	kill(pid, SIGCONT);
	while (!chld_count)
		sigsuspend(&old);
	CHECK(last.si_code == CLD_CONTINUED && last.si_status == SIGCONT);
	chld_count = 0;
	kill(pid, SIGUSR1);
	while (!chld_count)
		sigsuspend(&old);
	CHECK(last.si_code == CLD_KILLED && last.si_status == SIGUSR1);
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
}

static void auto_reap(void)
{
	struct sigaction sa = { .sa_handler = SIG_IGN };
	int status;
	pid_t pid;

	CHECK(sigaction(SIGCHLD, &sa, NULL) == 0);
	pid = fork();
	if (!pid)
		_exit(1);
	CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);	/* blocks until it is gone */
	CHECK_ERRNO(kill(pid, 0), ESRCH);
	sa.sa_handler = SIG_DFL;
	sa.sa_flags = SA_NOCLDWAIT;
	CHECK(sigaction(SIGCHLD, &sa, NULL) == 0);
	pid = fork();
	if (!pid)
		_exit(1);
	CHECK_ERRNO(waitpid(-1, &status, 0), ECHILD);
	sa.sa_flags = 0;
	CHECK(sigaction(SIGCHLD, &sa, NULL) == 0);
}

static void pidfds(void)
{
	siginfo_t si;
	int fd, copy, pid = sleeper();

	fd = syscall(SYS_pidfd_open, pid, 0);
	CHECK(fd >= 0);
	CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0);
	CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 99, NULL, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_pidfd_send_signal, 0, SIGKILL, NULL, 0), EBADF);
	copy = syscall(SYS_pidfd_getfd, fd, 1, 0);
	CHECK(copy >= 0 && fcntl(copy, F_GETFD) == FD_CLOEXEC);
	CHECK(close(copy) == 0);
	CHECK_ERRNO(syscall(SYS_pidfd_getfd, fd, 999, 0), EBADF);
	CHECK(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0);
	CHECK(waitid(P_PIDFD, fd, &si, WEXITED) == 0 && si.si_pid == pid);
	CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), ESRCH);
	CHECK(close(fd) == 0);
	CHECK_ERRNO(syscall(SYS_pidfd_open, 0, 0), EINVAL);
	CHECK_ERRNO(waitid(P_PIDFD, 99, &si, WEXITED), EBADF);
}

int main(void)
{
	stops();
	exits();
	sigchld();
	auto_reap();
	pidfds();
	puts("task_waitid ok");
	return 0;
}
