/* Random damage to signal frames: whatever comes of it is the child's own affair, never its parent's or the kernel's. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"

#define ROUNDS 300

static unsigned long state;

static unsigned long rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static unsigned long value(void)
{
	static const unsigned long special[] = { 0, ~0ul, 1ul << 63, 0x7fffffffffff, 0x7f0000000000, 0x7effffffffff, 4096, 0x800000000000,
						 0x7fffffff, 0xffffffff00000000 };

	return rnd() & 1 ? rnd() : special[rnd() % (sizeof(special) / sizeof(*special))];
}

static void damage(int signo, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	unsigned char *fp = (void *)uc->uc_mcontext.fpregs;

	for (int n = rnd() % 4 + 1; n; n--) {
		unsigned long v = value();

		switch (rnd() % 5) {
		case 0:
			uc->uc_mcontext.gregs[rnd() % NGREG] = v;
			break;
		case 1:		/* header and software bytes of the XSAVE image */
			memcpy(fp + 464 + rnd() % 14 * 8, &v, 8);
			break;
		case 2:
			memcpy(fp + rnd() % 512, &v, 8);
			break;
		case 3:
			((unsigned long *)uc)[rnd() % 38] = v;
			break;
		case 4:
			uc->uc_mcontext.fpregs = (void *)(rnd() & 1 ? v : (unsigned long)fp + (rnd() % 64));
			break;
		}
	}
}

static void child(int round)
{
	struct sigaction sa = { .sa_sigaction = damage, .sa_flags = SA_SIGINFO };

	state = 0x9e3779b97f4a7c15ul * (round + 1);
	sigaction(SIGUSR1, &sa, NULL);
	if (round % 8 == 7) {
		/* No frame at all: a stack pointer that leads anywhere. */
		unsigned long sp = value();

		asm volatile("mov %0, %%rsp\n\tmov %1, %%eax\n\tsyscall" : : "r"(sp), "i"(SYS_rt_sigreturn) : "memory", "rax");
	}
	raise(SIGUSR1);
	_exit(0);
}

int main(void)
{
	struct timespec ts = { 0, 1000000 };

	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = fork(), r = 0;
		int status;

		CHECK(pid >= 0);
		if (!pid)
			child(i);
		for (int ms = 0; ms < 30 && !r; ms++) {
			r = waitpid(pid, &status, WNOHANG);
			if (!r)
				nanosleep(&ts, NULL);
		}
		if (!r) {
			CHECK(kill(pid, SIGKILL) == 0);
			CHECK(waitpid(pid, &status, 0) == pid);
		}
	}
	puts("ok");
	return 0;
}
