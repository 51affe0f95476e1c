/* Host directories passed through, for --bind and a writable root: inodes shared by hostfs.c and hostfs_file.c. */
#ifndef TG_FS_HOSTFS_H
#define TG_FS_HOSTFS_H

#include "fs/hosttree.h"

struct hfs_node {			/* inode->data */
	struct hostref host;
	struct page_cache cache;	/* regular files: pages of mappings, written through */
	atomic_int fd;			/* -1 while no file is open; the number stays the same while one is */
	bool fd_writable;		/* in->lock; so is the next */
	int opens;
};

static inline struct hfs_node *hfs_node(struct inode *in) { return in->data; }
static inline struct host_tree *hfs_tree(const struct super *s) { return s->data; }

void hfs_refresh(struct inode *in, const struct host_stat *st);	/* in->lock held */
int hfs_open(struct inode *in, struct task *t, struct file *f);
int hfs_set_size(struct inode *in, u64 size);
extern const struct file_ops hfs_file_ops;
extern const struct page_cache_ops hfs_cache_ops;

int hostfs_create(const char *path, bool writable, struct super **out, char *why, size_t len);

#endif
