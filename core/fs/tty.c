/*
 * Terminals' common part: references, the host's terminal, and every ioctl.
 *
 * The host's terminal passes through: modes, window size and bytes are its own. Only who is in the foreground is kept
 * here, since the process groups are the guest's.
 */
#include "fs/tty.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>

#include "fs/ctty.h"
#include "fs/fs.h"
#include "fs/special.h"
#include "host/hosttty.h"
#include "mm/mm.h"
#include "task/signal.h"

void tty_get(struct tty *tty)
{
	atomic_fetch_add(&tty->refs, 1);
}

void tty_put(struct tty *tty)
{
	if (atomic_fetch_sub(&tty->refs, 1) == 1 && tty->ops->release)
		tty->ops->release(tty);
}

/* ---- the host's terminal ---- */

enum { HOST_TTYS_MAX = 3 };		/* one each for descriptors 0, 1 and 2 */

struct host_tty {
	struct tty tty;			/* its host_fd is a duplicate of our own, so that it stays */
	struct file *file;		/* what /dev/tty opens; made with the first open */
	struct tty_termios saved;
};

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;	/* guards the table */
/* Guards `file`; comes before host_lock, which hostfile_new() takes. */
static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER;
static struct host_tty host_ttys[HOST_TTYS_MAX];
static int nhost_ttys;
static struct tty *_Atomic host_ctty;

static int host_get_termios(struct tty *tty, struct tty_termios *out)
{
	return hosttty_get_termios(tty->host_fd, out);
}

static int host_set_termios(struct tty *tty, const struct tty_termios *in, u32 how)
{
	return hosttty_set_termios(tty->host_fd, in, how);
}

static int host_get_winsize(struct tty *tty, struct tty_winsize *out)
{
	return hosttty_get_winsize(tty->host_fd, out);
}

static int host_set_winsize(struct tty *tty, const struct tty_winsize *in)
{
	return hosttty_set_winsize(tty->host_fd, in);
}

static s64 host_control(struct tty *tty, u32 cmd, s64 arg)
{
	return hosttty_control(tty->host_fd, cmd, arg);
}

static int host_open(struct tty *tty, struct task *t, struct file *f)
{
	struct host_tty *h = CONTAINER_OF(tty, struct host_tty, tty);
	int fd;

	pthread_mutex_lock(&file_lock);
	if (!h->file) {
		fd = hosttty_dup(tty->host_fd);
		if (fd >= 0)
			h->file = hostfile_new(fd, O_RDWR);
	}
	pthread_mutex_unlock(&file_lock);
	return h->file ? h->file->inode->ops->open(h->file->inode, t, f) : -ENOMEM;
}

static const struct tty_ops host_tty_ops = {
	.get_termios	= host_get_termios,
	.set_termios	= host_set_termios,
	.get_winsize	= host_get_winsize,
	.set_winsize	= host_set_winsize,
	.control	= host_control,
	.open		= host_open,
};

static struct tty *host_tty_new(int fd, u64 rdev)
{
	struct host_tty *h = &host_ttys[nhost_ttys];

	if (nhost_ttys == HOST_TTYS_MAX)
		return NULL;
	h->tty.host_fd = hosttty_dup(fd);
	if (h->tty.host_fd < 0)
		return NULL;
	h->tty.ops = &host_tty_ops;
	h->tty.refs = 1;		/* the table's */
	h->tty.rdev = rdev;
	hosttty_get_termios(fd, &h->saved);
	nhost_ttys++;
	return &h->tty;
}

struct tty *tty_of_host_fd(int fd)
{
	struct tty *tty = NULL;
	u64 rdev;

	if (!hosttty_is_one(fd, &rdev))
		return NULL;
	pthread_mutex_lock(&host_lock);
	for (int i = 0; i < nhost_ttys && !tty; i++)
		if (host_ttys[i].tty.rdev == rdev)
			tty = &host_ttys[i].tty;
	if (!tty)
		tty = host_tty_new(fd, rdev);
	pthread_mutex_unlock(&host_lock);
	return tty;
}

struct tty *tty_of_host(void)
{
	return host_ctty;
}

void tty_adopt_init(struct task *first)
{
	struct tty *tty = NULL;

	for (int fd = 0; fd < 3 && !tty; fd++)
		tty = tty_of_host_fd(fd);
	if (!tty)
		return;
	ctty_open(first, tty);
	host_ctty = tty;
}

/* Not from the background: the shell that has the terminal now keeps its own modes. */
void tty_restore_host(void)
{
	struct tty_termios now;

	for (int i = 0; i < nhost_ttys; i++) {
		struct host_tty *h = &host_ttys[i];
		int fd = h->tty.host_fd;

		if (hosttty_foreground(fd) && !hosttty_get_termios(fd, &now) && memcmp(&now, &h->saved, sizeof(now)))
			hosttty_set_termios(fd, &h->saved, TCSETSW2);
	}
}

/* ---- reading, writing, opening ---- */

int tty_check_io(struct tty *tty, struct task *t, bool write)
{
	struct tty_termios modes;

	if (!write)
		return ctty_check_read(tty, t);
	if (!t || tty->ops->get_termios(tty, &modes) || !(modes.lflag & TOSTOP))
		return 0;
	return ctty_check_change(tty, t);
}

int tty_open_controlling(struct task *t, struct file *f)
{
	struct tty *tty = ctty_get(t);
	int err;

	if (!tty)
		return -ENXIO;
	err = tty->ops->open(tty, t, f);
	tty_put(tty);
	return err;
}

/* ---- ioctl ---- */

#define OLD_TERMIOS_SIZE	36	/* TCGETS moves the struct without its last two fields */
_Static_assert(offsetof(struct tty_termios, ispeed) == OLD_TERMIOS_SIZE, "struct termios");

static s64 get_modes(struct tty *tty, struct task *t, u32 cmd, gva_t arg)
{
	struct tty_termios modes;
	int err = tty->ops->get_termios(tty, &modes);

	return err ? err : copy_out(t->mm, arg, &modes, cmd == TCGETS2 ? sizeof(modes) : OLD_TERMIOS_SIZE);
}

static s64 set_modes(struct tty *tty, struct task *t, u32 how, u64 size, gva_t arg)
{
	struct tty_termios modes;
	int err = ctty_check_change(tty, t);

	if (!err)
		err = tty->ops->get_termios(tty, &modes);
	if (!err)
		err = copy_in(t->mm, &modes, arg, size);
	return err ? err : tty->ops->set_termios(tty, &modes, how);
}

/* System V's termio, with half of each flag word. */
struct tty_termio {
	u16 iflag, oflag, cflag, lflag;
	u8 line;
	u8 cc[8];
	u8 pad;
};
_Static_assert(sizeof(struct tty_termio) == 18, "struct termio");

static s64 termio_ioctl(struct tty *tty, struct task *t, u32 cmd, gva_t arg)
{
	struct tty_termios m;
	struct tty_termio old;
	int err = cmd == TCGETA ? 0 : ctty_check_change(tty, t);

	if (!err)
		err = tty->ops->get_termios(tty, &m);
	if (err)
		return err;
	if (cmd == TCGETA) {
		old = (struct tty_termio){ .iflag = m.iflag, .oflag = m.oflag, .cflag = m.cflag, .lflag = m.lflag, .line = m.line };
		memcpy(old.cc, m.cc, sizeof(old.cc));
		return put_user(t->mm, arg, &old);
	}
	if (get_user(t->mm, &old, arg))
		return -EFAULT;
	m.iflag = (m.iflag & 0xffff0000) | old.iflag;
	m.oflag = (m.oflag & 0xffff0000) | old.oflag;
	m.cflag = (m.cflag & 0xffff0000) | old.cflag;
	m.lflag = (m.lflag & 0xffff0000) | old.lflag;
	m.line = old.line;
	memcpy(m.cc, old.cc, sizeof(old.cc));
	return tty->ops->set_termios(tty, &m, TCSETS2 + (cmd - TCSETA));
}

static s64 modes_ioctl(struct tty *tty, struct task *t, u32 cmd, gva_t arg)
{
	switch (cmd) {
	case TCGETS: case TCGETS2:
		return get_modes(tty, t, cmd, arg);
	case TCSETS: case TCSETSW: case TCSETSF:
		return set_modes(tty, t, TCSETS2 + (cmd - TCSETS), OLD_TERMIOS_SIZE, arg);
	default:
		return set_modes(tty, t, cmd, sizeof(struct tty_termios), arg);
	}
}

static s64 winsize_ioctl(struct tty *tty, struct task *t, u32 cmd, gva_t arg)
{
	struct tty_winsize size, old;
	int err;

	if (cmd == TIOCGWINSZ) {
		err = tty->ops->get_winsize(tty, &size);
		return err ? err : put_user(t->mm, arg, &size);
	}
	if (get_user(t->mm, &size, arg))
		return -EFAULT;
	err = tty->ops->get_winsize(tty, &old);
	if (err || !memcmp(&old, &size, sizeof(size)))
		return err;
	err = tty->ops->set_winsize(tty, &size);
	/* The host's terminal tells us of its new size by a SIGWINCH of its own. */
	if (!err && tty->host_fd < 0)
		tty_signal_foreground(tty, SIGWINCH);
	return err;
}

static s64 session_ioctl(struct tty *tty, struct task *t, u32 cmd, u64 arg)
{
	int id;

	switch (cmd) {
	case TIOCSCTTY:
		return ctty_set(t, tty, arg == 1);
	case TIOCNOTTY:
		return ctty_leave(t, tty);
	case TIOCSPGRP:
		return get_user(t->mm, &id, arg) ? -EFAULT : ctty_set_foreground(t, tty, id);
	}
	/* A pty's master may ask though its session is another one; fs/pty.c has answered for it. */
	if (!ctty_is(t, tty))
		return -ENOTTY;
	id = cmd == TIOCGPGRP ? tty->fg_pgid : tty->sid;
	return put_user(t->mm, arg, &id);
}

static s64 count_ioctl(struct tty *tty, struct task *t, u32 cmd, gva_t arg)
{
	s64 n = tty->ops->control(tty, cmd, 0);
	int count = n;

	return n < 0 ? n : put_user(t->mm, arg, &count);
}

static s64 control_ioctl(struct tty *tty, struct task *t, u32 cmd, u64 arg)
{
	int err = ctty_check_change(tty, t);

	return err ? err : tty->ops->control(tty, cmd, (s32)arg);
}

static s64 discipline_ioctl(struct task *t, u32 cmd, gva_t arg)
{
	int n = 0;		/* N_TTY, the only one */

	if (cmd == TIOCGETD)
		return put_user(t->mm, arg, &n);
	if (get_user(t->mm, &n, arg))
		return -EFAULT;
	return n ? -EINVAL : 0;
}

s64 tty_ioctl(struct tty *tty, struct task *t, u32 cmd, u64 arg)
{
	switch (cmd) {
	case TCGETS: case TCSETS: case TCSETSW: case TCSETSF:
	case TCGETS2: case TCSETS2: case TCSETSW2: case TCSETSF2:
		return modes_ioctl(tty, t, cmd, arg);
	case TCGETA: case TCSETA: case TCSETAW: case TCSETAF:
		return termio_ioctl(tty, t, cmd, arg);
	case TIOCGWINSZ: case TIOCSWINSZ:
		return winsize_ioctl(tty, t, cmd, arg);
	case TIOCGPGRP: case TIOCSPGRP: case TIOCGSID: case TIOCSCTTY: case TIOCNOTTY:
		return session_ioctl(tty, t, cmd, arg);
	case TIOCINQ: case TIOCOUTQ:
		return count_ioctl(tty, t, cmd, arg);
	case TCFLSH: case TCXONC: case TCSBRK: case TCSBRKP:
		return control_ioctl(tty, t, cmd, arg);
	case TIOCGETD: case TIOCSETD:
		return discipline_ioctl(t, cmd, arg);
	case TIOCEXCL: case TIOCNXCL:
		return 0;
	case TIOCSTI:
		return -EIO;	/* as with dev.tty.legacy_tiocsti=0 */
	default:
		return -ENOTTY;
	}
}
