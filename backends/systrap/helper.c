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
#include <string.h>
#include <sys/ioctl.h>

#include "backends/systrap/systrap.h"

struct stub_record *helper_records(struct address_space *as)
{
	return (struct stub_record *)((u8 *)as->control + CONTROL_RECORDS);
}

/* Wait for the helper to come (back). Takes what it reports from its registers: the kernel vouches for them. */
int helper_meet(struct address_space *as, u64 *done, u64 *error, u64 *result)
{
	struct seccomp_notif n;

	do {
		memset(&n, 0, sizeof(n));
		COUNT(host_calls);
		if (!ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &n))
			break;
	} while (errno == EINTR || (errno == ENOENT && !as->dead));
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

int helper_run(struct address_space *as, u32 n, u64 *done, u64 *result)
{
	struct seccomp_notif_resp resp = { .id = as->notify_id, .val = n };
	u64 error;

	if (as->dead)
		goto dead;
	COUNT(host_calls);
	if (ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_SEND, &resp))
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
