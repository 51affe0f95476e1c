/* Call sites that are hot, and so may have been rewritten: registers, flags, segment bases and single steps are as ever. */
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "check.h"

enum { HOT = 3000, HWCAP2_FSGSBASE = 2, NT = 0x4000 };

/* The two forms of site: a constant number before it, and room for a long jump behind its end. */
asm(".text; .balign 64; constant_site: mov $110, %eax; syscall; ret; .balign 64, 0x90;"
    "variable_site: syscall; ret; .balign 64, 0x90");
extern char constant_site[], variable_site[];

/*
 * Call `site` with `flags` set and every register known. Out: what flags and registers are afterwards. No C code runs with
 * such flags: that may be misaligned or go backwards.
 */
struct state {
	uint64_t rax, flags, rcx, r11, changed, redzone;
};

void probe(void *site, uint64_t flags, struct state *out);
asm(".balign 64\n"
    "probe: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "push %rdx; push %rdi; push %rsi\n"
    "mov $0x1111, %rbx; mov $0x2222, %rbp; mov $0x3333, %r12; mov $0x4444, %r13; mov $0x5555, %r14; mov $0x6666, %r15\n"
    "mov $0x7777, %rdx; mov $0x8888, %r8; mov $0x9999, %r9; mov $0xaaaa, %r10\n"
    "movq %rbx, %xmm0; movq %rbp, %xmm7; movq %r12, %xmm15\n"
    "movq $0x1234, -120(%rsp)\n"		/* the red zone, of which CALL takes the first word */
    "mov $110, %eax; mov 8(%rsp), %rdi; mov (%rsp), %rsi\n"
    "pushfq; or %rsi, (%rsp); popfq\n"
    "call *%rdi\n"
    "pushfq; pop %rsi; push $2; popfq; cld\n"
    "mov 8(%rsp), %rdi; cmp %rdi, %rdi\n"
    "mov 16(%rsp), %rdi\n"
    "mov %rax, 0(%rdi); mov %rsi, 8(%rdi); mov %rcx, 16(%rdi); mov %r11, 24(%rdi)\n"
    "mov -120(%rsp), %rax; mov %rax, 40(%rdi)\n"
    "xor $0x1111, %rbx; xor $0x2222, %rbp; xor $0x3333, %r12; xor $0x4444, %r13; xor $0x5555, %r14; xor $0x6666, %r15\n"
    "xor $0x7777, %rdx; xor $0x8888, %r8; xor $0x9999, %r9; xor $0xaaaa, %r10\n"
    "or %rbp, %rbx; or %r12, %rbx; or %r13, %rbx; or %r14, %rbx; or %r15, %rbx\n"
    "or %rdx, %rbx; or %r8, %rbx; or %r9, %rbx; or %r10, %rbx\n"
    "movq %xmm0, %rax; xor $0x1111, %rax; or %rax, %rbx\n"
    "movq %xmm7, %rax; xor $0x2222, %rax; or %rax, %rbx\n"
    "movq %xmm15, %rax; xor $0x3333, %rax; or %rax, %rbx\n"
    "mov %rbx, 32(%rdi)\n"
    "add $24, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret");

static void check_flags(void *site)
{
	/* Arithmetic flags, DF, NT, AC, ID. */
	static const uint64_t flags[] = { 0, 0x8d5, 0x400, 0x4000, 0x40000, 0x200000, 0x44cd5 };
	struct state s;

	for (int round = 0; round < 50; round++)
		for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
			probe(site, flags[i], &s);
			CHECK(s.rax == (uint64_t)getppid());
			CHECK((s.flags & flags[i] & ~NT) == (flags[i] & ~NT));	/* that it does no harm is enough */
			CHECK(!(s.flags & ~flags[i] & 0x44400));
			CHECK(s.changed == 0);
			CHECK(s.redzone == 0x1234);
			CHECK((s.r11 & 0x40cd5) == (s.flags & 0x40cd5));
			CHECK(s.rcx - (uint64_t)site <= 7);
		}
}

/* ---- segment bases ---- */

static uint64_t words[4] = { 0xfeed, 0xbeef, 1, 2 };

static uint64_t gs_word(void)
{
	uint64_t v;

	asm volatile("mov %%gs:0, %0" : "=r"(v));
	return v;
}

/* A call while FS is somebody else's: it is then not this thread that the site knows. */
static long call_with_fs(void *site, void *fs)
{
	long ret;

	asm volatile("rdfsbase %%r12; wrfsbase %2; mov $110, %%eax; call *%1; wrfsbase %%r12"
		     : "=&a"(ret) : "r"(site), "r"(fs) : "r12", "rcx", "r11", "memory");
	return ret;
}

static void check_bases(void *site)
{
	struct state s;

	CHECK(!syscall(SYS_arch_prctl, ARCH_SET_GS, &words[0]));
	for (int i = 0; i < 100; i++) {
		probe(site, 0, &s);
		CHECK(s.rax == (uint64_t)getppid() && gs_word() == 0xfeed);
	}
	if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
		return;
	asm volatile("wrgsbase %0" : : "r"(&words[1]));
	for (int i = 0; i < 100; i++) {
		CHECK(call_with_fs(site, &words[i % 4]) == getppid());
		CHECK(gs_word() == 0xbeef);
	}
}

/* ---- single steps ---- */

extern char step_after[];
static volatile int steps, steps_behind;

static void on_trap(int signo, siginfo_t *info, void *uc)
{
	uint64_t rip = ((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];

	steps++;
	if (rip - (uint64_t)step_after < 8)
		steps_behind++;
}

__attribute__((noinline)) static long step_over(void *site)
{
	long ret;

	/* The label must be one, whatever is inlined where. */
	asm volatile("pushfq; orq $0x100, (%%rsp); popfq; mov $110, %%eax; call *%1; step_after: nop; nop; nop; nop;"
		     "pushfq; andq $~0x100, (%%rsp); popfq"
		     : "=&a"(ret) : "r"(site) : "rcx", "r11", "memory", "cc");
	return ret;
}

static void check_steps(void *site)
{
	struct sigaction sa = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	sigaction(SIGTRAP, &sa, NULL);
	for (int i = 0; i < 20; i++) {
		steps = steps_behind = 0;
		CHECK(step_over(site) == getppid());
		CHECK(steps > 8 && steps_behind >= 4);
	}
	signal(SIGTRAP, SIG_DFL);
}

int main(void)
{
	static void *const sites[] = { constant_site, variable_site };
	struct state s;

	for (int i = 0; i < 2; i++) {
		check_flags(sites[i]);
		check_steps(sites[i]);
		for (int n = 0; n < HOT; n++)
			probe(sites[i], 0, &s);
		check_flags(sites[i]);
		check_bases(sites[i]);
		check_steps(sites[i]);
	}
	return 0;
}
