/*
 * Mounts: which tree stands where. One lock for all namespaces: mounts change seldom, and a walk takes the lock
 * only at dentries that something is mounted on, or at a mount's root.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "fs/dentry.h"

#define MOUNTS_MAX	1024		/* a namespace; a guest's loop of mount(2) ends in its own ENOSPC */

pthread_rwlock_t mount_lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_int next_mount_id = 1;

struct mount *mount_new(struct super *s, struct dentry *root, u32 flags)
{
	struct mount *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	atomic_init(&m->refs, 1);
	m->id = atomic_fetch_add(&next_mount_id, 1);
	m->super = s;
	m->root = root;
	m->flags = flags;
	super_get(s);
	dentry_get(root);
	return m;
}

void mount_get(struct mount *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

void mount_put(struct mount *m)
{
	while (m && atomic_fetch_sub(&m->refs, 1) == 1) {
		struct mount *parent = m->parent;

		dentry_put(m->point);
		dentry_put(m->root);
		super_put(m->super);
		free(m);
		m = parent;
	}
}

struct mount_ns *mount_ns_new(struct mount *root)
{
	struct mount_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	atomic_init(&ns->refs, 1);
	TAILQ_INIT(&ns->mounts);
	TAILQ_INSERT_TAIL(&ns->mounts, root, link);
	mount_get(root);
	root->ns = ns;
	ns->count = 1;
	return ns;
}

/* mount_lock held. */
static struct mount *mount_at(const struct path *p)
{
	struct mount *m;

	/* The newest one hides those below it. */
	TAILQ_FOREACH_REVERSE(m, &p->mnt->ns->mounts, mount_list, link)
		if (m->parent == p->mnt && m->point == p->dentry)
			return m;
	return NULL;
}

int mount_attach(struct mount *m, const struct path *at)
{
	struct mount_ns *ns;
	int err = -EINVAL;

	pthread_rwlock_wrlock(&mount_lock);
	ns = at->mnt->ns;
	if (!ns)
		goto out;
	err = -ENOSPC;
	if (ns->count >= MOUNTS_MAX)
		goto out;
	mount_get(at->mnt);
	dentry_get(at->dentry);
	mount_get(m);
	m->ns = ns;
	m->parent = at->mnt;
	m->point = at->dentry;
	atomic_fetch_add(&at->dentry->mounted, 1);
	TAILQ_INSERT_TAIL(&ns->mounts, m, link);
	ns->count++;
	err = 0;
out:
	pthread_rwlock_unlock(&mount_lock);
	return err;
}

/* mount_lock held. The mount keeps parent and point so that ".." of those still inside leads out. */
static void unlink_mount(struct mount *m)
{
	TAILQ_REMOVE(&m->ns->mounts, m, link);
	m->ns->count--;
	atomic_fetch_sub(&m->point->mounted, 1);
	m->ns = NULL;
}

static bool has_submounts(struct mount *m)
{
	struct mount *x;

	TAILQ_FOREACH(x, &m->ns->mounts, link)
		if (x->parent == m)
			return true;
	return false;
}

/* Takes the mount and all below it out of the namespace into `gone`. mount_lock held. */
static void unlink_tree(struct mount *m, struct mount **gone, int *n)
{
	struct mount_ns *ns = m->ns;
	struct mount *x;

	unlink_mount(m);
	gone[(*n)++] = m;
	/*
	 * Those gone keep their parent pointer, so one pass from the front finds every descendant: parents come
	 * first.
	 */
	for (struct mount *next = TAILQ_FIRST(&ns->mounts); (x = next);) {
		bool below = false;

		next = TAILQ_NEXT(x, link);
		for (int i = 0; i < *n; i++)
			below |= x->parent == gone[i];
		if (below) {
			unlink_mount(x);
			gone[(*n)++] = x;
		}
	}
}

int mount_detach(struct mount *m, bool lazy)
{
	struct mount **gone = calloc(MOUNTS_MAX, sizeof(*gone));
	int err = -EINVAL, n = 0;

	if (!gone)
		return -ENOMEM;
	pthread_rwlock_wrlock(&mount_lock);
	if (!m->ns || !m->parent)
		goto out;
	err = -EBUSY;
	/* The namespace's reference and the caller's are all that an idle mount has. */
	if (!lazy && (has_submounts(m) || atomic_load(&m->refs) > 2))
		goto out;
	unlink_tree(m, gone, &n);
	err = 0;
out:
	pthread_rwlock_unlock(&mount_lock);
	for (int i = 0; i < n; i++)
		mount_put(gone[i]);
	free(gone);
	return err;
}

bool mount_cross_down(struct path *p)
{
	bool moved = false;

	while (atomic_load_explicit(&p->dentry->mounted, memory_order_acquire)) {
		struct mount *m = NULL;

		pthread_rwlock_rdlock(&mount_lock);
		if (p->mnt->ns && (m = mount_at(p)))
			mount_get(m);
		pthread_rwlock_unlock(&mount_lock);
		if (!m)
			break;
		dentry_get(m->root);
		path_put(p);
		p->mnt = m;
		p->dentry = m->root;
		moved = true;
	}
	return moved;
}

bool mount_cross_up(struct path *p)
{
	struct path up = { NULL, NULL };

	pthread_rwlock_rdlock(&mount_lock);
	if (p->dentry == p->mnt->root && p->mnt->parent) {
		up = (struct path){ p->mnt->parent, p->mnt->point };
		path_get(&up);
	}
	pthread_rwlock_unlock(&mount_lock);
	if (!up.mnt)
		return false;
	path_put(p);
	*p = up;
	return true;
}

bool mount_readonly(const struct mount *m)
{
	return (m->flags | m->super->flags) & ST_RDONLY;
}

void mount_for_each(struct mount_ns *ns, bool (*fn)(struct mount *m, void *arg), void *arg)
{
	struct mount *m;

	pthread_rwlock_rdlock(&mount_lock);
	TAILQ_FOREACH(m, &ns->mounts, link)
		if (!fn(m, arg))
			break;
	pthread_rwlock_unlock(&mount_lock);
}

void path_get(const struct path *p)
{
	if (p->mnt)
		mount_get(p->mnt);
	if (p->dentry)
		dentry_get(p->dentry);
}

void path_put(struct path *p)
{
	dentry_put(p->dentry);
	mount_put(p->mnt);
	*p = (struct path){ NULL, NULL };
}
