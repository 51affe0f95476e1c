/* The extended state image: its size, its initial contents, and what XRSTOR would refuse. */
#include "platform.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

enum {
	LEGACY = 512, HEADER = 64,		/* bytes; the header's words: XSTATE_BV, XCOMP_BV, six reserved */
	MXCSR_OFFSET = 24, MXCSR_INIT = 0x1f80, FCW_INIT = 0x37f,
	PKRU_COMPONENT = 9,
};

/* x87, SSE, AVX, AVX-512 (opmask, ZMM_Hi256, Hi16_ZMM), PKRU. Not MPX, which Linux dropped, and not AMX. */
#define OFFERED		((u64)0x2e7)

static struct {
	pthread_once_t once;
	size_t size;
	u64 features;
	u32 mxcsr_mask;
} xs = { .once = PTHREAD_ONCE_INIT };

static u64 read_xcr0(void)
{
	u32 lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (u64)hi << 32 | lo;
}

static u32 read_mxcsr_mask(void)
{
	u8 image[LEGACY] __attribute__((aligned(16))) = { 0 };
	u32 mask;

	__asm__ volatile("fxsave %0" : "=m"(image));
	memcpy(&mask, image + 28, sizeof(mask));
	return mask ? mask : 0xffbf;	/* as the SDM says for processors that leave it 0 */
}

static void detect(void)
{
	u32 a, b, c, d;

	xs.features = 3;
	xs.size = LEGACY + HEADER;
	xs.mxcsr_mask = read_mxcsr_mask();
	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		return;
	xs.features = read_xcr0() & OFFERED;
	for (int i = 2; i < 63; i++) {
		if (!(xs.features >> i & 1))
			continue;
		__cpuid_count(0xd, i, a, b, c, d);
		xs.size = MAX(xs.size, (size_t)a + b);
	}
}

size_t xstate_size(void)
{
	pthread_once(&xs.once, detect);
	return xs.size;
}

u64 xstate_features(void)
{
	pthread_once(&xs.once, detect);
	return xs.features;
}

/* Linux starts programs with every protection key but 0 denied (init_pkru); PKRU's initial state would allow all. */
static void init_pkru(u8 *image)
{
	const u32 pkru = 0x55555554;
	u32 a, b, c, d;
	u64 bv;

	if (!(xstate_features() >> PKRU_COMPONENT & 1))
		return;
	__cpuid_count(0xd, PKRU_COMPONENT, a, b, c, d);
	memcpy(image + b, &pkru, sizeof(pkru));
	memcpy(&bv, image + LEGACY, sizeof(bv));
	bv |= 1 << PKRU_COMPONENT;
	memcpy(image + LEGACY, &bv, sizeof(bv));
}

void xstate_init_image(void *buf)
{
	const u16 fcw = FCW_INIT;
	const u32 mxcsr = MXCSR_INIT;
	const u64 bv = 3;

	memset(buf, 0, xstate_size());
	memcpy(buf, &fcw, sizeof(fcw));
	memcpy((u8 *)buf + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
	memcpy((u8 *)buf + LEGACY, &bv, sizeof(bv));
	init_pkru(buf);
}

int xstate_check(const void *buf)
{
	u64 header[HEADER / 8];
	u32 mxcsr;

	pthread_once(&xs.once, detect);
	memcpy(header, (const u8 *)buf + LEGACY, sizeof(header));
	memcpy(&mxcsr, (const u8 *)buf + MXCSR_OFFSET, sizeof(mxcsr));
	if (header[0] & ~xs.features)
		return -EINVAL;
	for (size_t i = 1; i < ARRAY_SIZE(header); i++)
		if (header[i])
			return -EINVAL;
	return mxcsr & ~xs.mxcsr_mask ? -EINVAL : 0;
}
