/* Descriptors: dup, fcntl, close_range, limits, growth, sharing of positions, close-on-exec. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static void dups(void)
{
	int fd = open("/dev/null", O_RDWR), other;

	CHECK(fd == 3);
	CHECK(dup(fd) == 4 && dup2(fd, 10) == 10 && fcntl(fd, F_DUPFD, 5) == 5 && fcntl(fd, F_DUPFD_CLOEXEC, 20) == 20);
	CHECK(fcntl(20, F_GETFD) == FD_CLOEXEC && fcntl(10, F_GETFD) == 0);
	CHECK(dup2(fd, fd) == fd);
	CHECK_ERRNO(dup2(99, 99), EBADF);
	CHECK_ERRNO(dup3(fd, fd, 0), EINVAL);
	CHECK_ERRNO(dup3(fd, 11, 1), EINVAL);
	CHECK(dup3(fd, 11, O_CLOEXEC) == 11 && fcntl(11, F_GETFD) == FD_CLOEXEC);
	CHECK_ERRNO(dup(-1), EBADF);
	CHECK_ERRNO(fcntl(fd, F_DUPFD, -1), EINVAL);
	CHECK_ERRNO(close(98), EBADF);
	CHECK(close(4) == 0 && (other = open("/dev/zero", O_RDONLY)) == 4);
	CHECK(syscall(SYS_close_range, 5, 15, 0) == 0 && fcntl(10, F_GETFD) == -1 && fcntl(20, F_GETFD) == FD_CLOEXEC);
	CHECK(syscall(SYS_close_range, 4, ~0u, CLOSE_RANGE_CLOEXEC) == 0 && fcntl(4, F_GETFD) == FD_CLOEXEC);
	CHECK_ERRNO(syscall(SYS_close_range, 5, 4, 0), EINVAL);
	CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0 && fcntl(3, F_GETFD) == -1);
}

static void flags(void)
{
	int fd = open("x", O_CREAT | O_RDWR, 0600), on = 1, n;

	CHECK(fd == 3 && (fcntl(fd, F_GETFL) & ~0100000) == O_RDWR);
	CHECK(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_CREAT) == 0);
	CHECK((fcntl(fd, F_GETFL) & ~0100000) == (O_RDWR | O_APPEND | O_NONBLOCK));
	CHECK(ioctl(fd, FIOCLEX) == 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && ioctl(fd, FIONCLEX) == 0);
	CHECK(fcntl(fd, F_SETFL, 0) == 0 && ioctl(fd, FIONBIO, &on) == 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK));
	CHECK(write(fd, "12345", 5) == 5 && lseek(fd, 2, SEEK_SET) == 2 && ioctl(fd, FIONREAD, &n) == 0 && n == 3);
	CHECK_ERRNO(ioctl(fd, TIOCGWINSZ, &n), ENOTTY);
	CHECK_ERRNO(fcntl(fd, 9999), EINVAL);
	CHECK_ERRNO(fcntl(99, F_GETFL), EBADF);
	CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
	CHECK(close(fd) == 0 && unlink("x") == 0);
}

static void shared_position(void)
{
	int fd = open("x", O_CREAT | O_RDWR, 0600), copy = dup(fd), second = open("x", O_RDONLY);
	char buf[4];

	CHECK(write(fd, "abcd", 4) == 4 && lseek(copy, 0, SEEK_CUR) == 4 && lseek(second, 0, SEEK_CUR) == 0);
	CHECK(lseek(copy, 1, SEEK_SET) == 1);
	if (!fork()) {
		CHECK(read(fd, buf, 2) == 2 && !memcmp(buf, "bc", 2));
		_exit(0);
	}
	CHECK(wait(NULL) > 0 && lseek(fd, 0, SEEK_CUR) == 3);
	CHECK(close(fd) == 0 && close(copy) == 0 && close(second) == 0 && unlink("x") == 0);
}

static void limits(void)
{
	struct rlimit rl = { 64, 4096 };
	int fd, n = 0;

	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	CHECK(errno == EMFILE && n == 61);
	CHECK_ERRNO(fcntl(3, F_DUPFD, 0), EMFILE);
	CHECK_ERRNO(fcntl(3, F_DUPFD, 64), EINVAL);
	CHECK_ERRNO(dup2(3, 64), EBADF);
	rl.rlim_cur = 4096;
	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == 0 && dup2(3, 4000) == 4000 && open("/dev/null", O_RDONLY) == 64);
	CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0);
}

static void *racer(void *arg)
{
	for (int i = 0; i < 300; i++) {
		int fd = open("/dev/null", O_RDONLY);

		if (fd >= 0)
			close(dup2(fd, 50 + i % 7));
		close(fd);
	}
	return NULL;
}

static void races(void)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, racer, NULL) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

static void across_exec(char *self)
{
	int keep = open("/dev/null", O_RDONLY), gone = open("/dev/null", O_RDONLY | O_CLOEXEC), status;

	CHECK(keep == 3 && gone == 4);
	if (!fork()) {
		execl(self, self, "after-exec", NULL);
		_exit(99);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

int main(int argc, char **argv)
{
	char self[4096], dir[] = "fdXXXXXX";
	ssize_t n;

	if (argc > 1)
		return fcntl(3, F_GETFD) == 0 && fcntl(4, F_GETFD) == -1 ? 0 : 98;
	CHECK((n = readlink("/proc/self/exe", self, sizeof(self) - 1)) > 0);
	self[n] = 0;
	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	syscall(SYS_close_range, 3, ~0u, 0);
	dups();
	flags();
	shared_position();
	limits();
	races();
	across_exec(self);
	CHECK(chdir("..") == 0 && rmdir(dir) == 0);
	puts("ok");
	return 0;
}
