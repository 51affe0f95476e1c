/* Waiting for children: the inside of wait4(2) and waitid(2). */
#ifndef TG_TASK_WAIT_H
#define TG_TASK_WAIT_H

#include "task/task.h"

struct wait_spec {
	enum { WAITFOR_ANY, WAITFOR_PID, WAITFOR_PGID } which;
	int id;
	u32 options;			/* W*, __W* */
};

struct wait_result {
	int pid;			/* 0: WNOHANG, and nothing to tell */
	u32 uid;
	int code;			/* CLD_* */
	int status;			/* as wait4 reports it */
	struct rusage_sum usage;	/* the child's, with its reaped children's */
};

/* 0, -ECHILD, -ERESTARTSYS. */
int task_wait(struct task *t, const struct wait_spec *spec, struct wait_result *out);

struct file *pidfd_file(struct thread_group *tg, u32 flags);	/* NULL: out of memory */
struct thread_group *pidfd_group(struct file *f);		/* with a reference; NULL: not a pidfd */

#endif
