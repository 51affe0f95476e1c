/* Dispositions, masks, siginfo, nesting. */
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "check.h"

static volatile sig_atomic_t count, depth, max_depth, order[8], norder;
static volatile int last_signo, last_code, last_pid, last_value;
static volatile sigset_t in_handler;
static sigset_t saved_in_frame;

static void plain(int signo)
{
	last_signo = signo;
	count++;
	if (norder < 8)
		order[norder++] = signo;
}

static void info(int signo, siginfo_t *si, void *uc)
{
	sigset_t now;

	last_signo = signo;
	last_code = si->si_code;
	last_pid = si->si_pid;
	last_value = si->si_value.sival_int;
	sigprocmask(SIG_BLOCK, NULL, &now);
	in_handler = now;
	saved_in_frame = ((ucontext_t *)uc)->uc_sigmask;
	count++;
}

static void nested(int signo)
{
	depth++;
	if (depth > max_depth)
		max_depth = depth;
	if (count++ < 3)
		raise(signo);
	depth--;
}

static void set(int signo, void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	CHECK(sigaction(signo, &sa, NULL) == 0);
}

static void siginfo_and_mask(void)
{
	struct sigaction sa = { .sa_sigaction = info, .sa_flags = SA_SIGINFO }, old;
	sigset_t s;

	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR2);
	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHECK(sigaction(SIGUSR1, NULL, &old) == 0);
	CHECK(old.sa_sigaction == info && (old.sa_flags & SA_SIGINFO) && sigismember(&old.sa_mask, SIGUSR2));

	sigemptyset(&s);
	sigaddset(&s, SIGHUP);
	sigprocmask(SIG_SETMASK, &s, NULL);
	count = 0;
	CHECK(raise(SIGUSR1) == 0);
	CHECK(count == 1 && last_signo == SIGUSR1);
	CHECK(last_code == SI_TKILL && last_pid == getpid());
	s = in_handler;
	CHECK(sigismember(&s, SIGUSR1) && sigismember(&s, SIGUSR2) && sigismember(&s, SIGHUP));
	CHECK(sigismember(&saved_in_frame, SIGHUP) && !sigismember(&saved_in_frame, SIGUSR1));
	sigprocmask(SIG_BLOCK, NULL, &s);
	CHECK(!sigismember(&s, SIGUSR1) && sigismember(&s, SIGHUP));
	CHECK(kill(getpid(), SIGUSR1) == 0);
	CHECK(last_code == SI_USER && count == 2);
	CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 77 }) == 0);
	CHECK(last_code == SI_QUEUE && last_value == 77);
	sigemptyset(&s);
	sigprocmask(SIG_SETMASK, &s, NULL);
}

static void pending_and_order(void)
{
	sigset_t s, p;

	set(SIGUSR1, plain, 0);
	set(SIGUSR2, plain, 0);
	set(SIGHUP, plain, 0);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGUSR2);
	sigaddset(&s, SIGHUP);
	CHECK(sigprocmask(SIG_BLOCK, &s, NULL) == 0);
	count = norder = 0;
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGUSR1);
	kill(getpid(), SIGHUP);
	CHECK(count == 0);
	CHECK(sigpending(&p) == 0 && sigismember(&p, SIGUSR1) && sigismember(&p, SIGUSR2) && sigismember(&p, SIGHUP));
	CHECK(sigprocmask(SIG_UNBLOCK, &s, NULL) == 0);
	CHECK(count == 3);
	/* The last frame that is pushed runs first. */
	CHECK(norder == 3 && order[0] == SIGHUP && order[1] == SIGUSR2 && order[2] == SIGUSR1);
	CHECK(sigpending(&p) == 0 && !sigismember(&p, SIGUSR1));
	/* Becoming ignored discards what is pending. */
	sigprocmask(SIG_BLOCK, &s, NULL);
	raise(SIGUSR1);
	set(SIGUSR1, SIG_IGN, 0);
	CHECK(sigpending(&p) == 0 && !sigismember(&p, SIGUSR1));
	set(SIGUSR1, plain, 0);
	sigprocmask(SIG_UNBLOCK, &s, NULL);
	CHECK(count == 3);
}

static void flags(void)
{
	struct sigaction old;

	set(SIGUSR1, nested, SA_NODEFER);
	count = depth = max_depth = 0;
	raise(SIGUSR1);
	CHECK(count == 4 && max_depth == 4);
	set(SIGUSR1, nested, 0);
	count = depth = max_depth = 0;
	raise(SIGUSR1);
	CHECK(count == 4 && max_depth == 1);
	set(SIGUSR1, plain, SA_RESETHAND);
	count = 0;
	raise(SIGUSR1);
	CHECK(count == 1);
	CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
}

struct kernel_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};

static void errors(void)
{
	struct kernel_action a = { 0 };
	unsigned long mask = 0;

	CHECK_ERRNO(syscall(SYS_rt_sigaction, 0, NULL, &a, 8), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, 65, NULL, &a, 8), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGKILL, &a, NULL, 8), EINVAL);
	CHECK(syscall(SYS_rt_sigaction, SIGKILL, NULL, &a, 8) == 0);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, &a, 4), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8), EFAULT);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, (void *)8, 8), EFAULT);
	CHECK_ERRNO(syscall(SYS_rt_sigprocmask, 7, &mask, NULL, 8), EINVAL);
	CHECK(syscall(SYS_rt_sigprocmask, 7, NULL, &mask, 8) == 0);
	CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &mask, NULL, 16), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigpending, &mask, 16), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigsuspend, &mask, 4), EINVAL);
	/* Flags that mean nothing are not kept, SIGKILL and SIGSTOP can't be blocked. */
	a = (struct kernel_action){ .handler = SIG_IGN, .flags = 0x400 | SA_RESTART, .mask = ~0ul };
	CHECK(syscall(SYS_rt_sigaction, SIGUSR2, &a, NULL, 8) == 0);
	CHECK(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &a, 8) == 0);
	CHECK(a.flags == SA_RESTART);
	CHECK(a.mask == ~(1ul << (SIGKILL - 1) | 1ul << (SIGSTOP - 1)));
	mask = ~0ul;
	CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8) == 0);
	CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, 8) == 0);
	CHECK(mask == ~(1ul << (SIGKILL - 1) | 1ul << (SIGSTOP - 1)));
	mask = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
}

int main(void)
{
	siginfo_and_mask();
	pending_and_order();
	flags();
	errors();
	puts("ok");
	return 0;
}
