/* Whom an open file tells of news by a signal: F_SETOWN, F_SETSIG, O_ASYNC. */
#ifndef TG_FS_ASYNC_H
#define TG_FS_ASYNC_H

#include "fs/fs.h"

/* F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP and its number, 0 for nobody: 0, -ESRCH. */
int file_set_owner(struct task *t, struct file *f, int type, int pid);
/* SIGIO, or the signal of F_SETSIG, to the owner. `reason`: POLL_IN, ... Any thread; tasklist must not be held. */
void file_signal(struct file *f, int reason);
/* O_ASYNC goes on or off: from now on the file's wait queue makes signals. 0, -ENOMEM; 0 too where there is no queue. */
int file_set_async(struct file *f, int fd, bool on);
void file_set_signal(struct file *f, int fd, int signo);	/* F_SETSIG; 0: SIGIO without details */
void file_owner_get(struct file *f, struct file_owner *out);	/* a copy; its `cred` may not be used */
void file_owner_released(struct file *f);	/* no owner any more: the last reference goes, or a lease */

#endif
