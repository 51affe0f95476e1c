/* From a place back to its name, as getcwd and readlink of /proc/PID/fd/N show it. */
#include <errno.h>
#include <string.h>

#include "fs/dentry.h"
#include "task/task.h"

struct builder {			/* fills its buffer from the end */
	char *buf;
	size_t at;
};

static int prepend(struct builder *b, const char *s, size_t len)
{
	if (len > b->at)
		return -ENAMETOOLONG;
	b->at -= len;
	memcpy(b->buf + b->at, s, len);
	return 0;
}

/* Names from p up to root. 0, 1: the top was not root. tree_lock and mount_lock held. */
static int climb(struct builder *b, struct path p, const struct path *root)
{
	bool any = false;
	int err;

	for (;;) {
		if (p.dentry == root->dentry && p.mnt == root->mnt)
			return any ? 0 : prepend(b, "/", 1);
		if (p.dentry == p.mnt->root && p.mnt->parent) {
			p = (struct path){ p.mnt->parent, p.mnt->point };
			continue;
		}
		if (p.dentry == p.mnt->root) {
			err = any ? 0 : prepend(b, "/", 1);
			return err ? err : 1;
		}
		err = prepend(b, p.dentry->node.name, p.dentry->node.len);
		if (err || !p.dentry->parent)
			return err;
		err = prepend(b, "/", 1);
		if (err)
			return err;
		any = true;
		p.dentry = p.dentry->parent;
	}
}

static bool name_gone(const struct dentry *d)
{
	return d->deleted || (d->parent && !d->inode->nlink);
}

s64 path_name(struct task *t, const struct path *p, char *buf, size_t len)
{
	struct builder b = { buf, len };
	struct path root;
	int err = -ENAMETOOLONG;

	if (!len)
		return -ENAMETOOLONG;
	buf[--b.at] = 0;
	pthread_mutex_lock(&t->place->lock);
	root = t->place->root;
	path_get(&root);
	pthread_mutex_unlock(&t->place->lock);
	pthread_rwlock_rdlock(&tree_lock);
	pthread_rwlock_rdlock(&mount_lock);
	if (name_gone(p->dentry))
		err = prepend(&b, " (deleted)", 10);
	else
		err = 0;
	if (!err)
		err = climb(&b, *p, &root);
	pthread_rwlock_unlock(&mount_lock);
	pthread_rwlock_unlock(&tree_lock);
	path_put(&root);
	if (err == 1)
		err = prepend(&b, "(unreachable)", 13);
	if (err)
		return err;
	memmove(buf, buf + b.at, len - b.at);
	return len - b.at - 1;
}
