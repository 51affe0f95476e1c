/*
 * Calls that the sentry may handle without leaving the guest (kvm.sentry=guest), at the borders where it has to leave:
 * something pending, somebody waiting, a page that is not there, a filter, a descriptor that is none.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static volatile sig_atomic_t got;
static void *volatile nowhere = (void *)8;

static void on_signal(int signo) { got += signo; }

static void identity(void)
{
	pid_t pid = getpid(), child;
	int status;

	CHECK(syscall(SYS_getpid) == pid && syscall(SYS_gettid) == pid);
	CHECK(syscall(SYS_getpid | 1ull << 32) == pid);		/* the high half does not count */
	CHECK(syscall(SYS_getpgrp) == getpgid(0) && getuid() == geteuid() && getgid() == getegid());
	child = fork();
	if (!child)
		_exit(syscall(SYS_getpid) == pid || syscall(SYS_gettid) != getpid());
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* The kernel's call, with one buffer for both masks. */
static long mask_call(int how, uint64_t *set, uint64_t *old) { return syscall(SYS_rt_sigprocmask, how, set, old, 8); }

static void masks(void)
{
	uint64_t usr1 = 1ull << (SIGUSR1 - 1), m = usr1 | 1ull << (SIGKILL - 1), now;

	signal(SIGUSR1, on_signal);
	CHECK(mask_call(SIG_BLOCK, &m, &m) == 0 && m == 0);
	CHECK(mask_call(SIG_BLOCK, NULL, &now) == 0 && now == usr1);
	CHECK_ERRNO(mask_call(7, &m, NULL), EINVAL);
	CHECK(mask_call(7, NULL, NULL) == 0);
	CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &m, NULL, 4), EINVAL);
	CHECK_ERRNO(mask_call(SIG_BLOCK, nowhere, NULL), EFAULT);
	kill(getpid(), SIGUSR1);
	CHECK(got == 0);
	CHECK(mask_call(SIG_SETMASK, &m, &m) == 0 && m == usr1);
	CHECK(got == SIGUSR1);			/* delivered before the call returns */
	CHECK(mask_call(SIG_BLOCK, NULL, &now) == 0 && now == 0);
	/* The mask is set although the old one has nowhere to go. */
	m = usr1;
	CHECK_ERRNO(mask_call(SIG_BLOCK, &m, nowhere), EFAULT);
	CHECK(mask_call(SIG_UNBLOCK, &m, &now) == 0 && now == usr1);
}

static void pipes(void)
{
	char out[4096], in[8192];
	int p[2], status;
	pid_t child;

	CHECK(pipe(p) == 0);
	memset(out, 'x', sizeof(out));
	for (int i = 0; i < 3; i++)
		CHECK(write(p[1], out, 1000) == 1000);
	CHECK(read(p[0], in, 10) == 10 && read(p[0], in, sizeof(in)) == 2990);
	CHECK(write(p[1], out, 0) == 0 && read(p[0], in, 0) == 0);
	CHECK_ERRNO(write(p[1], nowhere, 1), EFAULT);
	CHECK_ERRNO(write(p[0], out, 1), EBADF);
	CHECK_ERRNO(read(p[1], in, 1), EBADF);
	CHECK_ERRNO(read(-1, in, 1), EBADF);
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK_ERRNO(read(p[0], in, 1), EAGAIN);
	CHECK(fcntl(p[0], F_SETFL, 0) == 0);
	child = fork();
	if (!child) {				/* sleeps first, then is woken */
		close(p[1]);
		_exit(read(p[0], in, 5) == 5 && read(p[0], in, 1) == 0 ? 0 : 1);
	}
	usleep(20000);
	CHECK(write(p[1], "hello", 5) == 5);
	close(p[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(read(p[0], in, 1) == 0);
	close(p[0]);
	CHECK(pipe(p) == 0 && close(p[0]) == 0);
	signal(SIGPIPE, on_signal);
	got = 0;
	CHECK_ERRNO(write(p[1], out, 1), EPIPE);
	CHECK(got == SIGPIPE);
	close(p[1]);
}

/* To and from memory that was never touched, is only to be read, or is gone: as ever. */
static void untouched(void)
{
	char *m = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int p[2];

	CHECK(m != MAP_FAILED && pipe(p) == 0);
	CHECK(write(p[1], m + 4090, 12) == 12);
	CHECK(read(p[0], m + 8186, 6) == 6);
	CHECK(mprotect(m + 4096, 4096, PROT_READ) == 0);
	CHECK_ERRNO(read(p[0], m + 4096, 6), EFAULT);
	CHECK(munmap(m + 4096, 4096) == 0);
	CHECK_ERRNO(write(p[1], m + 4096, 1), EFAULT);
	close(p[0]);
	close(p[1]);
}

static void counters(void)
{
	uint64_t n = 3;
	int e = eventfd(0, EFD_NONBLOCK);

	CHECK(e >= 0);
	CHECK_ERRNO(read(e, &n, 8), EAGAIN);
	CHECK(write(e, &n, 8) == 8 && write(e, &n, 8) == 8);
	CHECK_ERRNO(read(e, &n, 7), EINVAL);
	CHECK(read(e, &n, 8) == 8 && n == 6);
	n = UINT64_MAX;
	CHECK_ERRNO(write(e, &n, 8), EINVAL);
	close(e);
}

static void seeking(void)
{
	char name[] = "short_calls.XXXXXX";
	int fd = mkstemp(name), p[2];

	CHECK(fd >= 0 && unlink(name) == 0 && write(fd, "0123456789", 10) == 10 && pipe(p) == 0);
	CHECK(lseek(fd, 3, SEEK_SET) == 3 && lseek(fd, 2, SEEK_CUR) == 5 && lseek(fd, -1, SEEK_END) == 9);
	CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
	CHECK_ERRNO(lseek(fd, 0, 77), EINVAL);
	CHECK(lseek(fd, 0, SEEK_CUR) == 9);
	CHECK(lseek(fd, 0, SEEK_HOLE) == 10);
	CHECK_ERRNO(lseek(p[0], 0, SEEK_CUR), ESPIPE);
	CHECK_ERRNO(lseek(999, 0, SEEK_CUR), EBADF);
	close(fd);
}

static uint32_t word;
static long woken;

static long futex(uint32_t *at, int op, uint32_t val) { return syscall(SYS_futex, at, op, val, NULL, NULL, -1); }

static void *waiter(void *arg)
{
	while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
		futex(&word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0);
	return NULL;
}

static void futexes(void)
{
	pthread_t th;

	CHECK(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1) == 0);
	CHECK_ERRNO(futex(&word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1), EAGAIN);
	CHECK_ERRNO(futex((uint32_t *)((char *)&word + 1), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1), EINVAL);
	CHECK_ERRNO(futex(nowhere, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1), EFAULT);
	CHECK(pthread_create(&th, NULL, waiter, NULL) == 0);
	usleep(20000);
	__atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
	woken = futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
	CHECK(woken == 0 || woken == 1);
	CHECK(pthread_join(th, NULL) == 0);
}

static void clocks(void)
{
	struct timespec last = { 0 }, now;

	for (int i = 0; i < 20; i++) {
		CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0);
		CHECK(now.tv_sec > last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec >= last.tv_nsec));
		last = now;
	}
	CHECK_ERRNO(syscall(SYS_clock_gettime, 99, &now), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_REALTIME, nowhere), EFAULT);
}

/* A call that comes back at once, over and over, must not keep a signal out. */
static void interrupted(void)
{
	timer_t timer;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct itimerspec soon = { .it_value.tv_nsec = 20000000 };

	got = 0;
	signal(SIGALRM, on_signal);
	CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
	while (!got)
		syscall(SYS_getpid), sched_yield();
	CHECK(got == SIGALRM);
}

/* Last: a filter sees the calls that need no host as well. */
static void filtered(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
	CHECK_ERRNO(syscall(SYS_getpid), 77);
	CHECK(syscall(SYS_gettid) > 0);
}

int main(void)
{
	identity();
	masks();
	pipes();
	untouched();
	counters();
	seeking();
	futexes();
	clocks();
	interrupted();
	filtered();
	return 0;
}
