/*
 * clone() on a stack of its own, and not libc's, which would touch the thread data of a process that has left libc behind.
 * The child is the caller's sibling (CLONE_PARENT), with the caller's own exit signal.
 */
#include "backends/stub/vfork.h"

#include <sched.h>
#include <sys/syscall.h>

#include "lib/types.h"

UNSANITISED pid_t stub_vfork(void *stack, size_t size, void (*main)(void *), void *arg)
{
	u64 *sp = (u64 *)((u8 *)stack + size);
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	long ret;

	*--sp = (u64)arg;
	*--sp = (u64)main;
	__asm__ volatile("syscall\n\ttest %%eax, %%eax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tpop %%rax\n\tpop %%rdi\n\t"
			 "call *%%rax\n\tud2\n1:"
			 : "=a"(ret) : "a"(SYS_clone), "D"(CLONE_VM | CLONE_VFORK | CLONE_PARENT), "S"(sp), "d"(0), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return (pid_t)ret;
}
