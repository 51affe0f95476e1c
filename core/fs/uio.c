/* Data in flight between host pointers to guest memory and the sentry's own buffers. */
#include <string.h>

#include "fs/fs.h"

void uio_advance(struct uio *u, u64 n)
{
	u->len -= n;
	while (n && u->iovcnt) {
		u64 step = MIN(n, u->iov->iov_len);

		u->iov->iov_base = (u8 *)u->iov->iov_base + step;
		u->iov->iov_len -= step;
		n -= step;
		if (!u->iov->iov_len) {
			u->iov++;
			u->iovcnt--;
		}
	}
}

static u64 first_segment(struct uio *u, u64 n)
{
	while (u->iovcnt && !u->iov->iov_len) {
		u->iov++;
		u->iovcnt--;
	}
	return u->iovcnt ? MIN(n, u->iov->iov_len) : 0;
}

u64 uio_put(struct uio *u, const void *src, u64 n)
{
	const u8 *p = src;
	u64 step;

	n = MIN(n, u->len);
	for (u64 left = n; left; left -= step, p += step) {
		step = first_segment(u, left);
		if (!step)
			return n - left;
		memcpy(u->iov->iov_base, p, step);
		uio_advance(u, step);
	}
	return n;
}

u64 uio_get(struct uio *u, void *dst, u64 n)
{
	u8 *p = dst;
	u64 step;

	n = MIN(n, u->len);
	for (u64 left = n; left; left -= step, p += step) {
		step = first_segment(u, left);
		if (!step)
			return n - left;
		memcpy(p, u->iov->iov_base, step);
		uio_advance(u, step);
	}
	return n;
}
