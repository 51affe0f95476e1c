/* kill(2) and kin: targets, errors, permission. */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static volatile int count;

static void handler(int signo)
{
	count++;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	return pid;
}

static void errors(void)
{
	pid_t me = getpid(), gone = fork();

	if (!gone)
		_exit(0);
	CHECK(kill(me, 0) == 0);
	CHECK_ERRNO(kill(me, 65), EINVAL);
	CHECK_ERRNO(kill(me, -1), EINVAL);
	CHECK_ERRNO(kill(INT_MIN, SIGUSR1), ESRCH);
	/* A zombie is still there. */
	CHECK(waitid(P_PID, gone, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
	CHECK(kill(gone, SIGUSR1) == 0);
	CHECK(waitpid(gone, NULL, 0) == gone);
	CHECK_ERRNO(kill(gone, 0), ESRCH);
	CHECK_ERRNO(kill(-gone, 0), ESRCH);
	CHECK_ERRNO(syscall(SYS_tkill, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_tkill, gone, 0), ESRCH);
	CHECK_ERRNO(syscall(SYS_tgkill, 0, me, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_tgkill, me, -1, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_tgkill, getppid(), me, 0), ESRCH);
	CHECK_ERRNO(syscall(SYS_tgkill, me, me, 65), EINVAL);
	CHECK(syscall(SYS_tgkill, me, me, 0) == 0);
}

static void groups(void)
{
	pid_t a = sleeper(), b = sleeper();
	int status;

	CHECK(setpgid(a, a) == 0 && setpgid(b, a) == 0);
	CHECK(kill(-a, 0) == 0);
	CHECK(kill(-a, SIGTERM) == 0);
	CHECK(waitpid(a, &status, 0) == a && WTERMSIG(status) == SIGTERM);
	CHECK(waitpid(b, &status, 0) == b && WTERMSIG(status) == SIGTERM);
	CHECK_ERRNO(kill(-a, SIGTERM), ESRCH);

	/* 0 is one's own group, oneself included. */
	a = fork();
	if (!a) {
		setpgid(0, 0);
		b = sleeper();
		signal(SIGUSR1, handler);
		CHECK(kill(0, SIGUSR1) == 0);
		CHECK(count == 1);
		CHECK(waitpid(b, &status, 0) == b);
		_exit(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1 ? 0 : 1);
	}
	CHECK(waitpid(a, &status, 0) == a && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* An unprivileged process may signal its own user's processes, and with SIGCONT its session's. */
static void permission(void)
{
	pid_t other = sleeper(), me;
	int status;

	if (getuid() != 0) {
		kill(other, SIGKILL);
		CHECK(waitpid(other, &status, 0) == other);
		return;
	}
	me = fork();
	if (!me) {
		pid_t same;

		CHECK(setresuid(1000, 1000, 1000) == 0);
		CHECK_ERRNO(kill(other, SIGTERM), EPERM);
		CHECK_ERRNO(kill(other, 0), EPERM);
		CHECK(kill(other, SIGCONT) == 0);
		same = sleeper();
		CHECK(kill(same, SIGTERM) == 0);
		CHECK(waitpid(same, &status, 0) == same && WTERMSIG(status) == SIGTERM);
		_exit(0);
	}
	CHECK(waitpid(me, &status, 0) == me && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(kill(other, SIGKILL) == 0);
	CHECK(waitpid(other, &status, 0) == other && WTERMSIG(status) == SIGKILL);
}

/* The number of any thread names its process. */
static volatile int tid;

static void *thread(void *arg)
{
	pthread_mutex_t *m = arg;

	tid = syscall(SYS_gettid);
	pthread_mutex_lock(m);
	return NULL;
}

static void by_thread(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_t t;

	pthread_mutex_lock(&m);
	CHECK(pthread_create(&t, NULL, thread, &m) == 0);
	while (!tid)
		sched_yield();
	signal(SIGUSR2, handler);
	count = 0;
	CHECK(kill(tid, SIGUSR2) == 0);
	while (!count)
		sched_yield();
	CHECK(syscall(SYS_tgkill, getpid(), tid, 0) == 0);
	pthread_mutex_unlock(&m);
	pthread_join(t, NULL);
	CHECK(count == 1);
}

int main(void)
{
	errors();
	groups();
	permission();
	by_thread();
	puts("ok");
	return 0;
}
