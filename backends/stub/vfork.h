/*
 * A child that shares our memory until it executes something else, and the only calls it may make: no libc wrapper, which
 * could touch errno or take a lock, runs on the parent's thread data; no sanitizer sees it.
 */
#ifndef TG_STUB_VFORK_H
#define TG_STUB_VFORK_H

#include <sys/types.h>

#define UNSANITISED	__attribute__((no_sanitize("address", "thread", "undefined")))

/* Run main(arg), which never returns, on the `size` bytes at `stack`; back when it has executed or ended. Or -errno. */
pid_t stub_vfork(void *stack, size_t size, void (*main)(void *), void *arg);

UNSANITISED static inline long raw_call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

#endif
