/*
 * Starting one stub: a child that executes the image and holds nothing of the sentry but three descriptors.
 *
 * It is bound to the sentry's life twice: by its parent's death signal, and by the pipe whose other end the sentry
 * holds.
 */
#include "backends/stub/stub.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/stub/launcher.h"
#include "lib/log.h"

extern const u8 stub_image[], stub_image_end[];

_Static_assert(STUB_FD_MEMORY == LAUNCH_FD_FIRST && STUB_FD_IMAGE == LAUNCH_FD_FIRST + LAUNCH_FDS, "the launcher counts so");

static int memory_fd = -1;

/* Blocked but for what a fault raises and SIGURG, which interrupts a worker (ignored while nobody traces it). */
#define OPEN_SIGNALS	((1ULL << (SIGSEGV - 1)) | (1ULL << (SIGBUS - 1)) | (1ULL << (SIGILL - 1)) | \
			 (1ULL << (SIGFPE - 1)) | (1ULL << (SIGTRAP - 1)) | (1ULL << (SIGURG - 1)))

/* In the order STUB_FD_MEMORY, STUB_FD_CHANNEL, STUB_FD_REPORT. */
static int spawn(int channel_fd, int report_fd, pid_t *pid)
{
	struct launch l = { .fd = { memory_fd, channel_fd, report_fd }, .blocked = ~OPEN_SIGNALS };

	*pid = launcher_spawn(&l);
	return *pid < 0 ? *pid : 0;
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
		launcher_reap(s->pid);
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
	memory_fd = fd;
	return launcher_start(stub_image, (size_t)((uintptr_t)stub_image_end - (uintptr_t)stub_image));
}

void stub_launch_exit(void)
{
	launcher_stop();
}
