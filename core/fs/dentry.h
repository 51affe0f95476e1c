/*
 * Names in memory: the dentry tree, the mounts on it, and what the path walk needs of both.
 *
 * A dentry is a name and its inode; there are no negative ones. A child holds a reference on its parent, a parent's
 * name table holds none on its children: a dentry that nobody uses stays in the table on a bounded LRU list.
 *
 * Lock order: rename_lock, directory dentry locks (ancestor first), tree_lock, the LRU's lock.
 */
#ifndef TG_FS_DENTRY_H
#define TG_FS_DENTRY_H

#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW	0x2000
#endif

#include "fs/fs.h"
#include "fs/name_table.h"

#define NAME_LEN_MAX	255
#define PATH_LEN_MAX	4096

struct dentry {
	/* in parent->children; name and parent: tree_lock or the parent's lock to read, both to write */
	struct name_node node;
	struct dentry *parent;		/* holds a reference; NULL for roots and anonymous ones */
	struct super *super;		/* immutable */
	struct inode *inode;		/* immutable; holds a reference */
	atomic_int refs;
	atomic_int mounted;		/* mounts that stand on it */
	pthread_mutex_t lock;		/* directories: held over every operation on names in it; guards `children` */
	struct name_table children;
	bool hashed;			/* in parent->children; locked by the parent's lock */
	atomic_bool deleted;		/* the name is gone; set with the lock of a directory held */
	bool on_lru;			/* locked by lru_lock */
	TAILQ_ENTRY(dentry) lru;
};

/* takes the inode reference over */
struct dentry *dentry_new(struct super *s, struct dentry *parent, const char *name, size_t len, struct inode *in);
void dentry_get(struct dentry *d);
void dentry_put(struct dentry *d);

/* The child called `name`, with a reference. -ENOENT. Locks dir. */
int dentry_lookup(struct dentry *dir, const char *name, size_t len, struct dentry **out);
/* The same with dir->lock held. */
int dentry_lookup_locked(struct dentry *dir, const char *name, size_t len, struct dentry **out);
/* Give a new inode its dentry, dir->lock held; consumes the inode's reference. */
int dentry_add(struct dentry *dir, const char *name, size_t len, struct inode *in, struct dentry **out);
/* drop all unused dentries of a super that nobody can reach any more */
void dentry_forget(struct super *s);
/* drop half of the unused ones; false if there are none. Any lock may be held */
bool dentry_reclaim(void);
void dentry_delete(struct dentry *d);			/* its name was removed; the parent's lock held */
/* The directories' locks and rename_lock held. Cannot fail: `name` is a copy that it takes over. */
void dentry_move(struct dentry *d, struct dentry *to, char *name);
void dentry_exchange(struct dentry *a, struct dentry *b);
struct dentry *dentry_parent(struct dentry *d);		/* with a reference; itself at a root */
bool dentry_is_ancestor(struct dentry *a, struct dentry *d);	/* a is d or above it */

extern pthread_mutex_t rename_lock;
extern pthread_rwlock_t tree_lock;

/* ---- mounts ---- */

struct mount {
	atomic_int refs;
	struct mount_ns *ns;		/* NULL: not in any tree. All down to `link`: locked by mount_lock */
	struct mount *parent;		/* NULL: root of the namespace, or detached; holds a reference */
	struct dentry *point;		/* where it stands in the parent; holds a reference */
	int id;				/* immutable, as /proc/PID/mountinfo shows it; so are the next two */
	struct dentry *root;
	struct super *super;
	_Atomic u32 flags;		/* ST_RDONLY, ST_NOSUID, ST_NOEXEC, ... of this mount */
	TAILQ_ENTRY(mount) link;	/* in ns->mounts */
};

struct mount_ns {
	atomic_int refs;
	TAILQ_HEAD(mount_list, mount) mounts;	/* in order of mounting, the root first; locked by mount_lock */
	int count;
};

extern pthread_rwlock_t mount_lock;

struct mount *mount_new(struct super *s, struct dentry *root, u32 flags);	/* takes references of its own */
void mount_get(struct mount *m);
void mount_put(struct mount *m);
struct mount_ns *mount_ns_new(struct mount *root);
int mount_attach(struct mount *m, const struct path *at);	/* -EBUSY, -ENOSPC (too many) */
/* -EBUSY with mounts below or files open, unless lazy; -EINVAL for the root */
int mount_detach(struct mount *m, bool lazy);
bool mount_cross_down(struct path *p);			/* into what is mounted on p, all the way; true if it moved */
bool mount_cross_up(struct path *p);			/* from a mount's root to its point; false at the top */
bool mount_readonly(const struct mount *m);
/* Each mount of a namespace in order, mount_lock held for reading: for /proc/PID/mounts. False stops. */
void mount_for_each(struct mount_ns *ns, bool (*fn)(struct mount *m, void *arg), void *arg);

#endif
