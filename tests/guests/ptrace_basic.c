/* ptrace: stops and what they report, registers, memory, steps, events, attaching. */
#include <elf.h>
#include <linux/ptrace.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

/* <sys/ptrace.h> does not go with <linux/ptrace.h>. */
struct regs {
	unsigned long r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss,
		fs_base, gs_base, ds, es, fs, gs;
};

static long pt(long req, pid_t pid, unsigned long addr, unsigned long data)
{
	return syscall(SYS_ptrace, req, pid, addr, data);
}

static unsigned long peek(pid_t pid, void *addr)
{
	unsigned long word = 0;

	CHECK(pt(PTRACE_PEEKDATA, pid, (unsigned long)addr, (unsigned long)&word) == 0);
	return word;
}

static int wait_for(pid_t pid)
{
	int status = -1;

	CHECK(waitpid(pid, &status, __WALL) == pid);
	return status;
}

static int is_stop(int status, int sig, int event) { return status == (0x7f | sig << 8 | event << 16); }
static int is_exit(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }

static volatile long shared_word = 0x1122334455667788;

__attribute__((noinline)) static long marked(long x)
{
	__asm__ volatile("" ::: "memory");
	return x + 1;
}

static pid_t start(void (*fn)(void))
{
	pid_t pid = fork();

	if (!pid) {
		pt(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		fn();
		_exit(0);
	}
	CHECK(is_stop(wait_for(pid), SIGSTOP, 0));
	return pid;
}

/* ---- memory and registers ---- */

static void look_at_word(void)
{
	_exit(shared_word == 99 ? marked(4) : 1);
}

static void data(void)
{
	pid_t pid = start(look_at_word);
	unsigned long old;
	struct regs r;

	CHECK(peek(pid, (void *)&shared_word) == 0x1122334455667788);
	CHECK(pt(PTRACE_POKEDATA, pid, (unsigned long)&shared_word, 99) == 0);
	CHECK(peek(pid, (void *)&shared_word) == 99);
	CHECK_ERRNO(pt(PTRACE_PEEKDATA, pid, 8, (unsigned long)&old), EIO);
	CHECK_ERRNO(pt(PTRACE_CONT, pid, 0, 65), EIO);

	/* A breakpoint in code that the program may not write. */
	old = peek(pid, (void *)marked);
	CHECK(pt(PTRACE_POKETEXT, pid, (unsigned long)marked, (old & ~0xfful) | 0xcc) == 0);
	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	CHECK(is_stop(wait_for(pid), SIGTRAP, 0));
	CHECK(pt(PTRACE_GETREGS, pid, 0, (unsigned long)&r) == 0);
	CHECK(r.rip == (unsigned long)marked + 1 && r.rdi == 4);
	CHECK(pt(PTRACE_POKETEXT, pid, (unsigned long)marked, old) == 0);
	r.rip--;
	r.rdi = 30;
	CHECK(pt(PTRACE_SETREGS, pid, 0, (unsigned long)&r) == 0);
	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	CHECK(is_exit(wait_for(pid), 31));
	CHECK(*(unsigned char *)marked != 0xcc);
	CHECK_ERRNO(pt(PTRACE_CONT, pid, 0, 0), ESRCH);
}

static void use_float(void)
{
	register double x __asm__("xmm5") = 0;

	__asm__ volatile("mov $0x4008000000000000, %%rax; movq %%rax, %0; mov %1, %%eax; mov %2, %%edi; mov %3, %%esi; syscall"
			 : "+x"(x) : "i"(SYS_kill), "r"(getpid()), "i"(SIGUSR1) : "rax", "rdi", "rsi", "rcx", "r11");
	_exit(x == 5.0 ? 0 : 1);
}

static void floats(void)
{
	static unsigned char set[16384];
	struct iovec iov = { set, sizeof(set) };
	pid_t pid = start(use_float);
	double x, five = 5.0;

	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	CHECK(is_stop(wait_for(pid), SIGUSR1, 0));
	CHECK(pt(PTRACE_GETREGSET, pid, NT_X86_XSTATE, (unsigned long)&iov) == 0);
	CHECK(iov.iov_len >= 576 && iov.iov_len < sizeof(set));
	memcpy(&x, set + 160 + 5 * 16, 8);
	CHECK(x == 3.0);
	memcpy(set + 160 + 5 * 16, &five, 8);
	CHECK(pt(PTRACE_SETREGSET, pid, NT_X86_XSTATE, (unsigned long)&iov) == 0);
	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	CHECK(is_exit(wait_for(pid), 0));
}

/* ---- calls and steps ---- */

static void two_calls(void)
{
	syscall(SYS_getppid);
	syscall(SYS_getuid);
}

static void calls(void)
{
	struct ptrace_syscall_info info;
	pid_t pid = start(two_calls);
	struct regs r;

	CHECK(pt(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD) == 0);
	CHECK_ERRNO(pt(PTRACE_SETOPTIONS, pid, 0, 1 << 30), EINVAL);
	do {
		CHECK(pt(PTRACE_SYSCALL, pid, 0, 0) == 0);
		CHECK(is_stop(wait_for(pid), SIGTRAP | 0x80, 0));
		CHECK(pt(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), (unsigned long)&info) > 0);
	} while (info.op != PTRACE_SYSCALL_INFO_ENTRY || info.entry.nr != SYS_getppid);
	CHECK(pt(PTRACE_GETREGS, pid, 0, (unsigned long)&r) == 0);
	CHECK(r.orig_rax == SYS_getppid && (long)r.rax == -ENOSYS && r.rip == info.instruction_pointer);
	CHECK(pt(PTRACE_SYSCALL, pid, 0, 0) == 0);
	CHECK(is_stop(wait_for(pid), SIGTRAP | 0x80, 0));
	CHECK(pt(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), (unsigned long)&info) > 0);
	CHECK(info.op == PTRACE_SYSCALL_INFO_EXIT && info.exit.rval == getpid() && !info.exit.is_error);
	/* The next call becomes another. */
	CHECK(pt(PTRACE_SYSCALL, pid, 0, 0) == 0);
	CHECK(is_stop(wait_for(pid), SIGTRAP | 0x80, 0));
	CHECK(pt(PTRACE_GETREGS, pid, 0, (unsigned long)&r) == 0);
	CHECK(r.orig_rax == SYS_getuid);
	r.orig_rax = SYS_exit;
	r.rdi = 44;
	CHECK(pt(PTRACE_SETREGS, pid, 0, (unsigned long)&r) == 0);
	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	CHECK(is_exit(wait_for(pid), 44));
}

static void some_code(void)
{
	__asm__ volatile("nop; nop; nop; mov %0, %%eax; syscall; nop; nop; int3" :: "i"(SYS_getppid) : "rax", "rcx", "r11", "memory");
}

static void steps(void)
{
	pid_t pid = start(some_code);
	unsigned long last = 0;
	int nops = 0, n = 0, status;
	struct regs r;

	for (;;) {
		CHECK(pt(PTRACE_SINGLESTEP, pid, 0, 0) == 0);
		status = wait_for(pid);
		CHECK(is_stop(status, SIGTRAP, 0));
		CHECK(pt(PTRACE_GETREGS, pid, 0, (unsigned long)&r) == 0);
		CHECK(!(r.eflags & 0x100));
		if ((peek(pid, (void *)(r.rip - 1)) & 0xff) == 0xcc)
			break;
		nops += last && r.rip == last + 1;
		last = r.rip;
		CHECK(++n < 100000);
	}
	CHECK(nops >= 5);
	CHECK(pt(PTRACE_KILL, pid, 0, 0) == 0);
	status = wait_for(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- signals ---- */

static volatile int caught;
static void on_usr2(int sig) { caught++; }

static void signals_sent(void)
{
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, on_usr2);
	raise(SIGUSR1);
	raise(SIGTERM);
	_exit(caught);
}

static void signals(void)
{
	pid_t pid = start(signals_sent);
	siginfo_t si;

	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	CHECK(is_stop(wait_for(pid), SIGUSR1, 0));		/* even ignored ones */
	CHECK(pt(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&si) == 0 && si.si_signo == SIGUSR1 && si.si_pid == pid);
	CHECK(pt(PTRACE_CONT, pid, 0, SIGUSR1) == 0);
	CHECK(is_stop(wait_for(pid), SIGTERM, 0));
	CHECK(pt(PTRACE_CONT, pid, 0, SIGUSR2) == 0);	/* another in its place */
	CHECK(is_exit(wait_for(pid), 1));
}

/* ---- events ---- */

static void *thread_fn(void *arg) { return NULL; }

static void family(void)
{
	pthread_t th;
	pid_t pid = fork();

	if (!pid)
		_exit(5);
	waitpid(pid, NULL, 0);
	pthread_create(&th, NULL, thread_fn, NULL);
	pthread_join(th, NULL);
	execl("/bin/true", "true", NULL);
}

static void events(void)
{
	int status, forks = 0, clones = 0, execs = 0, exits = 0, ends = 0, stops = 0;
	pid_t pid = start(family), who;
	unsigned long msg;

	CHECK(pt(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT) == 0);
	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	while ((who = waitpid(-1, &status, __WALL)) > 0) {
		int sig = 0;

		if (!WIFSTOPPED(status)) {
			ends++;
			continue;
		}
		switch (status >> 16) {
		case PTRACE_EVENT_FORK:
			forks++;
			CHECK(pt(PTRACE_GETEVENTMSG, who, 0, (unsigned long)&msg) == 0 && msg > (unsigned long)pid);
			break;
		case PTRACE_EVENT_CLONE:
			clones++;
			break;
		case PTRACE_EVENT_EXEC:
			execs++;
			CHECK(pt(PTRACE_GETEVENTMSG, who, 0, (unsigned long)&msg) == 0 && msg == (unsigned long)pid);
			break;
		case PTRACE_EVENT_EXIT:
			exits++;
			break;
		default:
			stops += WSTOPSIG(status) == SIGSTOP;
			sig = WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
		}
		CHECK(pt(PTRACE_CONT, who, 0, sig) == 0);
	}
	CHECK(errno == ECHILD);
	CHECK(forks == 1 && clones == 1 && execs == 1 && exits == 3 && ends == 3 && stops == 2);
}

/* ---- attaching ---- */

static void attach(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		for (;;)
			pause();
	usleep(20000);
	CHECK_ERRNO(pt(PTRACE_CONT, pid, 0, 0), ESRCH);
	CHECK(pt(PTRACE_ATTACH, pid, 0, 0) == 0);
	CHECK_ERRNO(pt(PTRACE_ATTACH, pid, 0, 0), EPERM);
	CHECK(is_stop(wait_for(pid), SIGSTOP, 0));
	CHECK(pt(PTRACE_DETACH, pid, 0, 0) == 0);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	CHECK_ERRNO(pt(PTRACE_ATTACH, getpid(), 0, 0), EPERM);

	CHECK(pt(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) == 0);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	CHECK(pt(PTRACE_INTERRUPT, pid, 0, 0) == 0);
	CHECK(is_stop(wait_for(pid), SIGTRAP, PTRACE_EVENT_STOP));
	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	/* A group stop is told as such, and SIGCONT ends it under a tracer that listens. */
	kill(pid, SIGSTOP);
	CHECK(is_stop(wait_for(pid), SIGSTOP, 0));
	CHECK(pt(PTRACE_CONT, pid, 0, SIGSTOP) == 0);
	CHECK(is_stop(wait_for(pid), SIGSTOP, PTRACE_EVENT_STOP));
	CHECK(pt(PTRACE_LISTEN, pid, 0, 0) == 0);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	kill(pid, SIGCONT);
	CHECK(is_stop(wait_for(pid), SIGTRAP, PTRACE_EVENT_STOP));
	CHECK(pt(PTRACE_CONT, pid, 0, 0) == 0);
	CHECK(is_stop(wait_for(pid), SIGCONT, 0));
	kill(pid, SIGKILL);
	status = wait_for(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The tracer ends: its tracee goes on, or dies with it if that was asked for. */
static void tracer_ends(unsigned long options)
{
	pid_t tracer, pid = fork();
	int status;

	if (!pid) {
		usleep(200000);
		_exit(6);
	}
	tracer = fork();
	if (!tracer)
		_exit(pt(PTRACE_SEIZE, pid, 0, options) == 0 ? 0 : 1);
	CHECK(is_exit(wait_for(tracer), 0));
	status = wait_for(pid);
	CHECK(options ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : is_exit(status, 6));
}

/* Somebody else's child: the tracer hears of its end first, and then the parent. */
static void not_the_parent(void)
{
	int up[2], status;
	pid_t tracer, pid;
	char c;

	CHECK(pipe(up) == 0);
	pid = fork();
	if (!pid) {
		CHECK(read(up[0], &c, 1) == 1);
		_exit(9);
	}
	tracer = fork();
	if (!tracer) {
		CHECK(pt(PTRACE_SEIZE, pid, 0, 0) == 0);
		CHECK(write(up[1], "x", 1) == 1);
		CHECK(waitpid(pid, &status, __WALL) == pid && is_exit(status, 9));
		_exit(0);
	}
	CHECK(is_exit(wait_for(tracer), 0));
	CHECK(is_exit(wait_for(pid), 9));
}

int main(void)
{
	alarm(50);
	data();
	floats();
	calls();
	steps();
	signals();
	events();
	attach();
	tracer_ends(0);
	tracer_ends(PTRACE_O_EXITKILL);
	not_the_parent();
	return 0;
}
