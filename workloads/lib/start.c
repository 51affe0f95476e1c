/* Entry of freestanding workloads: no libc, no TLS, nothing but the stack that the loader left. */
#include "workload.h"

__attribute__((used)) _Noreturn void start_c(unsigned long *sp);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call start_c\n"
	"	hlt\n");

void start_c(unsigned long *sp)
{
	int argc = (int)sp[0];
	char **argv = (char **)(sp + 1);
	unsigned long *p = sp + 2 + argc;
	int status;

	while (*p)
		p++;
	workload_auxv = p + 1;
	status = workload_main(argc, argv);
	sys1(__NR_exit_group, status);
	__builtin_unreachable();
}

/* gcc may call these for struct copies. */
void *memcpy(void *to, const void *from, size_t n)
{
	void *ret = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return ret;
}

void *memset(void *to, int c, size_t n)
{
	void *ret = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
	return ret;
}
