/*
 * Terminals: controlling terminals, foreground process groups, and the two kinds of terminal that a guest can have:
 * the host's (passed through; fs/tty.c, host/hosttty.c) and pty pairs (fs/pty.c).
 *
 * A file of any kind that stands on a terminal asks tty_check_io() before it moves bytes and hands ioctls to
 * tty_ioctl(). The rest (who is in the foreground, whom Ctrl-C reaches) stays in here.
 */
#ifndef TG_FS_TTY_H
#define TG_FS_TTY_H

#include <stdatomic.h>

#include "lib/types.h"

struct task;
struct thread_group;
struct session;
struct file;
struct tty;
struct pty;

/* termios as TCGETS moves it: the kernel's struct, not libc's. */
struct tty_termios {
	u32 iflag, oflag, cflag, lflag;
	u8 line;
	u8 cc[19];
	u32 ispeed, ospeed;		/* TCGETS2 only */
};

struct tty_winsize {
	u16 row, col, xpixel, ypixel;
};

/* How a kind of terminal keeps its modes. `how`: TCSETS, TCSETSW or TCSETSF. */
struct tty_ops {
	int (*get_termios)(struct tty *tty, struct tty_termios *out);
	int (*set_termios)(struct tty *tty, const struct tty_termios *in, u32 how);
	int (*get_winsize)(struct tty *tty, struct tty_winsize *out);
	int (*set_winsize)(struct tty *tty, const struct tty_winsize *in);
	s64 (*control)(struct tty *tty, u32 cmd, s64 arg);	/* TIOCINQ, TIOCOUTQ, TCFLSH, TCSBRK, TCXONC */
	int (*open)(struct tty *tty, struct task *t, struct file *f);	/* for /dev/tty */
	void (*release)(struct tty *tty);
};

struct tty {
	const struct tty_ops *ops;	/* immutable */
	atomic_int refs;
	u64 rdev;			/* immutable; as st_rdev of the device and in /proc/PID/stat */
	int host_fd;			/* host terminal; -1 otherwise */
	struct pty *pty;		/* pty pair; NULL otherwise */
	atomic_int sid, fg_pgid;	/* 0: nobody's. Written under tasklist (write) */
};

void tty_get(struct tty *tty);
void tty_put(struct tty *tty);

/* ---- the host's terminal (fs/tty.c) ---- */

/* The terminal behind host descriptor `fd`, one object for all descriptors on it; NULL if it is none. Not referenced. */
struct tty *tty_of_host_fd(int fd);

/* The controlling terminal that the sandbox was started with, or NULL. Not referenced: it lives as long as the sentry. */
struct tty *tty_of_host(void);

/* Makes the terminal of host descriptors 0, 1, 2 (if any) the controlling one of the first task's session. Once. */
void tty_adopt_init(struct task *first);

/* Give the host terminal the modes it had at start; from main() before it ends, and safe to call twice. */
void tty_restore_host(void);

/* ---- for files on a terminal ---- */

/*
 * May `t` read (or write) now? 0; or -ERESTARTSYS after a SIGTTIN or SIGTTOU to its process group; or -EIO for an
 * orphaned group or a blocked signal. `t` NULL (the sentry itself): always 0.
 */
int tty_check_io(struct tty *tty, struct task *t, bool write);

/* Everything a terminal's ioctl can be; -ENOTTY for what is unknown. */
s64 tty_ioctl(struct tty *tty, struct task *t, u32 cmd, u64 arg);

/*
 * Opening, from inode_ops.open (devfs_open_rdev): `f` is being opened on its device inode, its flags are set; these set
 * f->ops and f->data. 0, or -errno with `f` untouched. Without O_NOCTTY a session leader that has no controlling terminal
 * gets the slave that it opens.
 */
int tty_open_controlling(struct task *t, struct file *f);	/* /dev/tty (5:0): -ENXIO without one */
int pty_open_master(struct task *t, struct file *f);		/* /dev/ptmx (5:2): a new pair; -ENOSPC */
int pty_open_slave(struct task *t, u32 index, struct file *f);	/* /dev/pts/N (136:N): -ENXIO, -EIO while locked */

/* Its device number and foreground group for /proc/PID/stat (tty_nr, tpgid): 0 and -1 without one. */
void tty_of_task(struct thread_group *tg, u64 *rdev, int *fg_pgid);

/* A signal that a terminal raises (SIGINT, SIGQUIT, SIGTSTP, SIGWINCH) to its foreground group. */
void tty_signal_foreground(struct tty *tty, int signo);

/* `tg` has ended (no locks held). If it led a session: SIGHUP and SIGCONT to the foreground group, terminal let go. */
void tty_group_exit(struct thread_group *tg);

/* A member of a process group has stopped (stop.c, tasklist held): if that stops all of the first job, stop the sentry. */
void tty_group_stopped(struct thread_group *tg, int signo);

/* ---- /dev/pts (fs/pty.c) ---- */

int pty_next(int from);				/* lowest live index >= from, or -1: for readdir */
int pty_owner(u32 index, u32 *uid, u32 *gid);	/* for stat; -ENOENT. Mode is 0620 */

#endif
