/* Process groups and sessions: who may join what, and when. */
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static int ready[2], go[2];

/* A child that waits until told. */
static pid_t child(void (*first)(void))
{
	char c;
	pid_t pid = fork();

	if (!pid) {
		if (first)
			first();
		if (write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	CHECK(read(ready[0], &c, 1) == 1);
	return pid;
}

/* Both at once: they read the same pipe, and either may take either byte. */
static void let_go(pid_t one, pid_t two)
{
	int status;

	CHECK(write(go[1], "xx", 2) == 2);
	CHECK(waitpid(one, &status, 0) == one && status == 0);
	CHECK(waitpid(two, &status, 0) == two && status == 0);
}

static void own_session(void)
{
	CHECK(setsid() == getpid());
	CHECK(getsid(0) == getpid() && getpgrp() == getpid());
	CHECK_ERRNO(setsid(), EPERM);
	CHECK_ERRNO(setpgid(0, 0), EPERM);
}

int main(void)
{
	pid_t a, b, s;

	CHECK(pipe(ready) == 0 && pipe(go) == 0);
	CHECK(getpgid(0) == getpgrp());
	CHECK(getsid(0) == getsid(getpid()));
	CHECK_ERRNO(getpgid(0x3fffffff), ESRCH);
	CHECK_ERRNO(getpgid(-1), ESRCH);
	CHECK_ERRNO(setpgid(0, -1), EINVAL);
	CHECK_ERRNO(setpgid(1, 0), ESRCH);

	a = child(NULL);
	CHECK(getpgid(a) == getpgrp());
	CHECK(setpgid(a, a) == 0 && getpgid(a) == a);
	b = child(NULL);
	CHECK(setpgid(b, a) == 0 && getpgid(b) == a);
	CHECK_ERRNO(setpgid(b, 32766), EPERM);
	CHECK(setpgid(b, getpgrp()) == 0);
	CHECK(killpg(a, 0) == 0);
	let_go(a, b);
	CHECK_ERRNO(killpg(a, 0), ESRCH);

	s = child(own_session);
	CHECK(getsid(s) == s && getpgid(s) == s);
	CHECK_ERRNO(setpgid(s, s), EPERM);
	a = child(NULL);
	CHECK_ERRNO(setpgid(a, s), EPERM);	/* a group of another session */
	let_go(s, a);

	a = fork();
	if (!a) {
		close(ready[0]);
		dup2(ready[1], 1);
		dup2(go[0], 0);
		execl("/bin/sh", "sh", "-c", "echo; read x; exit 0", NULL);
		_exit(1);
	}
	{
		char c;

		CHECK(read(ready[0], &c, 1) == 1);
		CHECK_ERRNO(setpgid(a, a), EACCES);	/* it has called execve */
		CHECK(write(go[1], "\n", 1) == 1);
		CHECK(waitpid(a, NULL, 0) == a);
	}
	puts("task_pgrp ok");
	return 0;
}
