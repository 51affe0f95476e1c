/* open, openat, openat2, creat: flags and their errors. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check.h"

static int openat2_(int dirfd, const char *path, u_int64_t flags, u_int64_t resolve)
{
	struct open_how how = { .flags = flags, .resolve = resolve };

	return syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

static void make(void)
{
	int fd;

	CHECK(mkdir("d", 0755) == 0);
	CHECK((fd = open("d/f", O_CREAT | O_EXCL | O_RDWR, 0644)) >= 0);
	CHECK(write(fd, "hello", 5) == 5);
	CHECK(close(fd) == 0);
	CHECK(symlink("f", "d/rel") == 0);
	CHECK(symlink("/", "d/abs") == 0);
	CHECK(symlink("loop", "d/loop") == 0);
	CHECK(symlink("nothere", "d/dangling") == 0);
	CHECK(symlink("../d", "d/up") == 0);
	CHECK(symlink("f/", "d/slash") == 0);
}

static void errors(void)
{
	char name[5000];
	int fd;

	CHECK_ERRNO(open("", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("d/none", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("d/none/x", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("d/f/x", O_RDONLY), ENOTDIR);
	CHECK_ERRNO(open("d/f/", O_RDONLY), ENOTDIR);
	CHECK_ERRNO(open("d/slash", O_RDONLY), ENOTDIR);
	CHECK_ERRNO(open("d/f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	CHECK_ERRNO(open("d", O_WRONLY), EISDIR);
	CHECK_ERRNO(open("d", O_RDWR), EISDIR);
	CHECK_ERRNO(open("d", O_RDONLY | O_CREAT, 0644), EISDIR);
	CHECK_ERRNO(open("d/", O_WRONLY | O_CREAT, 0644), EISDIR);
	CHECK_ERRNO(open("d/new/", O_WRONLY | O_CREAT, 0644), EISDIR);
	CHECK_ERRNO(open("d/f", O_CREAT | O_EXCL | O_RDWR, 0644), EEXIST);
	CHECK_ERRNO(open("d/dangling", O_CREAT | O_EXCL | O_RDWR, 0644), EEXIST);
	CHECK_ERRNO(open("d/rel", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK_ERRNO(open("d/loop", O_RDONLY), ELOOP);
	CHECK_ERRNO(open("d/rel", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), ENOTDIR);
	CHECK_ERRNO(open("d/none/..", O_RDONLY), ENOENT);
	CHECK_ERRNO(openat(-1, "d", O_RDONLY), EBADF);
	CHECK_ERRNO(openat(1000, "d", O_RDONLY), EBADF);
	CHECK((fd = openat(-1, "/", O_RDONLY)) >= 0 && close(fd) == 0);
	CHECK((fd = open("d/f", O_RDONLY)) >= 0);
	CHECK_ERRNO(openat(fd, "x", O_RDONLY), ENOTDIR);
	CHECK_ERRNO(write(fd, "x", 1), EBADF);
	close(fd);
	memset(name, 'a', sizeof(name));
	name[256] = 0;
	CHECK_ERRNO(open(name, O_RDONLY), ENAMETOOLONG);
	name[255] = 0;
	CHECK_ERRNO(open(name, O_RDONLY), ENOENT);
	CHECK((fd = open(name, O_RDWR | O_CREAT, 0600)) >= 0 && close(fd) == 0 && unlink(name) == 0);
	memset(name, '/', sizeof(name));
	name[4096] = 0;
	CHECK_ERRNO(open(name, O_RDONLY), ENAMETOOLONG);
	name[4095] = 0;
	CHECK((fd = open(name, O_RDONLY)) >= 0 && close(fd) == 0);
	CHECK_ERRNO(syscall(SYS_open, (char *)8, O_RDONLY), EFAULT);
}

static void links(void)
{
	struct stat st;
	char buf[8];
	int fd;

	CHECK((fd = open("d/up/up/up/rel", O_RDONLY)) >= 0 && read(fd, buf, 8) == 5 && !memcmp(buf, "hello", 5));
	close(fd);
	CHECK((fd = open("d/abs", O_RDONLY | O_DIRECTORY)) >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode));
	close(fd);
	CHECK((fd = open("d/dangling", O_CREAT | O_WRONLY, 0640)) >= 0 && close(fd) == 0);
	CHECK(stat("d/nothere", &st) == 0 && (st.st_mode & 07777) == 0640 && unlink("d/nothere") == 0);
	CHECK((fd = open("d/rel", O_PATH | O_NOFOLLOW)) >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode));
	CHECK(readlinkat(fd, "", buf, 8) == 1 && buf[0] == 'f');
	close(fd);
}

static void path_and_tmpfile(void)
{
	char proc[64], buf[8];
	int fd, again;

	CHECK((fd = open("d/f", O_PATH)) >= 0);
	CHECK_ERRNO(read(fd, buf, 1), EBADF);
	CHECK_ERRNO(lseek(fd, 0, SEEK_SET), EBADF);
	CHECK_ERRNO(fchmod(fd, 0600), EBADF);
	CHECK(fcntl(fd, F_GETFL) & O_PATH);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CHECK((again = open(proc, O_RDONLY)) >= 0 && read(again, buf, 8) == 5);
	close(again);
	close(fd);
	CHECK((fd = open("d", O_TMPFILE | O_RDWR, 0600)) >= 0 && write(fd, "tmp", 3) == 3);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CHECK(linkat(AT_FDCWD, proc, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW) == 0);
	close(fd);
	CHECK((fd = open("d/named", O_RDONLY)) >= 0 && read(fd, buf, 8) == 3 && close(fd) == 0);
	CHECK(unlink("d/named") == 0);
	CHECK((fd = open("d", O_TMPFILE | O_RDWR | O_EXCL, 0600)) >= 0);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CHECK_ERRNO(linkat(AT_FDCWD, proc, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW), ENOENT);
	close(fd);
	CHECK_ERRNO(open("d", O_TMPFILE | O_RDONLY, 0600), EINVAL);
}

static void resolve(void)
{
	int d = open("d", O_RDONLY | O_DIRECTORY), fd;

	CHECK(d >= 0);
	CHECK((fd = openat2_(d, "f", O_RDONLY, RESOLVE_BENEATH)) >= 0 && close(fd) == 0);
	CHECK_ERRNO(openat2_(d, "..", O_RDONLY, RESOLVE_BENEATH), EXDEV);
	CHECK_ERRNO(openat2_(d, "/", O_RDONLY, RESOLVE_BENEATH), EXDEV);
	CHECK_ERRNO(openat2_(d, "abs", O_RDONLY, RESOLVE_BENEATH), EXDEV);
	CHECK_ERRNO(openat2_(d, "up/f", O_RDONLY, RESOLVE_BENEATH), EXDEV);
	CHECK((fd = openat2_(d, "../../f", O_RDONLY, RESOLVE_IN_ROOT)) >= 0 && close(fd) == 0);
	CHECK((fd = openat2_(d, "abs/f", O_RDONLY, RESOLVE_IN_ROOT)) >= 0 && close(fd) == 0);
	CHECK_ERRNO(openat2_(d, "rel", O_RDONLY, RESOLVE_NO_SYMLINKS), ELOOP);
	CHECK_ERRNO(openat2_(AT_FDCWD, "/proc/self/cwd", O_RDONLY, RESOLVE_NO_MAGICLINKS), ELOOP);
	CHECK_ERRNO(openat2_(AT_FDCWD, "/proc/self", O_RDONLY, RESOLVE_NO_XDEV), EXDEV);
	CHECK_ERRNO(openat2_(d, "f", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT), EINVAL);
	CHECK_ERRNO(openat2_(d, "f", 1ull << 40, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_openat2, d, "f", NULL, 4), EINVAL);
	close(d);
}

static void truncation(void)
{
	struct stat st;
	int fd;

	CHECK((fd = open("d/f", O_WRONLY | O_TRUNC)) >= 0 && fstat(fd, &st) == 0 && st.st_size == 0);
	CHECK(write(fd, "12345", 5) == 5 && close(fd) == 0);
	CHECK((fd = open("d/f", O_WRONLY | O_APPEND)) >= 0 && write(fd, "67", 2) == 2 && lseek(fd, 0, SEEK_CUR) == 7);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "8", 1) == 1 && fstat(fd, &st) == 0 && st.st_size == 8);
	close(fd);
}

int main(void)
{
	char dir[] = "openXXXXXX";

	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	make();
	errors();
	links();
	path_and_tmpfile();
	resolve();
	truncation();
	CHECK(system("rm -r d") == 0 && chdir("..") == 0 && rmdir(dir) == 0);
	puts("ok");
	return 0;
}
