/*
 * VMAs: the tree of what the guest has mapped, splitting and merging, and the counters kept by it.
 *
 * A VMA in a tree is also on its page cache's list, which truncate walks from outside the mm: linking takes the
 * cache's lock below mm->lock.
 */
#include <stdlib.h>

#include "mm/internal.h"

static int vma_cmp(const struct vma *a, const struct vma *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

RB_GENERATE(vma_tree, vma, node, vma_cmp)

struct vma *vma_next(struct mm *mm, gva_t addr)
{
	struct vma *v = mm->vma_hot, *best = NULL;

	if (v && v->start <= addr && addr < v->end)
		return v;
	for (v = RB_ROOT(&mm->vmas); v;) {
		if (addr >= v->end) {
			v = RB_RIGHT(v, node);
			continue;
		}
		best = v;
		if (v->start <= addr) {
			mm->vma_hot = v;
			break;
		}
		v = RB_LEFT(v, node);
	}
	return best;
}

struct vma *vma_find(struct mm *mm, gva_t addr)
{
	struct vma *v = vma_next(mm, addr);

	return v && v->start <= addr ? v : NULL;
}

/* ---- life ---- */

struct vma *vma_new(gva_t start, gva_t end, u32 prot, u32 flags)
{
	struct vma *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->start = start;
	v->end = end;
	v->prot = prot;
	v->flags = flags;
	return v;
}

static void take_references(struct vma *v)
{
	if (v->file)
		file_get(v->file);
	if (v->flags & VMA_SHARED_ANON)
		shared_anon_get(v->cache);
}

struct vma *vma_dup(const struct vma *v)
{
	struct vma *copy = vma_new(v->start, v->end, v->prot, v->flags);

	if (!copy)
		return NULL;
	copy->file = v->file;
	copy->cache = v->cache;
	copy->offset = v->offset;
	copy->name = v->name;
	take_references(copy);
	return copy;
}

/* A store hears of what was written through a shared mapping at the latest when the mapping goes. */
void vma_free(struct vma *v)
{
	if (v->file && v->cache && vma_shared(v) && !(v->flags & VMA_NOWRITE))
		page_cache_sync(v->cache);
	if (v->flags & VMA_SHARED_ANON)
		shared_anon_put(v->cache);
	if (v->file)
		file_put(v->file);
	free(v);
}

void graveyard_empty(struct graveyard *dead)
{
	struct vma *v;

	while ((v = dead->first)) {
		dead->first = v->next_dead;
		vma_free(v);
	}
}

/* ---- the tree and the counters ---- */

static void account(struct mm *mm, const struct vma *v, s64 pages)
{
	atomic_fetch_add_explicit(&mm->total_pages, pages, memory_order_relaxed);
	if (vma_is_data(v->prot, v->flags))
		atomic_fetch_add_explicit(&mm->data_pages, pages, memory_order_relaxed);
	if (v->flags & VMA_LOCKED)
		atomic_fetch_add_explicit(&mm->locked_pages, pages, memory_order_relaxed);
}

static void link_vma(struct mm *mm, struct vma *v)
{
	if ((v->start | v->end) & ~PAGE_MASK || v->start >= v->end)
		die("a vma of %llx to %llx", (unsigned long long)v->start, (unsigned long long)v->end);
	v->mm = mm;
	RB_INSERT(vma_tree, &mm->vmas, v);
	mm->nvmas++;
	if (!v->cache)
		return;
	pthread_mutex_lock(&v->cache->lock);
	LIST_INSERT_HEAD(&v->cache->maps, v, cache_link);
	pthread_mutex_unlock(&v->cache->lock);
}

static void unlink_vma(struct mm *mm, struct vma *v, struct graveyard *dead)
{
	RB_REMOVE(vma_tree, &mm->vmas, v);
	mm->nvmas--;
	if (mm->vma_hot == v)
		mm->vma_hot = NULL;
	if (v->cache) {
		pthread_mutex_lock(&v->cache->lock);
		LIST_REMOVE(v, cache_link);
		pthread_mutex_unlock(&v->cache->lock);
	}
	v->next_dead = dead->first;
	dead->first = v;
}

void vma_insert(struct mm *mm, struct vma *v)
{
	link_vma(mm, v);
	account(mm, v, vma_pages(v));
}

void vma_remove(struct mm *mm, struct vma *v, struct graveyard *dead)
{
	account(mm, v, -(s64)vma_pages(v));
	unlink_vma(mm, v, dead);
}

void vma_set_start(struct mm *mm, struct vma *v, gva_t start)
{
	account(mm, v, ((s64)v->start - (s64)start) >> PAGE_SHIFT);
	if (v->cache)
		v->offset += start - v->start;
	v->start = start;
}

void vma_set_end(struct mm *mm, struct vma *v, gva_t end)
{
	account(mm, v, ((s64)end - (s64)v->end) >> PAGE_SHIFT);
	v->end = end;
}

void vma_set_flags(struct mm *mm, struct vma *v, u32 prot, u32 flags)
{
	account(mm, v, -(s64)vma_pages(v));
	v->prot = prot;
	v->flags = flags;
	account(mm, v, vma_pages(v));
}

/* ---- split and merge; the counters do not change ---- */

int vma_split(struct mm *mm, struct vma *v, gva_t at)
{
	struct vma *upper;

	if (mm->nvmas >= MAX_VMAS)
		return -ENOMEM;
	upper = vma_dup(v);
	if (!upper)
		return -ENOMEM;
	upper->start = at;
	upper->offset = v->cache || v->file ? v->offset + (at - v->start) : 0;
	v->end = at;
	link_vma(mm, upper);
	return 0;
}

int vma_isolate(struct mm *mm, struct vma *v, gva_t start, gva_t end, struct vma **out)
{
	int err;

	if (start > v->start) {
		err = vma_split(mm, v, start);
		if (err)
			return err;
		v = vma_after(mm, v);
	}
	if (end < v->end) {
		err = vma_split(mm, v, end);
		if (err)
			return err;
	}
	*out = v;
	return 0;
}

static bool mergeable(const struct vma *a, const struct vma *b)
{
	return a && b && a->end == b->start && a->prot == b->prot && a->flags == b->flags && a->file == b->file &&
	       a->cache == b->cache && a->name == b->name && !(a->flags & VMA_SPECIAL) &&
	       (!a->file || a->offset + (a->end - a->start) == b->offset) &&
	       (!a->cache || a->offset + (a->end - a->start) == b->offset);
}

static void absorb(struct mm *mm, struct vma *a, struct vma *b, struct graveyard *dead)
{
	unlink_vma(mm, b, dead);
	a->end = b->end;
}

struct vma *vma_merge(struct mm *mm, struct vma *v, struct graveyard *dead)
{
	struct vma *before = vma_before(mm, v), *after = vma_after(mm, v);

	if (mergeable(v, after))
		absorb(mm, v, after, dead);
	if (!mergeable(before, v))
		return v;
	absorb(mm, before, v, dead);
	return before;
}
