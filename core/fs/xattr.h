/* Extended attributes: kept in memory with the inode, on file systems whose super says `xattrs`. */
#ifndef TG_FS_XATTR_H
#define TG_FS_XATTR_H

#include "fs/fs.h"

#define XATTR_NAME_LEN	255
#define XATTR_VALUE_LEN	65536

/*
 * As the calls of setxattr(2) and so on, `c` being the caller. `name` is at most XATTR_NAME_LEN long and not empty; values
 * are at most XATTR_VALUE_LEN. get and list return the length; with `size` 0 they copy nothing. Any thread; they take in->lock.
 */
int xattr_set(const struct cred *c, struct inode *in, const char *name, const void *value, size_t len, int flags);
s64 xattr_get(const struct cred *c, struct inode *in, const char *name, void *buf, size_t size);
s64 xattr_list(const struct cred *c, struct inode *in, char *buf, size_t size);
int xattr_remove(const struct cred *c, struct inode *in, const char *name);

void inode_xattrs_free(struct inode *in);	/* the inode is being freed */

#endif
