/* Extended state of a worker: moved only on request, through PTRACE_*REGSET in XSAVE's standard format. */
#include "backends/ptrace/internal.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

enum {
	HOST_MAX = 16384,		/* bytes of the host's image, AMX included */
	SW_RESERVED = 464, SW_RESERVED_LEN = 48,	/* of the legacy area: the host notes its features there */
	HEADER = 512,
};

/* What the host's image holds besides ours (AMX) must be written back as it was read, and whole. */
static int host_get(pid_t tid, u8 *host, size_t *len)
{
	struct iovec iov = { host, HOST_MAX };

	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov))
		return -errno;
	*len = iov.iov_len;
	return *len < xstate_size() ? -EINVAL : 0;
}

int fp_load(pid_t tid, const u8 *image)
{
	u8 host[HOST_MAX];
	struct iovec iov = { host, 0 };
	int err = host_get(tid, host, &iov.iov_len);

	if (err)
		return err;
	memset(host, 0, iov.iov_len);
	memcpy(host, image, xstate_size());
	memset(host + SW_RESERVED, 0, SW_RESERVED_LEN);
	return ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &iov) ? -errno : 0;
}

int fp_save(pid_t tid, u8 *image)
{
	u8 host[HOST_MAX];
	size_t len;
	u64 bv;
	int err = host_get(tid, host, &len);

	if (err)
		return err;
	memcpy(image, host, xstate_size());
	memset(image + SW_RESERVED, 0, SW_RESERVED_LEN);
	memcpy(&bv, image + HEADER, sizeof(bv));
	bv &= xstate_features();
	memcpy(image + HEADER, &bv, sizeof(bv));
	memset(image + HEADER + sizeof(bv), 0, 64 - sizeof(bv));
	return 0;
}

int ptrace_fp_read(struct context *ctx, void *buf)
{
	switch (ctx->fp_home) {
	case FP_WORKER:
		return fp_save(ctx->tid, buf);
	case FP_IMAGE:
		memcpy(buf, ctx->fp, xstate_size());
		return 0;
	case FP_INITIAL:
		xstate_init_image(buf);
		return 0;
	}
	return -EINVAL;
}

int ptrace_fp_write(struct context *ctx, const void *buf)
{
	int err;

	if (xstate_check(buf))
		return -EINVAL;
	if (ctx->fp_home == FP_WORKER) {
		err = fp_load(ctx->tid, buf);
		if (err != -ESRCH)
			return err;	/* -ESRCH: killed from outside, which the next switch reports */
	}
	memcpy(ctx->fp, buf, xstate_size());
	ctx->fp_home = FP_IMAGE;
	return 0;
}
