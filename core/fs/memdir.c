/*
 * Directory tables in memory: names in a hash, and in the order of their positions in a tree.
 *
 * A position is given out once and never again, so readdir can go on after any number of removals, and seekdir
 * finds its place.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/memfs.h"

static int compare(struct mementry *a, struct mementry *b)
{
	return a->pos < b->pos ? -1 : a->pos > b->pos;
}

RB_GENERATE_INTERNAL(mementry_tree, mementry, by_pos, compare, __attribute__((unused)) static)

struct mementry *memdir_find(struct memdir *d, const char *name)
{
	struct name_node *n = name_table_find(&d->names, name, strlen(name));

	return n ? CONTAINER_OF(n, struct mementry, node) : NULL;
}

struct mementry *memdir_add(struct memdir *d, const char *name, enum mementry_kind kind)
{
	size_t len = strlen(name);
	struct mementry *e;

	if (fsmem_charge(sizeof(*e) + len))
		return NULL;
	e = calloc(1, sizeof(*e) + len + 1);
	if (!e)
		goto fail;
	e->node.name = memcpy(e + 1, name, len + 1);
	e->node.len = len;
	e->kind = kind;
	if (name_table_add(&d->names, &e->node))
		goto fail;
	e->pos = 2 + d->next_pos++;
	RB_INSERT(mementry_tree, &d->order, e);
	d->visible += kind != ENTRY_WHITEOUT;
	return e;
fail:
	fsmem_uncharge(sizeof(*e) + len);
	free(e);
	return NULL;
}

void memdir_set(struct mementry *e, struct inode *in)
{
	inode_get(in);
	inode_put(e->inode);
	e->inode = in;
	e->kind = ENTRY_UPPER;
	e->type = IFTODT(in->mode);
}

void memdir_remove(struct memdir *d, struct mementry *e)
{
	d->visible -= e->kind != ENTRY_WHITEOUT;
	name_table_del(&d->names, &e->node);
	RB_REMOVE(mementry_tree, &d->order, e);
	inode_put(e->inode);
	fsmem_uncharge(sizeof(*e) + e->node.len);
	free(e);
}

void memdir_destroy(struct memdir *d)
{
	struct mementry *e;

	while ((e = RB_ROOT(&d->order)))
		memdir_remove(d, e);
	name_table_free(&d->names);
}

struct mementry *mementry_first(struct memdir *d)
{
	return RB_MIN(mementry_tree, &d->order);
}

struct mementry *mementry_next(struct memdir *d, struct mementry *e)
{
	return RB_NEXT(mementry_tree, &d->order, e);
}

int memdir_emit(struct memdir *d, u64 pos, struct dirent_sink *s)
{
	struct mementry key = { .pos = pos }, *e;

	for (e = RB_NFIND(mementry_tree, &d->order, &key); e; e = RB_NEXT(mementry_tree, &d->order, e)) {
		u64 ino = e->inode ? e->inode->ino : e->ino;

		if (e->kind == ENTRY_WHITEOUT)
			continue;
		if (!s->emit(s, e->node.name, e->node.len, ino, e->pos + 1, e->type))
			break;
	}
	return 0;
}
