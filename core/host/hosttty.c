/* Calls on the host's terminal: fs/tty.c decides what they are for. */
#include "host/hosttty.h"

#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/tty.h"

/* Not <sys/ioctl.h>, whose termios types clash with the kernel's. */
extern int ioctl(int fd, unsigned long request, ...);

_Static_assert(sizeof(struct tty_termios) == sizeof(struct termios2), "TCGETS2");

static int call(int fd, u32 cmd, const void *arg)
{
	int r;

	do {
		r = ioctl(fd, cmd, arg);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

bool hosttty_is_one(int fd, u64 *rdev)
{
	struct tty_termios t;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || call(fd, TCGETS2, &t))
		return false;
	*rdev = st.st_rdev;
	return true;
}

int hosttty_dup(int fd)
{
	int r = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return r < 0 ? -errno : r;
}

int hosttty_get_termios(int fd, struct tty_termios *out)
{
	return call(fd, TCGETS2, out);
}

int hosttty_set_termios(int fd, const struct tty_termios *in, u32 how)
{
	return call(fd, how, in);
}

int hosttty_get_winsize(int fd, struct tty_winsize *out)
{
	return call(fd, TIOCGWINSZ, out);
}

int hosttty_set_winsize(int fd, const struct tty_winsize *in)
{
	return call(fd, TIOCSWINSZ, in);
}

s64 hosttty_control(int fd, u32 cmd, s64 arg)
{
	int n = 0, err;

	if (cmd != TIOCINQ && cmd != TIOCOUTQ)
		return call(fd, cmd, (const void *)arg);
	err = call(fd, cmd, &n);
	return err ? err : n;
}

bool hosttty_foreground(int fd)
{
	int pgrp = 0;

	return call(fd, TIOCGPGRP, &pgrp) || pgrp <= 0 || pgrp == getpgrp();
}
