/*
 * Page table of one mm: a radix tree of four levels with 512-entry leaves. See pt.h.
 */
#include <stdlib.h>

#include "mm/internal.h"

_Static_assert(GUEST_END <= (u64)1 << (PAGE_SHIFT + 9 * (DIR_LEVELS + 1)), "the guest's addresses fit the levels");

struct pt *pt_create(void)
{
	struct pt *pt = calloc(1, sizeof(*pt));

	if (!pt)
		return NULL;
	pt->root = calloc(1, sizeof(*pt->root));
	if (!pt->root) {
		free(pt);
		return NULL;
	}
	pt->hot_index = UINT64_MAX;
	return pt;
}

static void dir_destroy(struct pt_dir *dir, int level)
{
	for (int i = 0; i < DIR_SLOTS; i++) {
		if (!dir->slot[i])
			continue;
		if (level)
			dir_destroy(dir->slot[i], level - 1);
		else
			free(dir->slot[i]);
		memory_uncharge(1);
	}
	free(dir);
}

void pt_destroy(struct pt *pt)
{
	if (!pt)
		return;
	dir_destroy(pt->root, DIR_LEVELS - 1);
	free(pt);
}

/* Leaves and directories count as guest memory, or a guest could fill the sentry's with them. */
static void *node_new(size_t size)
{
	void *node;

	if (!memory_charge(1))
		return NULL;
	node = calloc(1, size);
	if (!node)
		memory_uncharge(1);
	return node;
}

struct pt_leaf *pt_leaf_get(struct pt *pt, gva_t addr)
{
	struct pt_dir *dir = pt->root;
	void **slot;

	if (pt->hot_index == addr / PT_LEAF_SIZE)
		return pt->hot_leaf;
	for (int level = DIR_LEVELS - 1;; level--) {
		slot = &dir->slot[slot_index(addr, level)];
		if (!*slot) {
			*slot = node_new(level ? sizeof(struct pt_dir) : sizeof(struct pt_leaf));
			if (!*slot)
				return NULL;
			dir->used++;
		}
		if (!level)
			return remember(pt, addr, *slot);
		dir = *slot;
	}
}

/* The first leaf at or above *addr; *addr moves up to it if it starts above. NULL: none below `end`. */
static struct pt_leaf *leaf_next(struct pt *pt, gva_t *addr, gva_t end)
{
	while (*addr < end) {
		struct pt_dir *dir = pt->root;
		int level = DIR_LEVELS - 1;

		if (pt->hot_index == *addr / PT_LEAF_SIZE)
			return pt->hot_leaf;
		while (level && dir->slot[slot_index(*addr, level)])
			dir = dir->slot[slot_index(*addr, level--)];
		if (!level && dir->slot[slot_index(*addr, 0)])
			return remember(pt, *addr, dir->slot[slot_index(*addr, 0)]);
		*addr = align_down(*addr, slot_span(level)) + slot_span(level);
	}
	return NULL;
}

bool pt_next_run(struct pt *pt, gva_t *pos, gva_t end, struct pt_run *run)
{
	struct pt_leaf *leaf;

	while ((leaf = leaf_next(pt, pos, end))) {
		gva_t base = align_down(*pos, PT_LEAF_SIZE);
		u32 last = MIN(end - base, PT_LEAF_SIZE) >> PAGE_SHIFT;
		u32 i = pt_index(*pos), n = 1;

		while (i < last && !leaf->e[i])
			i++;
		if (i == last) {
			*pos = base + ((u64)last << PAGE_SHIFT);
			continue;
		}
		while (i + n < last && leaf->e[i + n] == leaf->e[i] + n * PAGE_SIZE)
			n++;
		*run = (struct pt_run){ base + ((u64)i << PAGE_SHIFT), n, leaf->e[i], leaf, i };
		*pos = run->addr + n * PAGE_SIZE;
		return true;
	}
	return false;
}

void pt_run_flags(const struct pt_run *run, u64 clear, u64 set)
{
	u64 *e = &run->leaf->e[run->index];

	for (u64 i = 0; i < run->n; i++)
		e[i] = (e[i] & ~clear) | set;
}

/* Free an empty leaf, and the directories that are empty then: a guest must not grow them by touching and unmapping. */
static void leaf_free(struct pt *pt, gva_t addr, struct pt_leaf *leaf)
{
	struct pt_dir *path[DIR_LEVELS] = { [DIR_LEVELS - 1] = pt->root };

	for (int level = DIR_LEVELS - 1; level; level--)
		path[level - 1] = path[level]->slot[slot_index(addr, level)];
	pt->hot_index = UINT64_MAX;
	free(leaf);
	memory_uncharge(1);
	for (int level = 0; level < DIR_LEVELS; level++) {
		path[level]->slot[slot_index(addr, level)] = NULL;
		if (--path[level]->used || path[level] == pt->root)
			break;
		free(path[level]);
		memory_uncharge(1);
	}
}

void pt_run_clear(struct pt *pt, const struct pt_run *run)
{
	for (u64 i = 0; i < run->n; i++)
		run->leaf->e[run->index + i] = 0;
	run->leaf->used -= run->n;
	if (!run->leaf->used)
		leaf_free(pt, run->addr, run->leaf);
}
