/*
 * The sentry's own confinement: what is left of the host for a sentry that a guest has taken over.
 *
 * Steps, in the order of main.c. The platform opens what it needs (init), the guest's trees are opened (fs_init); then
 * confine_leave() gives up the host's namespaces, path names and capabilities; the platform starts its processes and
 * threads (start), which inherit that; then confine_filter() loads the allow-list for every thread. Only then is a
 * guest's file looked at, to load the first program.
 *
 * Threats. A guest that runs code of its choice in the sentry finds: an empty root directory (where the kernel let us have a
 * mount namespace), no network (unless --network=host), no capability but those that read, or with writable trees change,
 * files of other owners beneath the root descriptors; a filter that knows no execve, fork, socket, open, no executable
 * mapping, no new signal handler. On the ptrace platform it knows ptrace, of whatever process: the user namespace (as root) and Yama,
 * not the filter, keep that to stubs. A call outside the list is not made: SIGSYS says
 * which it was and ends the sentry, and stubs with it. What remains: everything beneath the guest's own trees, the descriptors that
 * are open, memory and CPU time.
 *
 * A pid namespace would not help: it takes effect for children only, and those are stubs, which make no call of their own.
 */
#ifndef TG_HOST_CONFINE_H
#define TG_HOST_CONFINE_H

#include "lib/types.h"
#include "platform.h"

/* When a row of the allow-list is loaded. */
enum host_call_group { CALLS_ALWAYS, CALLS_WRITABLE, CALLS_NETWORK, CALLS_FILES, CALLS_PLATFORM };

struct confinement {
	bool writable;			/* a writable bind mount or --rootfs-rw */
	bool network;			/* --network=host */
	bool writes_files;		/* --stats, --phases, --profile */
	const struct platform_ops *platform;
};

/* Main thread, the only one. Whatever the host refuses is logged (--log=info) and done without. */
void confine_leave(const struct confinement *c);

/* Main thread, before the first guest instruction. 0 or -errno: then no guest may be run. All threads are under it on return. */
int confine_filter(const struct confinement *c);

/* For `trapgate host-calls` and its tests: one call a row of every group, the platform's last. */
typedef void host_call_fn(const char *name, const struct host_call *call, enum host_call_group group, void *arg);
void host_calls_each(const struct platform_ops *p, host_call_fn *fn, void *arg);
void host_calls_print(void);		/* as the table of the README */

#endif
