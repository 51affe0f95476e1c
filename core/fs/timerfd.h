/* timerfd(2) with C values; the syscalls decode. */
#ifndef TG_TIMERFD_H
#define TG_TIMERFD_H

#include "fs/fs.h"
#include "task/posix_timer.h"

int timerfd_create_file(s32 clock, u32 flags, struct file **out);	/* flags: O_NONBLOCK or 0 */
bool file_is_timerfd(const struct file *f);
/* f is one. flags: TFD_TIMER_*, checked by the caller. */
int timerfd_set(struct file *f, int flags, const struct timer_value *new, struct timer_value *old);
void timerfd_get(struct file *f, struct timer_value *out);

#endif
