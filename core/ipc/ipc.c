/* Tables of System V objects: numbers, keys, permissions. */
#include "ipc/ipc.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/ipc.h>
#include <sys/stat.h>

#include "task/clock.h"

#define IPC_BYTES_MAX	(256ull << 20)
#define CYCLE_MIN	64		/* slots are not reused sooner */

static _Atomic u64 ipc_bytes;

int ipc_charge(u64 bytes)
{
	if (atomic_fetch_add(&ipc_bytes, bytes) + bytes <= IPC_BYTES_MAX)
		return 0;
	atomic_fetch_sub(&ipc_bytes, bytes);
	return -ENOMEM;
}

void ipc_uncharge(u64 bytes)
{
	atomic_fetch_sub(&ipc_bytes, bytes);
}

static int key_cmp(const struct ipc_object *a, const struct ipc_object *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

RB_GENERATE(ipc_keys, ipc_object, by_key, key_cmp)

/* ---- permissions ---- */

int ipc_permission(const struct ipc_object *o, const struct task *t, u32 want)
{
	const struct cred *c = t->cred;
	u32 asked = want >> 6 | want >> 3 | want, granted = o->mode;

	if (c->euid == o->cuid || c->euid == o->uid)
		granted >>= 6;
	else if (cred_in_group(c, o->cgid) || cred_in_group(c, o->gid))
		granted >>= 3;
	return (asked & ~granted & 7) && !cred_capable(c, CAP_IPC_OWNER) ? -EACCES : 0;
}

int ipc_owns(const struct ipc_object *o, const struct task *t)
{
	u32 euid = t->cred->euid;

	return euid == o->cuid || euid == o->uid || cred_capable(t->cred, CAP_SYS_ADMIN) ? 0 : -EPERM;
}

void ipc_perm_show(const struct ipc_object *o, struct ipc64_perm *out)
{
	*out = (struct ipc64_perm){
		.key = o->key, .uid = o->uid, .gid = o->gid, .cuid = o->cuid, .cgid = o->cgid, .mode = o->mode,
		.seq = (u16)(o->id / IPC_SLOTS),
	};
}

int ipc_perm_set(struct ipc_object *o, const struct ipc64_perm *in)
{
	if (in->uid == (u32)-1 || in->gid == (u32)-1)
		return -EINVAL;
	o->uid = in->uid;
	o->gid = in->gid;
	o->mode = (o->mode & ~0777u) | (in->mode & 0777);
	return 0;
}

/* ---- references ---- */

void ipc_object_init(struct ipc_object *o, const struct ipc_get *g)
{
	const struct cred *c = g->t->cred;

	pthread_mutex_init(&o->lock, NULL);
	atomic_init(&o->refs, 1);
	o->key = g->key;
	o->uid = o->cuid = c->euid;
	o->gid = o->cgid = c->egid;
	o->mode = g->flags & 0777;
}

void ipc_put(struct ipc_table *tab, struct ipc_object *o)
{
	if (!o || atomic_fetch_sub(&o->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&o->lock);
	tab->destroy(o);
}

static struct ipc_object *ref(struct ipc_object *o)
{
	if (o)
		atomic_fetch_add(&o->refs, 1);
	return o;
}

int ipc_find(struct ipc_table *tab, int id, struct ipc_object **out)
{
	if (id < 0)
		return -EINVAL;
	pthread_mutex_lock(&tab->lock);
	*out = tab->slot[id % IPC_SLOTS];
	if (*out && (*out)->id != id)
		*out = NULL;
	ref(*out);
	pthread_mutex_unlock(&tab->lock);
	return *out ? 0 : -EINVAL;
}

int ipc_find_slot(struct ipc_table *tab, int slot, struct ipc_object **out)
{
	if (slot < 0)
		return -EINVAL;
	pthread_mutex_lock(&tab->lock);
	*out = ref(tab->slot[slot % IPC_SLOTS]);
	pthread_mutex_unlock(&tab->lock);
	return *out ? 0 : -EINVAL;
}

struct ipc_object *ipc_next(struct ipc_table *tab, struct ipc_object *o)
{
	struct ipc_object *next = NULL;
	int i = o ? o->id % IPC_SLOTS + 1 : 0;

	pthread_mutex_lock(&tab->lock);
	while (i < IPC_SLOTS && !(next = ref(tab->slot[i])))
		i++;
	pthread_mutex_unlock(&tab->lock);
	ipc_put(tab, o);
	return next;
}

int ipc_used(struct ipc_table *tab)
{
	int n;

	pthread_mutex_lock(&tab->lock);
	n = tab->used;
	pthread_mutex_unlock(&tab->lock);
	return n;
}

int ipc_highest(struct ipc_table *tab)
{
	int i = IPC_SLOTS - 1;

	pthread_mutex_lock(&tab->lock);
	while (i > 0 && !tab->slot[i])
		i--;
	pthread_mutex_unlock(&tab->lock);
	return i;
}

/* ---- coming and going ---- */

static void drop_key(struct ipc_table *tab, struct ipc_object *o)
{
	if (o->key != IPC_PRIVATE)
		RB_REMOVE(ipc_keys, &tab->keys, o);
	o->key = IPC_PRIVATE;
}

void ipc_forget_key(struct ipc_table *tab, struct ipc_object *o)
{
	pthread_mutex_lock(&tab->lock);
	drop_key(tab, o);
	pthread_mutex_unlock(&tab->lock);
}

void ipc_unlink(struct ipc_table *tab, struct ipc_object *o)
{
	bool mine;

	pthread_mutex_lock(&tab->lock);
	mine = tab->slot[o->id % IPC_SLOTS] == o;
	if (mine) {
		tab->slot[o->id % IPC_SLOTS] = NULL;
		tab->used--;
		drop_key(tab, o);
	}
	pthread_mutex_unlock(&tab->lock);
	if (mine)
		ipc_put(tab, o);
}

/* tab->lock held. The next slot behind the last one given out, in a window half again as large as what is in use. */
static int link_object(struct ipc_table *tab, struct ipc_object *o)
{
	int max = tab->max.value, window = MIN(MAX(tab->used * 3 / 2, CYCLE_MIN), max), i = tab->last;

	if (tab->used >= max)
		return -ENOSPC;
	do {
		i++;
		if (i >= window) {
			i = 0;
			tab->generation = (tab->generation + 1) & 0x7fff;
		}
	} while (tab->slot[i]);
	tab->last = i;
	tab->slot[i] = o;
	tab->used++;
	o->id = (int)(tab->generation * IPC_SLOTS) + i;
	if (o->key != IPC_PRIVATE)
		RB_INSERT(ipc_keys, &tab->keys, o);
	return o->id;
}

static long use_existing(struct ipc_object *o, const struct ipc_get *g)
{
	long r = 0;

	if ((g->flags & IPC_CREAT) && (g->flags & IPC_EXCL))
		return -EEXIST;
	pthread_mutex_lock(&o->lock);
	if (g->check)
		r = g->check(o, g);
	if (!r)
		r = ipc_permission(o, g->t, (u32)g->flags & 0777);
	pthread_mutex_unlock(&o->lock);
	return r ? r : o->id;
}

long ipc_get(struct ipc_table *tab, const struct ipc_get *g)
{
	struct ipc_object *made = NULL, *o = NULL, wanted = { .key = g->key };
	int err = 0;
	long r;

	/* Made before the lock is taken, for making may allocate files; given back if it was not needed. */
	if (g->key == IPC_PRIVATE || (g->flags & IPC_CREAT))
		made = g->make(g, &err);
	pthread_mutex_lock(&tab->lock);
	if (g->key != IPC_PRIVATE)
		o = RB_FIND(ipc_keys, &tab->keys, &wanted);
	if (o) {
		r = use_existing(o, g);
	} else if (made) {
		r = link_object(tab, made);
		if (r >= 0)
			made = NULL;
	} else {
		r = err ? err : -ENOENT;
	}
	pthread_mutex_unlock(&tab->lock);
	ipc_put(tab, made);
	return r;
}
