/* Host directory trees: see hosttree.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/hosttree.h"

#define IDLE_MAX	256		/* descriptors kept open for the next walk */
#define LIST_BYTES	(32u << 10)
#define STEP_BYTES	4000		/* of a path that one openat2 takes */

/* ---- the tree ---- */

int host_tree_create(const char *path, struct host_tree **out, char *why, size_t len)
{
	struct host_tree *tree = calloc(1, sizeof(*tree));
	struct hostnode *root = calloc(1, sizeof(*root));
	struct host_stat st;
	int err = -ENOMEM;

	if (!tree || !root)
		goto fail;
	root->dirfd = err = host_open_root(path);
	if (err >= 0)
		err = host_stat_fd(root->dirfd, &st);
	if (err < 0)
		goto fail;
	if (host_fd_is_pseudo(root->dirfd)) {
		snprintf(why, len, "%s is on a file system that shows the host's kernel; it can't be given to a guest",
			 path);
		host_close(root->dirfd);
		free(root);
		free(tree);
		return -EINVAL;
	}
	atomic_init(&root->refs, 1);
	root->tree = tree;
	root->users = 1;
	tree->root = root;
	tree->dev = st.dev;
	pthread_mutex_init(&tree->lock, NULL);
	pthread_mutex_init(&tree->index_lock, NULL);
	TAILQ_INIT(&tree->idle);
	*out = tree;
	return 0;
fail:
	snprintf(why, len, "can't open directory %s: %s", path, strerror(-err));
	free(root);
	free(tree);
	return err;
}

static struct hostnode *pop_idle(struct host_tree *tree)
{
	struct hostnode *n = TAILQ_FIRST(&tree->idle);

	TAILQ_REMOVE(&tree->idle, n, idle);
	tree->nidle--;
	host_close(n->dirfd);
	n->dirfd = -1;
	return n;
}

static void drop_idle(struct host_tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	while (tree->nidle)
		pop_idle(tree);
	pthread_mutex_unlock(&tree->lock);
}

/* Its super is gone, and with it every inode. */
void host_tree_destroy(struct host_tree *tree)
{
	drop_idle(tree);
	host_close(tree->root->dirfd);
	free(tree->root);
	pthread_mutex_destroy(&tree->lock);
	pthread_mutex_destroy(&tree->index_lock);
	free(tree);
}

/* ---- nodes ---- */

struct hostnode *hostnode_new(struct hostnode *parent, const char *name)
{
	struct hostnode *n = calloc(1, sizeof(*n));

	if (n)
		n->name = strdup(name);
	if (!n || !n->name) {
		free(n);
		return NULL;
	}
	atomic_init(&n->refs, 1);
	n->tree = parent->tree;
	n->parent = parent;
	n->dirfd = -1;
	hostnode_get(parent);
	return n;
}

void hostnode_get(struct hostnode *n)
{
	atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
}

void hostnode_put(struct hostnode *n)
{
	while (n && n->parent && atomic_fetch_sub(&n->refs, 1) == 1) {
		struct hostnode *parent = n->parent;
		struct host_tree *tree = n->tree;

		pthread_mutex_lock(&tree->lock);
		if (n->dirfd >= 0) {
			TAILQ_REMOVE(&tree->idle, n, idle);
			tree->nidle--;
			host_close(n->dirfd);
		}
		pthread_mutex_unlock(&tree->lock);
		free(n->name);
		free(n);
		n = parent;
	}
}

static void use(struct hostnode *n)
{
	if (!n->users++) {
		TAILQ_REMOVE(&n->tree->idle, n, idle);
		n->tree->nidle--;
	}
}

static void unuse(struct hostnode *n)
{
	if (--n->users)
		return;
	TAILQ_INSERT_TAIL(&n->tree->idle, n, idle);
	if (++n->tree->nidle > IDLE_MAX)
		pop_idle(n->tree);
}

/* The nearest directory above n that is open, in use for the caller, and the path from it to n. tree->lock held. */
static struct hostnode *open_ancestor(struct hostnode *n, char **path)
{
	struct hostnode *up;
	size_t len = 0;
	char *p;

	for (up = n; up == n || up->dirfd < 0; up = up->parent)
		len += strlen(up->name) + 1;
	*path = p = malloc(len);
	if (!p)
		return NULL;
	p += len;
	for (struct hostnode *x = n; x != up; x = x->parent) {
		size_t k = strlen(x->name);

		*--p = x == n ? 0 : '/';
		p -= k;
		memcpy(p, x->name, k);
	}
	use(up);
	return up;
}

/* Open a path of any length, in steps that the kernel takes. */
static int open_long(int fd, char *path)
{
	int next = -1, from = fd;

	while (path) {
		char *cut = NULL;

		if (strlen(path) > STEP_BYTES) {
			for (cut = path + STEP_BYTES; *cut != '/'; cut--)
				;
			*cut++ = 0;
		}
		next = host_open_beneath(from, path, O_PATH | O_DIRECTORY, 0);
		if (from != fd)
			host_close(from);
		if (next < 0)
			return next;
		from = next;
		path = cut;
	}
	return next;
}

static bool out_of_fds(int err)
{
	return err == -EMFILE || err == -ENFILE;
}

static int open_dir(struct hostnode *n)
{
	struct host_tree *tree = n->tree;
	struct hostnode *up;
	char *path;
	int fd;

	pthread_mutex_lock(&tree->lock);
	up = open_ancestor(n, &path);
	pthread_mutex_unlock(&tree->lock);
	if (!up)
		return -ENOMEM;
	fd = open_long(up->dirfd, path);
	free(path);
	pthread_mutex_lock(&tree->lock);
	unuse(up);
	pthread_mutex_unlock(&tree->lock);
	return fd;
}

int hostnode_dir(struct hostnode *n, int *fd)
{
	struct host_tree *tree = n->tree;
	int opened;

	pthread_mutex_lock(&tree->lock);
	if (n->dirfd >= 0) {
		use(n);
		*fd = n->dirfd;
		pthread_mutex_unlock(&tree->lock);
		return 0;
	}
	pthread_mutex_unlock(&tree->lock);
	opened = open_dir(n);
	if (out_of_fds(opened)) {
		drop_idle(tree);
		opened = open_dir(n);
	}
	if (opened < 0)
		return out_of_fds(opened) ? -ENFILE : opened;
	pthread_mutex_lock(&tree->lock);
	if (n->dirfd >= 0) {
		host_close(opened);
		use(n);
	} else {
		n->dirfd = opened;
		n->users = 1;
	}
	*fd = n->dirfd;
	pthread_mutex_unlock(&tree->lock);
	return 0;
}

void hostnode_dir_done(struct hostnode *n)
{
	pthread_mutex_lock(&n->tree->lock);
	unuse(n);
	pthread_mutex_unlock(&n->tree->lock);
}

int hostnode_at(struct hostnode *n, struct host_at *at)
{
	int err;

	pthread_mutex_lock(&n->tree->lock);
	at->dir = n->parent ? n->parent : n;
	snprintf(at->name, sizeof(at->name), "%s", n->parent ? n->name : ".");
	hostnode_get(at->dir);
	pthread_mutex_unlock(&n->tree->lock);
	err = hostnode_dir(at->dir, &at->fd);
	if (err)
		hostnode_put(at->dir);
	return err;
}

void host_at_done(struct host_at *at)
{
	hostnode_dir_done(at->dir);
	hostnode_put(at->dir);
}

int hostnode_open(struct hostnode *n, int flags)
{
	struct host_at at;
	int fd = hostnode_at(n, &at);

	if (fd)
		return fd;
	fd = host_open_beneath(at.fd, at.name, flags, 0);
	if (out_of_fds(fd)) {
		drop_idle(n->tree);
		fd = host_open_beneath(at.fd, at.name, flags, 0);
	}
	host_at_done(&at);
	return out_of_fds(fd) ? -ENFILE : fd;
}

void hostnode_move(struct hostnode *n, struct hostnode *parent, const char *name)
{
	char *copy = strdup(name);
	struct hostnode *old = NULL;

	/* Without memory the node keeps a stale place: opening it fails, nothing else. */
	if (!copy)
		return;
	hostnode_get(parent);
	pthread_mutex_lock(&n->tree->lock);
	old = n->parent;
	n->parent = parent;
	free(n->name);
	n->name = copy;
	pthread_mutex_unlock(&n->tree->lock);
	hostnode_put(old);
}

/* ---- the index ---- */

u64 host_ino(const struct host_tree *tree, u64 dev, u64 ino)
{
	return dev == tree->dev ? ino : ino ^ ((dev * 0x9e3779b97f4a7c15ull) & 0xffff0000000000ull);
}

static u32 slot(u64 dev, u64 ino)
{
	return ((ino + dev * 31) * 0x9e3779b97f4a7c15ull >> 32) % HOST_INDEX_SIZE;
}

/* index_lock held. */
static struct inode *find(struct host_tree *tree, u64 dev, u64 ino, u32 mode)
{
	struct hostref *r;

	LIST_FOREACH(r, &tree->index[slot(dev, ino)], link)
		if (r->dev == dev && r->ino == ino && !((r->in->mode ^ mode) & S_IFMT) && inode_get_live(r->in))
			return r->in;
	return NULL;
}

struct inode *host_index_find(struct host_tree *tree, const struct host_stat *st)
{
	struct inode *found;

	pthread_mutex_lock(&tree->index_lock);
	found = find(tree, st->dev, st->st.st_ino, st->st.st_mode);
	pthread_mutex_unlock(&tree->index_lock);
	return found;
}

struct inode *host_index_add(struct host_tree *tree, struct hostref *ref)
{
	struct inode *found;

	pthread_mutex_lock(&tree->index_lock);
	found = find(tree, ref->dev, ref->ino, ref->in->mode);
	if (!found) {
		LIST_INSERT_HEAD(&tree->index[slot(ref->dev, ref->ino)], ref, link);
		ref->indexed = true;
	}
	pthread_mutex_unlock(&tree->index_lock);
	return found;
}

void host_index_remove(struct host_tree *tree, struct hostref *ref)
{
	pthread_mutex_lock(&tree->index_lock);
	if (ref->indexed)
		LIST_REMOVE(ref, link);
	ref->indexed = false;
	pthread_mutex_unlock(&tree->index_lock);
}

/* ---- listing ---- */

static bool dot_name(const char *s)
{
	return s[0] == '.' && (!s[1] || (s[1] == '.' && !s[2]));
}

static int list_fd(int fd, host_name_fn fn, void *arg)
{
	u8 *buf = malloc(LIST_BYTES);
	s64 n;

	if (!buf)
		return -ENOMEM;
	while ((n = host_getdents(fd, buf, LIST_BYTES)) > 0) {
		for (s64 at = 0; at < n;) {
			struct dirent64 *d = (struct dirent64 *)(buf + at);

			at += d->d_reclen;
			if (dot_name(d->d_name))
				continue;
			if (!fn(arg, d->d_name, strlen(d->d_name), d->d_ino, d->d_off, d->d_type)) {
				free(buf);
				return 0;
			}
		}
	}
	free(buf);
	return n;
}

int hostnode_list(struct hostnode *n, s64 pos, host_name_fn fn, void *arg)
{
	int fd = hostnode_open(n, O_RDONLY | O_DIRECTORY), err = 0;

	if (fd < 0)
		return fd;
	if (pos)
		err = MIN(host_seek(fd, pos), (s64)0);
	if (!err)
		err = list_fd(fd, fn, arg);
	host_close(fd);
	return err;
}
