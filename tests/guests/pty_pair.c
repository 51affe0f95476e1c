/* Pty pairs: opening, the line discipline, controlling terminals and job control over them. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include "check.h"

static int master;
static char slave_name[64];
static volatile int count;

static void handler(int signo)
{
	count++;
}

static void open_pair(void)
{
	struct stat a, b;
	int n, s;

	master = posix_openpt(O_RDWR | O_NOCTTY);
	CHECK(master >= 0);
	CHECK(ioctl(master, TIOCGPTN, &n) == 0);
	CHECK(ptsname_r(master, slave_name, sizeof(slave_name)) == 0);
	CHECK_ERRNO(open(slave_name, O_RDWR | O_NOCTTY), EIO);
	CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
	s = open(slave_name, O_RDWR | O_NOCTTY);
	CHECK(s >= 0 && isatty(s) && isatty(master));
	CHECK(fstat(s, &a) == 0 && stat(slave_name, &b) == 0);
	CHECK(S_ISCHR(a.st_mode) && a.st_rdev == b.st_rdev && a.st_ino == b.st_ino);
	CHECK(!strcmp(ttyname(s), slave_name));
	close(s);
}

static int has(int fd, short events, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, wait_ms) == 1 ? p.revents : 0;
}

static void put(const char *s)
{
	CHECK(write(master, s, strlen(s)) == (ssize_t)strlen(s));
}

static void expect(int fd, const char *want)
{
	char buf[256];
	size_t n = 0, len = strlen(want);

	while (n < len) {
		ssize_t r = read(fd, buf + n, len - n);

		CHECK(r > 0);
		n += r;
	}
	CHECK(!memcmp(buf, want, len));
}

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts))
		;
}

static void discipline(void)
{
	struct winsize ws = { .ws_row = 30, .ws_col = 100 }, got;
	struct termios t, old;
	struct termio short_form;
	int s = open(slave_name, O_RDWR | O_NOCTTY), n;
	char c[8];

	CHECK(s >= 0);
	CHECK(tcgetattr(s, &old) == 0);
	CHECK(ioctl(s, TCGETA, &short_form) == 0 && short_form.c_lflag == (old.c_lflag & 0xffff));
	CHECK(short_form.c_iflag == (old.c_iflag & 0xffff) && !memcmp(short_form.c_cc, old.c_cc, 8));
	short_form.c_lflag ^= ECHO;
	short_form.c_cc[VEOF] = 'z';
	CHECK(ioctl(s, TCSETAW, &short_form) == 0 && tcgetattr(s, &t) == 0);
	CHECK(t.c_lflag == (old.c_lflag ^ ECHO) && t.c_cc[VEOF] == 'z' && t.c_cflag == old.c_cflag);
	CHECK_ERRNO(ioctl(s, TCGETA, (void *)8), EFAULT);
	CHECK(tcsetattr(s, TCSANOW, &old) == 0);
	CHECK((old.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG) && (old.c_oflag & (OPOST | ONLCR)));
	put("ab");
	CHECK(!has(s, POLLIN, 20));
	put("\177c\n");
	CHECK(has(s, POLLIN, 5000));
	expect(s, "ac\n");
	expect(master, "ab\b \bc\r\n");
	CHECK(write(s, "out\n", 4) == 4);
	expect(master, "out\r\n");
	put("x\004");
	expect(s, "x");
	put("\004");
	CHECK(read(s, c, sizeof(c)) == 0);
	expect(master, "x");
	t = old;
	cfmakeraw(&t);
	CHECK(tcsetattr(s, TCSANOW, &t) == 0);
	put("\r\003");
	/* Linux moves what the master wrote in the background. */
	for (n = 0; n < 2; nap(1))
		CHECK(ioctl(s, FIONREAD, &n) == 0);
	CHECK(n == 2);
	expect(s, "\r\003");
	CHECK(!has(master, POLLIN, 20));
	/* VMIN 0: nothing is an answer, at once or after VTIME. */
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	tcsetattr(s, TCSANOW, &t);
	CHECK(read(s, c, 1) == 0);
	t.c_cc[VTIME] = 1;
	tcsetattr(s, TCSANOW, &t);
	CHECK(read(s, c, 1) == 0);
	put("z");
	CHECK(read(s, c, 1) == 1 && c[0] == 'z');
	CHECK(tcsetattr(s, TCSAFLUSH, &old) == 0);
	CHECK(ioctl(master, TIOCSWINSZ, &ws) == 0);
	CHECK(ioctl(s, TIOCGWINSZ, &got) == 0 && got.ws_row == 30 && got.ws_col == 100);
	CHECK_ERRNO(fcntl(master, F_SETFL, O_NONBLOCK | O_RDWR) == 0 ? read(master, c, 1) : 0, EAGAIN);
	fcntl(master, F_SETFL, O_RDWR);
	close(s);
	/* The last slave is gone: the master sees the end, until there is one again. */
	CHECK(has(master, POLLIN, 5000) & POLLHUP);
	CHECK_ERRNO(read(master, c, 1), EIO);
}

/* In a session of its own on the slave: a shell's part in small. */
static int leader(void)
{
	sigset_t set;
	int s, status, tty;
	pid_t job;

	CHECK(setsid() == getpid());
	CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
	s = open(slave_name, O_RDWR);
	CHECK(s >= 0);
	tty = open("/dev/tty", O_RDWR);
	CHECK(tty >= 0);
	CHECK(tcgetsid(s) == getsid(0) && tcgetpgrp(s) == getpgrp() && tcgetpgrp(tty) == getpgrp());

	signal(SIGINT, handler);
	CHECK(write(s, "go", 2) == 2);
	while (!count)
		nap(1);
	/* A background job that reads is stopped, and reads on when it is put into the foreground. */
	signal(SIGTTOU, SIG_IGN);
	job = fork();
	if (!job) {
		char c;

		signal(SIGTTOU, SIG_DFL);
		signal(SIGINT, SIG_DFL);
		setpgid(0, 0);
		CHECK(read(s, &c, 1) == 1 && c == 'j');
		CHECK(read(s, &c, 1) == 1 && c == '\n');
		for (;;)
			pause();
	}
	setpgid(job, job);
	CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
	CHECK(tcsetpgrp(s, job) == 0 && tcgetpgrp(s) == job);
	CHECK(kill(-job, SIGCONT) == 0);
	CHECK(waitpid(job, &status, WCONTINUED) == job && WIFCONTINUED(status));
	CHECK(write(s, "ok", 2) == 2);
	/* Ctrl-Z, then Ctrl-C, from the master. */
	CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
	CHECK(kill(-job, SIGCONT) == 0);
	CHECK(write(s, "go", 2) == 2);
	CHECK(waitpid(job, &status, 0) == job && WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
	CHECK(tcsetpgrp(s, getpgrp()) == 0);
	CHECK_ERRNO(tcsetpgrp(s, 99999), ESRCH);
	CHECK(count == 1);

	/* The window size is told to the foreground, the hang-up to the leader. */
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	CHECK(write(s, "ws", 2) == 2);
	CHECK(sigwaitinfo(&set, NULL) == SIGWINCH);
	CHECK(write(s, "hu", 2) == 2);
	CHECK(sigwaitinfo(&set, NULL) == SIGHUP);
	CHECK(read(s, &status, 1) == 0);
	CHECK_ERRNO(write(s, "x", 1), EIO);
	CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
	return 0;
}

static void job_control(void)
{
	struct winsize ws = { .ws_row = 40, .ws_col = 80 };
	int status, hold = open(slave_name, O_RDWR | O_NOCTTY);
	struct termios t;
	pid_t pid;

	CHECK(hold >= 0 && tcgetattr(hold, &t) == 0);
	t.c_lflag &= ~ECHO;
	CHECK(tcsetattr(hold, TCSANOW, &t) == 0);
	pid = fork();
	if (!pid) {
		close(master);
		close(hold);
		_exit(leader());
	}
	expect(master, "go");
	close(hold);
	put("\003");
	expect(master, "ok");
	put("j\n");
	nap(50);
	put("\032");
	expect(master, "go");
	nap(20);
	put("\003");
	expect(master, "ws");
	CHECK(ioctl(master, TIOCSWINSZ, &ws) == 0);
	expect(master, "hu");
	close(master);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 0);
}

int main(void)
{
	open_pair();
	discipline();
	job_control();
	CHECK(access(slave_name, F_OK) == -1);
	puts("ok");
	return 0;
}
