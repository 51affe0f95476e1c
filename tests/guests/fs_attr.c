/* Attributes and permissions: chmod, chown, times, umask, access; as root and as nobody. */
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <utime.h>

#include "check.h"

static mode_t mode_of(const char *name)
{
	struct stat st;

	return lstat(name, &st) ? 0 : st.st_mode & 07777;
}

static void make(const char *name, mode_t mode)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);

	CHECK(fd >= 0 && fchmod(fd, mode) == 0 && close(fd) == 0);
}

static void modes(void)
{
	make("f", 0644);
	CHECK(chmod("f", 0100640) == 0 && mode_of("f") == 0640);
	CHECK(symlink("f", "s") == 0 && chmod("s", 0600) == 0 && mode_of("f") == 0600);
	CHECK_ERRNO(chmod("none", 0600), ENOENT);
	CHECK_ERRNO(chmod("f/", 0600), ENOTDIR);
	CHECK(umask(077) == 022 && umask(022) == 077);
	CHECK(access("f", R_OK | W_OK) == 0);
	CHECK_ERRNO(access("f", 8), EINVAL);
	CHECK_ERRNO(access("none", F_OK), ENOENT);
	CHECK(getxattr("f", "user.x", NULL, 0) == -1 && (errno == ENOTSUP || errno == ENODATA));
	CHECK_ERRNO(getxattr("none", "user.x", NULL, 0), ENOENT);
}

static int same(struct timespec a, long sec, long nsec) { return a.tv_sec == sec && a.tv_nsec == nsec; }

static void times(void)
{
	struct timespec ts[2] = { { 1000, 5 }, { 2000, 999999999 } };
	struct timeval tv[2] = { { 7, 8 }, { 9, 10 } };
	struct stat st;

	CHECK(utimensat(AT_FDCWD, "f", ts, 0) == 0 && stat("f", &st) == 0);
	CHECK(same(st.st_atim, 1000, 5) && same(st.st_mtim, 2000, 999999999));
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_nsec = 7;
	CHECK(utimensat(AT_FDCWD, "f", ts, 0) == 0 && stat("f", &st) == 0);
	CHECK(same(st.st_atim, 1000, 5) && same(st.st_mtim, 2000, 7));
	CHECK(utimes("f", tv) == 0 && stat("f", &st) == 0 && same(st.st_atim, 7, 8000) && same(st.st_mtim, 9, 10000));
	CHECK(utimensat(AT_FDCWD, "s", ts, AT_SYMLINK_NOFOLLOW) == 0 && stat("f", &st) == 0 && st.st_mtim.tv_sec == 9);
	ts[1].tv_nsec = 1000000000;
	CHECK_ERRNO(utimensat(AT_FDCWD, "f", ts, 0), EINVAL);
	CHECK(utimensat(AT_FDCWD, "f", NULL, 0) == 0 && stat("f", &st) == 0 && st.st_mtim.tv_sec > 1000000);
	CHECK(utime("f", NULL) == 0);
}

static void as_nobody(void)
{
	int fd;

	CHECK(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
	CHECK_ERRNO(open("closed/x", O_RDONLY), EACCES);
	CHECK_ERRNO(open("secret", O_RDONLY), EACCES);
	CHECK_ERRNO(open("readable", O_WRONLY), EACCES);
	CHECK((fd = open("readable", O_RDONLY)) >= 0 && close(fd) == 0);
	CHECK_ERRNO(access("readable", W_OK), EACCES);
	CHECK_ERRNO(access("readable", X_OK), EACCES);
	CHECK_ERRNO(chmod("readable", 0777), EPERM);
	CHECK_ERRNO(chown("readable", 65534, -1), EPERM);
	CHECK_ERRNO(utimensat(AT_FDCWD, "readable", NULL, 0), EACCES);
	CHECK_ERRNO(unlink("readable"), EACCES);
	CHECK_ERRNO(open("new", O_CREAT | O_WRONLY, 0600), EACCES);
	CHECK_ERRNO(mkdir("new", 0700), EACCES);
	CHECK_ERRNO(rename("readable", "tmp/x"), EACCES);
	CHECK_ERRNO(unlink("tmp/roots"), EPERM);
	CHECK_ERRNO(rename("tmp/roots", "tmp/x"), EPERM);
	CHECK((fd = open("tmp/mine", O_CREAT | O_EXCL | O_RDWR, 0400)) >= 0 && write(fd, "x", 1) == 1);
	CHECK_ERRNO(open("tmp/mine", O_WRONLY), EACCES);
	CHECK(fchmod(fd, 06755) == 0 && mode_of("tmp/mine") == 06755);
	CHECK(write(fd, "y", 1) == 1 && mode_of("tmp/mine") == 0755);
	CHECK(chown("tmp/mine", -1, 65534) == 0);
	CHECK_ERRNO(chown("tmp/mine", 0, -1), EPERM);
	CHECK_ERRNO(mknod("tmp/dev", S_IFCHR | 0600, 0x103), EPERM);
	CHECK_ERRNO(chroot("."), EPERM);
	CHECK(unlink("tmp/mine") == 0);
	CHECK((fd = open("group/x", O_CREAT | O_WRONLY, 0600)) >= 0 && close(fd) == 0);
	CHECK(mkdir("group/d", 0755) == 0);
	umask(0);
	CHECK((fd = open("group/y", O_CREAT | O_WRONLY, 02777)) >= 0 && close(fd) == 0 && mode_of("group/y") == 0777);
	CHECK((fd = open("group/z", O_CREAT | O_WRONLY, 02700)) >= 0 && close(fd) == 0 && mode_of("group/z") == 02700);
	puts("nobody ok");
	fflush(stdout);
	_exit(0);
}

static void permissions(void)
{
	struct stat st;
	int status;

	make("secret", 0600);
	make("readable", 0644);
	CHECK(mkdir("closed", 0700) == 0 && mkdir("tmp", 0755) == 0 && chmod("tmp", 01777) == 0);
	make("tmp/roots", 0666);
	CHECK(mkdir("group", 0755) == 0 && chown("group", 0, 1234) == 0 && chmod("group", 02777) == 0);
	if (!fork())
		as_nobody();
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(stat("group/x", &st) == 0 && st.st_gid == 1234 && st.st_uid == 65534);
	CHECK(stat("group/d", &st) == 0 && st.st_gid == 1234 && (st.st_mode & S_ISGID));
	make("suid", 06755);
	CHECK(chown("suid", 1, 1) == 0 && mode_of("suid") == 0755);
	CHECK_ERRNO(access("readable", X_OK), EACCES);
	CHECK(lchown("s", 5, 6) == 0 && lstat("s", &st) == 0 && st.st_uid == 5 && st.st_gid == 6);
	CHECK(stat("f", &st) == 0 && st.st_uid == 0);
}

static void statx_and_statfs(void)
{
	struct statfs sf;
	struct statx x;
	struct stat st;

	CHECK(stat("f", &st) == 0 && statx(AT_FDCWD, "f", 0, STATX_ALL, &x) == 0);
	CHECK(x.stx_ino == st.st_ino && x.stx_mode == st.st_mode && x.stx_size == (unsigned long)st.st_size);
	CHECK(x.stx_nlink == 1 && (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
	CHECK_ERRNO(statx(AT_FDCWD, "none", 0, STATX_ALL, &x), ENOENT);
	CHECK_ERRNO(statx(AT_FDCWD, "f", 0x40000, STATX_ALL, &x), EINVAL);
	CHECK(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH) == 0 && S_ISDIR(st.st_mode));
	CHECK_ERRNO(fstatat(AT_FDCWD, "", &st, 0), ENOENT);
	CHECK(statfs(".", &sf) == 0 && sf.f_bsize > 0 && sf.f_namelen == 255);
	CHECK_ERRNO(stat("f", (struct stat *)8), EFAULT);
}

int main(void)
{
	char dir[] = "attrXXXXXX", cmd[64];

	umask(022);
	if (getuid()) {
		puts("not root: skipped");
		return 0;
	}
	CHECK(mkdtemp(dir) && chmod(dir, 0755) == 0 && chdir(dir) == 0);
	modes();
	times();
	permissions();
	statx_and_statfs();
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	CHECK(chdir("..") == 0 && system(cmd) == 0);
	puts("ok");
	return 0;
}
