/*
 * seccomp user notification: the kernel carries the call to a listener and its answer back.
 *
 * The caller is a process that shares the descriptor table, so that the listener's descriptor needs no passing on. It
 * calls getpid for ever; this side counts.
 */
#ifndef WORKLOADS_NOTIFY_H
#define WORKLOADS_NOTIFY_H

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "floor.h"
#include "sigsys.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP	1ul
#endif

struct meeting {
	int listener;				/* descriptor + 1; -1: the caller could not install its filter */
	long wrong;				/* answers that did not arrive as sent */
};

static struct meeting *meeting;
static pid_t caller;
static int listener;

static inline void call_forever(void)
{
	long fd = sigsys_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);

	__atomic_store_n(&meeting->listener, fd < 0 ? -1 : (int)fd + 1, __ATOMIC_RELEASE);
	while (fd >= 0)
		if (sys0(__NR_getpid) != 42)
			meeting->wrong++;
}

/* `flags`: SECCOMP_USER_NOTIF_FD_*, or 0 for an ordinary wake-up. */
static inline void notify_setup(u64 flags)
{
	int cpu = floor_cpu(1);

	meeting = floor_shared(sizeof(*meeting));
	caller = CHECK_LIBC(syscall(__NR_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL));
	if (!caller) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		floor_pin(cpu);
		call_forever();
		_exit(1);
	}
	floor_pin(floor_cpu(0));
	while (!(listener = __atomic_load_n(&meeting->listener, __ATOMIC_ACQUIRE)))
		sched_yield();
	if (listener-- < 0)
		workload_unsupported(ENOSYS, __LINE__);
	if (flags && ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags))
		workload_unsupported(errno, __LINE__);
}

static inline u64 notify_batch(u64 n)
{
	struct seccomp_notif req;
	struct seccomp_notif_resp resp = { .val = 42 };
	u64 right = 0, i;

	for (i = 0; i < n; i++) {
		req = (struct seccomp_notif){ 0 };
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req))
			continue;
		resp.id = req.id;
		right += !ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) && req.data.nr == __NR_getpid;
	}
	return meeting->wrong ? 0 : right;
}

static inline void notify_finish(void)
{
	floor_reap(caller);
}

#endif
