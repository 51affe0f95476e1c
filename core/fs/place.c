/* Where a task stands in the tree: its root, working directory and umask. */
#include <stdlib.h>

#include "fs/dentry.h"
#include "fs/fs.h"

struct fs_place *fs_place_copy(struct fs_place *p)
{
	struct fs_place *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	pthread_mutex_init(&copy->lock, NULL);
	atomic_init(&copy->refs, 1);
	pthread_mutex_lock(&p->lock);
	copy->root = p->root;
	copy->cwd = p->cwd;
	copy->umask = p->umask;
	copy->ns = p->ns;
	path_get(&copy->root);
	path_get(&copy->cwd);
	pthread_mutex_unlock(&p->lock);
	return copy;
}

void fs_place_get(struct fs_place *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

void fs_place_put(struct fs_place *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	path_put(&p->root);
	path_put(&p->cwd);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
