/* sigaltstack: its rules, and handlers that run on it. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#define SIZE (64 * 1024)

static char *stack;
static volatile int ran, on_it, eperm, flags_inside;
static volatile stack_t in_frame;

static void handler(int signo, siginfo_t *si, void *uc)
{
	stack_t now, other = { .ss_sp = stack, .ss_size = SIZE };
	char here;

	ran++;
	on_it = &here > stack && &here < stack + SIZE;
	sigaltstack(NULL, &now);
	flags_inside = now.ss_flags;
	eperm = sigaltstack(&other, NULL) == -1 && errno == EPERM;
	in_frame = ((ucontext_t *)uc)->uc_stack;
}

static void set(int flags)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
}

static volatile int steps;

static void nested(int signo)
{
	steps++;
	if (signo == SIGUSR1) {
		raise(SIGUSR2);
		steps += 10;
	}
}

static void deep(int signo)
{
	_exit(42);
}

/* A SIGSEGV handler without a stack to run on kills; with one it runs. */
static void overflow(int use_altstack, int want_exit)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		struct sigaction sa = { .sa_handler = deep, .sa_flags = use_altstack ? SA_ONSTACK : 0 };
		char *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		sigaction(SIGSEGV, &sa, NULL);
		asm volatile("mov %0, %%rsp\n\tpush %%rax" : : "r"(bad + 2048) : "memory");
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (want_exit)
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	else
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* A frame that does not fit on the alternate stack is a SIGSEGV, not a write below it. */
static void too_small(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		struct sigaction sa = { .sa_handler = deep, .sa_flags = SA_ONSTACK };
		stack_t ss = { .ss_sp = stack + SIZE / 2, .ss_size = 2048 };

		sigaltstack(&ss, NULL);
		sigaction(SIGUSR1, &sa, NULL);
		memset(stack, 0x5a, SIZE / 2);
		signal(SIGSEGV, SIG_DFL);
		raise(SIGUSR1);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	/* Small machines' frames fit into 2048 bytes. */
	CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) || (WIFEXITED(status) && WEXITSTATUS(status) == 42));
}

int main(void)
{
	stack_t ss, old;
	struct sigaction sa;

	stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED);
	CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == SS_DISABLE && old.ss_size == 0);
	ss = (stack_t){ .ss_sp = stack, .ss_size = 2047 };
	CHECK_ERRNO(sigaltstack(&ss, NULL), ENOMEM);
	ss = (stack_t){ .ss_sp = stack, .ss_size = SIZE, .ss_flags = 4 };
	CHECK_ERRNO(sigaltstack(&ss, NULL), EINVAL);
	CHECK_ERRNO(sigaltstack((void *)8, NULL), EFAULT);
	ss.ss_flags = 0;
	CHECK(sigaltstack(&ss, NULL) == 0);
	CHECK(sigaltstack(NULL, &old) == 0 && old.ss_sp == stack && old.ss_size == SIZE && old.ss_flags == 0);

	set(0);
	raise(SIGUSR1);
	CHECK(ran == 1 && !on_it && !eperm && flags_inside == 0);
	set(SA_ONSTACK);
	raise(SIGUSR1);
	CHECK(ran == 2 && on_it && eperm && flags_inside == SS_ONSTACK);
	CHECK(in_frame.ss_sp == stack && in_frame.ss_size == SIZE && in_frame.ss_flags == 0);

	sa = (struct sigaction){ .sa_handler = nested, .sa_flags = SA_ONSTACK };
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	raise(SIGUSR1);
	CHECK(steps == 12);

	ss.ss_flags = SS_AUTODISARM;
	CHECK(sigaltstack(&ss, NULL) == 0);
	set(SA_ONSTACK);
	raise(SIGUSR1);
	/* Inside it is off and may be changed; a stack that is then in use is not replaced by the one in the frame. */
	CHECK(ran == 3 && on_it && !eperm && flags_inside == SS_DISABLE);
	CHECK(in_frame.ss_flags == (int)SS_AUTODISARM);
	CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == 0 && old.ss_size == SIZE);

	ss = (stack_t){ .ss_flags = SS_DISABLE };
	CHECK(sigaltstack(&ss, NULL) == 0);
	set(SA_ONSTACK);
	raise(SIGUSR1);
	CHECK(ran == 4 && !on_it);

	ss = (stack_t){ .ss_sp = stack, .ss_size = SIZE };
	CHECK(sigaltstack(&ss, NULL) == 0);
	overflow(1, 1);
	overflow(0, 0);
	too_small();
	puts("ok");
	return 0;
}
