/* The launcher's two ends: see launcher.h. What runs in the launcher and in a stub before exec makes raw calls only. */
#include "backends/stub/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/stub/vfork.h"

enum { STACK_SIZE = 64 << 10, FD_SOCKET = 16, FD_IMAGE = 17, FD_LAST = FD_IMAGE, MFD_EXECUTABLE = 0x10 };

struct reply {
	pid_t pid;			/* -errno: none */
	s32 error;			/* of what came before exec; the process has ended and is to be waited for */
};

/* In the launcher; its child shares it until exec. */
struct birth {
	pid_t sentry;
	u64 blocked;
	s32 error;
};

static struct {
	pthread_mutex_t lock;		/* guards the conversation */
	pid_t pid;
	int sock;
} launcher = { .lock = PTHREAD_MUTEX_INITIALIZER, .sock = -1 };

static u8 stack[STACK_SIZE] __attribute__((aligned(16)));	/* the launcher's child's; used in the launcher only */

/* ---- in a stub, before exec ---- */

/* The launcher has none open below FD_SOCKET, so what it received is 0, 1, 2, and nothing is overwritten. */
UNSANITISED static long child_fds(void)
{
	long r;

	for (int i = 0; i < LAUNCH_FDS; i++) {
		r = raw_call(SYS_dup3, i, LAUNCH_FD_FIRST + i, 0, 0, 0);
		if (r < 0)
			return r;
	}
	r = raw_call(SYS_dup3, FD_IMAGE, LAUNCH_FD_FIRST + LAUNCH_FDS, O_CLOEXEC, 0, 0);
	if (r < 0)
		return r;
	raw_call(SYS_close_range, 0, LAUNCH_FD_FIRST - 1, 0, 0, 0);
	return raw_call(SYS_close_range, LAUNCH_FD_FIRST + LAUNCH_FDS + 1, ~0u, 0, 0, 0);
}

/* A session of its own keeps the terminal's signals away; no core file shows a guest's memory to the host. */
UNSANITISED static long child_setup(const struct birth *b)
{
	static const struct rlimit no_core = { 0, 0 };
	long r = raw_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

	if (!r && raw_call(SYS_getppid, 0, 0, 0, 0, 0) != b->sentry)
		r = -ESRCH;		/* the sentry died before the signal was armed */
	if (!r)
		r = child_fds();
	if (!r)
		r = raw_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (r)
		return r;
	raw_call(SYS_setsid, 0, 0, 0, 0, 0);
	raw_call(SYS_personality, ADDR_NO_RANDOMIZE, 0, 0, 0, 0);
	raw_call(SYS_prlimit64, 0, RLIMIT_CORE, (long)&no_core, 0, 0);
	return raw_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&b->blocked, 0, sizeof(b->blocked), 0);
}

UNSANITISED static void child_main(void *arg)
{
	static char *const argv[] = { (char *)"trapgate-stub", NULL }, *const envp[] = { NULL };
	struct birth *b = arg;
	long r = child_setup(b);

	if (!r)
		r = raw_call(SYS_execveat, LAUNCH_FD_FIRST + LAUNCH_FDS, (long)"", (long)argv, (long)envp, AT_EMPTY_PATH);
	b->error = (s32)r;
	for (;;)
		raw_call(SYS_exit_group, 1, 0, 0, 0, 0);
}

/* ---- in the launcher ---- */

/* Descriptors 0 to LAUNCH_FDS - 1 and the mask. False: the sentry is gone, or does not speak our language. */
UNSANITISED static bool hear(u64 *blocked)
{
	union { u8 buf[CMSG_SPACE(sizeof(int[LAUNCH_FDS]))]; struct cmsghdr align; } control;
	struct iovec iov = { blocked, sizeof(*blocked) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	const int *fd = (const int *)CMSG_DATA(&control.align);
	long n;

	do {
		n = raw_call(SYS_recvmsg, FD_SOCKET, (long)&msg, 0, 0, 0);
	} while (n == -EINTR);
	if (n != sizeof(*blocked) || msg.msg_controllen < CMSG_LEN(sizeof(int[LAUNCH_FDS])))
		return false;
	for (int i = 0; i < LAUNCH_FDS; i++)
		if (fd[i] != i)
			return false;
	return true;
}

UNSANITISED static void serve(pid_t sentry)
{
	struct birth b = { .sentry = sentry };

	while (hear(&b.blocked)) {
		struct reply r;

		b.error = 0;
		r.pid = stub_vfork(stack, sizeof(stack), child_main, &b);
		r.error = b.error;
		raw_call(SYS_close_range, 0, LAUNCH_FDS - 1, 0, 0, 0);
		raw_call(SYS_write, FD_SOCKET, (long)&r, sizeof(r), 0, 0);
	}
}

/* All signals are blocked here: none of the sentry's handlers runs, and the terminal's pass by. */
UNSANITISED static void launcher_main(pid_t sentry, int sock, int image)
{
	long r = raw_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

	if (!r && raw_call(SYS_getppid, 0, 0, 0, 0, 0) == sentry) {
		raw_call(SYS_dup3, sock, FD_SOCKET, 0, 0, 0);
		raw_call(SYS_dup3, image, FD_IMAGE, 0, 0, 0);
		raw_call(SYS_close_range, 0, FD_SOCKET - 1, 0, 0, 0);
		raw_call(SYS_close_range, FD_LAST + 1, ~0u, 0, 0, 0);
		raw_call(SYS_prctl, PR_SET_NAME, (long)LAUNCHER_NAME, 0, 0, 0);
		raw_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		serve(sentry);
	}
	for (;;)
		raw_call(SYS_exit_group, 0, 0, 0, 0, 0);
}

/* ---- in the sentry ---- */

static int image_create(const void *image, size_t len)
{
	int fd = memfd_create("trapgate-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXECUTABLE);

	if (fd < 0)		/* Linux before 6.3: memfds are executable and the flag is unknown */
		fd = memfd_create("trapgate-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (write(fd, image, len) != (ssize_t)len) {
		close(fd);
		return -EIO;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	return fd;
}

/* Both above what launcher_main() fills. */
static int high_fd(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_LAST + 1), err = -errno;

	close(fd);
	return high < 0 ? err : high;
}

static int fork_launcher(int sock, int image)
{
	sigset_t all, old;
	pid_t sentry = getpid();
	long pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);	/* fork() without an exit signal: stubs inherit that */
	if (!pid)
		launcher_main(sentry, sock, image);
	launcher.pid = (pid_t)pid;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid < 0 ? -errno : 0;
}

int launcher_start(const void *image, size_t len)
{
	int pair[2], fd, err;

	fd = image_create(image, len);
	if (fd < 0)
		return fd;
	fd = high_fd(fd);
	if (fd < 0)
		return fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		err = -errno;
		close(fd);
		return err;
	}
	launcher.sock = pair[0];
	pair[1] = high_fd(pair[1]);
	err = pair[1] < 0 ? pair[1] : fork_launcher(pair[1], fd);
	close(fd);
	if (pair[1] >= 0)
		close(pair[1]);
	if (err) {
		close(launcher.sock);
		launcher.sock = -1;
	}
	return err;
}

void launcher_stop(void)
{
	if (launcher.sock < 0)
		return;
	close(launcher.sock);
	launcher.sock = -1;
	launcher_reap(launcher.pid);
}

void launcher_reap(pid_t pid)
{
	siginfo_t si;

	while (waitid(P_PID, pid, &si, WEXITED | __WALL) < 0 && errno == EINTR)
		;
}

static int tell(const struct launch *l)
{
	union { u8 buf[CMSG_SPACE(sizeof(l->fd))]; struct cmsghdr align; } control;
	u64 blocked = l->blocked;
	struct iovec iov = { &blocked, sizeof(blocked) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };

	memset(&control, 0, sizeof(control));
	control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(l->fd)) };
	memcpy(CMSG_DATA(&control.align), l->fd, sizeof(l->fd));
	return sendmsg(launcher.sock, &msg, MSG_NOSIGNAL) == sizeof(blocked) ? 0 : -errno;
}

/* EOF: something outside has killed the launcher; what runs goes on, nothing new begins. */
pid_t launcher_spawn(const struct launch *l)
{
	struct reply r = { .pid = -EAGAIN };
	ssize_t n;
	int err;

	pthread_mutex_lock(&launcher.lock);
	err = tell(l);
	if (!err) {
		do {
			n = read(launcher.sock, &r, sizeof(r));
		} while (n < 0 && errno == EINTR);
		err = n == sizeof(r) ? 0 : -EAGAIN;
	}
	pthread_mutex_unlock(&launcher.lock);
	if (err)
		return err;
	if (r.pid > 0 && r.error) {
		launcher_reap(r.pid);
		return r.error;
	}
	return r.pid;
}
