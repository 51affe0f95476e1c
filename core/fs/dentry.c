/*
 * The dentry tree: lookup, life, renames.
 *
 * Unused dentries (no references) stay in their parent's table and on an LRU list of at most LRU_MAX. The steps from
 * one reference to none and back are taken under lru_lock. A lookup revives a dentry with its parent's lock held too,
 * and the pruner takes that lock before it frees one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/dentry.h"

#define LRU_MAX	16384

pthread_mutex_t rename_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_rwlock_t tree_lock = PTHREAD_RWLOCK_INITIALIZER;

static pthread_mutex_t lru_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(dentry_lru_head, dentry) lru = TAILQ_HEAD_INITIALIZER(lru);
static atomic_uint lru_count;		/* changed under lru_lock */

struct dentry *dentry_new(struct super *s, struct dentry *parent, const char *name, size_t len, struct inode *in)
{
	struct dentry *d = calloc(1, sizeof(*d));

	if (d)
		d->node.name = strndup(name, len);
	if (!d || !d->node.name) {
		free(d);
		inode_put(in);
		return NULL;
	}
	d->node.len = len;
	d->super = s;
	d->inode = in;
	d->parent = parent;
	if (parent)
		dentry_get(parent);
	atomic_init(&d->refs, 1);
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

void dentry_get(struct dentry *d)
{
	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
}

/* Nobody can reach it any more. Returns the parent, whose reference the caller now holds. */
static struct dentry *dentry_free(struct dentry *d)
{
	struct dentry *parent = d->parent;

	inode_put(d->inode);
	name_table_free(&d->children);
	pthread_mutex_destroy(&d->lock);
	free(d->node.name);
	free(d);
	return parent;
}

static void unhash(struct dentry *dir, struct dentry *d)
{
	if (d->hashed)
		name_table_del(&dir->children, &d->node);
	d->hashed = false;
}

/* The oldest unused dentry off the list, with a reference; NULL if no more than `keep` are on it. */
static struct dentry *lru_pop(u32 keep)
{
	struct dentry *d, *found = NULL;

	pthread_mutex_lock(&lru_lock);
	while (!found && lru_count > keep && (d = TAILQ_FIRST(&lru))) {
		TAILQ_REMOVE(&lru, d, lru);
		d->on_lru = false;
		lru_count--;
		if (atomic_load(&d->refs) == 0) {
			atomic_fetch_add(&d->refs, 1);
			found = d;
		}
	}
	pthread_mutex_unlock(&lru_lock);
	return found;
}

/*
 * Drop the caller's reference. True: that was the last one and no name leads here, so the caller frees it. Nobody can
 * revive it while lru_lock is held, and `hashed` only changes in the hands of someone who has a reference.
 */
static bool put_one(struct dentry *d)
{
	int n = atomic_load(&d->refs);
	bool gone = false;

	while (n > 1)
		if (atomic_compare_exchange_weak(&d->refs, &n, n - 1))
			return false;
	pthread_mutex_lock(&lru_lock);
	if (atomic_fetch_sub(&d->refs, 1) == 1) {
		gone = !d->hashed;
		if (gone && d->on_lru) {
			TAILQ_REMOVE(&lru, d, lru);
			lru_count--;
		} else if (!gone && !d->on_lru) {
			TAILQ_INSERT_TAIL(&lru, d, lru);
			lru_count++;
		}
		d->on_lru = !gone;
	}
	pthread_mutex_unlock(&lru_lock);
	return gone;
}

static void put_chain(struct dentry *d)
{
	while (d && put_one(d))
		d = dentry_free(d);
}

/* Take an unused dentry, of which the caller has the only reference, out of its parent's table. */
static void unhash_unused(struct dentry *d)
{
	struct dentry *parent = dentry_parent(d);

	/*
	 * This runs in dentry_put, under any lock: a busy parent keeps its child for another round. With the lock
	 * held and our reference the only one, nobody can find or move it any more.
	 */
	if (!pthread_mutex_trylock(&parent->lock)) {
		if (atomic_load(&d->refs) == 1 && d->parent == parent) {
			unhash(parent, d);
			d->deleted = true;
		}
		pthread_mutex_unlock(&parent->lock);
	}
	put_chain(parent);
}

/* Up to `n` dentries off a list that is longer than `keep`. */
static u32 prune(u32 n, u32 keep)
{
	u32 done = 0;

	for (struct dentry *d; done < n && (d = lru_pop(keep)); done++) {
		unhash_unused(d);
		put_chain(d);
	}
	return done;
}

bool dentry_reclaim(void)
{
	return prune(lru_count / 2 + 1, 0);
}

void dentry_put(struct dentry *d)
{
	if (d && put_one(d)) {
		put_chain(dentry_free(d));
		return;
	}
	if (lru_count > LRU_MAX)
		prune(2, LRU_MAX);
}

/* Up to `max` unused dentries of a super, off the list and with a reference each. */
static int lru_take(struct super *s, struct dentry **out, int max)
{
	struct dentry *d, *next;
	int n = 0;

	pthread_mutex_lock(&lru_lock);
	for (d = TAILQ_FIRST(&lru); d && n < max; d = next) {
		next = TAILQ_NEXT(d, lru);
		if (d->super != s || atomic_load(&d->refs))
			continue;
		TAILQ_REMOVE(&lru, d, lru);
		d->on_lru = false;
		lru_count--;
		atomic_fetch_add(&d->refs, 1);
		out[n++] = d;
	}
	pthread_mutex_unlock(&lru_lock);
	return n;
}

/* Leaves first: a parent comes onto the list when its last child goes. */
void dentry_forget(struct super *s)
{
	struct dentry *batch[256];
	int n;

	while ((n = lru_take(s, batch, ARRAY_SIZE(batch))))
		for (int i = 0; i < n; i++) {
			unhash_unused(batch[i]);
			put_chain(batch[i]);
		}
}

struct dentry *dentry_parent(struct dentry *d)
{
	struct dentry *parent;

	pthread_rwlock_rdlock(&tree_lock);
	parent = d->parent ? d->parent : d;
	dentry_get(parent);
	pthread_rwlock_unlock(&tree_lock);
	return parent;
}

bool dentry_is_ancestor(struct dentry *a, struct dentry *d)
{
	pthread_rwlock_rdlock(&tree_lock);
	while (d && d != a)
		d = d->parent;
	pthread_rwlock_unlock(&tree_lock);
	return d == a;
}

static struct dentry *find_child(struct dentry *dir, const char *name, size_t len)
{
	struct name_node *n = name_table_find(&dir->children, name, len);

	return n ? CONTAINER_OF(n, struct dentry, node) : NULL;
}

int dentry_add(struct dentry *dir, const char *name, size_t len, struct inode *in, struct dentry **out)
{
	struct dentry *d = dentry_new(dir->super, dir, name, len, in);
	int err;

	if (!d)
		return -ENOMEM;
	err = name_table_add(&dir->children, &d->node);
	if (err) {
		d->deleted = true;
		dentry_put(d);
		return err;
	}
	d->hashed = true;
	*out = d;
	return 0;
}

/* An uncached name is asked for again each time; its dentry stays if it still means the same. */
static bool still_same(const struct dentry *d, const struct inode *in)
{
	return d->inode == in || (d->inode->ino == in->ino && !((d->inode->mode ^ in->mode) & S_IFMT));
}

/* A reference on what was found in its parent's table, whose lock is held; it may have none so far. */
static struct dentry *revive(struct dentry *d)
{
	int n = atomic_load(&d->refs);

	while (n > 0)
		if (atomic_compare_exchange_weak(&d->refs, &n, n + 1))
			return d;
	pthread_mutex_lock(&lru_lock);
	atomic_fetch_add(&d->refs, 1);
	pthread_mutex_unlock(&lru_lock);
	return d;
}

int dentry_lookup_locked(struct dentry *dir, const char *name, size_t len, struct dentry **out)
{
	struct dentry *d = find_child(dir, name, len);
	struct inode *in = NULL;
	char copy[NAME_LEN_MAX + 1];
	int err;

	if (len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (d && !dir->super->dentry_uncached) {
		*out = revive(d);
		return 0;
	}
	if (dir->deleted && !dir->super->dentry_uncached)
		return -ENOENT;
	memcpy(copy, name, len);
	copy[len] = 0;
	err = dir->inode->ops->lookup ? dir->inode->ops->lookup(dir->inode, copy, &in) : -ENOTDIR;
	if (!err && !in)
		err = -ENOENT;
	if (d && !err && still_same(d, in)) {
		inode_put(in);
		*out = revive(d);
		return 0;
	}
	if (d && (!err || err == -ENOENT)) {
		revive(d);
		dentry_delete(d);
		dentry_put(d);
	}
	return err ? err : dentry_add(dir, name, len, in, out);
}

int dentry_lookup(struct dentry *dir, const char *name, size_t len, struct dentry **out)
{
	int err;

	pthread_mutex_lock(&dir->lock);
	err = dentry_lookup_locked(dir, name, len, out);
	pthread_mutex_unlock(&dir->lock);
	return err;
}

void dentry_delete(struct dentry *d)
{
	unhash(d->parent, d);
	d->deleted = true;
}

void dentry_move(struct dentry *d, struct dentry *to, char *name)
{
	struct dentry *from = d->parent;

	unhash(from, d);
	pthread_rwlock_wrlock(&tree_lock);
	free(d->node.name);
	d->node.name = name;
	d->node.len = strlen(name);
	dentry_get(to);
	d->parent = to;
	/* Out of memory for the table: the dentry is just not found any more, the next lookup makes another. */
	if (!name_table_add(&to->children, &d->node))
		d->hashed = true;
	pthread_rwlock_unlock(&tree_lock);
	dentry_put(from);
}

void dentry_exchange(struct dentry *a, struct dentry *b)
{
	struct dentry *pa = a->parent, *pb = b->parent;
	char *name = a->node.name;
	u32 len = a->node.len;

	unhash(pa, a);
	unhash(pb, b);
	pthread_rwlock_wrlock(&tree_lock);
	a->node.name = b->node.name;
	a->node.len = b->node.len;
	a->parent = pb;
	b->node.name = name;
	b->node.len = len;
	b->parent = pa;
	a->hashed = !name_table_add(&pb->children, &a->node);
	b->hashed = !name_table_add(&pa->children, &b->node);
	pthread_rwlock_unlock(&tree_lock);
}
