/* Signal frames: layout, floating-point and vector state, and what rt_sigreturn makes of garbage. */
#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"

#define FP_MAGIC1 0x46505853u
#define FP_MAGIC2 0x46505845u

static volatile int ran, layout_ok, fresh_ok;
static volatile unsigned mxcsr_inside;
static int mangle;

static unsigned sw32(const unsigned char *fp, int at)
{
	unsigned v;

	memcpy(&v, fp + 464 + at, 4);
	return v;
}

static void check_layout(ucontext_t *uc)
{
	const unsigned char *fp = (void *)uc->uc_mcontext.fpregs;
	unsigned size = sw32(fp, 16), magic2;

	memcpy(&magic2, fp + size, 4);
	layout_ok = !((unsigned long)fp & 63) && sw32(fp, 0) == FP_MAGIC1 && sw32(fp, 4) == size + 4 && size >= 576 &&
		    magic2 == FP_MAGIC2 && uc->uc_flags == 7 && uc->uc_link == NULL && sw32(fp, 8) & 3;
}

static void handler(int signo, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	__m128 ones = _mm_set1_ps(1), v;

	ran++;
	check_layout(uc);
	mxcsr_inside = _mm_getcsr();
	if (mangle) {
		float eight[4] = { 8, 8, 8, 8 };

		memcpy(&uc->uc_mcontext.fpregs->_xmm[8], eight, 16);
		uc->uc_mcontext.gregs[REG_R12] = 0x1234567890abcdef;
	}
	/* Clobber as much as a handler can. */
	asm volatile("movaps %1, %0\n\tmovaps %1, %%xmm8\n\tmovaps %1, %%xmm15\n\tfninit\n\tfld1"
		     : "=x"(v) : "x"(ones) : "xmm8", "xmm15");
	_mm_setcsr(0x1f80 | 0x8000);
}

static void sse_and_general(void)
{
	float in[4] = { 1.5f, 2.5f, 3.5f, 4.5f }, out[4], out15[4];
	unsigned long r12_out, pid = getpid();
	unsigned csr = 0x1f80 | 0x6000, csr_after;

	for (mangle = 0; mangle < 2; mangle++) {
		long ret;

		_mm_setcsr(csr);
		asm volatile("movups %[in], %%xmm8\n\tmovups %[in], %%xmm15\n\tmov $77, %%r12\n\t"
			     "mov %[nr], %%eax\n\tmov %[pid], %%rdi\n\tmov %[sig], %%esi\n\tsyscall\n\t"
			     "movups %%xmm8, %[out]\n\tmovups %%xmm15, %[out15]\n\tmov %%r12, %[r12]"
			     : [out] "=m"(out), [out15] "=m"(out15), [r12] "=m"(r12_out), "=&a"(ret)
			     : [in] "m"(in), [nr] "i"(SYS_kill), [pid] "m"(pid), [sig] "i"(SIGUSR1)
			     : "rdi", "rsi", "rcx", "r11", "r12", "xmm8", "xmm15", "memory");
		csr_after = _mm_getcsr();
		_mm_setcsr(0x1f80);
		CHECK(ran == mangle + 1 && ret == 0);
		CHECK(layout_ok);
		CHECK(mxcsr_inside == 0x1f80);
		CHECK(csr_after == csr);
		CHECK(!memcmp(out15, in, 16));
		if (mangle)
			CHECK(out[0] == 8 && out[3] == 8 && r12_out == 0x1234567890abcdef);
		else
			CHECK(!memcmp(out, in, 16) && r12_out == 77);
	}
	mangle = 0;
}

static int has_avx(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) && (c & bit_AVX);
}

__attribute__((target("avx"))) static void avx_handler(int signo)
{
	_mm256_zeroall();
	ran++;
}

__attribute__((target("avx"))) static void avx(void)
{
	float in[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, out[8];
	unsigned long pid = getpid();

	signal(SIGUSR2, avx_handler);
	asm volatile("vmovups %[in], %%ymm9\n\tmov %[nr], %%eax\n\tmov %[pid], %%rdi\n\tmov %[sig], %%esi\n\tsyscall\n\t"
		     "vmovups %%ymm9, %[out]\n\tvzeroupper"
		     : [out] "=m"(out)
		     : [in] "m"(in), [nr] "i"(SYS_kill), [pid] "m"(pid), [sig] "i"(SIGUSR2)
		     : "rax", "rdi", "rsi", "rcx", "r11", "xmm9", "memory");
	CHECK(!memcmp(in, out, sizeof(in)));
}

/* ---- frames that a program makes up ---- */

enum garbage { NO_FRAME, BAD_FP_ADDRESS, BAD_MXCSR, BAD_HEADER, BAD_RIP, BAD_CS, NO_FP, NO_MAGIC, FINE, BAD_FLAGS };

static int how;

static void damage(int signo, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	greg_t *g = uc->uc_mcontext.gregs;
	unsigned char *fp = (void *)uc->uc_mcontext.fpregs;
	unsigned short cs = 0x10;

	switch (how) {
	case BAD_FP_ADDRESS:
		uc->uc_mcontext.fpregs = (void *)0x1000;
		break;
	case BAD_MXCSR:
		uc->uc_mcontext.fpregs->mxcsr = 0xffffffff;
		break;
	case BAD_HEADER:
		memset(fp + 512, 0xff, 64);
		break;
	case BAD_RIP:
		g[REG_RIP] = 0x8000000000000000;
		break;
	case BAD_CS:
		memcpy(&g[REG_CSGSFS], &cs, 2);
		break;
	case NO_FP:
		uc->uc_mcontext.fpregs = NULL;
		break;
	case NO_MAGIC:
		memset(fp + 464, 0, 48);
		break;
	case BAD_FLAGS:
		g[REG_EFL] = ~0x100ll & ~0x40000ll;	/* IOPL, VM, NT and all: none of these is the program's */
		break;
	}
}

static int outcome(int damage_kind)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		struct sigaction sa = { .sa_sigaction = damage, .sa_flags = SA_SIGINFO };

		signal(SIGSEGV, SIG_DFL);
		how = damage_kind;
		if (how == NO_FRAME) {
			asm volatile("xor %%esp, %%esp\n\tmov $15, %%eax\n\tsyscall" : : : "memory");
		} else {
			sigaction(SIGUSR1, &sa, NULL);
			raise(SIGUSR1);
		}
		_exit(33);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void garbage(void)
{
	CHECK(outcome(FINE) == 33);
	CHECK(outcome(NO_FRAME) == -SIGSEGV);
	CHECK(outcome(BAD_FP_ADDRESS) == -SIGSEGV);
	CHECK(outcome(BAD_MXCSR) == -SIGSEGV);
	CHECK(outcome(BAD_HEADER) == -SIGSEGV);
	CHECK(outcome(BAD_RIP) == -SIGSEGV);
	CHECK(outcome(BAD_CS) == -SIGSEGV);
	CHECK(outcome(NO_FP) == 33);
	CHECK(outcome(NO_MAGIC) == 33);
	CHECK(outcome(BAD_FLAGS) == 33);
}

/* Direction flag and alignment of the stack at the handler's entry. */
static volatile unsigned long entry_sp, entry_flags;

static void on_entry(int signo)
{
	entry_sp = (unsigned long)__builtin_frame_address(0);
	asm volatile("pushf\n\tpop %0" : "=r"(entry_flags));
}

static void entry(void)
{
	unsigned long pid = getpid(), flags;

	signal(SIGUSR1, on_entry);
	asm volatile("std\n\tmov %[nr], %%eax\n\tmov %[pid], %%rdi\n\tmov %[sig], %%esi\n\tsyscall\n\t"
		     "pushf\n\tpop %[flags]\n\tcld"
		     : [flags] "=r"(flags) : [nr] "i"(SYS_kill), [pid] "m"(pid), [sig] "i"(SIGUSR1)
		     : "rax", "rdi", "rsi", "rcx", "r11", "memory");
	CHECK(!(entry_flags & 0x400) && (flags & 0x400));
	CHECK(entry_sp % 16 == 0);
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(SIGUSR1, &sa, NULL);
	sse_and_general();
	if (has_avx())
		avx();
	entry();
	garbage();
	puts("ok");
	return 0;
}
