/* getdents: everything once, positions that survive removals, telldir and seekdir, small buffers. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check.h"

#define FILES 1000

static void fill(void)
{
	char name[32];

	CHECK(mkdir("many", 0755) == 0);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "many/f%d", i);
		int fd = open(name, O_CREAT | O_WRONLY, 0600);

		if (fd < 0 || close(fd))
			CHECK(!"create");
	}
}

static int count(DIR *d)
{
	char seen[FILES] = { 0 };
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d))) {
		int i;

		n++;
		if (sscanf(e->d_name, "f%d", &i) == 1) {
			if (seen[i]++ || e->d_type != DT_REG)
				CHECK(!"twice or wrong type");
		} else if (e->d_type != DT_DIR) {
			CHECK(!"type of dots");
		}
	}
	return n;
}

static void positions(void)
{
	DIR *d = opendir("many");
	char after[256];
	struct dirent *e;
	long pos;

	CHECK(d && count(d) == FILES + 2);
	rewinddir(d);
	for (int i = 0; i < 500; i++)
		CHECK(readdir(d));
	pos = telldir(d);
	CHECK((e = readdir(d)));
	strcpy(after, e->d_name);
	rewinddir(d);
	CHECK(readdir(d));
	seekdir(d, pos);
	CHECK((e = readdir(d)) && !strcmp(e->d_name, after));
	closedir(d);
}

static void removing(void)
{
	DIR *d = opendir("many");
	struct dirent *e;
	int removed = 0;

	CHECK(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] != 'f')
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0))
			CHECK(!"unlink");
		removed++;
	}
	CHECK(removed == FILES);
	closedir(d);
	CHECK((d = opendir("many")) && count(d) == 2);
	closedir(d);
}

static void errors(void)
{
	int fd = open("many", O_RDONLY | O_DIRECTORY), file = open("file", O_CREAT | O_RDWR, 0600);
	char buf[1024], empty;

	CHECK(fd >= 0 && file >= 0);
	CHECK_ERRNO(syscall(SYS_getdents64, file, buf, sizeof(buf)), ENOTDIR);
	CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, 10), EINVAL);
	CHECK_ERRNO(syscall(SYS_getdents64, fd, (void *)8, sizeof(buf)), EFAULT);
	CHECK_ERRNO(syscall(SYS_getdents64, -1, buf, sizeof(buf)), EBADF);
	CHECK(syscall(SYS_getdents64, fd, buf, sizeof(buf)) == 48);
	CHECK(syscall(SYS_getdents64, fd, buf, sizeof(buf)) == 0);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && syscall(SYS_getdents64, fd, buf, 24) == 24);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && syscall(SYS_getdents, fd, buf, sizeof(buf)) == 48 && buf[23] == DT_DIR);
	CHECK(read(fd, &empty, 1) == -1);	/* EISDIR, or EINVAL on some file systems */
	CHECK(rmdir("many") == 0);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, sizeof(buf)), ENOENT);
	CHECK(unlink("file") == 0);
}

static void added_while_reading(void)
{
	DIR *d;
	struct dirent *e;
	int n = 0;

	CHECK(mkdir("grow", 0755) == 0 && mkdir("grow/x", 0755) == 0 && (d = opendir("grow")));
	while ((e = readdir(d)) && n++ < 100)
		;
	CHECK(n == 3);
	CHECK(mkdir("grow/y", 0755) == 0);
	rewinddir(d);
	for (n = 0; (e = readdir(d)); n++)
		;
	CHECK(n == 4);
	closedir(d);
	CHECK(rmdir("grow/x") == 0 && rmdir("grow/y") == 0 && rmdir("grow") == 0);
}

int main(void)
{
	char dir[] = "dirsXXXXXX";

	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	fill();
	positions();
	removing();
	errors();
	added_while_reading();
	CHECK(chdir("..") == 0 && rmdir(dir) == 0);
	puts("ok");
	return 0;
}
