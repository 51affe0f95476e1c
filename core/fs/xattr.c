/*
 * Extended attributes in memory. A file has few of them, so each inode has a plain list.
 *
 * Threat: names and values are sentry memory that a guest makes at will, so both are charged like names of files, and
 * what listxattr can show is bounded as Linux bounds it.
 */
#include "fs/xattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/memfs.h"
#include "fs/namei.h"
#include "task/task.h"

struct xattr {
	SLIST_ENTRY(xattr) link;
	size_t len, charged;
	char *name;			/* behind the value */
	u8 value[];
};

struct xattrs {				/* inode->xattrs; locked by inode->lock */
	SLIST_HEAD(xattr_head, xattr) list;
	size_t names_len;		/* what listxattr shows to root */
};

/* ---- who may ---- */

static bool prefixed(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

static int user_permission(const struct cred *c, struct inode *in, bool write)
{
	if (!S_ISREG(in->mode) && !S_ISDIR(in->mode))
		return write ? -EPERM : -ENODATA;
	if (write && S_ISDIR(in->mode) && (in->mode & S_ISVTX) && !cred_owns(c, in))
		return -EPERM;
	return inode_permission(c, in, write ? W_OK : R_OK);
}

static int permission(const struct cred *c, struct inode *in, const char *name, bool write)
{
	const char *dot = strchr(name, '.');

	if (!in->super->xattrs || !dot)
		return -EOPNOTSUPP;
	if (!dot[1])
		return -EINVAL;
	if (prefixed(name, XATTR_USER_PREFIX))
		return user_permission(c, in, write);
	if (prefixed(name, XATTR_TRUSTED_PREFIX))
		return cred_capable(c, CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
	if (!strcmp(name, "security.capability"))
		return write && !cred_capable(c, CAP_SETFCAP) ? -EPERM : 0;
	if (prefixed(name, XATTR_SECURITY_PREFIX))
		return write && !cred_capable(c, CAP_SYS_ADMIN) ? -EPERM : 0;
	return -EOPNOTSUPP;
}

/* ---- the list; in->lock held ---- */

static struct xattr *find(struct inode *in, const char *name)
{
	struct xattrs *xs = in->xattrs;
	struct xattr *x;

	if (xs)
		SLIST_FOREACH(x, &xs->list, link)
			if (!strcmp(x->name, name))
				return x;
	return NULL;
}

static void xattr_free(struct xattr *x)
{
	fsmem_uncharge(x->charged);
	free(x);
}

static void drop(struct xattrs *xs, struct xattr *x)
{
	SLIST_REMOVE(&xs->list, x, xattr, link);
	xs->names_len -= strlen(x->name) + 1;
	xattr_free(x);
}

static struct xattr *xattr_new(const char *name, const void *value, size_t len)
{
	size_t name_len = strlen(name) + 1, size = sizeof(struct xattr) + len + name_len;
	struct xattr *x;

	if (fsmem_charge(size))
		return NULL;
	x = malloc(size);
	if (!x) {
		fsmem_uncharge(size);
		return NULL;
	}
	x->len = len;
	x->charged = size;
	x->name = (char *)x->value + len;
	if (len)
		memcpy(x->value, value, len);
	memcpy(x->name, name, name_len);
	return x;
}

static int set_locked(struct inode *in, struct xattr *new, int flags)
{
	struct xattr *old = find(in, new->name);

	if (old && (flags & XATTR_CREATE))
		return -EEXIST;
	if (!old && (flags & XATTR_REPLACE))
		return -ENODATA;
	if (!in->xattrs)
		in->xattrs = calloc(1, sizeof(*in->xattrs));
	if (!in->xattrs)
		return -ENOSPC;
	if (!old && in->xattrs->names_len + strlen(new->name) + 1 > XATTR_LIST_MAX)
		return -ENOSPC;
	if (old)
		drop(in->xattrs, old);
	SLIST_INSERT_HEAD(&in->xattrs->list, new, link);
	in->xattrs->names_len += strlen(new->name) + 1;
	return 0;
}

/* ---- the calls ---- */

/* ctime moves, and the overlay keeps an inode of the host's that differs from it now. */
static void changed(struct inode *in)
{
	vfs_setattr(in, &(struct attr){ .valid = ATTR_CTIME });
}

int xattr_set(const struct cred *c, struct inode *in, const char *name, const void *value, size_t len, int flags)
{
	struct xattr *new;
	int err = permission(c, in, name, true);

	if (err)
		return err;
	new = xattr_new(name, value, len);
	if (!new)
		return -ENOSPC;
	pthread_mutex_lock(&in->lock);
	err = set_locked(in, new, flags);
	pthread_mutex_unlock(&in->lock);
	if (err)
		xattr_free(new);
	else
		changed(in);
	return err;
}

s64 xattr_get(const struct cred *c, struct inode *in, const char *name, void *buf, size_t size)
{
	s64 ret = permission(c, in, name, false);
	struct xattr *x;

	if (ret)
		return ret;
	pthread_mutex_lock(&in->lock);
	x = find(in, name);
	if (!x)
		ret = -ENODATA;
	else if (size && size < x->len)
		ret = -ERANGE;
	else
		ret = x->len;
	if (ret > 0 && size)
		memcpy(buf, x->value, x->len);
	pthread_mutex_unlock(&in->lock);
	return ret;
}

s64 xattr_list(const struct cred *c, struct inode *in, char *buf, size_t size)
{
	bool trusted = cred_capable(c, CAP_SYS_ADMIN);
	struct xattr *x;
	size_t len = 0;

	pthread_mutex_lock(&in->lock);
	for (x = in->xattrs ? SLIST_FIRST(&in->xattrs->list) : NULL; x; x = SLIST_NEXT(x, link)) {
		size_t n = strlen(x->name) + 1;

		if (!trusted && prefixed(x->name, XATTR_TRUSTED_PREFIX))
			continue;
		if (size && len + n <= size)
			memcpy(buf + len, x->name, n);
		len += n;
	}
	pthread_mutex_unlock(&in->lock);
	return size && len > size ? -ERANGE : (s64)len;
}

int xattr_remove(const struct cred *c, struct inode *in, const char *name)
{
	int err = permission(c, in, name, true);
	struct xattr *x;

	if (err)
		return err;
	pthread_mutex_lock(&in->lock);
	x = find(in, name);
	if (x)
		drop(in->xattrs, x);
	pthread_mutex_unlock(&in->lock);
	if (!x)
		return -ENODATA;
	changed(in);
	return 0;
}

void inode_xattrs_free(struct inode *in)
{
	struct xattr *x;

	if (!in->xattrs)
		return;
	while ((x = SLIST_FIRST(&in->xattrs->list))) {
		SLIST_REMOVE_HEAD(&in->xattrs->list, link);
		xattr_free(x);
	}
	free(in->xattrs);
}
