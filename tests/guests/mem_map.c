/* mmap, munmap, mprotect, mremap, brk, madvise, mincore: errors, and what is in memory afterwards. */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define P	4096ul
#define RW	(PROT_READ | PROT_WRITE)
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf back;
static volatile int code;

static void on_fault(int s, siginfo_t *si, void *uc)
{
	code = s * 100 + si->si_code;
	siglongjmp(back, 1);
}

/* signal * 100 + si_code of a read or write, 0 if it works. */
static int touch(volatile char *p, int write)
{
	code = 0;
	if (!sigsetjmp(back, 1)) {
		if (write)
			*p = *p;
		else
			(void)*p;
	}
	return code;
}

#define MAPERR	(SIGSEGV * 100 + SEGV_MAPERR)
#define ACCERR	(SIGSEGV * 100 + SEGV_ACCERR)

static char *map(unsigned long pages, int prot)
{
	char *p = mmap(NULL, pages * P, prot, ANON, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static long raw_mmap(unsigned long addr, unsigned long len, int prot, int flags, int fd, unsigned long offset)
{
	return syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

static void map_errors(void)
{
	char *p = map(4, RW), *big;

	CHECK_ERRNO(raw_mmap(0, 0, RW, ANON, -1, 0), EINVAL);
	CHECK_ERRNO(raw_mmap(0, P, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
	CHECK_ERRNO(raw_mmap(0, P, RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE, -1, 0), EINVAL);
	CHECK_ERRNO(raw_mmap(0, P, RW, MAP_PRIVATE, -1, 0), EBADF);
	CHECK_ERRNO(raw_mmap(0, P, RW, MAP_PRIVATE, 99, 0), EBADF);
	CHECK_ERRNO(raw_mmap(0, P, RW, ANON, -1, 100), EINVAL);
	CHECK_ERRNO(raw_mmap(123, P, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
	CHECK_ERRNO(raw_mmap(0, -P, RW, ANON, -1, 0), ENOMEM);
	CHECK_ERRNO(raw_mmap(0, ~0ul, RW, ANON, -1, 0), ENOMEM);
	CHECK_ERRNO(raw_mmap(0x800000000000, P, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
	CHECK_ERRNO(raw_mmap((long)p, P, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	CHECK_ERRNO(raw_mmap(0, 1ul << 46, RW, ANON, -1, 0), ENOMEM);
	big = (char *)raw_mmap(0, 1ul << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	CHECK(big != MAP_FAILED && munmap(big, 1ul << 40) == 0);
	CHECK((unsigned long)raw_mmap(0, P, RW, ANON | MAP_32BIT, -1, 0) < 0x80000000);
	CHECK_ERRNO(munmap(p + 1, P), EINVAL);
	CHECK_ERRNO(munmap(p, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_munmap, p, -P), EINVAL);
	CHECK(munmap(p + P, P) == 0 && munmap(p + P, P) == 0);
	CHECK(touch(p, 1) == 0 && touch(p + P, 0) == MAPERR && touch(p + 2 * P, 1) == 0);
}

static void protect(void)
{
	char *p = map(4, RW);

	p[0] = 1;
	CHECK_ERRNO(mprotect(p + 1, P, RW), EINVAL);
	CHECK_ERRNO(mprotect(p, P, 0x40), EINVAL);
	CHECK(mprotect(p, 0, RW) == 0);
	CHECK(mprotect(p, P, PROT_READ) == 0 && touch(p, 0) == 0 && touch(p, 1) == ACCERR);
	CHECK(mprotect(p, P, PROT_NONE) == 0 && touch(p, 0) == ACCERR);
	CHECK(mprotect(p, P, RW) == 0 && p[0] == 1 && touch(p, 1) == 0);
	CHECK(munmap(p + 2 * P, P) == 0);
	CHECK_ERRNO(mprotect(p, 4 * P, PROT_READ), ENOMEM);
	CHECK(touch(p + P, 1) == ACCERR && touch(p + 3 * P, 1) == 0);
	p = map(1, PROT_WRITE);
	CHECK(touch(p, 0) == 0);
	p = map(1, RW | PROT_EXEC);
	memcpy(p, "\xb8\x2a\0\0\0\xc3", 6);
	CHECK(((int (*)(void))p)() == 42);
	p[1] = 43;
	CHECK(((int (*)(void))p)() == 43);
	CHECK(mprotect(p, P, PROT_READ | PROT_EXEC) == 0 && ((int (*)(void))p)() == 43);
}

static void remap(void)
{
	char *p = map(8, RW), *q;

	p[3 * P] = 7;
	CHECK(munmap(p + 4 * P, P) == 0);
	CHECK_ERRNO((long)mremap(p, 4 * P, 0, 0), EINVAL);
	CHECK_ERRNO((long)mremap(p, 4 * P, P, 0x100), EINVAL);
	CHECK_ERRNO((long)mremap(p, 4 * P, 4 * P, MREMAP_FIXED, p + 64 * P), EINVAL);
	CHECK_ERRNO((long)mremap(p, 4 * P, 6 * P, 0), ENOMEM);
	CHECK_ERRNO((long)mremap(p + 4 * P, P, 2 * P, 0), EFAULT);
	CHECK_ERRNO((long)mremap(p, 0, P, MREMAP_MAYMOVE), EINVAL);
	CHECK(mremap(p, 4 * P, 5 * P, 0) == p);
	q = mremap(p, 5 * P, 16 * P, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q[3 * P] == 7 && q[15 * P] == 0);
	CHECK(q == p || touch(p, 0) == MAPERR);
	CHECK(mremap(q, 16 * P, 4 * P, 0) == q && touch(q + 4 * P, 0) == MAPERR);
	p = map(4, PROT_READ);
	CHECK(mremap(q, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p && p[3 * P] == 7 && touch(p, 1) == 0);
	p = mmap(NULL, 2 * P, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	p[P] = 9;
	q = mremap(p, 0, 2 * P, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q != p && q[P] == 9);
	q[0] = 5;
	CHECK(p[0] == 5);
}

static void advise(void)
{
	char *p = map(4, RW);
	unsigned char vec[4];

	memset(p, 3, 4 * P);
	CHECK(madvise(p, P, MADV_DONTNEED) == 0 && p[0] == 0 && p[P] == 3);
	CHECK_ERRNO(madvise(p, P, 4711), EINVAL);
	CHECK_ERRNO(madvise(p + 1, P, MADV_DONTNEED), EINVAL);
	CHECK(madvise(p, 0, MADV_DONTNEED) == 0);
	CHECK(madvise(p, 4 * P, MADV_WILLNEED) == 0 && madvise(p, 4 * P, MADV_SEQUENTIAL) == 0);
	CHECK(munmap(p + 2 * P, P) == 0);
	CHECK_ERRNO(madvise(p, 4 * P, MADV_DONTNEED), ENOMEM);
	CHECK(p[P] == 0 && p[3 * P] == 0);
	CHECK(mincore(p + P, P, vec) == 0 && vec[0] & 1);
	CHECK_ERRNO(mincore(p, 4 * P, vec), ENOMEM);
	CHECK_ERRNO(mincore(p + 1, P, vec), EINVAL);
	CHECK_ERRNO(mincore(p, P, (unsigned char *)8), EFAULT);
	CHECK(mlock(p, P) == 0 && munlock(p, P) == 0);
	CHECK_ERRNO(mlock(p + 2 * P, P), ENOMEM);
	CHECK_ERRNO(msync(p, P, MS_SYNC | MS_ASYNC), EINVAL);
	CHECK_ERRNO(msync(p, 4 * P, MS_SYNC), ENOMEM);
	CHECK(msync(p, P, MS_SYNC) == 0);
	CHECK_ERRNO(syscall(SYS_mlockall, 0), EINVAL);
}

static void heap(void)
{
	char *start = sbrk(0), *p;

	CHECK(sbrk(10 * P) == start);
	p = start + 9 * P;
	*p = 4;
	CHECK(sbrk(-10 * (long)P) != (void *)-1);
	CHECK((unsigned long)p < (((unsigned long)start + P - 1) & -P) || touch(p, 0) == MAPERR);
	CHECK(sbrk(10 * P) != (void *)-1 && *p == 0);
	CHECK_ERRNO((long)sbrk(1l << 46), ENOMEM);
}

static void limits(void)
{
	struct rlimit rl = { 512ul << 20, 512ul << 20 };
	int status;

	if (fork() == 0) {
		CHECK(setrlimit(RLIMIT_AS, &rl) == 0);
		CHECK_ERRNO((long)mmap(NULL, 600ul << 20, RW, ANON, -1, 0), ENOMEM);
		CHECK(mmap(NULL, 100ul << 20, RW, ANON, -1, 0) != MAP_FAILED);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

/* Recursion through four megabytes of stack, and the end of it. */
static int deep(int n)
{
	volatile char frame[P];

	frame[0] = n;
	return n ? deep(n - 1) + (frame[0] == (char)n) : 0;
}

static void stack(void)
{
	int status;
	pid_t pid;

	CHECK(deep(1000) == 1000);
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(deep(1 << 20) == 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	map_errors();
	protect();
	remap();
	advise();
	heap();
	limits();
	stack();
	puts("ok");
	return 0;
}
