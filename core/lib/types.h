/* Types and small helpers that every part of the sentry shares. No libc calls, so ring 0 and stub code may include it. */
#ifndef TG_LIB_TYPES_H
#define TG_LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

typedef u64 gva_t;			/* address in a guest's address space; hostile until checked */
typedef u64 gpa_t;			/* guest-physical address (kvm) */

#define PAGE_SHIFT	12
#define PAGE_SIZE	((u64)1 << PAGE_SHIFT)
#define PAGE_MASK	(~(PAGE_SIZE - 1))

#define GUEST_MIN	((gva_t)0x10000)		/* lowest address a guest may map (vm.mmap_min_addr) */
#define GUEST_END	((gva_t)0x7f0000000000)		/* first address above the guest: stub, sentry and ring 0 live there */
/*
 * Hints where the sentry maps what is large, above its guests: left to itself the kernel goes downwards from a random address, and
 * may end below GUEST_END, where kvm.sentry=guest can't have it.
 */
#define SENTRY_FILE_HINT	((void *)0x7f2000000000)
#define SENTRY_VIEW_HINT	((void *)0x7f4000000000)

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)	((a) < (b) ? (a) : (b))
#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member)	((type *)((char *)(ptr) - offsetof(type, member)))

static inline u64 page_down(u64 x) { return x & PAGE_MASK; }
static inline u64 page_up(u64 x) { return (x + PAGE_SIZE - 1) & PAGE_MASK; }	/* wraps to 0 near 2^64 */
static inline u64 align_down(u64 x, u64 to) { return x & ~(to - 1); }
static inline u64 align_up(u64 x, u64 to) { return (x + to - 1) & ~(to - 1); }

/* True if [addr, addr+len) lies in guest space; safe against every overflow. */
static inline bool guest_range_ok(gva_t addr, u64 len)
{
	return addr <= GUEST_END && len <= GUEST_END - addr;
}

#endif
