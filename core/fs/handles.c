/*
 * File handles: numbers for name_to_handle_at(2) under which a file is found again.
 *
 * A table of the last HANDLES files that were asked for, so a handle can go stale, as handles may. A handle carries a
 * secret of its entry, so that one that a guest makes up finds nothing.
 */
#include "fs/handles.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

#include "fs/dentry.h"

#define HANDLES		1024

static struct entry {
	struct dentry *dentry;		/* holds a reference */
	struct handle_data id;
} table[HANDLES];
static u32 next_entry;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* guards both */

int handle_make(struct dentry *d, struct handle_data *out)
{
	struct dentry *old = NULL;
	struct entry *e;
	int err = 0;

	pthread_mutex_lock(&lock);
	for (e = table; e < table + HANDLES; e++)
		if (e->dentry == d)
			goto found;
	e = &table[next_entry];
	if (getrandom(&e->id.secret, sizeof(e->id.secret), 0) != sizeof(e->id.secret)) {
		err = -ENOMEM;
		goto out;
	}
	old = e->dentry;
	dentry_get(d);
	e->dentry = d;
	e->id.slot = next_entry;
	next_entry = (next_entry + 1) % HANDLES;
found:
	*out = e->id;
out:
	pthread_mutex_unlock(&lock);
	dentry_put(old);
	return err;
}

int handle_find(const struct handle_data *h, struct super *s, struct dentry **out)
{
	int err = -ESTALE;
	struct entry *e;

	if (h->slot >= HANDLES)
		return -ESTALE;
	pthread_mutex_lock(&lock);
	e = &table[h->slot];
	if (e->dentry && e->id.secret == h->secret && e->dentry->super == s && e->dentry->inode->nlink) {
		*out = e->dentry;
		dentry_get(*out);
		err = 0;
	}
	pthread_mutex_unlock(&lock);
	return err;
}
