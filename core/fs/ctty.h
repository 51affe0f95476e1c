/* Controlling terminals, for fs/tty.c and fs/pty.c. Terminals' other users include tty.h. */
#ifndef TG_FS_CTTY_H
#define TG_FS_CTTY_H

#include "fs/tty.h"

struct tty *ctty_get(struct task *t);			/* of t's session, with a reference; NULL */
bool ctty_is(struct task *t, struct tty *tty);
/* On open without O_NOCTTY. */
void ctty_open(struct task *t, struct tty *tty);
int ctty_set(struct task *t, struct tty *tty, bool steal);	/* TIOCSCTTY; -EPERM */
int ctty_leave(struct task *t, struct tty *tty);	/* TIOCNOTTY; -ENOTTY */
int ctty_set_foreground(struct task *t, struct tty *tty, int pgid);	/* TIOCSPGRP */
/* The other end is gone: SIGHUP and SIGCONT to the session's leader, SIGHUP to the foreground; nobody's terminal any more. */
void ctty_hangup(struct tty *tty);

/* May `t` change the terminal's state now? As tty_check_io. */
int ctty_check_change(struct tty *tty, struct task *t);
int ctty_check_read(struct tty *tty, struct task *t);

#endif
