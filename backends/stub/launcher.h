/*
 * The launcher: a process that starts stub processes for the sentry.
 *
 * It is forked while the sentry is single-threaded, holds no guest's file and is not yet confined (core/host/confine.c).
 * The sentry itself can then live under a filter that knows no fork and no exec, and stubs, which inherit nothing from
 * the sentry, are under no filter but their own. A stub is a child of the sentry all the same (CLONE_PARENT): the
 * sentry waits for it, traces it, and is outlived by nothing.
 *
 * Threats. Guests never reach it: it holds a socket to the sentry and the image, and reads nothing else. A sentry that has
 * fallen into a guest's hands can have it start more stubs of the same image, with descriptors that the sentry holds
 * anyway, and nothing more.
 */
#ifndef TG_STUB_LAUNCHER_H
#define TG_STUB_LAUNCHER_H

#include <sys/types.h>

#include "lib/types.h"

#define LAUNCHER_NAME		"tg-launcher"	/* its comm */
#define LAUNCH_FD_FIRST		3	/* a stub's descriptors count from here; the image's, closed by exec, is behind them */
#define LAUNCH_FDS		3

struct launch {
	int fd[LAUNCH_FDS];		/* the sentry's, which keeps them */
	u64 blocked;			/* the stub's signal mask */
};

/* Main thread, single-threaded, before confinement. `image` is the program that stubs execute. 0 or -errno. */
int launcher_start(const void *image, size_t len);
/* All stubs are gone. Any thread. */
void launcher_stop(void);

/*
 * A new stub: its pid, or -errno. It is the caller's process's child, without an exit signal (wait with __WALL), and gets
 * SIGKILL when the main thread ends. Any thread.
 */
pid_t launcher_spawn(const struct launch *l);

/* Wait until a child of the sentry's, which somebody has sent SIGKILL, is gone, and bury it. Any thread. */
void launcher_reap(pid_t pid);

#endif
