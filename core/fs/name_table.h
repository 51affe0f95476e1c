/*
 * A hash table of names, intrusive and without locks of its own: directory entries and dentries are kept in it.
 * Guests choose the names, so the hash is seeded at random.
 */
#ifndef TG_FS_NAME_TABLE_H
#define TG_FS_NAME_TABLE_H

#include "lib/types.h"

struct name_node {
	struct name_node *next;
	char *name;			/* NUL-terminated */
	u32 len, hash;
};

struct name_table {			/* all zero: empty */
	struct name_node **bucket;
	u32 size, count;		/* size: a power of two, or 0 */
};

u32 name_hash(const char *name, size_t len);
struct name_node *name_table_find(const struct name_table *t, const char *name, size_t len);
int name_table_add(struct name_table *t, struct name_node *n);	/* name and len are set; -ENOMEM */
void name_table_del(struct name_table *t, struct name_node *n);
void name_table_free(struct name_table *t);			/* the buckets */

#endif
