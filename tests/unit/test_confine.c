/* The sentry's own confinement: what is on the list works, what is not ends the process with a word on stderr. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/confine.h"

static const struct platform_ops bare = { .name = "bare" };

typedef void attempt_fn(void);

struct outcome {
	int status;
	char said[512];
};

/* In a child that is confined as a sentry without a platform of its own. */
static struct outcome confined(const struct confinement *c, attempt_fn *attempt)
{
	struct outcome o = { .said = "" };
	int pipefd[2];
	ssize_t n, len = 0;
	pid_t pid;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	if (!pid) {
		dup2(pipefd[1], STDERR_FILENO);
		confine_leave(c);
		if (confine_filter(c))
			_exit(99);
		attempt();
		_exit(0);
	}
	close(pipefd[1]);
	while ((n = read(pipefd[0], o.said + len, sizeof(o.said) - 1 - len)) > 0)
		len += n;
	close(pipefd[0]);
	assert_int_equal(waitpid(pid, &o.status, 0), pid);
	return o;
}

static const struct confinement plain = { .platform = &bare };

static void expect_end(attempt_fn *attempt, long nr)
{
	struct outcome o = confined(&plain, attempt);
	char want[80];

	snprintf(want, sizeof(want), "the sentry made host call %ld, which is not on its list", nr);
	assert_true(WIFEXITED(o.status));
	assert_int_equal(WEXITSTATUS(o.status), 125);
	assert_non_null(strstr(o.said, want));
}

static void expect_fine(attempt_fn *attempt)
{
	struct outcome o = confined(&plain, attempt);

	if (!WIFEXITED(o.status) || WEXITSTATUS(o.status))
		fail_msg("status %#x: %s", o.status, o.said);
}

#define ATTEMPT(name, ...) static void name(void) { if (__VA_ARGS__) _exit(1); }

ATTEMPT(execve_sh, syscall(SYS_execve, "/bin/sh", (char *[]){ NULL }, (char *[]){ NULL }))
ATTEMPT(open_passwd, syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) >= 0)
ATTEMPT(fork_process, syscall(SYS_fork) < 0)
ATTEMPT(clone_process, syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0)
ATTEMPT(clone_namespace, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) < 0)
ATTEMPT(make_socket, syscall(SYS_socket, AF_INET, SOCK_STREAM, 0) < 0)
ATTEMPT(trace_parent, syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0) < 0)
ATTEMPT(map_code, mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
ATTEMPT(make_code, mprotect((void *)((uintptr_t)make_code & ~4095ul), 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
ATTEMPT(new_handler, signal(SIGSYS, SIG_IGN) == SIG_ERR)
ATTEMPT(raise_limit, syscall(SYS_prlimit64, 0, RLIMIT_CORE, &(struct rlimit){ 0, 0 }, NULL))
ATTEMPT(gain_privileges, syscall(SYS_prctl, 22 /* PR_SET_SECCOMP */, 0, 0, 0, 0))
ATTEMPT(unlink_file, syscall(SYS_unlinkat, AT_FDCWD, "x", 0))
ATTEMPT(handle_open, syscall(SYS_open_by_handle_at, 0, "", 0) < 0)
ATTEMPT(inject_input, syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x"))
ATTEMPT(io_ring, syscall(SYS_io_uring_setup, 1, "") < 0)
ATTEMPT(compat_call, ({ long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11"); r; }) < 0)

static void what_is_not_listed_ends_the_sentry(void **state)
{
	expect_end(execve_sh, SYS_execve);
	expect_end(open_passwd, SYS_openat);
	expect_end(fork_process, SYS_fork);
	expect_end(clone_process, SYS_clone);
	expect_end(clone_namespace, SYS_clone);
	expect_end(make_socket, SYS_socket);
	expect_end(trace_parent, SYS_ptrace);
	expect_end(map_code, SYS_mmap);
	expect_end(make_code, SYS_mprotect);
	expect_end(new_handler, SYS_rt_sigaction);
	expect_end(raise_limit, SYS_prlimit64);
	expect_end(gain_privileges, SYS_prctl);
	expect_end(unlink_file, SYS_unlinkat);
	expect_end(handle_open, SYS_open_by_handle_at);
	expect_end(inject_input, SYS_ioctl);
	expect_end(io_ring, SYS_io_uring_setup);
	assert_false(WIFEXITED(confined(&plain, compat_call).status) && !WEXITSTATUS(confined(&plain, compat_call).status));
}

static void *start(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static void threads_and_memory(void)
{
	pthread_t th;
	int ran = 0;
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || munmap(p, 8192) || pthread_create(&th, NULL, start, &ran) || pthread_join(th, NULL) || !ran)
		_exit(1);
}

/* In a thread too: its signals are blocked but for the one that tells. */
static void *fork_here(void *unused)
{
	syscall(SYS_fork);
	return NULL;
}

static void fork_in_a_thread(void)
{
	pthread_t th;

	if (pthread_create(&th, NULL, fork_here, NULL))
		_exit(1);
	pthread_join(th, NULL);
}

static void what_is_listed_works(void **state)
{
	expect_fine(threads_and_memory);
	expect_end(fork_in_a_thread, SYS_fork);
}

/* The root directory is empty and stays so, where there is a mount namespace; without one there is nothing to test. */
static void look_for_files(void)
{
	struct { u64 flags, mode, resolve; } how = { O_RDONLY, 0, 0 };

	if (syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof(how)) >= 0 ||
	    syscall(SYS_openat2, AT_FDCWD, "/proc/self/maps", &how, sizeof(how)) >= 0)
		_exit(1);
	how.flags = O_RDWR | O_CREAT;
	how.mode = 0600;
	if (syscall(SYS_openat2, AT_FDCWD, "/new", &how, sizeof(how)) >= 0)
		_exit(2);
}

static void path_names_lead_nowhere(void **state)
{
	if (geteuid()) {
		print_message("not root: the sentry keeps the host's mount namespace\n");
		skip();
	}
	expect_fine(look_for_files);
}

static void count(const char *name, const struct host_call *call, enum host_call_group group, void *arg)
{
	const char **seen = arg;
	int i;

	if (group != CALLS_ALWAYS && group != CALLS_PLATFORM)
		return;
	for (i = 0; seen[i]; i++)
		if (!strcmp(seen[i], name))
			return;
	seen[i] = strdup(name);
	assert_true(strlen(call->why) || group == CALLS_ALWAYS);
}

static void at_most_sixty_calls(void **state)
{
	for (int i = 0; platforms[i]; i++) {
		const char *seen[200] = { NULL };
		int n = 0;

		host_calls_each(platforms[i], count, seen);
		while (seen[n])
			n++;
		print_message("%s: %d host calls\n", platforms[i]->name, n);
		assert_in_range(n, 1, 60);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_listed_ends_the_sentry),
		cmocka_unit_test(what_is_listed_works),
		cmocka_unit_test(path_names_lead_nowhere),
		cmocka_unit_test(at_most_sixty_calls),
	};

	/* Sanitizers' own calls are on no list. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 0;
#endif
	knobs_reset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
