/*
 * Code pages with hot call sites, and what programs do to such pages: fork and exec, change protection, overwrite,
 * unmap, generate code again and again, jump to the SYSCALL itself, read their own code.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

enum { HOT = 1500, CONSTANT = 64, VARIABLE = 256 };	/* offsets in the page, one for each form */
typedef long (*code_fn)(long);

static uint8_t *page;

/* mov $nr,%eax; syscall; ret; padding. The second form takes the number as its argument. */
static void emit(uint8_t *p, uint32_t nr)
{
	memset(p, 0x90, 64);
	p[0] = 0xb8;
	memcpy(p + 1, &nr, 4);
	memcpy(p + 5, "\x0f\x05\xc3", 3);
}

static void emit_variable(uint8_t *p)
{
	memset(p, 0x90, 64);
	memcpy(p, "\x48\x89\xf8\x0f\x05\xc3", 6);
}

static void emit_constant(uint8_t *p, uint32_t value)
{
	memset(p, 0x90, 64);
	p[0] = 0xb8;
	memcpy(p + 1, &value, 4);
	p[5] = 0xc3;
}

static void writable(void) { CHECK(!mprotect(page, 4096, PROT_READ | PROT_WRITE)); }
static void executable(void) { CHECK(!mprotect(page, 4096, PROT_READ | PROT_EXEC)); }
static long run(int offset, long arg) { return ((code_fn)(page + offset))(arg); }

static void heat(int n)
{
	for (int i = 0; i < n; i++) {
		CHECK(run(CONSTANT, 0) == getppid());
		CHECK(run(VARIABLE, SYS_getppid) == getppid());
		CHECK(run(VARIABLE, SYS_getuid) == getuid());
	}
}

static void fresh_page(void)
{
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	emit(page + CONSTANT, SYS_getppid);
	emit_variable(page + VARIABLE);
	executable();
	heat(HOT);
}

static int status_of(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void over_fork(const char *self)
{
	pid_t me = getpid(), pid = fork();

	if (!pid) {
		for (int i = 0; i < 200; i++)
			CHECK(run(CONSTANT, 0) == me && run(VARIABLE, SYS_getpid) != me);
		writable();
		emit_constant(page + CONSTANT, 7);
		executable();
		_exit(run(CONSTANT, 0));
	}
	CHECK(status_of(pid) == 7 << 8);
	heat(100);
	pid = vfork();
	if (!pid) {
		for (int i = 0; i < 200; i++)
			if (run(CONSTANT, 0) != me || run(VARIABLE, SYS_getppid) != me)
				_exit(1);
		execl(self, self, "exec", NULL);
		_exit(2);
	}
	CHECK(status_of(pid) == 9 << 8);
	heat(100);
}

/* Into the middle of a site: the SYSCALL with another number than the one before it. */
static void *jump_in(void *unused)
{
	for (int i = 0; i < 2000; i++) {
		long ret;

		asm volatile("call *%1" : "=a"(ret) : "r"(page + CONSTANT + 5), "0"(SYS_getuid) : "rcx", "r11", "memory");
		CHECK(ret == getuid());
		asm volatile("call *%1" : "=a"(ret) : "r"(page + VARIABLE + 3), "0"(SYS_getppid) : "rcx", "r11", "memory");
		CHECK(ret == getppid());
	}
	return NULL;
}

static void in_the_middle(void)
{
	pthread_t th[2];

	for (int round = 0; round < 3; round++) {
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		emit(page + CONSTANT, SYS_getppid);
		emit_variable(page + VARIABLE);
		executable();
		for (int i = 0; i < 2; i++)
			CHECK(!pthread_create(&th[i], NULL, jump_in, NULL));
		heat(500);		/* becomes hot while they are in it */
		for (int i = 0; i < 2; i++)
			CHECK(!pthread_join(th[i], NULL));
	}
}

/* A compiler at work: never writable and executable at once, the same addresses for ever other code. */
static void compile_again(void)
{
	for (int i = 0; i < 60; i++) {
		writable();
		switch (i % 3) {
		case 0: emit(page + CONSTANT, SYS_getppid); break;
		case 1: emit(page + CONSTANT, SYS_getuid); break;
		case 2: emit_constant(page + CONSTANT, i); break;
		}
		executable();
		for (int n = 0; n < 60; n++)
			CHECK(run(CONSTANT, 0) == (i % 3 == 0 ? getppid() : i % 3 == 1 ? (long)getuid() : i));
	}
	/* Only the number is changed. */
	for (uint32_t i = 0; i < 20; i++) {
		const uint32_t nr = i % 2 ? SYS_getuid : SYS_getppid;

		writable();
		page[CONSTANT] = 0xb8;
		memcpy(page + CONSTANT + 1, &nr, 4);
		memcpy(page + CONSTANT + 5, "\x0f\x05\xc3", 3);
		executable();
		for (int n = 0; n < 60; n++)
			CHECK(run(CONSTANT, 0) == (i % 2 ? (long)getuid() : getppid()));
	}
}

/* Pages that can be written and run at the same time. */
static void self_modifying(void)
{
	CHECK(!mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
	for (int i = 0; i < 300; i++) {
		if (i % 2)
			emit(page + CONSTANT, SYS_getppid);
		else
			emit_constant(page + CONSTANT, i);
		asm volatile("" : : : "memory");
		CHECK(run(CONSTANT, 0) == (i % 2 ? getppid() : i));
	}
	for (int i = 0; i < 300; i++)
		CHECK(run(CONSTANT, 0) == getppid());
	emit_constant(page + CONSTANT, 77);
	CHECK(run(CONSTANT, 0) == 77);
}

static sigjmp_buf out;
static void on_segv(int signo) { siglongjmp(out, 1); }

static void gone(void)
{
	uint8_t *old = page;

	fresh_page();
	old = page;
	signal(SIGSEGV, on_segv);
	CHECK(!mprotect(page, 4096, PROT_NONE));
	if (!sigsetjmp(out, 1)) {
		run(CONSTANT, 0);
		CHECK(!"ran without permission");
	}
	executable();
	heat(10);
	CHECK(!munmap(page, 4096));
	if (!sigsetjmp(out, 1)) {
		run(VARIABLE, SYS_getpid);
		CHECK(!"ran without a page");
	}
	signal(SIGSEGV, SIG_DFL);
	page = mmap(old, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(page == old);
	emit_constant(page + CONSTANT, 5);
	emit_variable(page + VARIABLE);
	executable();
	for (int i = 0; i < HOT; i++)
		CHECK(run(CONSTANT, 0) == 5 && run(VARIABLE, SYS_getuid) == getuid());
	CHECK(!madvise(page, 4096, MADV_DONTNEED));
	CHECK(page[CONSTANT] == 0 && page[VARIABLE] == 0);
}

/* What lies around a site is not touched, and the SYSCALL of a constant one is still to be seen. */
static void reading(void)
{
	fresh_page();
	CHECK(!memcmp(page + CONSTANT + 5, "\x0f\x05\xc3", 3));
	for (int i = 8; i < 64; i++)
		CHECK(page[CONSTANT + i] == 0x90);
	CHECK(!memcmp(page + VARIABLE, "\x48\x89\xf8", 3) && page[VARIABLE + 5] == 0xc3);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return 9;
	fresh_page();
	over_fork(argv[0]);
	in_the_middle();
	compile_again();
	self_modifying();
	gone();
	reading();
	return 0;
}
