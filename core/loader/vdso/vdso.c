/*
 * The guest's vDSO: clocks without a switch. Runs in the guest, with the guest's rights, on memory that the guest may
 * replace: nothing here protects anyone but the guest that calls it.
 */
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "loader/vdso/vvar.h"

/* The page before the image; vdso.lds places it. */
extern const struct vvar vvar_page __attribute__((visibility("hidden")));

#define EXPORT		__attribute__((visibility("default")))
#define NSEC_PER_SEC	1000000000ull

/* Selector of the GDT entry whose limit Linux loads with the CPU's number: 15, ring 3. */
#define CPU_NODE_SELECTOR	0x7b

EXPORT int __vdso_clock_gettime(clockid_t clock, struct timespec *ts);
EXPORT int __vdso_clock_getres(clockid_t clock, struct timespec *ts);
EXPORT int __vdso_gettimeofday(struct timeval *tv, void *tz);
EXPORT time_t __vdso_time(time_t *t);
EXPORT long __vdso_getcpu(unsigned int *cpu, unsigned int *node, void *unused);

static inline long syscall3(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

int __vdso_clock_gettime(clockid_t clock, struct timespec *ts)
{
	u64 ns;

	if (!vvar_read(&vvar_page, clock, &ns))
		return syscall3(SYS_clock_gettime, clock, (long)ts, 0);
	ts->tv_sec = ns / NSEC_PER_SEC;
	ts->tv_nsec = ns % NSEC_PER_SEC;
	return 0;
}

int __vdso_clock_getres(clockid_t clock, struct timespec *ts)
{
	u32 coarse = vvar_page.coarse_ns;
	bool known = (u32)clock < VVAR_CLOCKS && VVAR_CLOCK_MASK >> clock & 1;

	if (!known || !coarse)
		return syscall3(SYS_clock_getres, clock, (long)ts, 0);
	if (ts) {
		ts->tv_sec = 0;
		ts->tv_nsec = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE ? coarse : 1;
	}
	return 0;
}

int __vdso_gettimeofday(struct timeval *tv, void *tz)
{
	u64 ns;

	if (tz || !vvar_read(&vvar_page, CLOCK_REALTIME, &ns))
		return syscall3(SYS_gettimeofday, (long)tv, (long)tz, 0);
	if (tv) {
		tv->tv_sec = ns / NSEC_PER_SEC;
		tv->tv_usec = ns % NSEC_PER_SEC / 1000;
	}
	return 0;
}

time_t __vdso_time(time_t *t)
{
	time_t now;
	u64 ns;

	if (!vvar_read(&vvar_page, CLOCK_REALTIME, &ns))
		return syscall3(SYS_time, (long)t, 0, 0);
	now = ns / NSEC_PER_SEC;
	if (t)
		*t = now;
	return now;
}

/*
 * Where guests run in host processes the host's descriptor is there and names the CPU that the guest is on at this
 * moment. A platform with descriptor tables of its own has none: LSL then clears ZF, and the sentry is asked.
 */
long __vdso_getcpu(unsigned int *cpu, unsigned int *node, void *unused)
{
	u32 limit = 0;
	bool valid;

	(void)unused;
	__asm__ volatile("lsl %2, %0" : "+r"(limit), "=@ccz"(valid) : "r"(CPU_NODE_SELECTOR));
	if (!valid)
		return syscall3(SYS_getcpu, (long)cpu, (long)node, 0);
	if (cpu)
		*cpu = limit & 0xfff;
	if (node)
		*node = limit >> 12;
	return 0;
}

EXPORT int clock_gettime(clockid_t, struct timespec *) __attribute__((weak, alias("__vdso_clock_gettime")));
EXPORT int clock_getres(clockid_t, struct timespec *) __attribute__((weak, alias("__vdso_clock_getres")));
EXPORT int gettimeofday(struct timeval *restrict, void *restrict) __attribute__((weak, alias("__vdso_gettimeofday")));
EXPORT time_t time(time_t *) __attribute__((weak, alias("__vdso_time")));
EXPORT long getcpu(unsigned int *, unsigned int *, void *) __attribute__((weak, alias("__vdso_getcpu")));
