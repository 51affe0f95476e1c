/* seccomp: filters and strict mode, what each verdict does, who inherits them, what is no program. */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define NR	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARG0	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]))
#define RET(x)	BPF_STMT(BPF_RET | BPF_K, x)
#define IF_EQ(k, t, f) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, t, f)

static int load(struct sock_filter *f, int n, unsigned int flags)
{
	struct sock_fprog p = { .len = n, .filter = f };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}

/* The call `nr` gets the verdict. */
static int load_for(int nr, unsigned int verdict, unsigned int flags)
{
	struct sock_filter f[] = { NR, IF_EQ(nr, 0, 1), RET(verdict), RET(SECCOMP_RET_ALLOW) };

	return load(f, 4, flags);
}

static int child_status(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		fn();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void bad_programs(void)
{
	struct sock_filter no_end[] = { NR };
	struct sock_filter far[] = { BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), RET(0) };
	struct sock_filter wide[] = { IF_EQ(1, 200, 0), RET(0) };
	struct sock_filter past[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), RET(0) };
	struct sock_filter odd[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), RET(0) };
	struct sock_filter packet[] = { BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), RET(0) };
	struct sock_filter by_zero[] = { BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), RET(0) };
	struct sock_filter shift[] = { BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), RET(0) };
	struct sock_filter unset[] = { BPF_STMT(BPF_LD | BPF_MEM, 3), RET(0) };
	struct sock_filter maybe[] = { IF_EQ(1, 0, 1), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LD | BPF_MEM, 3), RET(0) };
	struct sock_filter scratch[] = { BPF_STMT(BPF_ST, 16), RET(0) };
	struct sock_filter code[] = { { .code = 0xffff }, RET(0) };

	CHECK_ERRNO(load(no_end, 1, 0), EINVAL);
	CHECK_ERRNO(load(no_end, 0, 0), EINVAL);
	CHECK_ERRNO(load(far, 2, 0), EINVAL);
	CHECK_ERRNO(load(wide, 2, 0), EINVAL);
	CHECK_ERRNO(load(past, 2, 0), EINVAL);
	CHECK_ERRNO(load(odd, 2, 0), EINVAL);
	CHECK_ERRNO(load(packet, 2, 0), EINVAL);
	CHECK_ERRNO(load(by_zero, 2, 0), EINVAL);
	CHECK_ERRNO(load(shift, 2, 0), EINVAL);
	CHECK_ERRNO(load(unset, 2, 0), EINVAL);
	CHECK_ERRNO(load(maybe, 4, 0), EINVAL);
	CHECK_ERRNO(load(scratch, 2, 0), EINVAL);
	CHECK_ERRNO(load(code, 2, 0), EINVAL);
	CHECK_ERRNO(load((void *)8, 2, 0), EFAULT);
	CHECK_ERRNO(load(far, 2, 1 << 20), EINVAL);
}

static void errno_verdict(void)
{
	struct sock_filter second[] = { NR, IF_EQ(SYS_getpgid, 0, 3), ARG0, IF_EQ(7, 0, 1), RET(SECCOMP_RET_ERRNO | 99),
					RET(SECCOMP_RET_ALLOW) };

	CHECK(load_for(SYS_getpgid, SECCOMP_RET_ERRNO | 42, 0) == 0);
	CHECK(prctl(PR_GET_SECCOMP) == 2);
	CHECK_ERRNO(syscall(SYS_getpgid, 0), 42);
	/* Of equal verdicts the newest filter's; the graver one of any filter. */
	CHECK(load(second, 6, 0) == 0);
	CHECK_ERRNO(syscall(SYS_getpgid, 7), 99);
	CHECK_ERRNO(syscall(SYS_getpgid, 8), 42);
	CHECK(load_for(SYS_getpgid, SECCOMP_RET_LOG, 0) == 0);
	CHECK_ERRNO(syscall(SYS_getpgid, 8), 42);
	if (!fork()) {
		CHECK_ERRNO(syscall(SYS_getpgid, 8), 42);
		_exit(0);
	}
	wait(NULL);
	CHECK_ERRNO(prctl(PR_SET_SECCOMP, 1), EINVAL);
}

static volatile int traps, trapped_call, trapped_errno, trapped_code;

static void on_sys(int sig, siginfo_t *si, void *ctx)
{
	traps++;
	trapped_call = si->si_syscall;
	trapped_errno = si->si_errno;
	trapped_code = si->si_code;
	((ucontext_t *)ctx)->uc_mcontext.gregs[REG_RAX] = 1234;
}

static void trap_verdict(void)
{
	sigaction(SIGSYS, &(struct sigaction){ .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO }, NULL);
	CHECK(load_for(SYS_getpgid, SECCOMP_RET_TRAP | 17, 0) == 0);
	CHECK(syscall(SYS_getpgid, 0) == 1234);
	CHECK(traps == 1 && trapped_call == SYS_getpgid && trapped_errno == 17 && trapped_code == 1);
}

static void kill_verdict(void)
{
	load_for(SYS_getpgid, SECCOMP_RET_KILL_PROCESS, 0);
	syscall(SYS_getpgid, 0);
}

static void trace_verdict(void)
{
	CHECK(load_for(SYS_getpgid, SECCOMP_RET_TRACE | 1, 0) == 0);
	CHECK_ERRNO(syscall(SYS_getpgid, 0), ENOSYS);
}

static void strict(void)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	write(-1, "", 0);
	syscall(SYS_exit, 0);
}

static void strict_other(void)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	syscall(SYS_getpid);
}

static void unprivileged(void)
{
	setresuid(65534, 65534, 65534);
	CHECK_ERRNO(load_for(SYS_getpgid, SECCOMP_RET_ALLOW, 0), EACCES);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(load_for(SYS_getpgid, SECCOMP_RET_ALLOW, 0) == 0);
}

static volatile int go, seen;

static void *sibling(void *arg)
{
	while (!go)
		usleep(1000);
	syscall(SYS_getpgid, 0);
	seen = errno;
	return NULL;
}

static void all_threads(void)
{
	pthread_t th;

	pthread_create(&th, NULL, sibling, NULL);
	CHECK(load_for(SYS_getpgid, SECCOMP_RET_ERRNO | 55, SECCOMP_FILTER_FLAG_TSYNC) == 0);
	go = 1;
	pthread_join(th, NULL);
	CHECK(seen == 55);
}

static void over_exec(void)
{
	CHECK(load_for(SYS_uname, SECCOMP_RET_ERRNO | EPROTO, 0) == 0);
	CHECK(freopen("/dev/null", "w", stderr) != NULL);
	execlp("uname", "uname", NULL);
}

int main(void)
{
	unsigned int action = SECCOMP_RET_TRAP;
	int status;

	if (!geteuid())
		CHECK(child_status(unprivileged) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_GET_SECCOMP) == 0);
	CHECK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
	action = 0x12345;
	CHECK_ERRNO(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action), EOPNOTSUPP);
	bad_programs();
	CHECK(child_status(errno_verdict) == 0);
	CHECK(child_status(trap_verdict) == 0);
	CHECK(child_status(trace_verdict) == 0);
	status = child_status(kill_verdict);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	CHECK(child_status(strict) == 0);
	status = child_status(strict_other);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK(child_status(all_threads) == 0);
	status = child_status(over_exec);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	return 0;
}
