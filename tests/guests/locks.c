/* Record locks between processes: fcntl, open file description locks, flock. */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "check.h"

#define NAME	"locks.tmp"

static int lock(int fd, int cmd, int type, long start, long len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &l);
}

static struct flock get(int fd, int type, long start, long len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	CHECK(fcntl(fd, F_GETLK, &l) == 0);
	return l;
}

/* Run `fn` in a child; its CHECKs are the child's exit status. */
static void in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		fn();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
}

static int fd;

static void ranges_seen(void)
{
	struct flock l = get(fd, F_WRLCK, 0, 0);

	CHECK(l.l_type == F_WRLCK && l.l_start == 0 && l.l_len == 10 && l.l_pid == getppid());
	l = get(fd, F_RDLCK, 10, 10);
	CHECK(l.l_type == F_UNLCK);
	l = get(fd, F_WRLCK, 10, 5);
	CHECK(l.l_type == F_UNLCK);
	l = get(fd, F_RDLCK, 20, 0);
	CHECK(l.l_type == F_WRLCK && l.l_start == 20 && l.l_len == 10);
	CHECK_ERRNO(lock(fd, F_SETLK, F_RDLCK, 5, 1), EAGAIN);
	CHECK(lock(fd, F_SETLK, F_WRLCK, 12, 3) == 0);
	/* Closing any descriptor of the file drops our locks. */
	close(open(NAME, O_RDONLY));
}

static void is_free(void)
{
	CHECK(get(fd, F_WRLCK, 0, 0).l_type == F_UNLCK);
}

static void flock_taken(void)
{
	int other = open(NAME, O_RDWR);

	CHECK_ERRNO(flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	CHECK_ERRNO(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	/* The inherited description is the same lock. */
	CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0);
	CHECK_ERRNO(flock(other, 77), EINVAL);
}

static void blocking(void)
{
	int ready[2], status;
	char c;
	pid_t pid;

	CHECK(pipe(ready) == 0);
	pid = fork();
	if (!pid) {
		CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 100) == 0);
		CHECK(write(ready[1], "r", 1) == 1);
		usleep(50000);
		_exit(0);
	}
	CHECK(read(ready[0], &c, 1) == 1);
	CHECK_ERRNO(lock(fd, F_SETLK, F_WRLCK, 50, 1), EAGAIN);
	CHECK(lock(fd, F_SETLKW, F_WRLCK, 50, 1) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
}

static void deadlock(void)
{
	int ready[2], status;
	char c;
	pid_t pid;

	CHECK(pipe(ready) == 0);
	CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0);
	pid = fork();
	if (!pid) {
		CHECK(lock(fd, F_SETLK, F_WRLCK, 1, 1) == 0);
		CHECK(write(ready[1], "r", 1) == 1);
		CHECK(lock(fd, F_SETLKW, F_WRLCK, 0, 1) == 0);
		_exit(0);
	}
	CHECK(read(ready[0], &c, 1) == 1);
	usleep(50000);
	CHECK_ERRNO(lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
	CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void ofd(void)
{
	int other = open(NAME, O_RDWR);

	CHECK(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10) == 0);
	CHECK_ERRNO(lock(other, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
	CHECK_ERRNO(lock(other, F_SETLK, F_RDLCK, 5, 1), EAGAIN);
	CHECK(get(other, F_RDLCK, 0, 0).l_pid == -1);
	CHECK(lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0) == 0);
	CHECK(lock(other, F_OFD_SETLK, F_RDLCK, 5, 1) == 0);
	CHECK(lock(fd, F_OFD_SETLK, F_RDLCK, 5, 1) == 0);
	CHECK_ERRNO(lock(fd, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
	close(other);
	CHECK(lock(fd, F_OFD_SETLK, F_WRLCK, 5, 1) == 0);
	CHECK(lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0) == 0);
}

static void on_alarm(int sig) { }

int main(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	int ro;

	fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && ftruncate(fd, 100) == 0);
	CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 30) == 0);
	CHECK(lock(fd, F_SETLK, F_RDLCK, 10, 10) == 0);
	CHECK(lock(fd, F_SETLK, F_UNLCK, 10, 5) == 0);
	in_child(ranges_seen);
	CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
	in_child(is_free);
	CHECK_ERRNO(lock(fd, F_SETLK, F_WRLCK, -5, 1), EINVAL);
	CHECK_ERRNO(lock(fd, F_SETLK, 9, 0, 1), EINVAL);
	ro = open(NAME, O_RDONLY);
	CHECK_ERRNO(lock(ro, F_SETLK, F_WRLCK, 0, 1), EBADF);
	close(ro);
	blocking();
	deadlock();
	ofd();

	CHECK(flock(fd, LOCK_EX) == 0);
	in_child(flock_taken);
	CHECK(flock(fd, LOCK_SH) == 0 && flock(fd, LOCK_UN) == 0);
	ro = open(NAME, O_RDONLY);
	CHECK(flock(ro, LOCK_EX) == 0);
	sigaction(SIGALRM, &sa, NULL);
	alarm(1);
	CHECK_ERRNO(flock(fd, LOCK_SH), EINTR);
	close(ro);
	CHECK(flock(fd, LOCK_SH | LOCK_NB) == 0);
	unlink(NAME);
	puts("ok");
	return 0;
}
