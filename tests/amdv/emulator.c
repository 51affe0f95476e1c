/*
 * What QEMU's TCG does otherwise than processors do, shown by a plain native program: each probe is a few instructions,
 * and the signal, vector and error code that Linux reports for them. Prints "quirk NAME ..." for each that differs from
 * hardware, so that a case of the contract suite that stumbles on it is not taken for ours. Exit status 0.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

struct outcome {
	int signo, trapno, error;
};

static struct outcome *seen;
static char *absent;

static void on_signal(int signo, siginfo_t *info, void *context)
{
	const greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)info;
	*seen = (struct outcome){ signo, (int)g[REG_TRAPNO], (int)g[REG_ERR] };
	_exit(0);
}

static void int1(void)
{
	__asm__ volatile(".byte 0xf1");
}

static void bts_absent(void)
{
	__asm__ volatile("btsq %0, (%1)" : : "r"(0ul), "r"(absent) : "memory", "cc");
}

static void push_noncanonical(void)
{
	__asm__ volatile("movabs $0x8000000000000000, %%rsp; push %%rax" : : : "memory");
}

static void return_to_kernel_cs(void)
{
	__asm__ volatile("pushq $0x10; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" : : : "rax", "memory");
}

static void misaligned(void)
{
	__asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq; mov 1(%%rsp), %%eax" : : : "rax", "memory", "cc");
}

/* `code` in a 32-bit segment. */
static void compat(const char *code, size_t len)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	size_t i;

	for (i = 0; i < len; i++)
		low[i] = code[i];
	__asm__ volatile("mov %0, %%rax; lea 2048(%%rax), %%rsp; pushq $0x23; push %%rax; lretq" : : "r"(low) : "rax", "memory");
}

static void compat_int3(void)
{
	compat("\xcc\xf4", 2);
}

static const struct probe {
	const char *name;
	void (*run)(void);
	struct outcome hardware;
} probes[] = {
	{ "int1", int1, { SIGTRAP, 1, 0 } },
	{ "bts-absent", bts_absent, { SIGSEGV, 14, 6 } },
	{ "push-noncanonical", push_noncanonical, { SIGBUS, 12, 0 } },
	{ "misaligned", misaligned, { SIGBUS, 17, 0 } },
	{ "compat-int3", compat_int3, { SIGTRAP, 3, 0 } },
	{ "return-to-kernel-cs", return_to_kernel_cs, { SIGSEGV, 13, 0x10 } },
};

static void probe(const struct probe *p)
{
	static const int caught[] = { SIGSEGV, SIGBUS, SIGTRAP, SIGILL, SIGFPE };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };
	size_t i;

	sigaltstack(&stack, NULL);
	for (i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		sigaction(caught[i], &sa, NULL);
	alarm(10);
	p->run();
	_exit(0);
}

int main(void)
{
	size_t i;

	seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	absent = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		const struct outcome *h = &probes[i].hardware;
		pid_t pid;

		*seen = (struct outcome){ 0, 0, 0 };
		pid = fork();
		if (!pid)
			probe(&probes[i]);
		waitpid(pid, NULL, 0);
		if (seen->signo != h->signo || seen->trapno != h->trapno || seen->error != h->error)
			printf("quirk %s: signal %d, vector %d, error %#x; hardware: %d, %d, %#x\n", probes[i].name, seen->signo,
			       seen->trapno, seen->error, h->signo, h->trapno, h->error);
	}
	return 0;
}
