/* process_vm_readv and writev, membarrier, memory policy. */
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define P	4096ul
#define RW	(PROT_READ | PROT_WRITE)

static void remote(void)
{
	char *shared = mmap(NULL, 4 * P, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), buf[3 * P];
	struct iovec local[2] = { { buf, 100 }, { buf + 200, 2 * P } }, other = { shared + 50, 2 * P + 100 };
	int go[2];
	pid_t pid;

	CHECK(pipe(go) == 0);
	memset(shared, 1, 4 * P);
	pid = fork();
	if (!pid) {
		char c;

		close(go[1]);
		memset(shared, 2, 4 * P);
		munmap(shared + 3 * P, P);
		CHECK(write(go[0] + 100, "", 0) == -1);
		(void)!read(go[0], &c, 1);
		_exit(shared[60] == 9 ? 0 : 1);
	}
	do
		CHECK(process_vm_readv(pid, local, 2, &other, 1, 0) == 2 * P + 100);
	while (buf[0] != 2 || buf[200 + 2 * P - 1] != 2);
	CHECK(shared[50] == 1);
	buf[0] = 9;
	local[0].iov_len = 1;
	other = (struct iovec){ shared + 60, 1 };
	CHECK(process_vm_writev(pid, local, 1, &other, 1, 0) == 1);
	other = (struct iovec){ shared + 2 * P, 2 * P };
	do
		errno = 0;
	while (process_vm_readv(pid, local + 1, 1, &other, 1, 0) == 2 * P);
	CHECK(process_vm_readv(pid, local + 1, 1, &other, 1, 0) == P);
	other = (struct iovec){ (void *)8, 8 };
	CHECK_ERRNO(process_vm_readv(pid, local + 1, 1, &other, 1, 0), EFAULT);
	CHECK_ERRNO(process_vm_readv(pid, local, 1, &other, 1, 1), EINVAL);
	CHECK_ERRNO(process_vm_readv(pid, local, 5000, &other, 1, 0), EINVAL);
	CHECK_ERRNO(process_vm_readv(0x7ffffff, local, 1, &other, 1, 0), ESRCH);
	CHECK(write(go[1], "x", 1) == 1);
	int status;
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void barriers(void)
{
	long have = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	CHECK(have >= 0);
	CHECK_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 1, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
	if (!(have & MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return;
	CHECK_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
}

static void policy(void)
{
	unsigned long mask[16] = { 0 };
	int mode = -1;

	if (syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == -1 && errno == ENOSYS)
		return;
	CHECK(mode == MPOL_DEFAULT);
	CHECK(syscall(SYS_get_mempolicy, NULL, mask, 1024, NULL, MPOL_F_MEMS_ALLOWED) == 0 || errno == EFAULT ||
	      errno == EINVAL);
	CHECK_ERRNO(syscall(SYS_set_mempolicy, 77, NULL, 0), EINVAL);
	CHECK(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0) == 0);
}

int main(void)
{
	remote();
	barriers();
	policy();
	puts("ok");
	return 0;
}
