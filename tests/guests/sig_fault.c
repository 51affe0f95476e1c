/* Synchronous faults: signal, code, address and machine state as the handler sees them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"

static sigjmp_buf back;
static volatile int signo, code;
static void *volatile addr;
static volatile greg_t rip, err, trapno, cr2;

static void handler(int s, siginfo_t *si, void *uc)
{
	greg_t *g = ((ucontext_t *)uc)->uc_mcontext.gregs;

	signo = s;
	code = si->si_code;
	addr = si->si_addr;
	rip = g[REG_RIP];
	err = g[REG_ERR];
	trapno = g[REG_TRAPNO];
	cr2 = g[REG_CR2];
	siglongjmp(back, 1);
}

#define EXPECT(stmt, want_signo, want_code)					\
	do {									\
		signo = code = 0;						\
		if (!sigsetjmp(back, 1)) {					\
			stmt;							\
		}								\
		CHECK(signo == (want_signo) && code == (want_code));		\
	} while (0)

static void segv(void)
{
	char *page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile char *p;

	CHECK(page != MAP_FAILED);
	EXPECT(*(volatile char *)0x10 = 1, SIGSEGV, SEGV_MAPERR);
	CHECK(addr == (void *)0x10 && cr2 == 0x10 && trapno == 14 && err == 6);
	mprotect(page, 4096, PROT_READ);
	p = page + 123;
	EXPECT(*p = 1, SIGSEGV, SEGV_ACCERR);
	CHECK(addr == page + 123 && (err & 6) == 6 && trapno == 14);
	CHECK(*p == 0);
	mprotect(page, 4096, PROT_NONE);
	EXPECT((void)*p, SIGSEGV, SEGV_ACCERR);
	CHECK(addr == page + 123 && (err & 6) == 4);
	munmap(page + 4096, 4096);
	p = page + 4096 + 8;
	EXPECT((void)*p, SIGSEGV, SEGV_MAPERR);
	CHECK(addr == page + 4096 + 8 && err == 4);
	/* Execution of data, and of nothing. */
	EXPECT(((void (*)(void))(page + 2 * 4096))(), SIGSEGV, SEGV_ACCERR);
	CHECK(addr == page + 2 * 4096 && rip == (greg_t)addr && (err & 0x14) == 0x14);
	EXPECT(((void (*)(void))0x20)(), SIGSEGV, SEGV_MAPERR);
	CHECK(rip == 0x20);
	/* Not a canonical address: no page fault, so no address. */
	EXPECT((void)*(volatile char *)0x8000000000000000ul, SIGSEGV, SI_KERNEL);
	CHECK(addr == NULL && trapno == 13);
	EXPECT(asm volatile("hlt"), SIGSEGV, SI_KERNEL);
	CHECK(trapno == 13 && err == 0);
}

static void bus(void)
{
	char name[] = "/tmp/guestXXXXXX";
	int fd = mkstemp(name);
	char *p;

	CHECK(fd >= 0 && unlink(name) == 0);
	CHECK(ftruncate(fd, 4096) == 0);
	p = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	p[0] = 1;
	EXPECT(((volatile char *)p)[4096] = 1, SIGBUS, BUS_ADRERR);
	CHECK(addr == p + 4096);
	munmap(p, 2 * 4096);
	close(fd);
}

static void other(void)
{
	volatile int zero = 0, x = 1;

	EXPECT(x = x / zero, SIGFPE, FPE_INTDIV);
	CHECK(addr == (void *)rip && trapno == 0);
	EXPECT(asm volatile("ud2"), SIGILL, ILL_ILLOPN);
	CHECK(addr == (void *)rip && trapno == 6);
}

static void breakpoint_and_step(void)
{
	greg_t after;

	signo = 0;
	if (!sigsetjmp(back, 1))
		asm volatile("int3" : : : "memory");
	CHECK(signo == SIGTRAP && code == SI_KERNEL && trapno == 3);
	CHECK(*(unsigned char *)(rip - 1) == 0xcc);
	signo = 0;
	if (!sigsetjmp(back, 1))
		asm volatile("pushf\n\torl $0x100, (%%rsp)\n\tpopf\n\tnop\n\tnop" : : : "memory", "cc");
	CHECK(signo == SIGTRAP && code == TRAP_TRACE && trapno == 1);
	after = rip;
	CHECK(*(unsigned char *)after == 0x90);
}

static void sse(void)
{
	unsigned int csr = 0x1f80 & ~(1u << 9);		/* unmask division by zero */
	double one = 1, zero = 0;

	signo = 0;
	if (!sigsetjmp(back, 1)) {
		asm volatile("ldmxcsr %0\n\tdivsd %2, %1" : : "m"(csr), "x"(one), "x"(zero));
	}
	CHECK(signo == SIGFPE && code == FPE_FLTDIV && trapno == 19);
	csr = 0x1f80;
	asm volatile("ldmxcsr %0" : : "m"(csr));
}

static int fate(void (*prepare)(void))
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		prepare();
		*(volatile char *)8 = 1;
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void prepare_default(void)
{
	signal(SIGSEGV, SIG_DFL);
}

static void prepare_ignored(void)
{
	signal(SIGSEGV, SIG_IGN);
}

static void prepare_blocked(void)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGSEGV);
	sigprocmask(SIG_BLOCK, &s, NULL);
}

/* The handler may repair what was wrong and have the instruction run again. */
static char *repaired;

static void repair(int s, siginfo_t *si, void *uc)
{
	mprotect(repaired, 4096, PROT_READ | PROT_WRITE);
}

int main(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &sa, NULL);
	segv();
	bus();
	other();
	breakpoint_and_step();
	sse();
	CHECK(WTERMSIG(fate(prepare_default)) == SIGSEGV);
	CHECK(WTERMSIG(fate(prepare_ignored)) == SIGSEGV);
	CHECK(WTERMSIG(fate(prepare_blocked)) == SIGSEGV);
	repaired = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sa.sa_sigaction = repair;
	sigaction(SIGSEGV, &sa, NULL);
	*(volatile char *)repaired = 42;
	CHECK(*repaired == 42);
	puts("ok");
	return 0;
}
