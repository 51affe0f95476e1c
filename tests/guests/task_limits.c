/* Resource limits, scheduling, priorities, prctl, ids: what is remembered and what is refused. */
#include <asm/prctl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>

#include "check.h"

static void limits(void)
{
	struct rlimit old, r;

	CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0 && old.rlim_cur <= old.rlim_max);
	r = (struct rlimit){ 64, old.rlim_max };
	CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur == 64);
	CHECK_ERRNO(dup2(0, 64), EBADF);
	CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
	r = (struct rlimit){ 2, 1 };
	CHECK_ERRNO(setrlimit(RLIMIT_CORE, &r), EINVAL);
	CHECK_ERRNO(getrlimit(99, &r), EINVAL);
	CHECK_ERRNO(getrlimit(RLIMIT_CORE, (struct rlimit *)8), EFAULT);
	CHECK_ERRNO(prlimit(0x3fffffff, RLIMIT_CORE, NULL, &r), ESRCH);
	CHECK(prlimit(getpid(), RLIMIT_STACK, NULL, &r) == 0);
}

static void scheduling(void)
{
	struct sched_param p = { 0 };
	cpu_set_t set, one;
	int cpu = 0;

	CHECK(sched_getscheduler(0) == SCHED_OTHER);
	CHECK(sched_getparam(0, &p) == 0 && p.sched_priority == 0);
	CHECK(sched_setscheduler(0, SCHED_BATCH, &p) == 0 && sched_getscheduler(0) == SCHED_BATCH);
	CHECK(sched_setscheduler(0, SCHED_OTHER, &p) == 0);
	p.sched_priority = 1;
	CHECK_ERRNO(sched_setscheduler(0, SCHED_OTHER, &p), EINVAL);
	CHECK_ERRNO(sched_setscheduler(0, 77, &p), EINVAL);
	CHECK_ERRNO(sched_getscheduler(0x3fffffff), ESRCH);
	CHECK(sched_get_priority_max(SCHED_FIFO) == 99 && sched_get_priority_min(SCHED_RR) == 1);
	CHECK_ERRNO(sched_get_priority_max(4), EINVAL);
	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
	CHECK(sched_getaffinity(0, sizeof(one), &one) == 0 && CPU_COUNT(&one) == 1 && CPU_ISSET(cpu, &one));
	CPU_ZERO(&one);
	CHECK_ERRNO(sched_setaffinity(0, sizeof(one), &one), EINVAL);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	CHECK(sched_yield() == 0);
}

static void priorities(void)
{
	int status, pid;

	CHECK(getpriority(PRIO_PROCESS, 0) == 0);
	pid = fork();
	if (!pid) {
		CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
		CHECK(getpriority(PRIO_PROCESS, 0) == 7);
		CHECK(nice(100) == 19);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	errno = 0;
	CHECK(getpriority(PRIO_PGRP, 0) == 0 && errno == 0);
	CHECK_ERRNO(getpriority(9, 0), EINVAL);
	CHECK_ERRNO(getpriority(PRIO_PROCESS, 0x3fffffff), ESRCH);
}

static void prctls(void)
{
	unsigned long fs = 0;
	char name[16];

	CHECK(prctl(PR_SET_NAME, "a-name-that-is-too-long") == 0);
	CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "a-name-that-is-"));
	CHECK(prctl(PR_GET_DUMPABLE) >= 0);
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	CHECK_ERRNO(prctl(PR_SET_DUMPABLE, 7), EINVAL);
	CHECK(prctl(PR_SET_TIMERSLACK, 123456) == 0 && prctl(PR_GET_TIMERSLACK) == 123456);
	CHECK(prctl(PR_GET_KEEPCAPS) == 0);
	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && prctl(PR_GET_KEEPCAPS) == 1 && prctl(PR_SET_KEEPCAPS, 0) == 0);
	CHECK_ERRNO(prctl(99999, 0, 0, 0, 0), EINVAL);
	CHECK(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs) == 0 && fs != 0);
	CHECK_ERRNO(syscall(SYS_arch_prctl, ARCH_SET_GS, 1ul << 63), EPERM);
	CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x1234000) == 0);
	CHECK(syscall(SYS_arch_prctl, ARCH_GET_GS, &fs) == 0 && fs == 0x1234000);
	CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0) == 0);
	CHECK(personality(0xffffffff) >= 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

static void ids(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	int status, pid;
	uid_t r, e, s;

	CHECK(getresuid(&r, &e, &s) == 0 && r == getuid() && e == geteuid());
	CHECK(setresuid(-1, -1, -1) == 0);
	CHECK(getgroups(0, NULL) >= 0);
	CHECK_ERRNO(syscall(SYS_getgroups, -1, NULL), EINVAL);
	CHECK(syscall(SYS_capget, &h, d) == 0);
	h.version = 1;
	CHECK_ERRNO(syscall(SYS_capget, &h, d), EINVAL);
	CHECK(h.version == _LINUX_CAPABILITY_VERSION_3);
	if (geteuid())
		return;
	pid = fork();
	if (!pid) {
		CHECK(setgroups(0, NULL) == 0 && getgroups(0, NULL) == 0);
		CHECK(setresgid(1000, 1000, 1000) == 0 && getegid() == 1000);
		CHECK(seteuid(1000) == 0 && getuid() == 0 && geteuid() == 1000);
		CHECK(seteuid(0) == 0);
		CHECK(setuid(1000) == 0 && getuid() == 1000 && geteuid() == 1000);
		CHECK_ERRNO(setuid(0), EPERM);
		CHECK_ERRNO(setgid(0), EPERM);
		h.version = _LINUX_CAPABILITY_VERSION_3;
		CHECK(syscall(SYS_capget, &h, d) == 0 && d[0].effective == 0 && d[0].permitted == 0);
		CHECK_ERRNO(setpriority(PRIO_PROCESS, 0, -5), EACCES);
		CHECK_ERRNO(kill(getppid(), 0), EPERM);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void usage(void)
{
	struct rusage ru;
	volatile long sum = 0;
	struct tms tms;

	do {
		for (int i = 0; i < 1000000; i++)
			sum += i;
		CHECK(getrusage(RUSAGE_SELF, &ru) == 0);
	} while (ru.ru_utime.tv_sec == 0 && ru.ru_utime.tv_usec < 20000);
	CHECK(getrusage(RUSAGE_THREAD, &ru) == 0);
	CHECK_ERRNO(getrusage(5, &ru), EINVAL);
	CHECK(times(&tms) != (clock_t)-1 && tms.tms_utime >= 1);
}

static volatile sig_atomic_t over_limit;

static void on_xcpu(int signo)
{
	over_limit++;
}

/* The soft limit's signal can be handled, the hard one's cannot. */
static void cpu_time(void)
{
	struct rlimit r = { 1, 2 };
	int status, pid = fork();

	if (!pid) {
		signal(SIGXCPU, on_xcpu);
		setrlimit(RLIMIT_CPU, &r);
		while (!over_limit)
			;
		signal(SIGXCPU, SIG_DFL);
		for (;;)
			;
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	CHECK(WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL);
}

int main(void)
{
	limits();
	scheduling();
	priorities();
	prctls();
	ids();
	usage();
	cpu_time();
	puts("task_limits ok");
	return 0;
}
