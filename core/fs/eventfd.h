/* eventfd(2). */
#ifndef TG_FS_EVENTFD_H
#define TG_FS_EVENTFD_H

#include "fs/fs.h"

int eventfd_create(u32 initial, int flags, struct file **out);	/* EFD_SEMAPHORE, EFD_NONBLOCK */

bool is_eventfd(const struct file *f);
void eventfd_signal(struct file *f);	/* counts an event of the kernel's, up to UINT64_MAX, which is EPOLLERR */

struct eventfd {
	pthread_mutex_t lock;
	u64 count;			/* a write gets it to UINT64_MAX - 1 at most */
	u64 wanted;			/* value of a write that sleeps: no EPOLLOUT below that room, or it would spin */
	bool semaphore;			/* immutable */
	int id;				/* immutable */
	struct waitq wq;
};

s64 evfd_read(struct file *f, struct uio *u, u64 *pos);
s64 evfd_write(struct file *f, struct uio *u, u64 *pos);

#endif
