/*
 * The helper: one thread in each stub process that makes mapping calls for the sentry.
 *
 * It waits in a user notification. Answering it with a number makes it run so many records from the control pages, which
 * it can only read, and come back; the next notification carries what happened in its registers. The kernel reports
 * those, so a guest can forge neither the end of an unmap nor its result.
 *
 * Threat note. -ESRCH from here means to the caller that the guest can reach none of its pages any more, and may free them.
 * The helper can be killed alone, from outside, and guest threads would go on; so they are ended, and seen to have
 * ended, first (threads_end).
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "backends/systrap/systrap.h"

static bool helper_poll;

struct stub_record *helper_records(struct address_space *as)
{
	return (struct stub_record *)((u8 *)as->control + CONTROL_RECORDS);
}

/* By the kernel's word; the monitor may not know yet, or not watch yet. */
static bool helper_gone(const struct address_space *as)
{
	siginfo_t si = { .si_pid = 0 };

	return waitid(P_PID, as->pid, &si, WEXITED | WNOHANG | WNOWAIT) || si.si_pid;
}

/*
 * Before Linux 6.11 the receive below sleeps on when the filter's last user is gone, but poll() says so. 0: there is something
 * to receive.
 */
static int wait_notification(const struct address_space *as)
{
	struct pollfd p = { .fd = as->notify_fd, .events = POLLIN };

	if (!helper_poll)
		return 0;
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	COUNT(host_calls);
	return p.revents & POLLIN ? 0 : -ESRCH;
}

void helper_init(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	helper_poll = uname(&u) || sscanf(u.release, "%d.%d", &major, &minor) != 2 || major < 6 || (major == 6 && minor < 11);
}

/* Wait for the helper to come (back). Takes what it reports from its registers: the kernel vouches for them. */
int helper_meet(struct address_space *as, u64 *done, u64 *error, u64 *result)
{
	struct seccomp_notif n;

	do {
		memset(&n, 0, sizeof(n));
		if (wait_notification(as))
			break;
		COUNT(host_calls);
		if (!ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &n))
			break;
		n.id = 0;
	} while (errno == EINTR || (errno == ENOENT && !helper_gone(as)));
	if (!n.id || (pid_t)n.pid != as->pid) {
		as->dead = true;
		threads_end(as);
		return -ESRCH;
	}
	as->notify_id = n.id;
	*done = n.data.args[0];
	*error = n.data.args[1];
	*result = n.data.args[2];
	return 0;
}

/* A notification by any thread of the process; -ETIMEDOUT. */
int helper_notified(const struct address_space *as, int timeout_ms, struct seccomp_notif *n)
{
	struct pollfd p = { .fd = as->notify_fd, .events = POLLIN };

	COUNT(host_calls);
	if (poll(&p, 1, timeout_ms) != 1 || !(p.revents & POLLIN))
		return -ETIMEDOUT;
	memset(n, 0, sizeof(*n));
	COUNT(host_calls);
	return ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_RECV, n) ? -errno : 0;
}

int helper_answer(const struct address_space *as, u64 id, s64 value)
{
	struct seccomp_notif_resp resp = { .id = id, .val = value };

	COUNT(host_calls);
	return ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_SEND, &resp) ? -errno : 0;
}

int helper_run(struct address_space *as, u32 n, u64 *done, u64 *result)
{
	u64 error;

	if (as->dead)
		goto dead;
	if (helper_answer(as, as->notify_id, n))
		goto dead;
	if (helper_meet(as, done, &error, result))
		return -ESRCH;
	return error ? (int)(s64)error : 0;
dead:
	as->dead = true;
	threads_end(as);
	return -ESRCH;
}


/* ---- as the runner of a map_queue ---- */

static int run(void *self, u32 n, u64 *index)
{
	u64 result;

	return helper_run(self, n, index, &result);
}

static bool dead(void *self) { return ((struct address_space *)self)->dead; }

static void end(void *self)
{
	struct address_space *as = self;

	as->dead = true;
	threads_end(as);
}

const struct map_runner helper_runner = { .run = run, .kill = end, .dead = dead };
