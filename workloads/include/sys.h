/*
 * Raw system calls without libc.
 *
 * sysN() always calls, and is counted (workload_calls): for set-up and tear-down. trapN() is the call that a workload
 * measures; in the twin (-DTWIN) the same registers are loaded and only the `syscall` instruction is missing. bareN() is
 * sysN() without the count. Results are the kernel's: value or -errno.
 */
#ifndef WORKLOADS_SYS_H
#define WORKLOADS_SYS_H

#include <asm/unistd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;

#ifdef TWIN
#define IS_TWIN		1
#define TRAP_INSN	""
#else
#define IS_TWIN		0
#define TRAP_INSN	"syscall"
#endif

extern u64 workload_calls;			/* of this process, so far */

#define SYS_CALL(insn, nr, a, b, c, d, e, f) ({						\
	register long r10_ __asm__("r10") = (long)(d);					\
	register long r8_ __asm__("r8") = (long)(e);					\
	register long r9_ __asm__("r9") = (long)(f);					\
	long ret_ = (nr);								\
	__asm__ volatile(insn : "+a"(ret_)						\
			 : "D"((long)(a)), "S"((long)(b)), "d"((long)(c)), "r"(r10_), "r"(r8_), "r"(r9_)	\
			 : "rcx", "r11", "memory");					\
	ret_;										\
})

#define sys6(nr, a, b, c, d, e, f)	(workload_calls++, SYS_CALL("syscall", nr, a, b, c, d, e, f))
#define sys4(nr, a, b, c, d)		(workload_calls++, SYS_CALL("syscall", nr, a, b, c, d, 0, 0))
#define sys3(nr, a, b, c)		(workload_calls++, SYS_CALL("syscall", nr, a, b, c, 0, 0, 0))
#define sys2(nr, a, b)		(workload_calls++, SYS_CALL("syscall", nr, a, b, 0, 0, 0, 0))
#define sys1(nr, a)		(workload_calls++, SYS_CALL("syscall", nr, a, 0, 0, 0, 0, 0))
#define sys0(nr)		(workload_calls++, SYS_CALL("syscall", nr, 0, 0, 0, 0, 0, 0))

#define bare4(nr, a, b, c, d)		SYS_CALL("syscall", nr, a, b, c, d, 0, 0)

#define trap6(nr, a, b, c, d, e, f)	SYS_CALL(TRAP_INSN, nr, a, b, c, d, e, f)
#define trap4(nr, a, b, c, d)		SYS_CALL(TRAP_INSN, nr, a, b, c, d, 0, 0)
#define trap3(nr, a, b, c)		SYS_CALL(TRAP_INSN, nr, a, b, c, 0, 0, 0)
#define trap2(nr, a, b)			SYS_CALL(TRAP_INSN, nr, a, b, 0, 0, 0, 0)
#define trap1(nr, a)			SYS_CALL(TRAP_INSN, nr, a, 0, 0, 0, 0, 0)
#define trap0(nr)			SYS_CALL(TRAP_INSN, nr, 0, 0, 0, 0, 0, 0)

/* 1 if the operation did what it should; the twin did nothing, so nothing can be wrong with it. */
static inline u64 good(bool ok)
{
	return IS_TWIN || ok;
}

#endif
