/*
 * Asynchronous i/o contexts (io_setup and its kin): a queue of completions, named by the guest address of a page that maps
 * it. The mapping is what keeps a context: munmap, exec and exit end it, and a fork does not take it along.
 */
#ifndef TG_FS_AIO_H
#define TG_FS_AIO_H

#include <linux/aio_abi.h>

#include "fs/fs.h"

s64 aio_create(struct task *t, u32 events);		/* the context's address, -EAGAIN, -ENOMEM, ... */
struct file *aio_get(struct task *t, gva_t ctx);	/* with a reference, or NULL */
int aio_reserve(struct file *ctx);			/* a place for a completion: 0, -EAGAIN */
void aio_unreserve(struct file *ctx);
void aio_complete(struct file *ctx, const struct io_event *e);	/* into a reserved place */
/* Take up to n completions; waits for at least `min` until the deadline. The number, or -EINTR with none. */
s64 aio_take(struct task *t, struct file *ctx, u32 min, u32 n, struct io_event *out, u64 deadline);

#endif
