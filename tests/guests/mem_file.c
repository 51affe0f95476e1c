/* Mappings of files: coherence with read and write, truncation, private copies, and what is past the end. */
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

#define P	4096ul
#define RW	(PROT_READ | PROT_WRITE)

static sigjmp_buf back;
static volatile int got;

static void on_fault(int s, siginfo_t *si, void *uc)
{
	got = s * 100 + si->si_code;
	siglongjmp(back, 1);
}

static int read_at(volatile char *p)
{
	got = 0;
	if (!sigsetjmp(back, 1))
		(void)*p;
	return got;
}

#define BUS	(SIGBUS * 100 + BUS_ADRERR)

static char *map(int fd, unsigned long pages, int prot, int flags, off_t offset)
{
	char *p = mmap(NULL, pages * P, prot, flags, fd, offset);

	CHECK(p != MAP_FAILED);
	return p;
}

static void coherence(int fd)
{
	char *shared = map(fd, 8, RW, MAP_SHARED, 0), *other = map(fd, 8, PROT_READ, MAP_SHARED, 0);
	char *private = map(fd, 8, RW, MAP_PRIVATE, 0), c;

	CHECK(pwrite(fd, "abc", 3, P) == 3 && shared[P] == 'a' && other[P + 1] == 'b' && private[P + 2] == 'c');
	shared[P] = 'x';
	CHECK(other[P] == 'x' && pread(fd, &c, 1, P) == 1 && c == 'x');
	private[P] = 'y';
	CHECK(shared[P] == 'x' && pread(fd, &c, 1, P) == 1 && c == 'x');
	CHECK(pwrite(fd, "z", 1, P) == 1 && shared[P] == 'z' && private[P] == 'y');
	CHECK(pwrite(fd, shared + P, 100, 5 * P) == 100 && other[5 * P] == 'z');
	CHECK(pread(fd, shared + 2 * P, 3, P) == 3 && other[2 * P] == 'z');
	CHECK(msync(shared, 8 * P, MS_SYNC) == 0);
	if (fork() == 0) {
		shared[3 * P] = 'f';
		private[3 * P] = 'g';
		_exit(0);
	}
	CHECK(wait(&(int){ 0 }) > 0 && other[3 * P] == 'f' && private[3 * P] != 'g');
	munmap(shared, 8 * P);
	munmap(other, 8 * P);
	munmap(private, 8 * P);
}

static void truncation(int fd)
{
	char *shared = map(fd, 8, RW, MAP_SHARED, 0), *private = map(fd, 8, RW, MAP_PRIVATE, 0), c;

	memset(shared, 1, 8 * P);
	private[6 * P] = 2;
	CHECK(ftruncate(fd, 2 * P + 10) == 0);
	CHECK(read_at(shared + 2 * P) == 0 && shared[2 * P + 9] == 1 && shared[2 * P + 10] == 0);
	CHECK(read_at(shared + 3 * P) == BUS && read_at(private + 6 * P) == BUS && read_at(private + 3 * P) == BUS);
	CHECK(write(fd, shared + 4 * P, 1) == -1 && errno == EFAULT);
	CHECK(ftruncate(fd, 8 * P) == 0);
	CHECK(shared[6 * P] == 0 && private[6 * P] == 0);
	CHECK(pread(fd, &c, 1, 2 * P + 9) == 1 && c == 1);
	munmap(shared, 8 * P);
	munmap(private, 8 * P);
}

static void permissions(const char *path)
{
	int ro = open(path, O_RDONLY), wo = open(path, O_WRONLY);
	char *p;

	CHECK(ro >= 0 && wo >= 0);
	CHECK_ERRNO((long)mmap(NULL, P, RW, MAP_SHARED, ro, 0), EACCES);
	CHECK_ERRNO((long)mmap(NULL, P, PROT_READ, MAP_SHARED, wo, 0), EACCES);
	CHECK_ERRNO((long)mmap(NULL, P, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
	CHECK_ERRNO((long)mmap(NULL, P, PROT_READ, MAP_PRIVATE, ro, 100), EINVAL);
	p = map(ro, 1, PROT_READ, MAP_SHARED, 0);
	CHECK_ERRNO(mprotect(p, P, RW), EACCES);
	p = map(ro, 1, PROT_READ, MAP_PRIVATE, 0);
	CHECK(mprotect(p, P, RW) == 0);
	p[0]++;
	close(ro);
	close(wo);
}

static void holes(int fd)
{
	char *shared;

	CHECK(ftruncate(fd, 0) == 0 && ftruncate(fd, 64 * P) == 0);
	shared = map(fd, 64, RW, MAP_SHARED, 0);
	CHECK(shared[40 * P] == 0);
	shared[40 * P] = 6;
	CHECK(madvise(shared + 40 * P, P, MADV_REMOVE) == 0 && shared[40 * P] == 0);
	shared[41 * P] = 6;
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 41 * P, P) == 0 && shared[41 * P] == 0);
	munmap(shared, 64 * P);
}

static void specials(void)
{
	int zero = open("/dev/zero", O_RDWR), fd[2];
	char *p, *q;

	CHECK(zero >= 0);
	p = map(zero, 2, RW, MAP_PRIVATE, 0);
	CHECK(p[0] == 0);
	p[0] = 1;
	q = map(zero, 2, RW, MAP_SHARED, 0);
	CHECK(q[0] == 0);
	if (fork() == 0) {
		p[0] = q[0] = 8;
		_exit(0);
	}
	CHECK(wait(&(int){ 0 }) > 0 && p[0] == 1 && q[0] == 8);
	CHECK(pipe(fd) == 0);
	CHECK_ERRNO((long)mmap(NULL, P, PROT_READ, MAP_PRIVATE, fd[0], 0), ENODEV);
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	char path[] = "/tmp/mem_file.XXXXXX", c;
	int fd = mkstemp(path), mem = memfd_create("mem", 0);

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	CHECK(fd >= 0 && mem >= 0 && ftruncate(fd, 8 * P) == 0 && ftruncate(mem, 8 * P) == 0);
	CHECK_ERRNO(ioctl(mem, FICLONE, fd), EXDEV);
	CHECK_ERRNO(ioctl(mem, FICLONE, mem), EOPNOTSUPP);
	CHECK_ERRNO(ioctl(mem, FICLONE, -1), EBADF);
	coherence(fd);
	truncation(fd);
	coherence(mem);
	truncation(mem);
	permissions(path);
	holes(mem);
	specials();
	/* A mapping outlives its descriptor and its name. */
	CHECK(pwrite(fd, "k", 1, 0) == 1);
	char *p = map(fd, 1, RW, MAP_SHARED, 0);
	CHECK(close(fd) == 0 && unlink(path) == 0 && p[0] == 'k');
	c = p[0];
	CHECK(c == 'k');
	puts("ok");
	return 0;
}
