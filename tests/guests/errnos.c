/* Calls whose errors and small print are easily got wrong: which check comes first, what is remembered or inherited. */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

static void positional(void)
{
	struct iovec iov = { "x", 1 };
	int p[2];

	CHECK(pipe(p) == 0);
	/* That it is a pipe comes before how it was opened. */
	CHECK_ERRNO(pwrite(p[0], "x", 1, 0), ESPIPE);
	CHECK_ERRNO(pwritev(p[0], &iov, 1, 0), ESPIPE);
	CHECK_ERRNO(write(p[0], "x", 1), EBADF);
	close(p[0]);
	close(p[1]);
}

static long kcmp(pid_t a, pid_t b, int type, long x, long y) { return syscall(SYS_kcmp, a, b, type, x, y); }

static void compared(void)
{
	int fd = open("/dev/null", O_RDONLY), copy = dup(fd), other = open("/dev/null", O_RDONLY), status;
	pid_t me = getpid(), pid;

	CHECK(kcmp(me, me, KCMP_FILE, fd, copy) == 0);
	CHECK(kcmp(me, me, KCMP_FILE, fd, other) > 0);
	CHECK(kcmp(me, me, KCMP_FILE, fd, other) + kcmp(me, me, KCMP_FILE, other, fd) == 3);
	CHECK_ERRNO(kcmp(me, me, KCMP_FILE, fd, 999), EBADF);
	CHECK_ERRNO(kcmp(me, me, 99, 0, 0), EINVAL);
	CHECK_ERRNO(kcmp(me, 0x3fffffff, KCMP_VM, 0, 0), ESRCH);
	CHECK(kcmp(me, me, KCMP_VM, 0, 0) == 0);
	pid = fork();
	if (!pid) {
		CHECK(kcmp(me, getpid(), KCMP_VM, 0, 0) > 0 && kcmp(me, getpid(), KCMP_FILES, 0, 0) > 0);
		CHECK(kcmp(me, getpid(), KCMP_FILE, fd, fd) == 0);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void slack(void)
{
	int status;
	pid_t pid;

	CHECK(prctl(PR_SET_TIMERSLACK, 70000) == 0 && prctl(PR_GET_TIMERSLACK) == 70000);
	pid = fork();
	if (!pid) {
		/* The parent's current value is the child's default. */
		CHECK(prctl(PR_SET_TIMERSLACK, 123) == 0 && prctl(PR_SET_TIMERSLACK, 0) == 0);
		CHECK(prctl(PR_GET_TIMERSLACK) == 70000);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK_ERRNO(prctl(PR_SET_TIMING, 1), EINVAL);
	CHECK_ERRNO(prctl(PR_SET_THP_DISABLE, 0, 1, 0, 0), EINVAL);
	CHECK_ERRNO(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0), EINVAL);
}

static void sticky(void)
{
	struct timeval tv = { 0, 10 };

	CHECK(personality(PER_LINUX | STICKY_TIMEOUTS) >= 0);
	CHECK(select(0, NULL, NULL, NULL, &tv) == 0 && tv.tv_usec == 10);
	CHECK(personality(PER_LINUX) >= 0);
	CHECK(select(0, NULL, NULL, NULL, &tv) == 0 && tv.tv_usec == 0);
}

static void seals(void)
{
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING);

	CHECK(ftruncate(fd, 8192) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
	CHECK(fallocate(fd, 0, 0, 4096) == 0);
	CHECK_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), EPERM);
	close(fd);
}

static char altstack[40960] __attribute__((aligned(4096)));
static int seen;

static void caught(int signo) { seen = signo; }

/* A frame that can't be written leaves the task's registers as they were, vectors too. */
static void bad_frame(void)
{
	stack_t st = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	struct sigaction sa = { .sa_handler = caught };
	double kept = 123.5;
	long pid = getpid(), tid = syscall(SYS_gettid), ret;
	double now;

	CHECK(sigaction(SIGSEGV, &sa, NULL) == 0 && sigaltstack(&st, NULL) == 0);
	sa.sa_flags = SA_ONSTACK;
	CHECK(sigaction(SIGHUP, &sa, NULL) == 0);
	/* Its lower part would take the state of the vectors, its upper part the frame: let one of the two fail. */
	CHECK(mprotect(altstack, sizeof(altstack) - 8192, PROT_READ) == 0);
	asm volatile("movsd %2, %%xmm7\n\tsyscall\n\tmovsd %%xmm7, %1"
		     : "=a"(ret), "=m"(now) : "m"(kept), "0"(SYS_tgkill), "D"(pid), "S"(tid), "d"(SIGHUP) : "rcx", "r11", "xmm7", "memory");
	CHECK(ret == 0 && now == 123.5 && seen);
	CHECK(mprotect(altstack, sizeof(altstack), PROT_READ) == 0);
	seen = 0;
	asm volatile("movsd %2, %%xmm7\n\tsyscall\n\tmovsd %%xmm7, %1"
		     : "=a"(ret), "=m"(now) : "m"(kept), "0"(SYS_tgkill), "D"(pid), "S"(tid), "d"(SIGHUP) : "rcx", "r11", "xmm7", "memory");
	CHECK(ret == 0 && now == 123.5 && seen == SIGSEGV);
}

static void pages(void)
{
	static char block[65536];
	struct iovec iov = { block, sizeof(block) };
	int p[2], event = eventfd(0, 0);

	CHECK(pipe(p) == 0);
	/* What moves no pages says so, and does not wait for the pipe to fill. */
	CHECK_ERRNO(splice(p[0], NULL, event, NULL, 1, 0), EINVAL);
	CHECK(vmsplice(p[1], &iov, 1, 0) == sizeof(block));
	CHECK_ERRNO(vmsplice(p[1], &iov, 1, SPLICE_F_NONBLOCK), EAGAIN);
	CHECK(read(p[0], block, 4096) == 4096);
	/* As much as there is room for, without waiting for the rest. */
	CHECK(vmsplice(p[1], &iov, 1, 0) == 4096);
	close(p[0]);
	close(p[1]);
	close(event);
}

static void handles(void)
{
	struct { struct file_handle h; char bytes[128]; } x = { .h.handle_bytes = 0 };
	int fd = open("handle.tmp", O_RDWR | O_CREAT, 0600), mount_id, again;
	struct stat a, b;

	CHECK(fd >= 0);
	if (name_to_handle_at(AT_FDCWD, "handle.tmp", &x.h, &mount_id, 0) == -1 && errno == EOPNOTSUPP)
		return;
	CHECK(errno == EOVERFLOW && x.h.handle_bytes > 0);
	CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "none", &x.h, &mount_id, 0), ENOENT);
	CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "handle.tmp", &x.h, &mount_id, 0x40000000), EINVAL);
	CHECK(name_to_handle_at(AT_FDCWD, "handle.tmp", &x.h, &mount_id, 0) == 0);
	if (!geteuid()) {
		again = open_by_handle_at(AT_FDCWD, &x.h, O_RDONLY);
		CHECK(again >= 0 && fstat(fd, &a) == 0 && fstat(again, &b) == 0 && a.st_ino == b.st_ino);
		CHECK_ERRNO(open_by_handle_at(-1, &x.h, O_RDONLY), EBADF);
		x.h.handle_bytes = 0;
		CHECK_ERRNO(open_by_handle_at(AT_FDCWD, &x.h, O_RDONLY), EINVAL);
	}
	CHECK(unlink("handle.tmp") == 0);
}

int main(void)
{
	pages();
	handles();
	positional();
	compared();
	slack();
	sticky();
	seals();
	bad_frame();
	CHECK(getpgid(1) >= 0);
	return 0;
}
