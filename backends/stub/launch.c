/*
 * Starting one stub: a child that shares the sentry's memory until it executes the image, so nothing is copied and
 * the new process holds nothing of the sentry but three descriptors.
 *
 * It is bound to the sentry's life twice: by its parent's death signal, and by the pipe whose other end the sentry
 * holds. Its signals are blocked but for those that a fault raises and SIGURG, which interrupts a worker (ignored
 * while nobody traces it). A session of its own keeps the terminal's signals away.
 */
#include "backends/stub/stub.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/stub/vfork.h"
#include "lib/log.h"

extern const u8 stub_image[], stub_image_end[];

static int image_fd = -1, memory_fd = -1;
static void *launch_stack;
enum { LAUNCH_STACK = 16384, FD_SAFE = 16, MFD_EXECUTABLE = 0x10 };

struct launch {
	pid_t parent;
	int fd[4];			/* in the order STUB_FD_MEMORY, _CHANNEL, _REPORT, _IMAGE */
	int error;			/* written by the child: the memory is shared */
};

/* Give the child exactly descriptors 3 to 6. First out of the way, so that no source is overwritten. */
UNSANITISED static long child_fds(struct launch *l)
{
	long r;

	for (int i = 0; i < 4; i++) {
		r = raw_call(SYS_fcntl, l->fd[i], F_DUPFD, FD_SAFE, 0, 0);
		if (r < 0)
			return r;
		l->fd[i] = (int)r;
	}
	for (int i = 0; i < 4; i++) {
		r = raw_call(SYS_dup3, l->fd[i], STUB_FD_MEMORY + i, STUB_FD_MEMORY + i == STUB_FD_IMAGE ? O_CLOEXEC : 0, 0, 0);
		if (r < 0)
			return r;
	}
	raw_call(SYS_close_range, 0, 2, 0, 0, 0);
	return raw_call(SYS_close_range, STUB_FD_IMAGE + 1, ~0u, 0, 0, 0);
}

UNSANITISED static long child_setup(struct launch *l)
{
	static const struct rlimit no_core = { 0, 0 };
	const u64 sync = (1ULL << (SIGSEGV - 1)) | (1ULL << (SIGBUS - 1)) | (1ULL << (SIGILL - 1)) |
			 (1ULL << (SIGFPE - 1)) | (1ULL << (SIGTRAP - 1)) | (1ULL << (SIGURG - 1));
	u64 blocked = ~sync;
	long r;

	raw_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (raw_call(SYS_getppid, 0, 0, 0, 0, 0) != l->parent)
		return -ESRCH;		/* the sentry died before the signal was armed */
	r = child_fds(l);
	if (r < 0)
		return r;
	raw_call(SYS_setsid, 0, 0, 0, 0, 0);
	raw_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	raw_call(SYS_personality, ADDR_NO_RANDOMIZE, 0, 0, 0, 0);
	raw_call(SYS_prlimit64, 0, RLIMIT_CORE, (long)&no_core, 0, 0);
	return raw_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, sizeof(blocked), 0);
}

UNSANITISED static void child_main(void *arg)
{
	struct launch *l = arg;
	char *none[] = { NULL };
	long r = child_setup(l);

	if (!r)
		r = raw_call(SYS_execveat, STUB_FD_IMAGE, (long)"", (long)none, (long)none, AT_EMPTY_PATH);
	l->error = (int)r;
	for (;;)
		raw_call(SYS_exit_group, 1, 0, 0, 0, 0);
}

/* The launcher blocks every signal, so no handler of the sentry can run in the child while it shares our memory. */
static int spawn(int channel_fd, int report_fd, pid_t *pid)
{
	struct launch l = { getpid(), { memory_fd, channel_fd, report_fd, image_fd }, 0 };

	*pid = stub_vfork(launch_stack, LAUNCH_STACK, child_main, &l);
	if (*pid < 0)
		return *pid;
	if (!l.error)
		return 0;
	waitpid(*pid, NULL, __WALL);
	*pid = 0;
	return l.error;
}

static int channel_create(struct stub *s)
{
	s->channel_fd = memfd_create("trapgate-channel", MFD_CLOEXEC);
	if (s->channel_fd < 0)
		return -errno;
	if (ftruncate(s->channel_fd, STUB_CHANNEL_SIZE))
		return -errno;
	s->channel = mmap(NULL, STUB_CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->channel_fd, 0);
	if (s->channel == MAP_FAILED) {
		s->channel = NULL;
		return -errno;
	}
	s->channel->version = STUB_VERSION;
	return 0;
}

int stub_launch(struct stub **out)
{
	struct stub *s = calloc(1, sizeof(*s));
	int pipefd[2] = { -1, -1 }, err;
	bool fresh;
	u8 status;

	if (!s)
		return -ENOMEM;
	s->channel_fd = s->report_fd = s->leader_cpu = -1;
	err = channel_create(s);
	if (err)
		goto fail;
	if (pipe2(pipefd, O_CLOEXEC)) {
		err = -errno;
		goto fail;
	}
	s->report_fd = pipefd[0];
	err = spawn(s->channel_fd, pipefd[1], &s->pid);
	/* From here only the stub holds the writing end: its death is our EOF. */
	close(pipefd[1]);
	if (err)
		goto fail;
	if (read(s->report_fd, &status, 1) != 1 || status) {
		err = -ENOEXEC;
		goto fail;
	}
	/* Its first worker too: a fork should wait for nothing. */
	err = stub_worker_get(s, &s->idle[0], &fresh);
	if (err)
		goto fail;
	s->nidle = s->nfresh = 1;
	*out = s;
	return 0;
fail:
	stub_destroy(s);
	return err;
}

void stub_destroy(struct stub *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		while (waitpid(s->pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	if (s->channel)
		munmap(s->channel, STUB_CHANNEL_SIZE);
	if (s->channel_fd >= 0)
		close(s->channel_fd);
	if (s->report_fd >= 0)
		close(s->report_fd);
	free(s);
}

int stub_launch_init(int fd)
{
	size_t size = (size_t)((uintptr_t)stub_image_end - (uintptr_t)stub_image);

	memory_fd = fd;
	image_fd = memfd_create("trapgate-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXECUTABLE);
	if (image_fd < 0)	/* Linux before 6.3: memfds are executable and the flag is unknown */
		image_fd = memfd_create("trapgate-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (image_fd < 0)
		return -errno;
	if (write(image_fd, stub_image, size) != (ssize_t)size)
		return -EIO;
	fcntl(image_fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	launch_stack = mmap(NULL, LAUNCH_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return launch_stack == MAP_FAILED ? -ENOMEM : 0;
}

void stub_launch_exit(void)
{
	if (image_fd >= 0)
		close(image_fd);
	image_fd = -1;
	if (launch_stack && launch_stack != MAP_FAILED)
		munmap(launch_stack, LAUNCH_STACK);
	launch_stack = NULL;
}
