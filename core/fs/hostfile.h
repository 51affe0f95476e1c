/* Host descriptors as guest files; see special.h for making them. */
#ifndef TG_FS_HOSTFILE_H
#define TG_FS_HOSTFILE_H

#include "fs/fs.h"

/* What the host calls it ("/dev/pts/0", "pipe:[123]"): length, or -EINVAL if the inode is no host file. */
s64 hostfile_name(struct inode *in, char *buf, size_t len);

/* The terminal that the sandbox was started on, if it is a /dev/pts/N outside: N, or -1; and its inode, with a reference. */
int hostfile_pts_index(void);
struct inode *hostfile_pts_inode(void);

#endif
