/* Calls on the host's terminal. All return 0 (or a value) or -errno, and wait out EINTR. */
#ifndef TG_HOST_HOSTTTY_H
#define TG_HOST_HOSTTTY_H

#include "lib/types.h"

struct tty_termios;
struct tty_winsize;

bool hosttty_is_one(int fd, u64 *rdev);
int hosttty_dup(int fd);			/* above the standard descriptors, close-on-exec */
int hosttty_get_termios(int fd, struct tty_termios *out);
int hosttty_set_termios(int fd, const struct tty_termios *in, u32 how);	/* TCSETS2, TCSETSW2, TCSETSF2 */
int hosttty_get_winsize(int fd, struct tty_winsize *out);
int hosttty_set_winsize(int fd, const struct tty_winsize *in);
s64 hosttty_control(int fd, u32 cmd, s64 arg);	/* by value: TCFLSH, TCSBRK, ...; TIOCINQ and TIOCOUTQ return the number */
/* Is the sentry in the foreground of the terminal? True too when the terminal is not its controlling one. */
bool hosttty_foreground(int fd);

#endif
