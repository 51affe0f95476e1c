/*
 * contract PLATFORM [CASE]    run all cases, or one; "N passed, N failed, N skipped" and exit status 0 or 1
 * contract --list             names of the cases
 *
 * Each case runs in a process of its own, with a platform and a memory file of its own and a time limit.
 */
#include "tests/contract/contract.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/huge_file.h"

enum { SKIPPED = 77, LIMIT_SECONDS = 60 };

/* AddressSanitizer keeps freed memory for a while; little enough that a leak still shows. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=1"; }

static const struct contract_case *const tables[] = {
	memory_cases, fault_cases, register_cases, exception_cases, interrupt_cases, space_cases, life_cases,
	hostile_cases, large_cases, huge_cases,
};

const struct platform_ops *P;
struct backing mem;
static u64 mem_used;
static const char *current;

void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s: %s:%d: %s\n", current, file, line, what);
	exit(1);
}

void check_equal(const char *file, int line, const char *what, u64 got, u64 want)
{
	if (got == want)
		return;
	fprintf(stderr, "%s: %s:%d: %s is %#lx, not %#lx\n", current, file, line, what, got, want);
	exit(1);
}

void skip(const char *why)
{
	fprintf(stderr, "%s: skipped: %s\n", current, why);
	exit(SKIPPED);
}

u64 mem_alloc(u64 npages)
{
	u64 offset = mem_used;

	mem_used += npages * PAGE_SIZE;
	CHECK(mem_used <= mem.size);
	return offset;
}

void platform_start(void)
{
	struct platform_config config = { .memory = &mem, .ncpus = (int)sysconf(_SC_NPROCESSORS_ONLN) };

	CHECK_EQ(P->init(&config), 0);
	CHECK_EQ(P->start ? P->start() : 0, 0);
}

static void mem_create(bool huge)
{
	mem.size = (u64)1 << 30;
	mem.fd = huge ? host_huge_file() : memfd_create("contract", MFD_CLOEXEC);
	if (huge && mem.fd < 0)
		skip("this host gives files no huge pages");
	CHECK(mem.fd >= 0 && !ftruncate(mem.fd, mem.size));
	mem.base = mmap(SENTRY_FILE_HINT, mem.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, mem.fd, 0);
	CHECK(mem.base != MAP_FAILED);
}

static void child(const struct contract_case *c, bool huge)
{
	current = c->name;
	alarm(LIMIT_SECONDS);
	mem_create(huge);
	platform_start();
	c->run();
	P->exit();
	exit(0);
}

/* 0 passed, 1 failed, SKIPPED. */
static int run_case(const struct contract_case *c, bool huge)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (!pid)
		child(c, huge);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SKIPPED))
		return WEXITSTATUS(status);
	printf("FAIL %s", c->name);
	if (WIFSIGNALED(status))
		printf(" (%s)", WTERMSIG(status) == SIGALRM ? "took too long" : strsignal(WTERMSIG(status)));
	printf("\n");
	return 1;
}

static int run_all(const char *only)
{
	int passed = 0, failed = 0, skipped = 0, r;

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (const struct contract_case *c = tables[t]; c->name; c++) {
			if (only && strcmp(only, c->name))
				continue;
			r = run_case(c, tables[t] == huge_cases);
			passed += !r;
			failed += r == 1;
			skipped += r == SKIPPED;
		}
	}
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	if (only && skipped)
		return SKIPPED;
	return failed || !(passed + skipped);
}

static int list(void)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct contract_case *c = tables[t]; c->name; c++)
			puts(c->name);
	return 0;
}

int main(int argc, char **argv)
{
	char why[256];

	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: contract PLATFORM [CASE] | --list\n");
		return 2;
	}
	P = platform_find(argv[1]);
	if (!P) {
		fprintf(stderr, "no platform %s\n", argv[1]);
		return 2;
	}
	knobs_reset();
	for (const char *k = getenv("CONTRACT_KNOBS"); k && *k;) {
		char one[128];
		size_t n = strcspn(k, ";");

		snprintf(one, sizeof(one), "%.*s", (int)n, k);
		if (knob_set(one, why, sizeof(why))) {
			fprintf(stderr, "%s\n", why);
			return 2;
		}
		k += n + (k[n] == ';');
	}
	if (P->probe(why, sizeof(why))) {
		fprintf(stderr, "skipped: %s can't run here: %s\n", P->name, why);
		return SKIPPED;
	}
	return run_all(argc == 3 ? argv[2] : NULL);
}
