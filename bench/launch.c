/*
 * One launch: a process tree in a session of its own, on given CPUs, with a deadline.
 *
 * The driver is a child subreaper: whatever the tree leaves behind comes to us, is killed, reaped, and its CPU time is
 * counted. So a cell can neither outlive its row nor disturb the next one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define DRAIN_MS	2000			/* for what the tree left behind to die in */

volatile sig_atomic_t stop_requested;

/* Shared with the child between fork and exec: when it called exec, or why it could not. */
static struct { double exec_seconds; int error; } *birth;

struct pipes {
	int in[2], out[2], err[2];
	char err_text[4096];
	size_t err_len;
	unsigned int signs;
};

static void on_stop(int signo)
{
	(void)signo;
	stop_requested = 1;
}

void launch_init(void)
{
	struct sigaction act = { .sa_handler = on_stop };	/* no SA_RESTART: poll must end */

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	birth = mmap(NULL, sizeof(*birth), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (birth == MAP_FAILED) {
		complain("no memory");
		exit(EXIT_BUG);
	}
}

static void close_pair(int pair[2])
{
	int i;

	for (i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

static int open_pipes(struct pipes *p)
{
	int *const all[] = { p->in, p->out, p->err };
	size_t i;

	for (i = 0; i < COUNT(all); i++)
		all[i][0] = all[i][1] = -1;
	for (i = 0; i < COUNT(all); i++)
		if (pipe2(all[i], O_CLOEXEC))
			return -errno;
	fcntl(p->out[0], F_SETFL, O_NONBLOCK);
	fcntl(p->err[0], F_SETFL, O_NONBLOCK);
	return 0;
}

static void close_pipes(struct pipes *p)
{
	close_pair(p->in);
	close_pair(p->out);
	close_pair(p->err);
}

static _Noreturn void child(const struct launch *l, const struct pipes *p)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (l->cpus && sched_setaffinity(0, sizeof(*l->cpus), l->cpus))
		goto fail;
	if (dup2(p->in[0], 0) < 0 || dup2(p->out[1], 1) < 0 || dup2(p->err[1], 2) < 0)
		goto fail;
	if (l->filtered && (errno = -filter_install()))
		goto fail;
	birth->exec_seconds = clock_seconds();
	execv(l->argv[0], l->argv);
fail:
	birth->error = errno;
	_exit(127);
}

static void read_out(struct launch *l, struct pipes *p)
{
	unsigned char surplus[256];
	ssize_t n;

	do {
		size_t left = sizeof(l->out) - l->out_len;

		n = left ? read(p->out[0], l->out + l->out_len, left) : read(p->out[0], surplus, sizeof(surplus));
		if (n > 0 && left)
			l->out_len += n;
	} while (n > 0);
	if (!n)
		close_pair(p->out);
}

/* Keeps the tail only. Returns true if anything came. */
static bool read_err(struct pipes *p)
{
	bool any = false;
	ssize_t n;

	do {
		size_t half = sizeof(p->err_text) / 2;

		if (p->err_len > half) {
			memmove(p->err_text, p->err_text + p->err_len - half, half);
			p->err_len = half;
		}
		n = read(p->err[0], p->err_text + p->err_len, half);
		if (n > 0)
			p->err_len += n;
		any |= n > 0;
	} while (n > 0);
	if (!n)
		close_pair(p->err);
	return any;
}

static void keep_last_line(struct launch *l, struct pipes *p)
{
	size_t end = p->err_len, start;

	while (end && (p->err_text[end - 1] == '\n' || p->err_text[end - 1] == '.'))
		end--;
	for (start = end; start && p->err_text[start - 1] != '\n'; start--)
		;
	snprintf(l->err, sizeof(l->err), "%.*s", (int)(end - start), p->err_text + start);
}

static void add_usage(struct launch *l, const struct rusage *ru)
{
	l->user_ns += ru->ru_utime.tv_sec * 1e9 + ru->ru_utime.tv_usec * 1e3;
	l->system_ns += ru->ru_stime.tv_sec * 1e9 + ru->ru_stime.tv_usec * 1e3;
}

static void kill_children(void)
{
	char path[64];
	int pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		kill(pid, SIGKILL);
	if (f)
		fclose(f);
}

/* Whatever is left of the tree: each death may hand us the dead one's children. */
static void reap_rest(struct launch *l)
{
	double deadline = clock_seconds() + DRAIN_MS / 1e3;
	struct timespec nap = { 0, 200000 };
	struct rusage ru;
	pid_t pid;

	for (;;) {
		pid = wait4(-1, NULL, WNOHANG | __WALL, &ru);
		if (pid > 0) {
			add_usage(l, &ru);
			continue;
		}
		if (pid < 0 && errno != EINTR)
			return;
		if (clock_seconds() > deadline) {
			complain("a process of %s would not die", l->argv[0]);
			return;
		}
		kill_children();
		nanosleep(&nap, NULL);
	}
}

/* The program waits for one byte. SIGPIPE is ignored: it may be dead. */
static void answer_sign(struct launch *l, struct pipes *p, pid_t pid)
{
	l->when_sign(pid, l->arg, p->signs++);
	if (write(p->in[1], "\n", 1) != 1)
		close_pair(p->in);
}

/* Until the process ends. Returns the reason to stop earlier, or LAUNCH_EXITED. */
static enum launch_status watch(struct launch *l, struct pipes *p, pid_t pid, int pidfd)
{
	double deadline = clock_seconds() + l->timeout_ms / 1e3, left;

	for (;;) {
		struct pollfd fds[] = { { pidfd, POLLIN, 0 }, { p->out[0], POLLIN, 0 }, { p->err[0], POLLIN, 0 } };

		left = deadline - clock_seconds();
		if (stop_requested)
			return LAUNCH_INTERRUPTED;
		if (left <= 0)
			return LAUNCH_TIMEOUT;
		if (poll(fds, COUNT(fds), (int)(left * 1e3) + 1) < 0)
			continue;
		if (fds[1].revents)
			read_out(l, p);
		if (fds[2].revents && read_err(p) && p->err_text[p->err_len - 1] == '.' && p->in[1] >= 0)
			answer_sign(l, p, pid);
		if (fds[0].revents)
			return LAUNCH_EXITED;
	}
}

static void collect(struct launch *l, pid_t pid, enum launch_status why)
{
	struct rusage ru;
	int status;

	if (why != LAUNCH_EXITED)
		kill(pid, SIGKILL);
	while (wait4(pid, &status, __WALL, &ru) < 0 && errno == EINTR)
		;
	l->wall_ns = (clock_seconds() - birth->exec_seconds) * 1e9;
	add_usage(l, &ru);
	l->status = why;
	if (why != LAUNCH_EXITED)
		return;
	if (birth->error) {
		l->status = LAUNCH_FAILED;
		l->code = birth->error;
	} else if (WIFSIGNALED(status)) {
		l->status = LAUNCH_SIGNALLED;
		l->code = WTERMSIG(status);
	} else {
		l->code = WEXITSTATUS(status);
	}
}

void launch_run(struct launch *l)
{
	struct pipes p = { .err_len = 0 };
	int pidfd = -1;
	pid_t pid;

	l->status = LAUNCH_FAILED;
	birth->error = 0;
	birth->exec_seconds = clock_seconds();
	if (open_pipes(&p)) {
		l->code = errno;
		goto out;
	}
	pid = fork();
	if (pid < 0) {
		l->code = errno;
		goto out;
	}
	if (!pid)
		child(l, &p);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	close(p.in[0]);
	close(p.out[1]);
	close(p.err[1]);
	p.in[0] = p.out[1] = p.err[1] = -1;
	if (!l->when_sign)
		close_pair(p.in);
	collect(l, pid, watch(l, &p, pid, pidfd));
	reap_rest(l);
	if (p.out[0] >= 0)
		read_out(l, &p);
	if (p.err[0] >= 0)
		read_err(&p);
	keep_last_line(l, &p);
out:
	if (pidfd >= 0)
		close(pidfd);
	close_pipes(&p);
}
