/* Record locks: what syscalls call; see special.h for the hooks of close and release. */
#ifndef TG_FS_LOCKS_H
#define TG_FS_LOCKS_H

#include "fs/fs.h"

/* flock(2): type is F_RDLCK, F_WRLCK or F_UNLCK. -EAGAIN, -ERESTARTSYS. */
long locks_flock(struct task *t, struct file *f, int type, bool wait);

#endif
