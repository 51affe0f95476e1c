/*
 * The host's signals to the sentry: forwarded to the guest by one thread that sleeps in sigwaitinfo(). All other
 * threads of the sentry have them blocked.
 */
#ifndef TG_HOST_HOSTSIG_H
#define TG_HOST_HOSTSIG_H

#include <stdbool.h>

/* First thing in main(), while there is one thread: all threads and stubs made later inherit the mask. */
void hostsig_block(void);

/* Before the first program is loaded: its dispositions and mask. */
struct task;
void hostsig_inherit(struct task *first);

/* Once the first guest process, `tgid`, exists: start forwarding. 0 or -errno. */
int hostsig_start(int tgid);

/* Number of the first guest process, 0 before hostsig_start(). */
int hostsig_first(void);

/*
 * Every process of the first job is stopped by its terminal: stop the sentry too, so that the shell that started it gets
 * its terminal back. Returns when the shell continues it; the guest is continued by the forwarding thread.
 */
void hostsig_stop_self(void);

/* True if the sentry has no job-control shell above it: then nobody could continue the guest's first job. */
bool hostsig_orphaned(void);

#endif
