/* For hostile guests: where stubs live, children that may do anything, and a refusal to run outside the sandbox. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/systrap/abi.h"

#define PTRACE_IMAGE	0x7f1000000000ull	/* backends/stub/stub_abi.h, which has the same names as systrap's */
#define PTRACE_CHANNEL	0x7f1000100000ull

static uint64_t rnd_state = 88172645463325252ull;

static inline uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static inline void nap_us(long us)
{
	nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
}

static inline void refuse_outside(void)
{
	struct utsname u;

	if (!uname(&u) && strstr(u.release, "trapgate"))
		return;
	fprintf(stderr, "a hostile guest: runs only inside the sandbox\n");
	exit(2);
}

/* ---- memory that may not be there ---- */

static sigjmp_buf fault_out;

static void on_fault(int signo) { siglongjmp(fault_out, signo); }

static inline void catch_faults(void)
{
	struct sigaction sa = { .sa_handler = on_fault };

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
}

static inline int can_read(uint64_t addr)
{
	if (sigsetjmp(fault_out, 1))
		return 0;
	(void)*(volatile uint8_t *)addr;
	return 1;
}

/* Writes back what is there. */
static inline int can_write(uint64_t addr)
{
	volatile uint8_t *p = (void *)addr;

	if (sigsetjmp(fault_out, 1))
		return 0;
	*p = *p;
	return 1;
}

/* ---- children ---- */

static inline void reap(pid_t pid, int ms)
{
	for (int i = 0; i < ms; i += 5) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
		nap_us(5000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Run in a child, for `ms` at most. Whatever becomes of it, it can be killed and waited for. */
static inline void attempt(void (*fn)(uint64_t), uint64_t arg, int ms)
{
	pid_t pid = fork();

	if (!pid) {
		rnd_state ^= arg * 0x9e3779b97f4a7c15ull + 1;
		fn(arg);
		_exit(0);
	}
	if (pid > 0)
		reap(pid, ms);
}

#endif
