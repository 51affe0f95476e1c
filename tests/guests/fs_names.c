/* link, unlink, rename, symlink, mkdir, rmdir: link counts, corner cases, errors. */
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check.h"

static void put(const char *name, const char *text)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static int is(const char *name, const char *text)
{
	char buf[64] = "";
	int fd = open(name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, 63);

	close(fd);
	return n == (ssize_t)strlen(text) && !strcmp(buf, text);
}

static nlink_t links(const char *name)
{
	struct stat st;

	return lstat(name, &st) ? 0 : st.st_nlink;
}

static void linking(void)
{
	put("a", "A");
	CHECK(link("a", "b") == 0 && links("a") == 2 && is("b", "A"));
	CHECK_ERRNO(link("a", "b"), EEXIST);
	CHECK_ERRNO(link("none", "c"), ENOENT);
	CHECK_ERRNO(link("a", "c/"), ENOENT);
	CHECK(mkdir("dir", 0755) == 0);
	CHECK_ERRNO(link("dir", "c"), EPERM);
	CHECK(unlink("a") == 0 && links("b") == 1);
	CHECK(symlink("b", "s") == 0);
	CHECK(link("s", "s2") == 0 && links("s") == 2 && links("b") == 1);
	CHECK(linkat(AT_FDCWD, "s", AT_FDCWD, "b2", AT_SYMLINK_FOLLOW) == 0 && links("b") == 2);
	CHECK_ERRNO(symlink("x", "s"), EEXIST);
	CHECK_ERRNO(symlink("", "e"), ENOENT);
	CHECK(unlink("s") == 0 && unlink("s2") == 0 && unlink("b2") == 0);
	CHECK(rename("b", "a") == 0);
}

static void removing(void)
{
	struct stat st;
	char buf[4];
	int fd;

	CHECK_ERRNO(unlink("dir"), EISDIR);
	CHECK_ERRNO(unlink("none"), ENOENT);
	CHECK_ERRNO(unlink("a/"), ENOTDIR);
	CHECK_ERRNO(unlink("a/x"), ENOTDIR);
	CHECK_ERRNO(rmdir("a"), ENOTDIR);
	CHECK_ERRNO(rmdir("."), EINVAL);
	CHECK_ERRNO(rmdir("dir/."), EINVAL);
	CHECK_ERRNO(rmdir("dir/.."), ENOTEMPTY);
	CHECK_ERRNO(rmdir("/"), EBUSY);
	CHECK_ERRNO(unlink("/"), EISDIR);
	CHECK_ERRNO(unlinkat(AT_FDCWD, "a", 1), EINVAL);
	put("dir/x", "x");
	CHECK_ERRNO(rmdir("dir"), ENOTEMPTY);
	CHECK((fd = open("dir/x", O_RDWR)) >= 0 && unlink("dir/x") == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0);
	CHECK(read(fd, buf, 4) == 1 && write(fd, "yz", 2) == 2 && pread(fd, buf, 4, 0) == 3);
	close(fd);
	CHECK((fd = open("dir", O_RDONLY)) >= 0 && rmdir("dir/") == 0);
	CHECK_ERRNO(openat(fd, "x", O_CREAT | O_WRONLY, 0644), ENOENT);
	CHECK_ERRNO(mkdirat(fd, "x", 0755), ENOENT);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0);
	close(fd);
}

static void making(void)
{
	struct stat st;

	CHECK(mkdir("m", 0755) == 0 && links("m") == 2);
	CHECK(mkdir("m/n/", 0755) == 0 && links("m") == 3);
	CHECK_ERRNO(mkdir("m", 0755), EEXIST);
	CHECK_ERRNO(mkdir("m/.", 0755), EEXIST);
	CHECK_ERRNO(mkdir("/", 0755), EEXIST);
	CHECK_ERRNO(mkdir("none/x", 0755), ENOENT);
	CHECK_ERRNO(mkdir("a/x", 0755), ENOTDIR);
	CHECK(rmdir("m/n") == 0 && links("m") == 2 && rmdir("m") == 0);
	umask(027);
	CHECK(mkdir("m", 07777) == 0 && stat("m", &st) == 0 && (st.st_mode & 07777) == 01750);
	CHECK(mknod("m/fifo", S_IFIFO | 0666, 0) == 0 && stat("m/fifo", &st) == 0);
	CHECK(S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0640);
	CHECK(mknod("m/reg", 0600, 0) == 0 && stat("m/reg", &st) == 0 && S_ISREG(st.st_mode));
	CHECK_ERRNO(mknod("m/d", S_IFDIR | 0755, 0), EPERM);
	CHECK(unlink("m/fifo") == 0 && unlink("m/reg") == 0 && rmdir("m") == 0);
	umask(022);
}

static void renaming(void)
{
	CHECK(rename("a", "a") == 0 && is("a", "A"));
	put("b", "B");
	CHECK(rename("a", "b") == 0 && is("b", "A") && access("a", F_OK) == -1);
	CHECK(link("b", "c") == 0 && rename("b", "c") == 0 && links("b") == 2 && links("c") == 2);
	CHECK(unlink("c") == 0);
	CHECK(mkdir("p", 0755) == 0 && mkdir("p/q", 0755) == 0 && mkdir("r", 0755) == 0);
	CHECK_ERRNO(rename("p", "p/q/z"), EINVAL);
	CHECK_ERRNO(rename("p", "p/q"), EINVAL);
	CHECK_ERRNO(rename("p/q", "p"), ENOTEMPTY);
	CHECK_ERRNO(rename("b", "p"), EISDIR);
	CHECK_ERRNO(rename("p", "b"), ENOTDIR);
	CHECK_ERRNO(rename("b", "x/"), ENOTDIR);
	CHECK_ERRNO(rename("none", "x"), ENOENT);
	CHECK_ERRNO(rename("p/.", "x"), EBUSY);
	CHECK_ERRNO(rename("p/..", "x"), EBUSY);
	CHECK(links("p") == 3 && rename("p/q", "r/q/") == 0 && links("p") == 2 && links("r") == 3);
	CHECK_ERRNO(rename("p", "r"), ENOTEMPTY);
	CHECK(rename("p", "r/q") == 0 && links("r/q") == 2 && access("p", F_OK) == -1);
	CHECK(mkdir("p", 0755) == 0);
}

static int renameat2_(const char *a, const char *b, unsigned int flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void rename_flags(void)
{
	put("a", "1");
	CHECK_ERRNO(renameat2_("a", "b", RENAME_NOREPLACE), EEXIST);
	CHECK(renameat2_("a", "n", RENAME_NOREPLACE) == 0 && is("n", "1"));
	CHECK(renameat2_("n", "b", RENAME_EXCHANGE) == 0 && is("b", "1") && is("n", "A"));
	CHECK(renameat2_("n", "r/q", RENAME_EXCHANGE) == 0 && is("r/q", "A") && links("n") == 2 && links("r") == 2);
	CHECK_ERRNO(renameat2_("n", "none", RENAME_EXCHANGE), ENOENT);
	CHECK_ERRNO(renameat2_("n", "x", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	CHECK_ERRNO(renameat2_("n", "x", 0x100), EINVAL);
}

/* Directories keep their place in the tree under those who stand in them. */
static void moving_cwd(void)
{
	char buf[4096], up[4096];

	CHECK(mkdir("one", 0755) == 0 && mkdir("two", 0755) == 0 && mkdir("one/sub", 0755) == 0);
	CHECK(getcwd(up, sizeof(up)) && chdir("one/sub") == 0 && rename("../../one", "../../two/three") == 0);
	CHECK(getcwd(buf, sizeof(buf)) && !strcmp(buf + strlen(up), "/two/three/sub"));
	CHECK(chdir("../../..") == 0 && getcwd(buf, sizeof(buf)) && !strcmp(buf, up));
	CHECK(chdir("two/three/sub") == 0 && rmdir("../sub") == 0);
	CHECK_ERRNO(syscall(SYS_getcwd, buf, sizeof(buf)), ENOENT);
	CHECK(chdir("../../..") == 0 && access("two/three", F_OK) == 0);
	CHECK_ERRNO(syscall(SYS_getcwd, buf, 2), ERANGE);
}

int main(void)
{
	char dir[] = "namesXXXXXX", cmd[64];

	umask(022);
	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	linking();
	removing();
	making();
	renaming();
	rename_flags();
	moving_cwd();
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	CHECK(chdir("..") == 0 && system(cmd) == 0);
	puts("ok");
	return 0;
}
