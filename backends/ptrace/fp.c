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

/* Bytes of the host's image: ours and, behind it, what guests are not offered (AMX). The same for every process. */
static _Atomic size_t host_size;

static int host_get(pid_t tid, u8 *host)
{
	struct iovec iov = { host, HOST_MAX };

	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov))
		return -errno;
	if (iov.iov_len < xstate_size())
		return -EINVAL;
	atomic_store_explicit(&host_size, iov.iov_len, memory_order_relaxed);
	return 0;
}

/* The host takes a whole image or none; what is not ours is left in its initial state. */
int fp_load(pid_t tid, const u8 *image)
{
	u8 host[HOST_MAX];
	struct iovec iov = { host, 0 };
	int err = host_size ? 0 : host_get(tid, host);

	if (err)
		return err;
	iov.iov_len = host_size;
	memset(host + xstate_size(), 0, iov.iov_len - xstate_size());
	memcpy(host, image, xstate_size());
	memset(host + SW_RESERVED, 0, SW_RESERVED_LEN);
	return ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &iov) ? -errno : 0;
}

int fp_save(pid_t tid, u8 *image)
{
	u8 host[HOST_MAX];
	u64 bv;
	int err = host_get(tid, host);

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
