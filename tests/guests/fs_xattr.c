/* Extended attributes: set, get, list, remove, by name and by descriptor, and what they refuse. */
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check.h"

#define NAME	"xattr.tmp"

/* The calls themselves: libc's headers and the kernel's define the flags twice. */
static long set(const char *file, const char *name, const void *value, size_t len, int flags)
{
	return syscall(SYS_setxattr, file, name, value, len, flags);
}

static long get(const char *file, const char *name, void *buf, size_t size)
{
	return syscall(SYS_getxattr, file, name, buf, size);
}

static void values(void)
{
	char buf[64] = "";

	CHECK(set(NAME, "user.a", "hello", 5, XATTR_CREATE) == 0);
	CHECK(get(NAME, "user.a", NULL, 0) == 5);
	CHECK(get(NAME, "user.a", buf, sizeof(buf)) == 5 && !memcmp(buf, "hello", 5));
	CHECK_ERRNO(get(NAME, "user.a", buf, 4), ERANGE);
	CHECK_ERRNO(get(NAME, "user.b", buf, sizeof(buf)), ENODATA);
	CHECK_ERRNO(set(NAME, "user.a", "x", 1, XATTR_CREATE), EEXIST);
	CHECK_ERRNO(set(NAME, "user.b", "x", 1, XATTR_REPLACE), ENODATA);
	CHECK(set(NAME, "user.a", "there", 5, XATTR_REPLACE) == 0);
	CHECK(get(NAME, "user.a", buf, 5) == 5 && !memcmp(buf, "there", 5));
	CHECK(set(NAME, "user.empty", NULL, 0, 0) == 0);
	CHECK(get(NAME, "user.empty", buf, sizeof(buf)) == 0);
}

static void lists(int fd)
{
	char buf[64];
	long n = syscall(SYS_flistxattr, fd, buf, sizeof(buf));

	CHECK(syscall(SYS_flistxattr, fd, NULL, 0) == n);
	CHECK(n == sizeof("user.a") + sizeof("user.empty"));
	CHECK(memmem(buf, n, "user.a", 7) && memmem(buf, n, "user.empty", 11));
	CHECK_ERRNO(syscall(SYS_listxattr, NAME, buf, 3), ERANGE);
	CHECK(syscall(SYS_fremovexattr, fd, "user.empty") == 0);
	CHECK_ERRNO(syscall(SYS_fremovexattr, fd, "user.empty"), ENODATA);
	CHECK(syscall(SYS_flistxattr, fd, buf, sizeof(buf)) == sizeof("user.a"));
}

static void refusals(int fd)
{
	static char big[XATTR_SIZE_MAX + 1];
	char name[300];

	CHECK_ERRNO(set(NAME, "", "x", 1, 0), ERANGE);
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[256] = 0;
	CHECK_ERRNO(set(NAME, name, "x", 1, 0), ERANGE);
	CHECK_ERRNO(set(NAME, "user.a", "x", 1, 7), EINVAL);
	CHECK_ERRNO(set(NAME, "user.a", big, sizeof(big), 0), E2BIG);
	CHECK_ERRNO(set(NAME, "user.a", (void *)1, 9, 0), EFAULT);
	CHECK_ERRNO(set(NAME, (void *)1, "x", 1, 0), EFAULT);
	CHECK_ERRNO(set("no/such", "user.a", "x", 1, 0), ENOENT);
	CHECK_ERRNO(syscall(SYS_fsetxattr, -1, "user.a", "x", 1, 0), EBADF);
	CHECK_ERRNO(set(NAME, "nonsense.a", "x", 1, 0), EOPNOTSUPP);
	CHECK_ERRNO(set(NAME, "user.", "x", 1, 0), EINVAL);
	CHECK_ERRNO(set("/proc/self/maps", "user.a", "x", 1, 0), EOPNOTSUPP);
	CHECK(symlink(NAME, "xattr.link") == 0);
	CHECK_ERRNO(syscall(SYS_lsetxattr, "xattr.link", "user.a", "x", 1, 0), EPERM);
	CHECK_ERRNO(syscall(SYS_lgetxattr, "xattr.link", "user.a", name, 9), ENODATA);
	CHECK(get("xattr.link", "user.a", name, 9) == 5);
	CHECK(unlink("xattr.link") == 0);
}

static void trusted(void)
{
	char buf[64];

	if (geteuid())
		return;
	CHECK(set(NAME, "trusted.t", "x", 1, 0) == 0);
	CHECK(chmod(".", 0755) == 0 && chmod(NAME, 0666) == 0);
	CHECK(seteuid(12345) == 0);
	CHECK_ERRNO(get(NAME, "trusted.t", buf, sizeof(buf)), ENODATA);
	CHECK_ERRNO(set(NAME, "trusted.t", "y", 1, 0), EPERM);
	CHECK(syscall(SYS_listxattr, NAME, buf, sizeof(buf)) == sizeof("user.a"));
	CHECK(set(NAME, "user.a", "mine", 4, 0) == 0);
	CHECK(seteuid(0) == 0);
	CHECK(chmod(NAME, 0600) == 0);
	CHECK(seteuid(12345) == 0);
	CHECK_ERRNO(get(NAME, "user.a", buf, sizeof(buf)), EACCES);
	CHECK_ERRNO(set(NAME, "user.a", "no", 2, 0), EACCES);
	CHECK(seteuid(0) == 0);
}

int main(void)
{
	int fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0);
	values();
	lists(fd);
	refusals(fd);
	trusted();
	CHECK(close(fd) == 0 && unlink(NAME) == 0);
	return 0;
}
