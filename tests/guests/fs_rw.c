/* read and write in all forms, positions, holes, append, limits, broken pipes, copies between files. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/falloc.h>

#include "check.h"

static char big[300000], back[300000];

static void positions(int fd)
{
	struct iovec v[3] = { { "abc", 3 }, { "", 0 }, { "defg", 4 } };
	char a[2], b[10];
	struct iovec in[2] = { { a, 2 }, { b, 10 } };

	CHECK(write(fd, "0123456789", 10) == 10 && lseek(fd, 0, SEEK_CUR) == 10);
	CHECK(pread(fd, b, 4, 3) == 4 && !memcmp(b, "3456", 4) && lseek(fd, 0, SEEK_CUR) == 10);
	CHECK(pwrite(fd, "X", 1, 0) == 1 && lseek(fd, 0, SEEK_CUR) == 10);
	CHECK(writev(fd, v, 3) == 7 && lseek(fd, 0, SEEK_CUR) == 17);
	CHECK(preadv(fd, in, 2, 8) == 9 && !memcmp(a, "89", 2) && !memcmp(b, "abcdefg", 7));
	CHECK(lseek(fd, -3, SEEK_END) == 14 && read(fd, b, 10) == 3 && read(fd, b, 10) == 0);
	CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
	CHECK_ERRNO(lseek(fd, 0, 77), EINVAL);
	CHECK_ERRNO(pread(fd, b, 1, -1), EINVAL);
	CHECK_ERRNO(syscall(SYS_writev, fd, v, -1), EINVAL);
	CHECK_ERRNO(syscall(SYS_writev, fd, v, 1025), EINVAL);
	CHECK(writev(fd, v, 0) == 0);
	v[0].iov_len = -1;
	CHECK_ERRNO(writev(fd, v, 3), EINVAL);
	CHECK_ERRNO(syscall(SYS_write, fd, 8, 10), EFAULT);
	CHECK_ERRNO(read(-1, b, 1), EBADF);
	CHECK(write(fd, b, 0) == 0);
	CHECK(preadv2(fd, in, 1, 0, 0) == 2 && a[0] == 'X');
	CHECK_ERRNO(preadv2(fd, in, 1, 0, 0x4000), EOPNOTSUPP);
	v[0] = (struct iovec){ "end", 3 };
	CHECK(pwritev2(fd, v, 1, 0, RWF_APPEND) == 3 && pread(fd, b, 10, 17) == 3 && !memcmp(b, "end", 3));
}

static void bulk(int fd)
{
	struct stat st;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i * 7 + i / 251;
	CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, big, sizeof(big), 5) == sizeof(big));
	CHECK(fstat(fd, &st) == 0 && st.st_size == sizeof(big) + 5);
	CHECK(pread(fd, back, sizeof(back), 5) == sizeof(back) && !memcmp(big, back, sizeof(big)));
	CHECK(pread(fd, back, 5, 0) == 5 && !memcmp(back, "\0\0\0\0\0", 5));
	CHECK(ftruncate(fd, 100) == 0 && ftruncate(fd, 10000) == 0 && pread(fd, back, 10000, 0) == 10000);
	CHECK(!memcmp(back + 5, big, 95));
	for (int i = 100; i < 10000; i++)
		if (back[i])
			CHECK(!"bytes behind the end came back");
	CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
	CHECK_ERRNO(truncate("none", 0), ENOENT);
	CHECK_ERRNO(truncate(".", 0), EISDIR);
}

static void holes(int fd)
{
	struct stat st;

	CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, big, 4096, 0) == 4096 && pwrite(fd, big, 4096, 1 << 20) == 4096);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (1 << 20) + 4096 && st.st_blocks < 200);
	CHECK(lseek(fd, 0, SEEK_DATA) == 0 && lseek(fd, 0, SEEK_END) == st.st_size);
	CHECK_ERRNO(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
	CHECK_ERRNO(lseek(fd, 2 << 20, SEEK_HOLE), ENXIO);
	CHECK(lseek(fd, (1 << 20) + 1, SEEK_HOLE) == st.st_size);
	CHECK(pread(fd, back, 4096, 500000) == 4096 && !back[0] && !back[4095]);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 2000) == 0);
	CHECK(pread(fd, back, 4096, 0) == 4096 && !memcmp(back, big, 1000));
	CHECK(!back[1000] && !back[2999] && !memcmp(back + 3000, big + 3000, 1096));
	CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 << 20) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (1 << 20) + 4096);
	CHECK(fallocate(fd, 0, 0, 2 << 20) == 0 && fstat(fd, &st) == 0 && st.st_size == 2 << 20);
	CHECK_ERRNO(fallocate(fd, 0, -1, 10), EINVAL);
	CHECK_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
}

static void limits(int fd)
{
	struct rlimit small = { 1000, RLIM_INFINITY };

	CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
	CHECK(pwrite(fd, big, 2000, 500) == 500);
	CHECK_ERRNO(pwrite(fd, big, 1, 1000), EFBIG);
	CHECK_ERRNO(ftruncate(fd, 1001), EFBIG);
	small.rlim_cur = RLIM_INFINITY;
	CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
}

static void pipes(void)
{
	int p[2];
	char c;

	CHECK(pipe(p) == 0);
	CHECK_ERRNO(lseek(p[0], 0, SEEK_SET), ESPIPE);
	CHECK_ERRNO(pread(p[0], &c, 1, 0), ESPIPE);
	CHECK_ERRNO(read(p[1], &c, 1), EBADF);
	CHECK_ERRNO(ftruncate(p[1], 0), EINVAL);
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK_ERRNO(read(p[0], &c, 1), EAGAIN);
	CHECK(write(p[1], "ab", 2) == 2 && read(p[0], &c, 1) == 1 && c == 'a');
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK_ERRNO(write(p[1], "x", 1), EPIPE);
	close(p[1]);
}

static void copies(int fd)
{
	int out = open("copy", O_CREAT | O_RDWR | O_TRUNC, 0600);
	off_t from = 10;
	loff_t to = 3;

	CHECK(out >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, big, sizeof(big), 0) == sizeof(big));
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && sendfile(out, fd, NULL, sizeof(big) + 10) == sizeof(big));
	CHECK(lseek(fd, 0, SEEK_CUR) == sizeof(big) && lseek(out, 0, SEEK_CUR) == sizeof(big));
	CHECK(pread(out, back, sizeof(back), 0) == sizeof(back) && !memcmp(big, back, sizeof(big)));
	CHECK(sendfile(out, fd, &from, 5) == 5 && from == 15 && lseek(fd, 0, SEEK_CUR) == sizeof(big));
	CHECK(pread(out, back, 5, sizeof(big)) == 5 && !memcmp(back, big + 10, 5));
	from = 0;
	CHECK(copy_file_range(fd, &from, out, &to, 100, 0) == 100 && from == 100 && to == 103);
	CHECK(pread(out, back, 100, 3) == 100 && !memcmp(back, big, 100));
	CHECK_ERRNO(copy_file_range(fd, &from, fd, &to, 1000, 0), EINVAL);
	close(out);
	CHECK(unlink("copy") == 0);
}

int main(void)
{
	char name[] = "rwXXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0);
	positions(fd);
	bulk(fd);
	holes(fd);
	limits(fd);
	pipes();
	copies(fd);
	CHECK(unlink(name) == 0);
	puts("ok");
	return 0;
}
