/*
 * What the files of core/mm share and nobody else sees. Everything that takes an mm here wants mm->lock held.
 */
#ifndef TG_MM_INTERNAL_H
#define TG_MM_INTERNAL_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "fs/fs.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/pt.h"
#include "task/task.h"

#define MAX_VMAS	65530		/* vm.max_map_count */
#define STACK_GUARD_GAP	((u64)256 << PAGE_SHIFT)
/* Runs in an mm from which on faults take larger windows: the host's limit is 65,530. */
#define SCATTERED	24000
#define SCATTERED_WINDOW ((u64)512 << 10)
#define CACHE_RUN	16		/* pages a page cache asks for at a time */

extern long knob_memory_mb, knob_recycle_mb, knob_fault_around_kb, knob_fault_max_kb, knob_cow_around_kb;
extern long knob_cow_file_kb, knob_map_ahead_kb;
extern long knob_huge, knob_takeover_kb, knob_fork_eager, knob_fork_populate, knob_fork_copy_kb, knob_cache_mb, knob_patch_after;

/*
 * Guest memory changes under the sentry's hands by design, so its copies are kept from ThreadSanitizer, which
 * sees through memcpy but not through the instruction.
 */
#if defined(__SANITIZE_THREAD__)
static inline void guest_copy(void *dst, const void *src, size_t n)
{
	asm volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}
static inline void guest_zero(void *dst, size_t n)
{
	asm volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(0) : "memory");
}
#else
static inline void guest_copy(void *dst, const void *src, size_t n) { memcpy(dst, src, n); }
static inline void guest_zero(void *dst, size_t n) { memset(dst, 0, n); }
#endif

/* ---- memory_file.c ---- */

/* A run of at most `want` pages, as long as can be had; *got pages. -ENOMEM only if there is not a single one. */
int memory_alloc_upto(u64 want, bool zero, u64 *offset, u64 *got);
int memory_alloc_whole(u64 npages, u64 *offset);	/* zeroed; gives up rather than take cached files' memory */

bool memory_huge(void);				/* an aligned run of 2 MiB costs the host little more than a page */
bool memory_charge(u64 npages);			/* of the sentry's own memory; false: past the limit */
void memory_uncharge(u64 npages);
void memory_enter(u64 offset, u64 npages);	/* the sentry is about to write fresh pages: a hint */

/* ---- vma.c ---- */

RB_PROTOTYPE(vma_tree, vma, node, vma_cmp)

/* VMAs taken out of the tree under mm->lock; their references are put after it is released. */
struct graveyard {
	struct vma *first;
};

struct vma *vma_new(gva_t start, gva_t end, u32 prot, u32 flags);
struct vma *vma_dup(const struct vma *v);		/* with references, in no tree; NULL: out of memory */
void vma_free(struct vma *v);				/* puts references; never in a tree; mm->lock not held */
void vma_insert(struct mm *mm, struct vma *v);
void vma_remove(struct mm *mm, struct vma *v, struct graveyard *dead);
void graveyard_empty(struct graveyard *dead);		/* mm->lock not held */
int vma_split(struct mm *mm, struct vma *v, gva_t at);	/* v keeps the lower part */
struct vma *vma_merge(struct mm *mm, struct vma *v, struct graveyard *dead);	/* with both neighbours; the survivor */
/* Split off [start,end) of v. */
int vma_isolate(struct mm *mm, struct vma *v, gva_t start, gva_t end, struct vma **out);
void vma_set_start(struct mm *mm, struct vma *v, gva_t start);
void vma_set_end(struct mm *mm, struct vma *v, gva_t end);
void vma_set_flags(struct mm *mm, struct vma *v, u32 prot, u32 flags);	/* keeps the counters right */
static inline struct vma *vma_after(struct mm *mm, struct vma *v) { return RB_NEXT(vma_tree, &mm->vmas, v); }
static inline struct vma *vma_before(struct mm *mm, struct vma *v) { return RB_PREV(vma_tree, &mm->vmas, v); }
static inline u64 vma_pages(const struct vma *v) { return (v->end - v->start) >> PAGE_SHIFT; }
static inline bool vma_shared(const struct vma *v) { return v->flags & MAP_SHARED; }
static inline u64 vma_file_offset(const struct vma *v, gva_t addr) { return v->offset + (addr - v->start); }

/* ---- patch.c ---- */
void patch_state_free(struct mm *mm);

/* ---- fork.c ---- */
void fork_note_write(struct mm *mm, gva_t start, u64 pages);	/* a fault that an earlier fork is to blame for */

/* ---- gap.c ---- */
s64 gap_between(struct mm *mm, u64 len, gva_t lo, gva_t hi);	/* the highest gap that lies in [lo, hi), or -ENOMEM */
s64 gap_find(struct mm *mm, u64 len, bool low);		/* low: below 2 GiB; -ENOMEM */
s64 gap_find_block(struct mm *mm, u64 len);		/* aligned to 2 MiB where there is room for that */
bool gap_fits(struct mm *mm, gva_t addr, u64 len);	/* a hint can be honoured */
void gap_freed(struct mm *mm, gva_t addr);		/* something that ended at or above addr was unmapped */

/* ---- map.c ---- */
bool mm_may_grow(struct mm *mm, u64 pages, bool data, u64 limit_as, u64 limit_data);
int mm_may_lock(struct mm *mm, u64 pages, u64 limit);
int unmap_range(struct mm *mm, gva_t start, gva_t end, struct graveyard *dead);
static inline bool vma_is_data(u32 prot, u32 flags)
{
	return (prot & PROT_WRITE) && (flags & MAP_PRIVATE) && !(flags & MAP_GROWSDOWN);
}

/* ---- zap.c ---- */
/* The platform stops showing the range; an error changes nothing. */
int mm_hide(struct mm *mm, gva_t start, gva_t end);
void mm_drop(struct mm *mm, gva_t start, gva_t end);	/* entries and their references, hidden before */
int mm_zap(struct mm *mm, gva_t start, gva_t end);	/* both */
/* Takes mm->lock; file pages [first, last]; true: some were there. */
bool mm_zap_cache(struct mm *mm, struct page_cache *pc, u64 first, u64 last, bool anon);
/* Show one run's pages with what `v` and the entry allow; marks it. */
int mm_show(struct mm *mm, struct vma *v, const struct pt_run *run, u32 how);	/* how: AS_MAP_* */
int mm_reprotect(struct mm *mm, struct vma *v);		/* after a change of prot: what is shown follows it */

/* Most access that the platform may show of an entry. On x86 any access implies reading. */
static inline enum access pte_access(const struct vma *v, u64 e)
{
	u32 prot = v->prot & (PROT_READ | PROT_WRITE | PROT_EXEC);

	if (prot)
		prot |= PROT_READ;
	if (e & (PTE_COW | PTE_CLEAN))
		prot &= ~PROT_WRITE;
	return prot;
}

static inline void mm_count_rss(struct mm *mm, s64 pages)
{
	u64 rss = atomic_fetch_add_explicit(&mm->rss_pages, pages, memory_order_relaxed) + pages;

	if (rss > atomic_load_explicit(&mm->peak_rss_pages, memory_order_relaxed))
		atomic_store_explicit(&mm->peak_rss_pages, rss, memory_order_relaxed);
}

/* ---- fault.c, cow.c ---- */

struct fault {
	struct mm *mm;
	struct vma *v;
	struct pt_leaf *leaf;
	gva_t addr;			/* of the page */
	enum access want;
	u32 index;			/* of the page in the leaf */
	u32 lo, hi;			/* the window: entries [lo, hi) of the leaf, inside the vma */
};

int fault_locked(struct mm *mm, gva_t addr, enum access want);
void fault_window(struct fault *f, u64 bytes);		/* sets lo and hi: an aligned window around the page */
static inline gva_t fault_addr(const struct fault *f, u32 index)
{
	return align_down(f->addr, PT_LEAF_SIZE) + ((u64)index << PAGE_SHIFT);
}
/* Show entries [from, to), all present, in as few calls as can be. */
int fault_show(struct fault *f, u32 from, u32 to, u32 how);
bool mm_scattered(struct mm *mm);
/* huge.c: fill the whole leaf around an anonymous page that is not there; false: that is not worth it, or can't be. */
bool fault_huge(struct fault *f, int *err);
void fault_ahead(struct mm *mm, struct vma *v);		/* a new mapping of a file */
int fault_cow(struct fault *f);
int fault_copy_file(struct fault *f);			/* first write to a page of a private file mapping */

/* ---- page_cache.c ---- */

enum { CACHE_DIRTY = 1, CACHE_WMAPPED = 2, CACHE_PRESENT = 4 };	/* low bits of radix entries */

/*
 * The pages around `index` that are there, `index` itself made if need be: at most [lo, hi), contiguous in the file,
 * each with a reference for the caller. Returns how many, *first the first one's index. -ENXIO past the end,
 * -ENOMEM, -EIO. `write`: about to be mapped writable.
 */
int page_cache_grab(struct page_cache *pc, u64 index, u64 lo, u64 hi, bool write, u64 *first, u64 *offsets);
/*
 * The first pages at or above *first and below hi that are there: as grab, but nothing is made; 0: none. At most a
 * leaf's.
 */
u64 page_cache_peek(struct page_cache *pc, u64 *first, u64 hi, u64 *offsets);
/* Drop clean pages that a store can give again; any lock of ours may be held. */
void page_cache_reclaim(u64 pages);
bool page_cache_has(struct page_cache *pc, u64 index);
/*
 * Does anyone need to hear of writes through mappings: to write pages back, or to know which ones the store can't
 * give again?
 */
static inline bool cache_tracked(const struct page_cache *pc)
{
	return pc->ops && (pc->ops->writeback || pc->ops->fill);
}

struct page_cache *shared_anon_create(u64 size);
void shared_anon_get(struct page_cache *pc);
void shared_anon_put(struct page_cache *pc);

#endif
