/* epoll: see epoll.c. */
#ifndef TG_FS_EPOLL_H
#define TG_FS_EPOLL_H

#include <sys/epoll.h>

#include "fs/fs.h"

struct epoll;

int epoll_new(struct file **out);
struct epoll *file_epoll(const struct file *f);		/* NULL if it is none */
/* EPOLL_CTL_*: errors as epoll_ctl(2). The caller holds a reference on `target`. */
int epoll_control(struct epoll *ep, int op, int fd, struct file *target, const struct epoll_event *ev);
/* Up to `max` events: their number, 0 at the deadline (0: do not wait), -EINTR. */
long epoll_collect(struct task *t, struct epoll *ep, struct epoll_event *out, int max, u64 deadline);

#endif
