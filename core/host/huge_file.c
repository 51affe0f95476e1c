/*
 * Huge pages for guest memory without a word from the administrator.
 *
 * The host decides by /sys/kernel/mm/transparent_hugepage/shmem_enabled whether memfds get huge pages, and nearly all
 * say never. A tmpfs has an option of its own. One that is mounted nowhere, of which only our file is left, needs
 * CAP_SYS_ADMIN; those who lack it have it in a user namespace of their own, which a child enters for this one call.
 */
#include "host/huge_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_FILE = 255 };			/* the child's exit status; descriptors are below */

static int configure(int fs)
{
	if (fsconfig(fs, FSCONFIG_SET_STRING, "huge", "always", 0) || fsconfig(fs, FSCONFIG_SET_STRING, "size", "0", 0) ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	return 0;
}

/* Async-signal-safe: the child has the sentry's memory, but not its threads' locks. */
static int open_file(void)
{
	int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), mount = -1, fd, err;

	if (fs < 0)
		return -errno;
	err = configure(fs);
	if (!err)
		mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (!err && mount < 0)
		err = -errno;
	close(fs);
	if (err)
		return err;
	fd = openat(mount, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	err = fd < 0 ? -errno : fd;
	close(mount);
	return err;
}

static bool write_file(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what);

	if (fd >= 0)
		close(fd);
	return done;
}

/* Files have owners, so the namespace must know us. */
static bool map_ids(const char *user, const char *group)
{
	return write_file("/proc/self/uid_map", user) && write_file("/proc/self/setgroups", "deny") &&
	       write_file("/proc/self/gid_map", group);
}

/* The child shares our descriptor table, and says by its exit status which one is new. */
static int open_in_namespace(void)
{
	char user[32], group[32];
	int status, fd;
	long pid;

	snprintf(user, sizeof(user), "0 %u 1", geteuid());
	snprintf(group, sizeof(group), "0 %u 1", getegid());
	pid = syscall(SYS_clone, CLONE_FILES | CLONE_NEWUSER | CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return -errno;
	if (!pid) {
		fd = map_ids(user, group) ? open_file() : -EPERM;
		_exit(fd >= 0 && fd < NO_FILE ? fd : NO_FILE);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) != NO_FILE ? WEXITSTATUS(status) : -EPERM;
}

int host_huge_file(void)
{
	int fd = open_file();

	return fd == -EPERM ? open_in_namespace() : fd;
}
