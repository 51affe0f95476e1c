/* Mappings of files: private and shared, with read and write, truncation and SIGBUS, after close and unlink. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096

static sigjmp_buf out;
static volatile sig_atomic_t code;

static void on_bus(int sig, siginfo_t *si, void *uc)
{
	code = si->si_code;
	siglongjmp(out, sig);
}

static int touch(volatile char *p)
{
	int sig = sigsetjmp(out, 1);

	if (!sig)
		(void)*p;
	return sig;
}

static void shared(int fd)
{
	char buf[16];
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *q;

	CHECK(p != MAP_FAILED);
	CHECK(!memcmp(p, "file", 4));
	memcpy(p, "MAPS", 4);
	CHECK(pread(fd, buf, 4, 0) == 4 && !memcmp(buf, "MAPS", 4));
	CHECK(pwrite(fd, "back", 4, 0) == 4 && !memcmp(p, "back", 4));
	CHECK((q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)) != MAP_FAILED);
	q[0] = 'P';
	CHECK(p[0] == 'b' && q[0] == 'P');
	if (!fork()) {
		p[1] = 'C';
		_exit(0);
	}
	CHECK(wait(NULL) > 0 && p[1] == 'C');
	CHECK(msync(p, PAGE, MS_SYNC) == 0);
	CHECK(munmap(p, 2 * PAGE) == 0 && munmap(q, PAGE) == 0);
	CHECK(pread(fd, buf, 4, 0) == 4 && !memcmp(buf, "bCck", 4));
}

static void truncation(int fd)
{
	struct sigaction sa = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	char *p;

	sigaction(SIGBUS, &sa, NULL);
	CHECK(ftruncate(fd, 3 * PAGE) == 0);
	CHECK((p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED);
	p[2 * PAGE] = 'x';
	CHECK(touch(p + 3 * PAGE) == SIGBUS && code == BUS_ADRERR);
	CHECK(ftruncate(fd, PAGE + 10) == 0);
	CHECK(touch(p + 2 * PAGE) == SIGBUS && touch(p + PAGE) == 0);
	p[PAGE + 20] = 'y';
	CHECK(ftruncate(fd, 3 * PAGE) == 0 && touch(p + 2 * PAGE) == 0 && p[2 * PAGE] == 0);
	CHECK(p[PAGE + 20] == 0);
	CHECK(munmap(p, 4 * PAGE) == 0);
}

static void access_modes(const char *name)
{
	int ro = open(name, O_RDONLY), wo = open(name, O_WRONLY);
	char *p;

	CHECK(ro >= 0 && wo >= 0);
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0) == MAP_FAILED && errno == EACCES);
	CHECK((p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0)) != MAP_FAILED);
	CHECK(mprotect(p, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
	munmap(p, PAGE);
	CHECK((p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0)) != MAP_FAILED);
	close(ro);
	close(wo);
	p[0] = 1;
	munmap(p, PAGE);
}

static void after_unlink(int fd, const char *name)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED && unlink(name) == 0 && close(fd) == 0);
	p[0] = 'z';
	CHECK(p[0] == 'z');
	CHECK(munmap(p, PAGE) == 0);
}

static void memfd(void)
{
	int fd = memfd_create("m", MFD_ALLOW_SEALING);
	char *p;

	CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0);
	CHECK((p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED);
	p[5] = 5;
	CHECK(fcntl(fd, F_GET_SEALS) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	CHECK(ftruncate(fd, 2 * PAGE) == -1 && errno == EPERM);
	CHECK(ftruncate(fd, 0) == -1 && errno == EPERM);
	CHECK(write(fd, "x", 1) == 1);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EBUSY);
	munmap(p, PAGE);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0);
	CHECK(write(fd, "x", 1) == -1 && errno == EPERM);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM);
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
	CHECK((p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)) != MAP_FAILED && p[5] == 5);
	close(fd);
}

int main(void)
{
	char name[] = "mapXXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && write(fd, "file contents", 13) == 13 && ftruncate(fd, 2 * PAGE) == 0);
	shared(fd);
	truncation(fd);
	access_modes(name);
	after_unlink(fd, name);
	memfd();
	puts("ok");
	return 0;
}
