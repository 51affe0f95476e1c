/*
 * Four-level page tables, written by the sentry, walked by the processor or by KVM.
 *
 * The accessed and dirty bits are set from the start, so nobody else writes an entry, and entries compare exactly. A
 * table stays where it is linked until it is pruned or the address space goes: an entry of a higher level that
 * changed would not be noticed under shadow paging (see tables.c).
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <string.h>

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LEVELS = 4, ENTRIES = 512, EMPTY_MAX = 2048 };
#define NX		((u64)1 << 63)
#define ADDRESS		((u64)0x000ffffffffff000)
#define LEAF_SPAN	(ENTRIES * PAGE_SIZE)
#define KERNEL_INDEX	256			/* of RING0_BASE at the top */

static u32 index_at(gva_t addr, int level) { return addr >> (PAGE_SHIFT + 9 * (level - 1)) & (ENTRIES - 1); }
static u64 span_at(int level) { return PAGE_SIZE << 9 * level; }	/* of a whole table of that level */

static u64 entry_bits(enum access prot)
{
	if (!prot)
		return 0;
	return P | U | A | D | (prot & ACCESS_WRITE ? W : 0) | (prot & ACCESS_EXEC ? 0 : NX);
}

static void set(_Atomic u64 *entry, u64 value) { atomic_store_explicit(entry, value, memory_order_release); }
static u64 get(_Atomic u64 *entry) { return atomic_load_explicit(entry, memory_order_relaxed); }

/* Of any access that `old` gave, `value` has less, or it shows another page. */
static bool loses(u64 old, u64 value)
{
	if (!(old & P))
		return false;
	return !(value & P) || (old ^ value) & ADDRESS || (old & W && !(value & W)) || (!(old & NX) && value & NX);
}

/*
 * The leaf table that covers addr, made if `make`; NULL: a hole. *next is where the table, or the hole, ends.
 */
static gpa_t leaf_of(struct address_space *as, gva_t addr, bool make, gva_t *next)
{
	gpa_t table = as->root;

	for (int level = LEVELS; level > 1; level--) {
		_Atomic u64 *entry = table_at(table) + index_at(addr, level);
		gpa_t below = get(entry) & ADDRESS;

		*next = align_down(addr, span_at(level - 1)) + span_at(level - 1);
		if (!below) {
			below = make ? table_create() : 0;
			if (!below)
				return 0;
			++*table_live(table);
			as->empty_leaves += level == 2;
			set(entry, below | P | W | U | A);
		}
		table = below;
	}
	return table;
}

static void count_change(struct address_space *as, u16 *live, u64 old, u64 value)
{
	if (!old && value && !(*live)++)
		as->empty_leaves--;
	else if (old && !value && !--*live)
		as->empty_leaves++;
}

static void change(struct address_space *as, _Atomic u64 *entry, u16 *live, u64 value, struct revoke *r)
{
	u64 old = get(entry);

	if (old == value)
		return;
	set(entry, value);
	count_change(as, live, old, value);
	if (loses(old, value))
		revoke_add(r, old & ADDRESS, PAGE_SIZE);
}

int pagetable_map(struct address_space *as, gva_t addr, u64 len, gpa_t gpa, enum access prot, struct revoke *r)
{
	const gva_t end = addr + len;
	const u64 bits = entry_bits(prot);
	gva_t next;

	for (; addr < end; addr = next) {
		gpa_t leaf = leaf_of(as, addr, true, &next);

		if (!leaf)
			return -ENOMEM;
		next = MIN(next, end);
		for (; addr < next; addr += PAGE_SIZE, gpa += PAGE_SIZE)
			change(as, table_at(leaf) + index_at(addr, 1), table_live(leaf), gpa | bits, r);
	}
	return 0;
}

/* Frees what is empty below; true if `table` is now empty itself. */
static bool prune(gpa_t table, int level)
{
	u16 *live = table_live(table);

	for (u32 i = 0; level > 1 && i < (level == LEVELS ? KERNEL_INDEX : ENTRIES); i++) {
		_Atomic u64 *entry = table_at(table) + i;
		gpa_t below = get(entry) & ADDRESS;

		if (!below || !prune(below, level - 1))
			continue;
		set(entry, 0);
		--*live;
		table_destroy(below);
	}
	return !*live;
}

void pagetable_unmap(struct address_space *as, gva_t addr, u64 len, struct revoke *r)
{
	const gva_t end = addr + len;
	gva_t next;

	for (; addr < end; addr = next) {
		gpa_t leaf = leaf_of(as, addr, false, &next);

		next = MIN(next, end);
		for (; leaf && *table_live(leaf) && addr < next; addr += PAGE_SIZE)
			change(as, table_at(leaf) + index_at(addr, 1), table_live(leaf), 0, r);
	}
	if (as->empty_leaves < EMPTY_MAX)
		return;
	prune(as->root, LEVELS);
	as->empty_leaves = 0;
	tables_settle();
}

void pagetable_protect(struct address_space *as, gva_t addr, u64 len, enum access prot, struct revoke *r)
{
	const gva_t end = addr + len;
	const u64 bits = entry_bits(prot);
	gva_t next;

	if (!bits) {			/* core maps anew what gets access again */
		pagetable_unmap(as, addr, len, r);
		return;
	}
	for (; addr < end; addr = next) {
		gpa_t leaf = leaf_of(as, addr, false, &next);

		next = MIN(next, end);
		for (; leaf && addr < next; addr += PAGE_SIZE) {
			_Atomic u64 *entry = table_at(leaf) + index_at(addr, 1);

			if (get(entry) & P)
				change(as, entry, table_live(leaf), (get(entry) & ADDRESS) | bits, r);
		}
	}
}

/* A table that is pruned meanwhile reads as zeroes or as another's: wrong bytes at worst, and the guest's own doing. */
bool pagetable_read(struct address_space *as, gva_t addr, u8 *buf, size_t len)
{
	gva_t next;
	gpa_t leaf;
	u64 entry;

	if (addr >= GUEST_END || (addr & ~PAGE_MASK) + len > PAGE_SIZE)
		return false;
	leaf = leaf_of(as, addr, false, &next);
	entry = leaf ? get(table_at(leaf) + index_at(addr, 1)) : 0;
	if (!(entry & P) || entry & NX || (entry & ADDRESS) < GPA_DATA)
		return false;
	memcpy(buf, machine_data_ptr(entry & ADDRESS) + (addr & ~PAGE_MASK), len);
	return true;
}

/* ---- whole tables ---- */

static void destroy(gpa_t table, int level)
{
	for (u32 i = 0; level > 1 && i < (level == LEVELS ? KERNEL_INDEX : ENTRIES); i++) {
		gpa_t below = get(table_at(table) + i) & ADDRESS;

		if (below)
			destroy(below, level - 1);
	}
	table_destroy(table);
}

void pagetable_destroy(struct address_space *as) { destroy(as->root, LEVELS); }

int pagetable_create(struct address_space *as)
{
	as->root = table_create();
	if (!as->root)
		return -ENOMEM;
	set(table_at(as->root) + KERNEL_INDEX, RING0_PAGE_PDPT * PAGE_SIZE | P | W | A);
	return 0;
}

/* Supervisor only. Text can't be written, the rest can't be run. */
void pagetable_init_kernel(void)
{
	u64 *pdpt = (u64 *)machine_private(RING0_PAGE_PDPT), *pd = (u64 *)machine_private(RING0_PAGE_PD);
	u64 *pt = (u64 *)machine_private(RING0_PAGE_PT);

	pdpt[0] = RING0_PAGE_PD * PAGE_SIZE | P | W | A;
	pd[0] = RING0_PAGE_PT * PAGE_SIZE | P | W | A;
	pt[RING0_PAGE_TEXT] = RING0_PAGE_TEXT * PAGE_SIZE | P | A;
	pt[RING0_PAGE_IDT] = RING0_PAGE_IDT * PAGE_SIZE | P | A | NX;
	for (u64 i = RING0_PAGE_VCPU; i < RING0_PAGES; i++)
		pt[i] = i * PAGE_SIZE | P | W | A | D | NX;
}
