/*
 * Numbers of /proc/sys that root may set. A subsystem that heeds one reads `value`, once, when it decides.
 *
 * Those that no subsystem names are kept for programs that save, set and restore them: they steer the host's memory
 * management or hardware, which is the host's business.
 */
#ifndef TG_FS_SYSCTL_H
#define TG_FS_SYSCTL_H

#include <stdatomic.h>

#include "fs/pseudo.h"

struct sysctl {
	_Atomic s64 value;
	s64 min, max;			/* a write outside is EINVAL; from a min that is not negative they are unsigned */
};

extern struct sysctl sysctl_aio_max_nr;
extern struct sysctl sysctl_inotify_events, sysctl_inotify_instances, sysctl_inotify_watches;
extern struct sysctl sysctl_lease_break_time, sysctl_nr_open, sysctl_pipe_max_size;
extern struct sysctl sysctl_mq_queues, sysctl_mq_msgs, sysctl_mq_msgsize, sysctl_mq_msgs_default, sysctl_mq_msgsize_default;
extern struct sysctl sysctl_msgmax, sysctl_msgmnb, sysctl_shmmax;	/* how many objects: in their ipc_table */
extern struct sysctl sysctl_pid_max, sysctl_ns_last_pid, sysctl_threads_max;

int sysctl_show(struct seq *s, const struct pseudo *p, struct task *viewer);
s64 sysctl_store(const struct pseudo *p, struct task *t, const char *data, size_t len);

#define SYSCTL(n, variable)	{ .name = n, .mode = S_IFREG | 0644, .arg = (long)&(variable), .show = sysctl_show, \
				  .store = sysctl_store }

#endif
