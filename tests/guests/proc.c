/* /proc and /dev: what programs read there. Only what must be the same natively is checked. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "check.h"

static char text[1 << 20];

static char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = 0, got;

	CHECK(fd >= 0);
	while ((got = read(fd, text + n, sizeof(text) - n - 1)) > 0)
		n += got;
	CHECK(got == 0);
	text[n] = 0;
	close(fd);
	return text;
}

static void self(void)
{
	char buf[256], want[64], path[256];
	int pid, ppid, n;
	char comm[32], state;
	ssize_t len = readlink("/proc/self", buf, sizeof(buf));

	snprintf(want, sizeof(want), "%d", getpid());
	CHECK(len == (ssize_t)strlen(want) && !memcmp(buf, want, len));
	CHECK(sscanf(slurp("/proc/self/stat"), "%d (%31[^)]) %c %d", &pid, comm, &state, &ppid) == 4);
	CHECK(pid == getpid() && ppid == getppid() && state == 'R' && !strcmp(comm, "proc"));
	snprintf(want, sizeof(want), "Pid:\t%d\n", getpid());
	CHECK(strstr(slurp("/proc/self/status"), want) && strstr(text, "Threads:\t1\n"));
	CHECK(!strcmp(slurp("/proc/self/comm"), "proc\n"));
	CHECK(strlen(slurp("/proc/self/cmdline")) > 4 && !strcmp(text + strlen(text) - 4, "proc"));
	CHECK(readlink("/proc/self/exe", path, sizeof(path)) > 4);
	CHECK(getcwd(buf, sizeof(buf)) && (n = readlink("/proc/self/cwd", path, sizeof(path))) > 0);
	CHECK(n == (int)strlen(buf) && !memcmp(buf, path, n));
	CHECK(strstr(slurp("/proc/self/maps"), "[stack]") && strstr(text, "r-xp"));
	CHECK(strstr(slurp("/proc/self/limits"), "Max open files"));
	CHECK_ERRNO(open("/proc/99999999", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("/proc/self/nothing", O_RDONLY), ENOENT);
	snprintf(buf, sizeof(buf), "/proc/%d/task/%ld/stat", getpid(), syscall(SYS_gettid));
	CHECK(access(buf, R_OK) == 0);
}

static void descriptors(void)
{
	int p[2], fd = open("proc.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600), again;
	char link[64], buf[300], cwd[200];
	struct stat st;
	struct dirent *d;
	DIR *dir;
	int seen = 0, n;

	CHECK(pipe(p) == 0 && fd >= 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, sizeof(buf) - 1);
	CHECK(n > 0 && getcwd(cwd, sizeof(cwd)));
	buf[n] = 0;
	strcat(cwd, "/proc.tmp");
	CHECK(!strcmp(buf, cwd));
	CHECK(lstat(link, &st) == 0 && S_ISLNK(st.st_mode) && (st.st_mode & 0700) == 0700);
	CHECK(write(fd, "content", 7) == 7);
	again = open(link, O_RDONLY);
	CHECK(again >= 0 && read(again, buf, 300) == 7);
	unlink("proc.tmp");
	n = readlink(link, buf, sizeof(buf) - 1);
	buf[n] = 0;
	CHECK(strstr(buf, " (deleted)"));
	/* The link still leads to the file, although no name does. */
	CHECK(stat(link, &st) == 0 && st.st_size == 7);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", p[0]);
	n = readlink(link, buf, sizeof(buf) - 1);
	buf[n] = 0;
	CHECK(fstat(p[0], &st) == 0);
	snprintf(cwd, sizeof(cwd), "pipe:[%lu]", (unsigned long)st.st_ino);
	CHECK(!strcmp(buf, cwd));
	dir = opendir("/proc/self/fd");
	CHECK(dir != NULL);
	while ((d = readdir(dir)))
		seen += atoi(d->d_name) == p[1];
	CHECK(seen == 1);
	closedir(dir);
	snprintf(link, sizeof(link), "/proc/self/fdinfo/%d", fd);
	CHECK(strstr(slurp(link), "pos:\t7\n") && strstr(text, "flags:\t0"));
	/* A pipe opened by its link is the same pipe. */
	snprintf(link, sizeof(link), "/dev/fd/%d", p[1]);
	again = open(link, O_WRONLY);
	CHECK(again >= 0 && write(again, "via", 3) == 3 && read(p[0], buf, 300) == 3);
	close(again);
	close(p[1]);
	/* Nor does opening it wait for the other end. */
	snprintf(link, sizeof(link), "/dev/fd/%d", p[0]);
	again = open(link, O_RDONLY);
	CHECK(again >= 0 && read(again, buf, 300) == 0);
}

/* The machine may be busy: what must come in the end may take its time. */
static int comes(const char *path, const char *part)
{
	for (int i = 0; i < 500; i++) {
		if (strstr(slurp(path), part))
			return 1;
		usleep(10000);
	}
	return 0;
}

static void other_process(void)
{
	char path[64], buf[64];
	int p[2], status, fd;
	pid_t pid;
	static volatile long value = 0x1234567890;

	CHECK(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		char c;

		close(p[1]);
		_exit(read(p[0], &c, 1) == 1);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	CHECK(comes(path, ") S "));
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && pread(fd, buf, sizeof(value), (off_t)(unsigned long)&value) == sizeof(value));
	CHECK(!memcmp(buf, (void *)&value, sizeof(value)));
	CHECK_ERRNO(pread(fd, buf, 8, 16), EIO);
	close(fd);
	close(p[1]);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	CHECK(comes(path, ") Z "));
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK_ERRNO(open(path, O_RDONLY), ENOENT);
}

static void machine(void)
{
	struct utsname u;
	char want[100];
	double up, idle;
	long total;
	int fd;

	CHECK(uname(&u) == 0);
	snprintf(want, sizeof(want), "%s\n", u.release);
	CHECK(!strcmp(slurp("/proc/sys/kernel/osrelease"), want));
	CHECK(!strncmp(slurp("/proc/version"), "Linux version ", 14) && strstr(text, u.release));
	CHECK(sscanf(slurp("/proc/meminfo"), "MemTotal: %ld kB", &total) == 1 && total > 1000);
	CHECK(sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle) == 2 && up > 0);
	CHECK(!strncmp(slurp("/proc/stat"), "cpu ", 4) && strstr(text, "\nbtime "));
	CHECK(strstr(slurp("/proc/cpuinfo"), "processor\t: 0"));
	CHECK(strstr(slurp("/proc/mounts"), " /proc proc "));
	CHECK(strstr(slurp("/proc/filesystems"), "proc"));
	CHECK(slurp("/sys/devices/system/cpu/online")[0] == '0');
	fd = open("/proc/uptime", O_RDONLY);
	CHECK(read(fd, text, 100) > 0 && lseek(fd, 0, SEEK_SET) == 0 && read(fd, text, 100) > 0);
	CHECK_ERRNO(write(fd, "x", 1), EBADF);
	close(fd);
	CHECK(strlen(slurp("/proc/sys/kernel/random/uuid")) == 37);
}

static void devices(void)
{
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR),
	    rnd = open("/dev/urandom", O_RDONLY);
	char a[32], b[32];
	struct stat st;
	char *m;

	CHECK(null >= 0 && zero >= 0 && full >= 0 && rnd >= 0);
	CHECK(read(null, a, 8) == 0 && write(null, a, 8) == 8);
	memset(a, 1, sizeof(a));
	CHECK(read(zero, a, 32) == 32 && a[0] == 0 && a[31] == 0);
	CHECK_ERRNO(write(full, a, 1), ENOSPC);
	CHECK(read(rnd, a, 32) == 32 && read(rnd, b, 32) == 32 && memcmp(a, b, 32));
	CHECK(fstat(null, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
	m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
	CHECK(m != MAP_FAILED && m[5000] == 0);
	m[5000] = 1;
	CHECK(!isatty(null));
}

int main(void)
{
	self();
	descriptors();
	other_process();
	machine();
	devices();
	puts("ok");
	return 0;
}
