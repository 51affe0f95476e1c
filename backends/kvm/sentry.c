/*
 * The sentry's own addresses in the guest's page tables (kvm.sentry=guest): GUEST_END and up, supervisor only, each
 * thing where the sentry has it, so that a pointer means the same in ring 0 as in the host. Two entries of the top
 * level, shared by all address spaces, or with kvm.kpti in a table of ring 0's own.
 *
 * It is filled as ring 0 touches it. Plain memory comes by the GiB, a slot each, whether anything is mapped there or
 * not: KVM asks the host for a page when ring 0 uses it, under the rights that the sentry itself has, and is told by
 * the host of every change, as with any slot. The memory file and the page tables have slots already, and are
 * shown through those, 2 MiB at a time. Of the code only what was built to run inside (section inside_text) can be run.
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/log.h"

enum { P = 1, W = 2, A = 0x20, D = 0x40, PS = 0x80, ENTRIES = 512, GIB_SHIFT = 30, SPAN_SHIFT = 21 };
#define NX		((u64)1 << 63)
#define ADDRESS		((u64)0x000ffffffffff000)
#define SENTRY_END	((u64)1 << 47)
#define SPAN		((u64)1 << SPAN_SHIFT)
#define GIB		((u64)1 << GIB_SHIFT)
#define DATA_BITS	(P | W | A | D | NX)

extern const u8 __start_inside_text[], __stop_inside_text[];

static struct {
	pthread_mutex_t lock;
	u32 n;				/* GiBs shown */
	bool clear;			/* the guests' addresses are taken in the sentry */
	u16 number[2 * ENTRIES];	/* of a GiB, 1 and up */
} sentry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static u64 *pdpt_entry(u64 gib)
{
	return (u64 *)machine_private(RING0_PAGE_SENTRY + gib / ENTRIES) + gib % ENTRIES;
}

static bool is_code(u64 addr)
{
	return addr >= page_down((u64)__start_inside_text) && addr < (u64)__stop_inside_text;
}

static bool has_code(u64 span)
{
	return span + SPAN > page_down((u64)__start_inside_text) && span < (u64)__stop_inside_text;
}

/* A slot for the GiB, and its plain spans. */
static gpa_t show_gib(u64 gib, u64 *entry)
{
	const u64 base = GUEST_END + gib * GIB;
	gpa_t pd = table_create(), gpa = machine_add_sentry(sentry.n, base);

	if (!pd || !gpa)
		return 0;
	sentry.number[gib] = ++sentry.n;
	for (u64 i = 0; i < ENTRIES; i++)
		if (!machine_has_own_slot(base + i * SPAN, SPAN) && !has_code(base + i * SPAN))
			atomic_store(table_at(pd) + i, (gpa + i * SPAN) | PS | DATA_BITS);
	__atomic_store_n(entry, pd | P | W | A, __ATOMIC_RELEASE);
	return pd;
}

/* The span with code in it, page by page: code can't be written, the rest can't be run. */
static int show_code(_Atomic u64 *entry, u64 span, gpa_t gpa)
{
	gpa_t pt = table_create();

	if (!pt)
		return -ENOMEM;
	for (u64 i = 0; i < ENTRIES; i++)
		atomic_store(table_at(pt) + i, (gpa + i * PAGE_SIZE) |
			     (is_code(span + i * PAGE_SIZE) ? P | A : DATA_BITS));
	atomic_store(entry, pt | P | W | A);
	return 0;
}

static int show_span(_Atomic u64 *entry, u64 span, u64 gib)
{
	gpa_t gpa = machine_own_gpa(span, SPAN);

	if (!gpa)
		gpa = machine_sentry_gpa(sentry.number[gib] - 1) + (span & (GIB - 1));
	if (has_code(span))
		return show_code(entry, span, gpa);
	atomic_store(entry, gpa | PS | DATA_BITS);
	return 0;
}

bool sentry_show(u64 addr)
{
	const u64 gib = (addr - GUEST_END) >> GIB_SHIFT;
	_Atomic u64 *entry;
	bool ok = false;
	gpa_t pd;
	u64 *top;

	if (addr < GUEST_END || addr >= SENTRY_END)
		return false;
	pthread_mutex_lock(&sentry.lock);
	top = pdpt_entry(gib);
	pd = *top & ADDRESS;
	if (!pd)
		pd = show_gib(gib, top);
	if (pd) {
		entry = table_at(pd) + (addr >> SPAN_SHIFT & (ENTRIES - 1));
		ok = atomic_load(entry) || !show_span(entry, align_down(addr, SPAN), gib);
	}
	pthread_mutex_unlock(&sentry.lock);
	return ok;
}

/*
 * Nothing of the sentry's may ever lie where a guest's addresses are, or ring 0 would take the guest's memory for it
 * (with SMAP it would fault). So the kernel is left no such place to give.
 */
static int keep_clear(void)
{
	void *at = mmap((void *)GUEST_MIN, GUEST_END - GUEST_MIN, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	sentry.clear = true;
	return 0;
}

void sentry_exit(void)
{
	if (sentry.clear)
		munmap((void *)GUEST_MIN, GUEST_END - GUEST_MIN);
	sentry.clear = false;
}

int sentry_init(char *why, size_t len)
{
	u64 *root = (u64 *)machine_private(RING0_PAGE_ROOT);
	const u64 first = (u64)__start_inside_text, here = (u64)__builtin_frame_address(0);

	sentry.n = 0;
	memset(sentry.number, 0, sizeof(sentry.number));
	if (first < GUEST_END || here < GUEST_END || (u64)machine.memory->base < GUEST_END) {
		snprintf(why, len, "the sentry does not stand above its guests in this build");
		return -ENOTSUP;
	}
	if (keep_clear()) {
		snprintf(why, len, "the sentry can't keep clear of its guests' addresses");
		return -ENOTSUP;
	}
	for (u64 i = 0; i < 2; i++)
		root[SENTRY_INDEX + i] = (RING0_PAGE_SENTRY + i) * PAGE_SIZE | P | W | A;
	root[KERNEL_INDEX] = RING0_PAGE_PDPT * PAGE_SIZE | P | W | A;
	for (u64 at = page_down(first); at < (u64)__stop_inside_text; at += SPAN)
		if (!sentry_show(at))
			return -ENOMEM;
	return 0;
}
