/* Asynchronous i/o by its system calls, and what they refuse. */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define NAME	"aio.tmp"

static aio_context_t ctx;

static long submit(long n, struct iocb **cbs) { return syscall(SYS_io_submit, ctx, n, cbs); }

static long events(long min, long n, struct io_event *e)
{
	struct timespec soon = { min > 1 || n == 1 ? 5 : 0, 1000000 };

	return syscall(SYS_io_getevents, ctx, min, n, e, &soon);
}

static void requests(int fd)
{
	char out[] = "written", in[16] = "";
	int event = eventfd(0, 0);
	struct iocb w = { .aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (long)out, .aio_nbytes = 7,
			  .aio_offset = 3, .aio_data = 11, .aio_flags = IOCB_FLAG_RESFD, .aio_resfd = event };
	struct iocb r = { .aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (long)in, .aio_nbytes = 16, .aio_data = 22 };
	struct iocb s = { .aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_FDSYNC, .aio_data = 33 };
	struct iocb *cbs[3] = { &w, &r, &s };
	struct pollfd p = { .fd = event, .events = POLLIN | POLLOUT };
	struct io_event e[4];
	u_int64_t n;

	CHECK(submit(1, cbs) == 1);
	CHECK(events(1, 1, e) == 1 && e[0].data == 11 && e[0].obj == (u_int64_t)(long)&w && e[0].res == 7);
	CHECK(read(event, &n, 8) == 8 && n == 1);
	n = UINT64_MAX - 1;
	CHECK(write(event, &n, 8) == 8 && poll(&p, 1, 0) == 1 && p.revents == POLLIN);
	CHECK(submit(1, cbs) == 1 && events(1, 1, e) == 1);
	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLERR));
	CHECK(submit(1, cbs) == 1 && events(1, 1, e) == 1);
	CHECK(read(event, &n, 8) == 8 && n == UINT64_MAX);
	CHECK(submit(2, cbs + 1) == 2);
	CHECK(events(2, 2, e) == 2);
	CHECK(e[0].data + e[1].data == 55);
	CHECK((e[0].data == 22 ? e[0].res : e[1].res) == 10 && !memcmp(in, "\0\0\0written", 10));
	CHECK(events(1, 4, e) == 0);
	CHECK(events(0, 0, e) == 0);
	close(event);
}

static void refusals(int fd)
{
	struct iocb bad = { .aio_fildes = -1, .aio_lio_opcode = IOCB_CMD_PREAD }, odd = { .aio_fildes = fd, .aio_lio_opcode = 99 };
	struct iocb good = { .aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_FSYNC };
	struct iocb *cbs[2] = { &bad, NULL };
	struct io_event e;
	aio_context_t no = 0;

	CHECK_ERRNO(syscall(SYS_io_setup, 0, &no), EINVAL);
	CHECK_ERRNO(syscall(SYS_io_setup, 1, NULL), EFAULT);
	CHECK_ERRNO(syscall(SYS_io_setup, 1, &ctx), EINVAL);
	CHECK_ERRNO(syscall(SYS_io_setup, 0x7ffffff, &no), EINVAL);
	CHECK_ERRNO(syscall(SYS_io_setup, 1000000, &no), EAGAIN);
	CHECK_ERRNO(submit(1, cbs), EBADF);
	cbs[0] = &odd;
	CHECK_ERRNO(submit(1, cbs), EINVAL);
	cbs[0] = &good;
	CHECK(submit(2, cbs) == 1 && events(1, 1, &e) == 1);
	CHECK_ERRNO(submit(-1, cbs), EINVAL);
	CHECK_ERRNO(syscall(SYS_io_submit, ctx, 1, (void *)8), EFAULT);
	CHECK(submit(0, cbs) == 0);
	CHECK_ERRNO(events(2, 1, &e), EINVAL);
	CHECK_ERRNO(syscall(SYS_io_getevents, 0x1234, 0, 1, &e, NULL), EINVAL);
	/* Any other mapping is no context. */
	CHECK_ERRNO(syscall(SYS_io_submit, mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, cbs), EINVAL);
	CHECK_ERRNO(syscall(SYS_io_cancel, ctx, NULL, &e), EFAULT);
}

static void lives(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(syscall(SYS_io_destroy, ctx) == -1 && errno == EINVAL ? 0 : 1);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(syscall(SYS_io_destroy, ctx) == 0);
	CHECK_ERRNO(syscall(SYS_io_destroy, ctx), EINVAL);
}

int main(void)
{
	int fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(syscall(SYS_io_setup, 8, &ctx) == 0 && ctx);
	requests(fd);
	refusals(fd);
	lives();
	CHECK(unlink(NAME) == 0);
	return 0;
}
