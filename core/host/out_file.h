/*
 * A file that the user named on the command line and that is written when the guest has ended. A regular file is replaced as
 * a whole, so that nobody finds half of one; a device or a pipe is written to. The place is opened at the start: later
 * the sentry is confined, and path names lead nowhere (confine.h).
 */
#ifndef TG_HOST_OUT_FILE_H
#define TG_HOST_OUT_FILE_H

#include <stdio.h>

struct out_file {
	const char *path;		/* as the user wrote it; NULL: not asked for */
	char *dir_path, *name;		/* owned; `name` is in it */
	int dir, fd;			/* of the two, the one that is used; else -1 */
};

/* Main thread, before confinement. `path` must live on. 0 or -errno. */
int out_file_open(struct out_file *f, const char *path);

/* Once. write() returns 0 or -errno; nothing is replaced then. Frees what `f` owns. 0 or -errno. */
int out_file_write(struct out_file *f, int (*write)(FILE *to));

#endif
