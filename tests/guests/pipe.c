/* Pipes: capacity, atomic writes, ends that close, fcntl, splice and tee. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

static char big[1 << 17];

static void basics(void)
{
	int p[2], n;
	char buf[16];
	struct stat st;

	CHECK(pipe2(p, O_CLOEXEC) == 0);
	CHECK(fcntl(p[0], F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(p[1], F_GETFL) == O_WRONLY);
	CHECK(fstat(p[0], &st) == 0 && S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0600);
	CHECK(write(p[1], "hello", 5) == 5);
	CHECK(ioctl(p[0], FIONREAD, &n) == 0 && n == 5);
	CHECK(read(p[0], buf, 3) == 3 && !memcmp(buf, "hel", 3));
	CHECK(read(p[0], buf, 16) == 2 && !memcmp(buf, "lo", 2));
	CHECK_ERRNO(read(p[1], buf, 1), EBADF);
	CHECK_ERRNO(write(p[0], buf, 1), EBADF);
	CHECK_ERRNO(lseek(p[0], 0, SEEK_CUR), ESPIPE);
	CHECK_ERRNO(pread(p[0], buf, 1, 0), ESPIPE);
	CHECK_ERRNO(pipe2(p, 1 << 30), EINVAL);
	CHECK(write(p[1], "x", 0) == 0);
	CHECK(write(p[1], "end", 3) == 3 && close(p[1]) == 0);
	CHECK(read(p[0], buf, 16) == 3 && read(p[0], buf, 16) == 0);
	close(p[0]);
}

static void capacity(void)
{
	int p[2];
	char buf[4096];

	CHECK(pipe2(p, O_NONBLOCK) == 0);
	CHECK_ERRNO(read(p[0], buf, 1), EAGAIN);
	CHECK(fcntl(p[0], F_GETPIPE_SZ) == 65536);
	CHECK(write(p[1], big, sizeof(big)) == 65536);
	CHECK_ERRNO(write(p[1], big, 1), EAGAIN);
	CHECK(read(p[0], buf, 1000) == 1000);
	CHECK_ERRNO(write(p[1], big, 4096), EAGAIN);
	CHECK(read(p[0], buf, 4096) == 4096);
	CHECK(write(p[1], big, 4096) == 4096);
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 200000) == 262144);
	CHECK_ERRNO(fcntl(p[1], F_SETPIPE_SZ, 4096), EBUSY);
	CHECK(fcntl(p[0], F_GETPIPE_SZ) == 262144);
	CHECK(write(p[1], big, 65536) == 65536);
	while (read(p[0], buf, sizeof(buf)) > 0)
		;
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 1) == 4096);
	CHECK(write(p[1], big, 10000) == 4096);
	close(p[0]);
	close(p[1]);
}

static void *drain(void *arg)
{
	int fd = *(int *)arg;
	static char buf[3000];
	long total = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			CHECK((unsigned char)buf[i] == (unsigned char)((total + i) * 7 + (total + i) / 251));
		total += n;
	}
	return (void *)total;
}

/* A blocking writer of more than the pipe holds; every byte arrives once, in order. */
static void transfer(void)
{
	size_t len = 3 << 20;
	unsigned char *data = malloc(len);
	pthread_t t;
	void *total;
	int p[2];

	for (size_t i = 0; i < len; i++)
		data[i] = i * 7 + i / 251;
	CHECK(pipe(p) == 0);
	CHECK(pthread_create(&t, NULL, drain, &p[0]) == 0);
	CHECK(write(p[1], data, 1) == 1);
	CHECK(write(p[1], data + 1, len - 1) == (ssize_t)len - 1);
	close(p[1]);
	pthread_join(t, &total);
	CHECK((size_t)total == len);
	close(p[0]);
	free(data);
}

static volatile int got_sigpipe;
static void on_sigpipe(int sig) { got_sigpipe++; }

static void broken(void)
{
	struct pollfd pfd;
	int p[2];

	signal(SIGPIPE, on_sigpipe);
	CHECK(pipe(p) == 0);
	close(p[0]);
	CHECK_ERRNO(write(p[1], "x", 1), EPIPE);
	CHECK(got_sigpipe == 1);
	pfd = (struct pollfd){ .fd = p[1], .events = POLLOUT };
	CHECK(poll(&pfd, 1, 0) == 1 && pfd.revents == (POLLOUT | POLLERR));
	close(p[1]);
	CHECK(pipe(p) == 0);
	close(p[1]);
	pfd = (struct pollfd){ .fd = p[0], .events = POLLIN };
	CHECK(poll(&pfd, 1, 0) == 1 && pfd.revents == POLLHUP);
	close(p[0]);
	signal(SIGPIPE, SIG_DFL);
}

static void packets(void)
{
	char buf[64];
	int p[2];

	CHECK(pipe2(p, O_DIRECT | O_NONBLOCK) == 0);
	CHECK(write(p[1], "one", 3) == 3 && write(p[1], "two!", 4) == 4 && write(p[1], "three", 5) == 5);
	CHECK(read(p[0], buf, 64) == 3 && !memcmp(buf, "one", 3));
	CHECK(read(p[0], buf, 2) == 2 && !memcmp(buf, "tw", 2));
	CHECK(read(p[0], buf, 64) == 5 && !memcmp(buf, "three", 5));
	CHECK_ERRNO(read(p[0], buf, 64), EAGAIN);
	close(p[0]);
	close(p[1]);
}

static void splicing(void)
{
	int a[2], b[2], fd;
	char buf[64];
	loff_t off = 2;
	struct iovec iov = { "vmspliced", 9 };

	CHECK(pipe(a) == 0 && pipe(b) == 0);
	CHECK(write(a[1], "abcdef", 6) == 6);
	CHECK(tee(a[0], b[1], 4, 0) == 4);
	CHECK(read(b[0], buf, 64) == 4 && !memcmp(buf, "abcd", 4));
	CHECK(splice(a[0], NULL, b[1], NULL, 64, 0) == 6);
	CHECK(read(b[0], buf, 64) == 6 && !memcmp(buf, "abcdef", 6));
	CHECK_ERRNO(splice(a[0], NULL, b[1], NULL, 64, SPLICE_F_NONBLOCK), EAGAIN);
	fd = open("splice.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
	CHECK(splice(fd, &off, a[1], NULL, 5, 0) == 5 && off == 7);
	CHECK(read(a[0], buf, 64) == 5 && !memcmp(buf, "23456", 5));
	CHECK(vmsplice(a[1], &iov, 1, 0) == 9);
	CHECK(splice(a[0], NULL, fd, NULL, 64, 0) == 9);
	CHECK(pread(fd, buf, 64, 10) == 9 && !memcmp(buf, "vmspliced", 9));
	CHECK_ERRNO(splice(fd, NULL, fd, NULL, 5, 0), EINVAL);
	unlink("splice.tmp");
	close(fd);
}

static void children(void)
{
	int p[2], status, n = 0;
	char c;

	CHECK(pipe(p) == 0);
	for (int i = 0; i < 4; i++) {
		if (fork())
			continue;
		close(p[0]);
		for (int k = 0; k < 100; k++)
			if (write(p[1], "12345678", 8) != 8)
				_exit(1);
		_exit(0);
	}
	close(p[1]);
	while (read(p[0], &c, 1) == 1)
		CHECK(c == "12345678"[n++ % 8]);
	CHECK(n == 3200);
	for (int i = 0; i < 4; i++)
		CHECK(wait(&status) > 0 && status == 0);
	close(p[0]);
}

int main(void)
{
	basics();
	capacity();
	transfer();
	broken();
	packets();
	splicing();
	children();
	puts("ok");
	return 0;
}
