/* The host's /proc: see host_proc.h. */
#include "lib/host_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

static int proc_fd = -ENOENT;

static void open_proc(void)
{
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	proc_fd = fd < 0 ? -errno : fd;
}

void host_proc_keep(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, open_proc);
}

int host_proc_fd(void)
{
	host_proc_keep();
	return proc_fd;
}

int host_proc_open(const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	int fd = host_proc_fd();

	if (fd < 0)
		return fd;
	fd = (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}
