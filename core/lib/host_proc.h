/*
 * The host's /proc, as the sentry reads it: its own threads and stubs, the CPU's description. Path names lead nowhere once
 * the sentry is confined (host/confine.h), so a descriptor is kept.
 */
#ifndef TG_LIB_HOST_PROC_H
#define TG_LIB_HOST_PROC_H

#include "lib/types.h"

void host_proc_keep(void);			/* before confinement; not calling it is the same */
int host_proc_fd(void);				/* O_PATH of /proc, or -errno; the caller does not own it */
int host_proc_open(const char *path);		/* read only, beneath /proc: a descriptor of the caller's, or -errno */

#endif
