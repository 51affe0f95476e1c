/*
 * Four-level page tables, written by the sentry, walked by the processor or by KVM.
 *
 * The accessed and dirty bits are set from the start, so nobody else writes an entry, and entries compare exactly. A
 * block, 2 MiB that one entry of the third level covers, is a leaf table of 4 KiB entries, or one entry if all of it
 * is in one aligned run of the memory file.
 *
 * Under shadow paging KVM does not notice what the host writes here. Of an entry for memory that is of no matter: KVM
 * loses what it made of it together with the memory (map.c). But what it made of an entry that led to a table, or
 * to a large page in pieces, stays linked, and would be taken for the shadow of what the entry leads to later. So
 * above the leaves an entry that was ever seen only changes its access, or becomes GONE, which no walk follows. For
 * anything else the path to it is renewed: root, second and third table are copied, changed in the copy, and the
 * address space goes over to the new root, of which KVM knows nothing yet (revoke_publish, map.c).
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <string.h>

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LARGE = 0x80, TABLE_BITS = P | W | U | A };
enum { GONE = 0x200 };			/* there was a large page: P is clear, the bit is ours */
enum { LEVELS = 4, ENTRIES = 512, EMPTY_MAX = 2048 };
#define NX		((u64)1 << 63)
#define ADDRESS		((u64)0x000ffffffffff000)
#define BLOCK		(ENTRIES * PAGE_SIZE)

long kvm_large_pages;

static void set(_Atomic u64 *entry, u64 value) { atomic_store_explicit(entry, value, memory_order_release); }
static u64 get(_Atomic u64 *entry) { return atomic_load_explicit(entry, memory_order_relaxed); }
static u32 index_at(gva_t addr, int level) { return addr >> (PAGE_SHIFT + 9 * (level - 1)) & (ENTRIES - 1); }
static bool is_leaf_table(u64 e) { return (e & (P | LARGE)) == P; }	/* an entry of level 2 */
static u64 span_at(int level) { return PAGE_SIZE << 9 * level; }	/* of a whole table of that level */

static u64 entry_bits(enum access prot)
{
	if (!prot)
		return 0;
	return P | U | A | D | (prot & ACCESS_WRITE ? W : 0) | (prot & ACCESS_EXEC ? 0 : NX);
}

/* Of any access that `old` gave, `value` has less, or it shows another page. */
static bool loses(u64 old, u64 value)
{
	if (!(old & P))
		return false;
	return !(value & P) || (old ^ value) & ADDRESS || (old & W && !(value & W)) || (!(old & NX) && value & NX);
}

/* ---- finding ---- */

/* The entry of the block around addr; NULL: a hole, or no memory to `make` one. *next: where block or hole ends. */
static _Atomic u64 *block_of(gpa_t root, gva_t addr, bool make, gva_t *next)
{
	gpa_t table = root;

	for (int level = LEVELS; level > 2; level--) {
		_Atomic u64 *entry = table_at(table) + index_at(addr, level);
		gpa_t below = get(entry) & ADDRESS;

		*next = align_down(addr, span_at(level - 1)) + span_at(level - 1);
		if (!below) {
			below = make ? table_create() : 0;
			if (!below)
				return NULL;
			++*table_live(table);
			set(entry, below | TABLE_BITS);
		}
		table = below;
	}
	*next = align_down(addr, BLOCK) + BLOCK;
	return table_at(table) + index_at(addr, 2);
}

/* live of the table that `entry` of level 2 is in */
static u16 *live_around(_Atomic u64 *entry)
{
	return table_live(GPA_TABLES + (align_down((u64)entry, PAGE_SIZE) - (u64)machine_tables));
}

/* ---- renewing ---- */

/* A copy that only `r` knows; entries of the third level that are of no use are left behind. */
static gpa_t copy_table(gpa_t table, int level, struct revoke *r)
{
	gpa_t copy = table_create();

	if (!copy)
		return 0;
	for (u32 i = 0; i < ENTRIES; i++) {
		u64 e = get(table_at(table) + i);

		if (level == 2 && (e == GONE || (is_leaf_table(e) && !*table_live(e & ADDRESS)))) {
			if (e != GONE)
				table_retire(&r->retired, e & ADDRESS);
			r->as->empty_blocks--;
			e = 0;
		}
		*table_live(copy) += e != 0;
		set(table_at(copy) + i, e);
	}
	*table_mark(copy) = r->mark;
	table_retire(&r->retired, table);
	return copy;
}

/* The block's entry, in tables that no vCPU has seen yet; NULL: no memory. There is an entry. */
static _Atomic u64 *renewed_block_of(gva_t addr, struct revoke *r)
{
	_Atomic u64 *link = NULL;
	gpa_t table = r->root;

	for (int level = LEVELS; level > 1; level--) {
		if (*table_mark(table) != r->mark) {
			table = copy_table(table, level, r);
			if (!table)
				return NULL;
			if (link)
				set(link, table | TABLE_BITS);
			else
				r->root = table;
		}
		link = table_at(table) + index_at(addr, level);
		table = get(link) & ADDRESS;
	}
	return link;
}

/* ---- changing ---- */

static void count_change(struct address_space *as, u16 *live, u64 old, u64 value)
{
	if (!old && value && !(*live)++)
		as->empty_blocks--;
	else if (old && !value && !--*live)
		as->empty_blocks++;
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

/* May `entry` have this value, whatever KVM has made of the one it has? */
static bool fits(u64 old, u64 value) { return !old || (old & LARGE && value & LARGE && !((old ^ value) & ADDRESS)); }

/*
 * Another value for a block's entry. What a large page showed is revoked; a leaf table that it led to is empty, or of
 * the same pages.
 */
static int set_block(_Atomic u64 *entry, gva_t addr, u64 value, struct revoke *r)
{
	const u64 old = get(entry);
	u64 now;

	if (!fits(old, value)) {
		entry = renewed_block_of(addr, r);
		if (!entry)
			return -ENOMEM;
	}
	now = get(entry);			/* copying has left behind what was empty */
	if (is_leaf_table(now))
		table_retire(&r->retired, now & ADDRESS);
	if (now == GONE || (is_leaf_table(now) && !*table_live(now & ADDRESS)))
		r->as->empty_blocks--;
	*live_around(entry) += !now;
	set(entry, value);
	if (old & LARGE && value & LARGE && loses(old, value))
		revoke_add(r, old & ADDRESS, BLOCK);
	return 0;
}

/* The guest sees nothing of a large page any more. */
static void drop_large(_Atomic u64 *entry, struct revoke *r)
{
	const u64 old = get(entry);

	set(entry, GONE);
	r->as->empty_blocks++;
	revoke_add(r, old & ADDRESS, BLOCK);
}

static void clear_leaf(struct address_space *as, gpa_t leaf, u32 from, u32 to, struct revoke *r)
{
	for (u32 i = from; i < to && *table_live(leaf); i++)
		change(as, table_at(leaf) + i, table_live(leaf), 0, r);
}

/* A large page becomes 512 entries. */
static int split(_Atomic u64 *entry, gva_t addr, struct revoke *r)
{
	const u64 old = get(entry);
	gpa_t leaf = table_create();
	int err;

	if (!leaf)
		return -ENOMEM;
	for (u32 i = 0; i < ENTRIES; i++)
		set(table_at(leaf) + i, (old & ~(u64)LARGE) + i * PAGE_SIZE);
	*table_live(leaf) = ENTRIES;
	err = set_block(entry, addr, leaf | TABLE_BITS, r);
	if (err)
		table_destroy(leaf);
	return err;
}

/* The leaf table of the block; 0: no memory. */
static gpa_t leaf_for(_Atomic u64 *entry, gva_t addr, struct revoke *r)
{
	gpa_t leaf;
	gva_t next;

	if (get(entry) & LARGE) {
		if (split(entry, addr, r))
			return 0;
		entry = block_of(r->root, addr, false, &next);
	}
	if (is_leaf_table(get(entry)))
		return get(entry) & ADDRESS;
	leaf = table_create();
	if (!leaf)
		return 0;
	if (set_block(entry, addr, leaf | TABLE_BITS, r)) {
		table_destroy(leaf);
		return 0;
	}
	r->as->empty_blocks++;
	return leaf;
}

/* ---- operations ---- */

static bool whole_block(gva_t addr, gva_t end) { return !(addr & (BLOCK - 1)) && end - addr >= BLOCK; }

static int map_large(struct address_space *as, _Atomic u64 *entry, gva_t addr, u64 value, struct revoke *r)
{
	gva_t next;

	if (is_leaf_table(get(entry))) {
		clear_leaf(as, get(entry) & ADDRESS, 0, ENTRIES, r);
		entry = block_of(r->root, addr, false, &next);
	}
	return get(entry) == value ? 0 : set_block(entry, addr, value, r);
}

int pagetable_map(struct address_space *as, gva_t addr, u64 len, gpa_t gpa, enum access prot, struct revoke *r)
{
	const gva_t end = addr + len;
	const u64 bits = entry_bits(prot);
	gva_t next;

	for (; addr < end; addr = next) {
		_Atomic u64 *entry = block_of(r->root, addr, true, &next);
		gpa_t leaf;

		if (!entry)
			return -ENOMEM;
		if (kvm_large_pages && whole_block(addr, end) && !(gpa & (BLOCK - 1))) {
			if (map_large(as, entry, addr, gpa | bits | LARGE, r))
				return -ENOMEM;
			gpa += BLOCK;
			continue;
		}
		leaf = leaf_for(entry, addr, r);
		if (!leaf)
			return -ENOMEM;
		next = MIN(next, end);
		for (; addr < next; addr += PAGE_SIZE, gpa += PAGE_SIZE)
			change(as, table_at(leaf) + index_at(addr, 1), table_live(leaf), gpa | bits, r);
	}
	return 0;
}

/* Frees what is empty below; true if `table` is now empty itself. The caller makes KVM drop all shadows. */
static bool prune(gpa_t table, int level)
{
	u16 *live = table_live(table);

	for (u32 i = 0; level > 1 && i < (level == LEVELS ? SENTRY_INDEX : ENTRIES); i++) {
		_Atomic u64 *entry = table_at(table) + i;
		u64 e = get(entry);

		if (!e || e & LARGE || (e != GONE && !prune(e & ADDRESS, level - 1)))
			continue;
		set(entry, 0);
		--*live;
		if (e != GONE)
			table_destroy(e & ADDRESS);
	}
	return !*live;
}

/* Core maps again what it misses, so of a large page that can't be split all may go. */
static void unmap_block(struct address_space *as, _Atomic u64 *entry, gva_t addr, gva_t end, struct revoke *r)
{
	gva_t next;

	if (get(entry) & LARGE) {
		if (end - addr == BLOCK || split(entry, addr, r)) {
			drop_large(entry, r);
			return;
		}
		entry = block_of(r->root, addr, false, &next);
	}
	if (is_leaf_table(get(entry)))
		clear_leaf(as, get(entry) & ADDRESS, index_at(addr, 1), index_at(end - PAGE_SIZE, 1) + 1, r);
}

void pagetable_unmap(struct address_space *as, gva_t addr, u64 len, struct revoke *r)
{
	const gva_t end = addr + len;
	gva_t next;

	for (; addr < end; addr = next) {
		_Atomic u64 *entry = block_of(r->root, addr, false, &next);

		next = MIN(next, end);
		if (entry && get(entry))
			unmap_block(as, entry, addr, next, r);
	}
	if (as->empty_blocks < EMPTY_MAX || r->root != as->root)
		return;
	prune(as->root, LEVELS);
	as->empty_blocks = 0;
	tables_settle();
}

static void protect_block(struct address_space *as, _Atomic u64 *entry, gva_t addr, gva_t end, u64 bits,
			  struct revoke *r)
{
	u64 old = get(entry);
	gva_t next;
	gpa_t leaf;

	if (old & LARGE) {
		if (end - addr == BLOCK) {
			set_block(entry, addr, (old & ADDRESS) | bits | LARGE, r);	/* fits, so it can't fail */
			return;
		}
		if (split(entry, addr, r)) {
			drop_large(entry, r);
			return;
		}
		entry = block_of(r->root, addr, false, &next);
	}
	if (!is_leaf_table(get(entry)))
		return;
	leaf = get(entry) & ADDRESS;
	for (; addr < end; addr += PAGE_SIZE) {
		_Atomic u64 *e = table_at(leaf) + index_at(addr, 1);

		if (get(e) & P)
			change(as, e, table_live(leaf), (get(e) & ADDRESS) | bits, r);
	}
}

void pagetable_protect(struct address_space *as, gva_t addr, u64 len, enum access prot, struct revoke *r)
{
	const gva_t end = addr + len;
	gva_t next;

	if (!prot) {			/* core maps anew what gets access again */
		pagetable_unmap(as, addr, len, r);
		return;
	}
	for (; addr < end; addr = next) {
		_Atomic u64 *entry = block_of(r->root, addr, false, &next);

		next = MIN(next, end);
		if (entry && get(entry))
			protect_block(as, entry, addr, next, entry_bits(prot), r);
	}
}

/* A table that is pruned meanwhile reads as zeroes or as another's: wrong bytes at worst, and the guest's own doing. */
bool pagetable_read(struct address_space *as, gva_t addr, u8 *buf, size_t len)
{
	_Atomic u64 *block;
	gva_t next;
	u64 entry;

	if (addr >= GUEST_END || (addr & ~PAGE_MASK) + len > PAGE_SIZE)
		return false;
	block = block_of(as->root, addr, false, &next);
	entry = block ? get(block) : 0;
	if (entry & LARGE)
		entry += addr & (BLOCK - 1) & PAGE_MASK;
	else if (entry & P)
		entry = get(table_at(entry & ADDRESS) + index_at(addr, 1));
	if (!(entry & P) || entry & NX || (entry & ADDRESS) < GPA_DATA)
		return false;
	memcpy(buf, machine_data_ptr(entry & ADDRESS) + (addr & ~PAGE_MASK), len);
	return true;
}

/* ---- whole tables ---- */

static void destroy(gpa_t table, int level)
{
	for (u32 i = 0; level > 1 && i < (level == LEVELS ? SENTRY_INDEX : ENTRIES); i++) {
		u64 e = get(table_at(table) + i);

		if (e & P && !(e & LARGE))
			destroy(e & ADDRESS, level - 1);
	}
	table_destroy(table);
}

void pagetable_destroy(struct address_space *as) { destroy(as->root, LEVELS); }

int pagetable_create(struct address_space *as)
{
	gpa_t root = table_create();

	if (!root)
		return -ENOMEM;
	set(table_at(root) + KERNEL_INDEX, RING0_PAGE_PDPT * PAGE_SIZE | P | W | A);
	for (u64 i = 0; machine.sentry_inside && !machine.kpti && i < 2; i++)
		set(table_at(root) + SENTRY_INDEX + i, (RING0_PAGE_SENTRY + i) * PAGE_SIZE | P | W | A);
	as->root = root;
	return 0;
}

/* Supervisor only. Text can't be written, the rest can't be run. */
static u64 private_bits(u64 page)
{
	const u64 in_area = (page - RING0_PAGE_VCPU) % VCPU_PAGES;

	if (page == RING0_PAGE_TEXT)
		return P | A;
	if (page == RING0_PAGE_IDT)
		return P | A | NX;
	if (page < RING0_PAGE_VCPU || in_area == VCPU_PAGE_GUARD)
		return 0;
	return in_area == VCPU_PAGE_TEXT ? P | A : P | W | A | D | NX;
}

void pagetable_init_kernel(void)
{
	u64 *pdpt = (u64 *)machine_private(RING0_PAGE_PDPT), *pd = (u64 *)machine_private(RING0_PAGE_PD);
	u64 *pt = (u64 *)machine_private(RING0_PAGE_PT), *root = (u64 *)machine_private(RING0_PAGE_ROOT);

	root[KERNEL_INDEX] = RING0_PAGE_PDPT * PAGE_SIZE | P | W | A;
	pdpt[0] = RING0_PAGE_PD * PAGE_SIZE | P | W | A;
	for (u64 i = 0; i < RING0_PAGES / ENTRIES; i++)
		pd[i] = (RING0_PAGE_PT + i) * PAGE_SIZE | P | W | A;
	for (u64 i = 0; i < RING0_PAGES; i++)
		if (private_bits(i))
			pt[i] = i * PAGE_SIZE | private_bits(i);
}
