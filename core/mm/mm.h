/*
 * A guest's memory: VMAs over one address_space, pages in the memory file, uaccess.
 *
 * An mm keeps two things: a tree of VMAs (what the guest asked for) and a page table of its own (which page of the
 * memory file stands where, and whether it is shared copy-on-write). The backend's address_space is a cache of the
 * second, and may be dropped and refilled by faults at any time.
 *
 * Lock order: mm->lock, then page_cache->lock, then memory_file's. Never two mm locks at once, but for fork, which
 * holds the parent's while the child is still private to it. Nothing that can block on a guest is done under them.
 */
#ifndef TG_MM_H
#define TG_MM_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <bsd/sys/tree.h>

#include "lib/types.h"
#include "platform.h"

struct file;
struct page_cache;

/* ---- memory file: all guest pages; offsets are bytes, page aligned ---- */

/*
 * At most `limit` bytes are ever in use; past that allocation fails with -ENOMEM, so that a greedy guest ends in its
 * own error. Every page has a reference count; a page whose last reference goes is recycled, and is always
 * handed out zeroed unless the caller says that it overwrites all of it.
 */
/* Bytes; 0: knob mm.memory_mb, or else a share of what the host has free. */
int memory_file_init(u64 limit);
const struct backing *memory_file(void);
int memory_alloc(u64 npages, bool zero, u64 *offset);	/* a contiguous run, one reference a page; npages <= 512 */
void memory_get(u64 offset, u64 npages);
void memory_put(u64 offset, u64 npages);
u32 memory_refs(u64 offset);
u64 memory_used(void);					/* pages in use, for /proc/meminfo and --stats */
u64 memory_limit(void);					/* pages */
static inline void *memory_ptr(u64 offset) { return memory_file()->base + offset; }

/* ---- page cache: a file's pages in the memory file; embedded in an inode ---- */

struct page_cache_ops {
	/*
	 * Fill the zeroed pages [index, index+n) from the file's store; bytes past its end stay zero. NULL: zeros
	 * (tmpfs).
	 */
	int (*fill)(struct page_cache *pc, u64 index, u64 n, void *dst);
	/* Write `len` bytes at `pos` back to the store (bind mounts); NULL where memory is the store. */
	int (*writeback)(struct page_cache *pc, u64 pos, const void *src, u64 len);
};

struct page_cache {
	pthread_mutex_t lock;		/* guards all below */
	const struct page_cache_ops *ops;
	void *owner;			/* the inode */
	_Atomic u64 size;		/* file's length in bytes: faults past its last page are SIGBUS */
	struct radix *pages;		/* page index -> memory file offset and CACHE_* (mm/internal.h) */
	u64 npages;
	LIST_HEAD(vma_maps_head, vma) maps;		/* who maps it, for truncate */
	TAILQ_ENTRY(page_cache) link;	/* caches that can be refilled, for reclaim; locked by reclaim's lock */
};

void page_cache_init(struct page_cache *pc, const struct page_cache_ops *ops, void *owner, u64 size);
void page_cache_destroy(struct page_cache *pc);		/* nothing maps it any more; writes back what is dirty */
ssize_t page_cache_read(struct page_cache *pc, const struct iovec *iov, int iovcnt, u64 pos);
ssize_t page_cache_write(struct page_cache *pc, const struct iovec *iov, int iovcnt, u64 pos);	/* grows size */
int page_cache_truncate(struct page_cache *pc, u64 size);	/* drops pages past it in every mm, zeroes the tail */
int page_cache_punch(struct page_cache *pc, u64 pos, u64 len);	/* with a store: after the store's own hole was made */
/* Fallocate: pages for the range; size is the caller's. */
int page_cache_allocate(struct page_cache *pc, u64 pos, u64 len);
int page_cache_sync(struct page_cache *pc);
s64 page_cache_seek(struct page_cache *pc, u64 pos, bool data);	/* SEEK_DATA, SEEK_HOLE; -ENXIO */
u64 page_cache_resident(struct page_cache *pc);			/* pages held, for st_blocks */

/* ---- VMAs ---- */

struct vma {
	RB_ENTRY(vma) node;
	gva_t start, end;
	u32 prot;			/* PROT_* */
	u32 flags;			/* MAP_SHARED or MAP_PRIVATE, MAP_GROWSDOWN, MAP_NORESERVE, VMA_* below */
	struct file *file;		/* holds a reference; NULL for anonymous */
	/* File's, or a private one for shared anonymous memory; NULL for private anonymous. */
	struct page_cache *cache;
	u64 offset;			/* of `start` in the file, bytes */
	const char *name;		/* static: "[heap]", "[stack]", "[vdso]"; NULL otherwise */

	struct mm *mm;			/* whose tree it is in */
	LIST_ENTRY(vma) cache_link;	/* on cache->maps; locked by cache->lock */
	struct vma *next_dead;		/* removed, references still held (struct graveyard) */
	gva_t fault_next, cow_next;	/* where the last fault's run ended, to see sequential access */
	u32 fault_run, cow_run;		/* pages taken then */
};

enum {
	VMA_DONTFORK = 1 << 24, VMA_WIPEONFORK = 1 << 25, VMA_LOCKED = 1 << 26,
	VMA_SPECIAL = 1 << 27,		/* never merged, grown or wiped: vDSO and the like */
	VMA_NOWRITE = 1 << 28,		/* shared mapping of a file not open for writing: PROT_WRITE is refused */
	VMA_ONFAULT = 1 << 29,		/* locked, but not populated */
	VMA_SHARED_ANON = 1 << 30,	/* `cache` belongs to the mappings, not to an inode */
};

RB_HEAD(vma_tree, vma);

enum { FORK_HOT = 8 };

struct mm {
	pthread_mutex_t lock;		/* guards all but the atomics and what is marked immutable */
	atomic_int refs;
	struct address_space *as;	/* immutable */
	struct vma_tree vmas;
	struct patch_state *patch;	/* call sites that trapped (patch.c); set once, under lock */
	struct pt *pt;			/* guest page -> memory file page and its state (mm/pt.h) */
	_Atomic u64 total_pages, rss_pages, locked_pages, data_pages, peak_rss_pages;
	u32 nvmas;
	u64 scatter, scatter_counted;	/* how many runs the page table is in, about; as last counted (fault.c) */
	struct vma *vma_hot;		/* the last one found */
	gva_t mmap_top;			/* searches go down from here */
	gva_t gap_top, gap_base;	/* between gap_top and gap_base (an mmap_top) no gap is larger than gap_hole */
	u64 gap_hole;
	struct {
		gva_t start;
		u32 pages;
	} hot[FORK_HOT];		/* written to soon after earlier forks: see fork.c */
	u32 hot_next;			/* of them, the one to be forgotten next */
	u64 stack_limit;		/* RLIMIT_STACK as of the last fault, for growth by uaccess */
	u32 lock_future;		/* VMA_LOCKED | VMA_ONFAULT after mlockall(MCL_FUTURE) */
	u32 membarrier;			/* registered MEMBARRIER_CMD_* */
	gva_t brk_start, brk;
	gva_t stack_top, arg_start, arg_end, env_start, env_end, vdso;	/* set by the loader */
	gva_t code_start, code_end, data_start, data_end;
	u64 auxv[64];			/* as on the stack, for /proc/PID/auxv; AT_NULL ends it */
	struct file *exe;		/* what was executed; holds a reference */
	int dumpable;
};

int mm_create(struct mm **out);
int mm_fork(struct mm *parent, struct mm **out);
void mm_get(struct mm *mm);
void mm_put(struct mm *mm);			/* the last one unmaps everything and destroys the address space */

struct map_request {
	gva_t addr;			/* hint, or the address with MAP_FIXED, MAP_FIXED_NOREPLACE */
	u64 len;			/* rounded up here */
	u32 prot, flags;		/* PROT_*, MAP_* */
	struct file *file;		/* or NULL; the mm takes its own reference */
	u64 offset;
	const char *name;
	u64 limit_as, limit_data, limit_memlock;	/* rlimits in bytes; 0: no limit */
};

s64 mm_map(struct mm *mm, const struct map_request *req);	/* the address, or -errno as mmap(2) */
int mm_unmap(struct mm *mm, gva_t addr, u64 len);
int mm_protect(struct mm *mm, gva_t addr, u64 len, u32 prot);

struct remap_request {
	gva_t addr, new_addr;		/* new_addr with MREMAP_FIXED, and a hint with MREMAP_DONTUNMAP */
	u64 len, new_len;
	u32 flags;			/* MREMAP_* */
	u64 limit_as, limit_data, limit_memlock;
};

s64 mm_remap(struct mm *mm, const struct remap_request *req);
gva_t mm_brk(struct mm *mm, gva_t brk, u64 limit_as, u64 limit_data);	/* the break as it then is */
int mm_advise(struct mm *mm, gva_t addr, u64 len, int advice);
/* Lock: VMA_LOCKED, | VMA_ONFAULT, or 0 to unlock. */
int mm_lock(struct mm *mm, gva_t addr, u64 len, u32 lock, u64 limit);
int mm_lock_all(struct mm *mm, u32 current, u32 future, u64 limit);	/* each as `lock` above */
int mm_sync(struct mm *mm, gva_t addr, u64 len, int flags);		/* msync */
int mm_incore(struct mm *mm, gva_t addr, u64 n, u8 *vec);		/* mincore of n pages; -ENOMEM */
void mm_populate(struct mm *mm, gva_t addr, u64 len);			/* best effort, as MAP_POPULATE */

/* A copy of the VMA list for /proc/PID/maps, smaps and the like: read without locks, with references to the files. */
struct vma_info {
	gva_t start, end;
	u32 prot, flags;
	struct file *file;
	u64 offset;
	const char *name;
	u64 rss, anon, shared;		/* pages; counted only on request */
};
int mm_snapshot(struct mm *mm, bool count, struct vma_info **out, size_t *n);
void mm_snapshot_free(struct vma_info *info, size_t n);

struct vma *vma_find(struct mm *mm, gva_t addr);		/* the vma that contains addr; mm->lock held */
struct vma *vma_next(struct mm *mm, gva_t addr);		/* that one or the first above; mm->lock held */

/*
 * Make the page at `addr` present after the platform reported a fault, or before uaccess. Takes mm->lock.
 * 0: retry the access. -EFAULT: no mapping (SEGV_MAPERR). -EACCES: not allowed (SEGV_ACCERR). -ENXIO: past the end
 * of the file (SIGBUS, BUS_ADRERR). -ENOMEM: the memory file is full. -EIO: the store failed (SIGBUS).
 * `stack_limit` is RLIMIT_STACK for growth of a MAP_GROWSDOWN vma.
 */
int mm_fault(struct mm *mm, gva_t addr, enum access want, u64 stack_limit);

/* A call that trapped at the SYSCALL before `resume` with number `nr`: one that does so often is patched. */
void mm_call_trapped(struct mm *mm, gva_t resume, u32 nr);

/* ---- uaccess: the only code that dereferences guest memory ---- */

/*
 * Each copies all of `len` or returns -EFAULT (the part before the bad page may have been copied). They take
 * mm->lock for a chunk at a time and fault pages in. The guest can change its memory while they run: what must be
 * checked is copied first, once.
 */
int copy_in(struct mm *mm, void *dst, gva_t src, u64 len);
int copy_out(struct mm *mm, gva_t dst, const void *src, u64 len);
int clear_out(struct mm *mm, gva_t dst, u64 len);
/* As copy_out, also to private pages that the guest itself may not write: for debuggers (patch.c). */
int mm_poke(struct mm *mm, gva_t dst, const void *src, u64 len);
/* A string of at most max-1 bytes. Returns its length, -EFAULT, or -ENAMETOOLONG. */
s64 copy_in_str(struct mm *mm, char *dst, gva_t src, u64 max);

#define get_user(mm, ptr_to_local, gva)	copy_in(mm, ptr_to_local, gva, sizeof(*(ptr_to_local)))
#define put_user(mm, gva, ptr_to_local)	copy_out(mm, gva, ptr_to_local, sizeof(*(ptr_to_local)))

/*
 * Host pointers to guest memory for file i/o without a copy. Pins at most `max` segments; returns the bytes covered
 * (which may be fewer than asked for, if a later page is bad), or -EFAULT if none. Pages stay theirs until unpin,
 * even if the guest unmaps them. Never block on a guest while pinned.
 */
struct uaccess_pin {
	struct iovec *iov;		/* caller's array */
	int iovcnt;
};
s64 uaccess_pin(struct mm *mm, gva_t addr, u64 len, enum access want, struct uaccess_pin *pin, int max);
void uaccess_unpin(struct uaccess_pin *pin);

/* A pinned, aligned u32 for futexes: the host pointer, and a key that names the word across mms. */
struct futex_key {
	const void *object;		/* the mm for private words, NULL for shared ones */
	u64 offset;			/* guest address, or memory file offset */
};
/* -EINVAL: not aligned; -EFAULT. The pin is gone with uaccess_word_unpin. */
int uaccess_word(struct mm *mm, gva_t addr, bool shared, enum access want, u32 **word, struct futex_key *key);
void uaccess_word_unpin(u32 *word);

/*
 * Inside (lib/inside.h, pt_find.c): host pointers to [addr, addr+len), good until uaccess_close(), which is not far.
 * Segments used, or -EHOST: not all of it is there with that access, or more than `max` segments, or the lock is taken.
 */
int uaccess_open(struct mm *mm, gva_t addr, u64 len, enum access want, struct iovec *iov, int max);
void uaccess_close(struct mm *mm);
int inside_copy_in(struct mm *mm, void *dst, gva_t src, u64 len);	/* small things: 0 or -EHOST */
int inside_copy_out(struct mm *mm, gva_t dst, const void *src, u64 len);
extern u8 *memory_base;			/* memory_file()->base */

extern const struct knob mm_knobs[];	/* for core/knob.c; ends with .name == NULL */

#endif
