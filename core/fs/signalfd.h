/* signalfd(2): pending signals as a file. */
#ifndef TG_FS_SIGNALFD_H
#define TG_FS_SIGNALFD_H

#include "lib/types.h"
#include "task/task.h"

struct file *signalfd_new(struct task *t, sigset64 mask, u32 flags);	/* NULL: out of memory */
int signalfd_set_mask(struct file *f, sigset64 mask);			/* -EINVAL if `f` is none */

#endif
