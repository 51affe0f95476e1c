/* inotify: what is told of names, contents and attributes, in which order, and how watches end. */
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "check.h"

#define DIR_NAME	"inotify.dir"

static int ifd;
static char buf[8192];
static int at, len;

/* The next event, which must be there. */
static struct inotify_event *next(void)
{
	struct inotify_event *e;

	if (at == len) {
		at = 0;
		len = read(ifd, buf, sizeof(buf));
		CHECK(len > 0);
	}
	e = (struct inotify_event *)(buf + at);
	at += sizeof(*e) + e->len;
	return e;
}

static u_int32_t is(int wd, unsigned int mask, const char *name)
{
	struct inotify_event *e = next();

	if (e->wd != wd || e->mask != mask || strcmp(e->len ? e->name : "", name)) {
		fprintf(stderr, "got wd %d mask %x name %s, want %d %x %s\n", e->wd, e->mask, e->len ? e->name : "", wd, mask, name);
		return 0;
	}
	return 1 + e->cookie;
}

static void quiet(void)
{
	struct pollfd p = { .fd = ifd, .events = POLLIN };

	CHECK(at == len && poll(&p, 1, 0) == 0);
	CHECK_ERRNO(read(ifd, buf, sizeof(buf)), EAGAIN);
}

static void contents(int dir)
{
	int fd, wd, n;
	char c;

	fd = open(DIR_NAME "/a", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	CHECK(is(dir, IN_CREATE, "a") && is(dir, IN_OPEN, "a"));
	wd = inotify_add_watch(ifd, DIR_NAME "/a", IN_ALL_EVENTS);
	CHECK(wd > 0 && wd != dir);
	CHECK(write(fd, "xy", 2) == 2 && pread(fd, &c, 1, 0) == 1);
	CHECK(is(dir, IN_MODIFY, "a") && is(wd, IN_MODIFY, "") && is(dir, IN_ACCESS, "a") && is(wd, IN_ACCESS, ""));
	/* The same again and again is told once. */
	CHECK(pread(fd, &c, 1, 0) == 1 && pread(fd, &c, 1, 0) == 1);
	CHECK(ioctl(ifd, FIONREAD, &n) == 0 && n == 4 * 16 + 2 * 16);
	CHECK(is(dir, IN_ACCESS, "a") && is(wd, IN_ACCESS, "") && is(dir, IN_ACCESS, "a") && is(wd, IN_ACCESS, ""));
	CHECK(fchmod(fd, 0644) == 0 && ftruncate(fd, 0) == 0 && close(fd) == 0);
	CHECK(is(dir, IN_ATTRIB, "a") && is(wd, IN_ATTRIB, ""));
	CHECK(is(dir, IN_MODIFY, "a") && is(wd, IN_MODIFY, ""));
	CHECK(is(dir, IN_CLOSE_WRITE, "a") && is(wd, IN_CLOSE_WRITE, ""));
	CHECK(link(DIR_NAME "/a", DIR_NAME "/b") == 0 && unlink(DIR_NAME "/b") == 0);
	CHECK(is(wd, IN_ATTRIB, "") && is(dir, IN_CREATE, "b") && is(wd, IN_ATTRIB, "") && is(dir, IN_DELETE, "b"));
	CHECK(unlink(DIR_NAME "/a") == 0);
	CHECK(is(wd, IN_ATTRIB, "") && is(wd, IN_DELETE_SELF, "") && is(wd, IN_IGNORED, "") && is(dir, IN_DELETE, "a"));
	CHECK_ERRNO(inotify_rm_watch(ifd, wd), EINVAL);
	quiet();
}

static void renames(int dir)
{
	u_int32_t from, to;
	int wd;

	CHECK(mkdir(DIR_NAME "/d", 0700) == 0);
	CHECK(is(dir, IN_CREATE | IN_ISDIR, "d"));
	wd = inotify_add_watch(ifd, DIR_NAME "/d", IN_MOVE_SELF | IN_DELETE_SELF);
	CHECK(wd > 0 && rename(DIR_NAME "/d", DIR_NAME "/e") == 0);
	from = is(dir, IN_MOVED_FROM | IN_ISDIR, "d");
	to = is(dir, IN_MOVED_TO | IN_ISDIR, "e");
	CHECK(from > 1 && from == to);
	CHECK(is(wd, IN_MOVE_SELF, ""));
	CHECK(rmdir(DIR_NAME "/e") == 0);
	CHECK(is(wd, IN_DELETE_SELF, "") && is(wd, IN_IGNORED, "") && is(dir, IN_DELETE | IN_ISDIR, "e"));
	quiet();
}

static void masks(int dir)
{
	CHECK(inotify_add_watch(ifd, DIR_NAME, IN_CREATE | IN_ONESHOT) == dir);
	CHECK_ERRNO(inotify_add_watch(ifd, DIR_NAME, IN_CREATE | IN_MASK_CREATE), EEXIST);
	CHECK(mkdir(DIR_NAME "/x", 0700) == 0 && rmdir(DIR_NAME "/x") == 0);
	CHECK(is(dir, IN_CREATE | IN_ISDIR, "x") && is(dir, IN_IGNORED, ""));
	quiet();
	CHECK_ERRNO(inotify_rm_watch(ifd, dir), EINVAL);
	CHECK_ERRNO(inotify_add_watch(ifd, DIR_NAME, 0), EINVAL);
	CHECK_ERRNO(inotify_add_watch(ifd, "/dev/null", IN_ONLYDIR | IN_OPEN), ENOTDIR);
	CHECK_ERRNO(inotify_add_watch(ifd, "no/such", IN_OPEN), ENOENT);
	CHECK_ERRNO(inotify_add_watch(-1, DIR_NAME, IN_OPEN), EBADF);
	CHECK_ERRNO(inotify_add_watch(0, DIR_NAME, IN_OPEN), EINVAL);
	CHECK_ERRNO(inotify_add_watch(ifd, (char *)1, IN_OPEN), EFAULT);
	CHECK_ERRNO(inotify_init1(1), EINVAL);
}

/* A reader that has no room for the next event. */
static void small(void)
{
	int wd = inotify_add_watch(ifd, DIR_NAME, IN_CREATE);

	CHECK(wd > 0 && mkdir(DIR_NAME "/y", 0700) == 0);
	CHECK_ERRNO(read(ifd, buf, sizeof(struct inotify_event)), EINVAL);
	CHECK(is(wd, IN_CREATE | IN_ISDIR, "y"));
	CHECK(inotify_rm_watch(ifd, wd) == 0 && is(wd, IN_IGNORED, ""));
	CHECK(rmdir(DIR_NAME "/y") == 0);
	quiet();
}

int main(void)
{
	int null = open("/dev/null", O_RDONLY), dir;

	CHECK(dup2(null, 0) == 0);
	CHECK(mkdir(DIR_NAME, 0700) == 0);
	ifd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	CHECK(ifd >= 0);
	dir = inotify_add_watch(ifd, DIR_NAME, IN_ALL_EVENTS);
	CHECK(dir > 0);
	contents(dir);
	renames(dir);
	masks(dir);
	small();
	CHECK(rmdir(DIR_NAME) == 0);
	return 0;
}
