/* Signal handlers without libc: the kernel's own struct and the restorer that x86-64 demands. */
#ifndef WORKLOADS_SIGNAL_RAW_H
#define WORKLOADS_SIGNAL_RAW_H

#include "sys.h"

#define RAW_SA_SIGINFO	0x4
#define RAW_SA_RESTORER	0x04000000

struct raw_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	u64 mask;
};

void raw_restorer(void);

__asm__(".pushsection .text\n"
	"raw_restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	".popsection\n");

static inline long raw_signal(int signo, void *handler, unsigned long flags)
{
	struct raw_sigaction act = { handler, flags | RAW_SA_RESTORER, raw_restorer, 0 };

	return sys4(__NR_rt_sigaction, signo, &act, 0, sizeof(act.mask));
}

#endif
