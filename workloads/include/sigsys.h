/* getpid made a SIGSYS by the shortest possible seccomp filter: load the number, compare, trap. */
#ifndef WORKLOADS_SIGSYS_H
#define WORKLOADS_SIGSYS_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "floor.h"

/* `action` is what seccomp does with getpid; every other call is allowed. Returns what seccomp(2) returns. */
static inline long sigsys_filter(u32 action, u32 flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getpid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		workload_fail(errno, __LINE__);
	return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static inline void sigsys_install(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER };

	CHECK_LIBC(sigaction(SIGSYS, &act, NULL));
	CHECK_LIBC(sigsys_filter(SECCOMP_RET_TRAP, 0));
}

/* The trapped loop: the handler puts `answer` into rax. */
static inline u64 sigsys_loop(u64 n, long answer)
{
	u64 right = 0, i;
	long ret;

	for (i = 0; i < n; i++) {
		__asm__ volatile("mov $39, %%eax\n\t" TRAP_INSN : "=a"(ret) : : "rcx", "r11", "memory");
		right += good(ret == answer);
	}
	return right;
}

#endif
