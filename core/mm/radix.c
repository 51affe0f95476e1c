/*
 * The radix tree below page caches: 64-way nodes, as high as the largest index needs, so that a small file costs
 * half a kilobyte and a sparse one of any size costs only what is there.
 */
#include <stdlib.h>

#include "mm/radix.h"

#define BITS	6
#define SLOTS	(1 << BITS)

struct node {
	union {
		struct node *child[SLOTS];
		u64 value[SLOTS];	/* in the lowest level */
	};
	u32 used;
};

struct radix {
	struct node *root;
	int height;			/* levels of nodes; 0: empty */
};

static u32 slot_of(u64 index, int level) { return index >> BITS * level & (SLOTS - 1); }

static bool fits(u64 index, int height) { return height * BITS >= 64 || index >> BITS * height == 0; }

struct radix *radix_create(void) { return calloc(1, sizeof(struct radix)); }

static void node_free(struct node *n, int level)
{
	for (int i = 0; level && i < SLOTS; i++)
		if (n->child[i])
			node_free(n->child[i], level - 1);
	free(n);
}

void radix_destroy(struct radix *r)
{
	if (r && r->root)
		node_free(r->root, r->height - 1);
	free(r);
}

u64 radix_get(struct radix *r, u64 index)
{
	struct node *n = r->root;

	if (!n || !fits(index, r->height))
		return 0;
	for (int level = r->height - 1; level; level--) {
		n = n->child[slot_of(index, level)];
		if (!n)
			return 0;
	}
	return n->value[slot_of(index, 0)];
}

static bool grow(struct radix *r, u64 index)
{
	while (!r->root || !fits(index, r->height)) {
		struct node *n = calloc(1, sizeof(*n));

		if (!n)
			return false;
		if (r->root) {
			n->child[0] = r->root;
			n->used = 1;
		}
		r->root = n;
		r->height++;
	}
	return true;
}

bool radix_set(struct radix *r, u64 index, u64 value)
{
	struct node *n;
	u64 *slot;

	if (!grow(r, index))
		return false;
	n = r->root;
	for (int level = r->height - 1; level; level--) {
		struct node **child = &n->child[slot_of(index, level)];

		if (!*child) {
			*child = calloc(1, sizeof(**child));
			if (!*child)
				return false;
			n->used++;
		}
		n = *child;
	}
	slot = &n->value[slot_of(index, 0)];
	n->used += !*slot;
	*slot = value;
	return true;
}

/* True if the node is empty then, for the parent to free it. */
static bool clear_below(struct node *n, u64 index, int level)
{
	u32 i = slot_of(index, level);

	if (!n->child[i])
		return false;
	if (level) {
		if (!clear_below(n->child[i], index, level - 1))
			return false;
		free(n->child[i]);
	}
	n->child[i] = NULL;
	return --n->used == 0;
}

void radix_clear(struct radix *r, u64 index)
{
	if (!r->root || !fits(index, r->height))
		return;
	if (clear_below(r->root, index, r->height - 1)) {
		free(r->root);
		r->root = NULL;
		r->height = 0;
	}
}

/* Search one node from *index up; on a miss *index moves behind the node's span (0 if that is past the last index). */
static bool next_below(struct node *n, int level, u64 *index, u64 *value)
{
	for (u32 i = slot_of(*index, level); i < SLOTS; i++) {
		u64 span = (u64)1 << BITS * level;

		if (n->child[i]) {
			if (!level) {
				*value = n->value[i];
				return true;
			}
			if (next_below(n->child[i], level - 1, index, value))
				return true;
			continue;
		}
		*index = (*index & ~(span - 1)) + span;
	}
	return false;
}

bool radix_next(struct radix *r, u64 *index, u64 *value)
{
	if (!r->root || !fits(*index, r->height))
		return false;
	return next_below(r->root, r->height - 1, index, value);
}
