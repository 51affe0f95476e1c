/* eventfd(2). */
#ifndef TG_FS_EVENTFD_H
#define TG_FS_EVENTFD_H

#include "fs/fs.h"

int eventfd_create(u32 initial, int flags, struct file **out);	/* EFD_SEMAPHORE, EFD_NONBLOCK */

#endif
