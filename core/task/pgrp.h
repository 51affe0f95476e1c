/* Process groups and sessions, for the syscalls. */
#ifndef TG_TASK_PGRP_H
#define TG_TASK_PGRP_H

#include "task/task.h"

int thread_group_setpgid(struct thread_group *self, int pid, int pgid);	/* 0; -EINVAL, -ESRCH, -EPERM, -EACCES */
int thread_group_setsid(struct thread_group *tg);			/* the new session; -EPERM */
int thread_group_ids(struct thread_group *self, int pid, int *pgid, int *sid);	/* -ESRCH */

#endif
