/*
 * A host directory tree as the overlay and bind mounts see it: nodes that know their place below a root descriptor,
 * a bounded cache of directory descriptors, and an index from a host file to the inode that stands for it.
 */
#ifndef TG_FS_HOSTTREE_H
#define TG_FS_HOSTTREE_H

#include "fs/fs.h"
#include "host/hostfs_calls.h"

#define HOST_INDEX_SIZE	4096

struct host_tree;

struct hostnode {
	atomic_int refs;
	struct host_tree *tree;		/* immutable */
	/* holds a reference; NULL for the root. All down to the end: locked by tree->lock */
	struct hostnode *parent;
	char *name;
	int dirfd;			/* O_PATH, or -1 */
	int users;			/* of dirfd; 0: it may be closed */
	TAILQ_ENTRY(hostnode) idle;
};

/* Embedded in the inode's data of both file systems. */
struct hostref {
	struct hostnode *node;		/* NULL: nothing on the host */
	struct inode *in;
	u64 dev, ino;			/* the host's */
	bool indexed;			/* locked by tree->index_lock */
	LIST_ENTRY(hostref) link;
};

struct host_tree {
	struct hostnode *root;
	u64 dev;			/* of the root; immutable */
	pthread_mutex_t lock;
	TAILQ_HEAD(hostnode_idle_head, hostnode) idle;	/* cached descriptors that nobody uses, oldest first */
	int nidle;
	pthread_mutex_t index_lock;
	LIST_HEAD(hostref_index_head, hostref) index[HOST_INDEX_SIZE];
};

int host_tree_create(const char *path, struct host_tree **out, char *why, size_t len);
void host_tree_destroy(struct host_tree *tree);

struct hostnode *hostnode_new(struct hostnode *parent, const char *name);	/* NULL: no memory */
void hostnode_get(struct hostnode *n);
void hostnode_put(struct hostnode *n);
/* A directory's descriptor (O_PATH), good until hostnode_dir_done(). */
int hostnode_dir(struct hostnode *n, int *fd);
void hostnode_dir_done(struct hostnode *n);
int hostnode_open(struct hostnode *n, int flags);	/* a descriptor of the caller's own */
void hostnode_move(struct hostnode *n, struct hostnode *parent, const char *name);

/* A node as a name in a directory that is held open. */
struct host_at {
	struct hostnode *dir;
	int fd;
	char name[256];
};
int hostnode_at(struct hostnode *n, struct host_at *at);
void host_at_done(struct host_at *at);

u64 host_ino(const struct host_tree *tree, u64 dev, u64 ino);	/* what guests see */
/* The live inode for a host file, with a reference, or NULL. */
struct inode *host_index_find(struct host_tree *tree, const struct host_stat *st);
/* Enter it, unless another came first: that one is returned, with a reference. */
struct inode *host_index_add(struct host_tree *tree, struct hostref *ref);
void host_index_remove(struct host_tree *tree, struct hostref *ref);

/* All names of a host directory but . and .. : false from fn stops. `pos` is the host's own, 0 at the start. */
typedef bool (*host_name_fn)(void *arg, const char *name, size_t len, u64 ino, u64 next_pos, u8 type);
int hostnode_list(struct hostnode *n, s64 pos, host_name_fn fn, void *arg);

#endif
