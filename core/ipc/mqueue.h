/* POSIX message queues: files that are found by name in a space of their own. */
#ifndef TG_IPC_MQUEUE_H
#define TG_IPC_MQUEUE_H

#include "fs/fs.h"

struct mq_attr_guest {
	s64 flags, maxmsg, msgsize, curmsgs, unused[4];
};
_Static_assert(sizeof(struct mq_attr_guest) == 64, "struct mq_attr of the x86-64 ABI");

struct mq_sigevent {			/* struct sigevent */
	u64 value;
	int signo, notify;
	u8 pad[48];
};
_Static_assert(sizeof(struct mq_sigevent) == 64, "struct sigevent of the x86-64 ABI");

/* `attr` may be NULL: the defaults. */
int mqueue_open(struct task *t, const char *name, int flags, u32 mode, const struct mq_attr_guest *attr, struct file **out);
int mqueue_unlink(struct task *t, const char *name);
bool is_mqueue(const struct file *f);
/* Deadlines are of CLOCK_MONOTONIC. -EAGAIN, -ETIMEDOUT, -ERESTARTSYS. */
int mqueue_send(struct task *t, struct file *f, gva_t msg, u64 len, u32 prio, u64 deadline);
s64 mqueue_receive(struct task *t, struct file *f, gva_t msg, u64 len, gva_t prio, u64 deadline);
bool mqueue_event_good(const struct mq_sigevent *ev);
int mqueue_notify(struct task *t, struct file *f, const struct mq_sigevent *ev);	/* NULL: no more */
void mqueue_attr(struct file *f, struct mq_attr_guest *out);

#endif
