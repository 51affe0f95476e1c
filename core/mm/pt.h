/*
 * The sentry's own page table of one mm: guest page -> memory file page. The truth, of which the backend's
 * address_space is a cache. Everything here runs under mm->lock.
 *
 * An entry is the page's offset in the memory file with flags in the low bits, so two neighbours that stand one behind
 * the other in both and are alike in state differ by exactly PAGE_SIZE: that is how runs are found.
 */
#ifndef TG_MM_PT_H
#define TG_MM_PT_H

#include "lib/types.h"
#include "platform.h"

enum {
	PTE_PRESENT	= 1 << 0,
	PTE_COW		= 1 << 1,	/* others may share the page: not to be written in place */
	PTE_CLEAN	= 1 << 2,	/* shared file page whose store must hear of the first write */
	PTE_ANON	= 1 << 3,	/* the mm's own page or a forked copy of one, not a page cache's */
	PTE_R		= ACCESS_READ << 4,	/* what the platform shows, with PTE_SHOWN */
	PTE_W		= ACCESS_WRITE << 4,
	PTE_X		= ACCESS_EXEC << 4,
	PTE_SHOWN	= 1 << 7,	/* the platform may have it mapped (perhaps with no access) */
	PTE_VIEW	= PTE_R | PTE_W | PTE_X | PTE_SHOWN,
};

#define PT_LEAF_PAGES	512
#define PT_LEAF_SIZE	(PT_LEAF_PAGES * PAGE_SIZE)

struct pt_leaf {
	u64 e[PT_LEAF_PAGES];
	u32 used;
};

#define DIR_LEVELS	3		/* root, two more, then the leaves: 36 bits of page number */
#define DIR_SLOTS	512

struct pt_dir {
	void *slot[DIR_SLOTS];
	u32 used;
};

struct pt {
	struct pt_dir *root;
	u64 hot_index;			/* address / PT_LEAF_SIZE of hot_leaf */
	struct pt_leaf *hot_leaf;
};

/* Pages [addr, addr + n pages), all present, alike, one behind the other in the memory file; within one leaf. */
struct pt_run {
	gva_t addr;
	u64 n;
	u64 pte;			/* of the first page */
	struct pt_leaf *leaf;
	u32 index;
};

/* Bytes below one slot of a directory `level` steps above the leaves. */
static inline u64 slot_span(int level) { return PT_LEAF_SIZE << 9 * level; }
static inline u32 slot_index(gva_t addr, int level) { return addr / slot_span(level) & (DIR_SLOTS - 1); }

static inline struct pt_leaf *remember(struct pt *pt, gva_t addr, struct pt_leaf *leaf)
{
	pt->hot_index = addr / PT_LEAF_SIZE;
	pt->hot_leaf = leaf;
	return leaf;
}

struct pt *pt_create(void);
void pt_destroy(struct pt *pt);			/* references of entries still there are not put */
struct pt_leaf *pt_leaf_find(struct pt *pt, gva_t addr);
struct pt_leaf *pt_leaf_get(struct pt *pt, gva_t addr);	/* made if need be; NULL: out of memory */

/* The first run at or above *pos and below end; *pos moves behind it. */
bool pt_next_run(struct pt *pt, gva_t *pos, gva_t end, struct pt_run *run);
void pt_run_flags(const struct pt_run *run, u64 clear, u64 set);
void pt_run_clear(struct pt *pt, const struct pt_run *run);	/* the leaf may be gone after */

static inline u32 pt_index(gva_t addr) { return addr >> PAGE_SHIFT & (PT_LEAF_PAGES - 1); }
static inline u64 pte_offset(u64 e) { return e & PAGE_MASK; }
static inline enum access pte_shown(u64 e) { return e >> 4 & 7; }
static inline u64 pte_view(enum access prot) { return (u64)prot << 4 | PTE_SHOWN; }

static inline u64 pt_get(struct pt *pt, gva_t addr)
{
	struct pt_leaf *leaf = pt_leaf_find(pt, addr);

	return leaf ? leaf->e[pt_index(addr)] : 0;
}

static inline void pt_set(struct pt_leaf *leaf, u32 index, u64 e)
{
	leaf->used += !leaf->e[index];
	leaf->e[index] = e;
}

#endif
