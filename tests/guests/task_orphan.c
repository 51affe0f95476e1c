/* Orphans: subreapers, parent-death signals, orphaned stopped process groups. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"

/* The middle process ends; its child must be given to us, who asked for orphans. */
static void subreaper(void)
{
	int fds[2], status, on = 0, pid, orphan;

	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &on) == 0 && on == 1);
	CHECK(pipe(fds) == 0);
	pid = fork();
	if (!pid) {
		pid_t middle = getpid();

		if (!fork()) {
			int me = getpid();

			while (getppid() == middle)
				usleep(1000);
			if (write(fds[1], &me, sizeof(me)) != sizeof(me))
				_exit(1);
			_exit(17);
		}
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(read(fds[0], &orphan, sizeof(orphan)) == sizeof(orphan));
	CHECK(waitpid(orphan, &status, 0) == orphan && WEXITSTATUS(status) == 17);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
	close(fds[0]);
	close(fds[1]);
}

static void pdeath(void)
{
	int fds[2], status, pid, sig = 0;
	char c;

	CHECK(pipe(fds) == 0);
	pid = fork();
	if (!pid) {
		int ready[2];

		if (pipe(ready))
			_exit(1);
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			prctl(PR_GET_PDEATHSIG, &sig);
			if (sig != SIGKILL || write(ready[1], "x", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		if (read(ready[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(read(fds[0], &c, 1) == 0);	/* the end of the file: the grandchild is gone, too */
	close(fds[0]);
	CHECK_ERRNO(prctl(PR_SET_PDEATHSIG, 65), EINVAL);
}

static int report_fd;

static void on_hup(int signo)
{
	if (write(report_fd, "H", 1) != 1)
		_exit(1);
}

static void on_cont(int signo)
{
	if (write(report_fd, "C", 1) != 1)
		_exit(1);
	_exit(0);
}

/* A stopped process group that loses its last tie to the session gets SIGHUP, then SIGCONT. */
static void orphaned_group(void)
{
	int fds[2], status, pid;
	char buf[3] = "";

	CHECK(pipe(fds) == 0);
	report_fd = fds[1];
	pid = fork();
	if (!pid) {
		int child = fork();

		if (!child) {
			signal(SIGHUP, on_hup);
			signal(SIGCONT, on_cont);
			setpgid(0, 0);
			raise(SIGSTOP);
			for (;;)
				pause();
		}
		setpgid(child, child);
		waitpid(child, &status, WUNTRACED);
		_exit(WIFSTOPPED(status) ? 0 : 1);
	}
	close(fds[1]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(read(fds[0], buf, 1) == 1 && (buf[0] == 'H' || buf[0] == 'C'));
	close(fds[0]);
}

int main(void)
{
	subreaper();
	pdeath();
	orphaned_group();
	puts("task_orphan ok");
	return 0;
}
