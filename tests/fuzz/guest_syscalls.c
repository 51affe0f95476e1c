/*
 * A guest that makes random system calls with random arguments: guest_syscalls SEED CALLS.
 *
 * Children do the calls, so that one that ends, stops or breaks itself is replaced; the parent's end says that the sentry
 * is well. Runs only inside the sandbox: natively it would be an attack on the machine.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CALLS_A_CHILD = 50, SYSCALLS = 460, BUFFER = 1 << 16 };

static uint64_t state;
static char *buffer;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t argument(void)
{
	static const uint64_t edges[] = { 0, 1, 2, 3, -1ull, -100ull, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 47, (1ull << 47) - 4096,
					  1ull << 63, 4096, 4095, 0x7f0000000000, 0x7f0010000000, 0xffffffffff600000, 8, 64, 65536 };

	switch (rnd() % 6) {
	case 0:
		return edges[rnd() % (sizeof(edges) / sizeof(*edges))];
	case 1:
		return (uintptr_t)buffer + rnd() % BUFFER;
	case 2:
		return ((uintptr_t)buffer + rnd() % BUFFER) & ~7ull;
	case 3:
		return rnd() % 16;
	case 4:
		return 1ull << rnd() % 64;
	default:
		return rnd();
	}
}

/* What would only waste the time: sleeping, stopping, ending, and waiting for ever. */
static int pointless(long nr)
{
	static const short skip[] = { SYS_pause, SYS_rt_sigsuspend, SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_vfork };

	for (size_t i = 0; i < sizeof(skip) / sizeof(*skip); i++)
		if (skip[i] == nr)
			return 1;
	return 0;
}

static void fill_buffer(void)
{
	for (int i = 0; i < 512; i++)
		((uint64_t *)buffer)[rnd() % (BUFFER / 8)] = argument();
	strcpy(buffer + rnd() % (BUFFER / 2), rnd() % 2 ? "/tmp/fuzz" : "/proc/self/../self/fd");
}

static void child(void)
{
	int fd[2];

	alarm(2);
	if (pipe(fd) || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) || open("/tmp/fuzz", O_RDWR | O_CREAT, 0600) < 0)
		_exit(1);
	for (int i = 0; i < CALLS_A_CHILD; i++) {
		long nr = rnd() % SYSCALLS;

		if (i % 8 == 0)
			fill_buffer();
		if (!pointless(nr))
			syscall(nr, argument(), argument(), argument(), argument(), argument(), argument());
	}
	_exit(0);
}

/* A child may have stopped itself or ignore the alarm: it gets three seconds. */
static void wait_for(pid_t pid)
{
	for (int i = 0; i < 300; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
		usleep(i < 20 ? 500 : 10000);
	}
	kill(pid, SIGCONT);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	long calls = argc > 2 ? atol(argv[2]) : 1000;
	struct utsname u;

	if (uname(&u) || !strstr(u.release, "trapgate")) {
		fprintf(stderr, "guest_syscalls: runs only inside the sandbox\n");
		return 2;
	}
	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	signal(SIGCHLD, SIG_DFL);
	for (int i = 1; i < 65; i++)
		if (i != SIGCHLD)
			signal(i, SIG_IGN);	/* kill(-1) of a child is no end for us */
	for (long n = 0; n < calls; n += CALLS_A_CHILD) {
		pid_t pid;

		state = seed * 0x9e3779b97f4a7c15ull + n + 1;
		rnd();
		pid = fork();
		if (pid == 0) {
			setsid();
			for (int i = 1; i < 65; i++)
				signal(i, SIG_DFL);
			child();
		}
		if (pid > 0)
			wait_for(pid);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	printf("alive\n");
	return 0;
}
