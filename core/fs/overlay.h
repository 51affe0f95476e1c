/* The overlay's inodes, shared by overlay.c (names, attributes) and overlay_file.c (contents). */
#ifndef TG_FS_OVERLAY_H
#define TG_FS_OVERLAY_H

#include "fs/hosttree.h"
#include "fs/memfs.h"

struct ovl_node {
	struct memnode mem;		/* first */
	struct hostref host;		/* host.node is NULL for what the guest made */
	atomic_bool dirty;		/* differs from the host; set under in->lock */
	/* dirty and still named: holds a reference on itself, so that it is not forgotten. in->lock */
	bool pinned;
	u64 host_blocks;
	_Atomic u64 host_size;		/* bytes of the host file that still count; of a symlink, its length */

	/* regular files with a host file */
	/* the page cache is the truth, holes in it are filled from the host. in->lock to set */
	atomic_bool copied;
	atomic_int fd;			/* -1 while no file is open; stays the same while one is */
	int opens;			/* in->lock */

	/* directories with a host directory */
	bool loaded;			/* the host's names are in the table; the dentry's lock */
	struct timespec loaded_mtime;
};

static inline struct ovl_node *ovl_node(struct inode *in) { return in->data; }
static inline struct host_tree *ovl_tree(const struct super *s) { return s->data; }

void ovl_dirty(struct inode *in);			/* keep it from now on; takes in->lock */
void ovl_refresh(struct inode *in, const struct host_stat *st);	/* a clean one: as the host has it now; in->lock held */

int ovl_open(struct inode *in, struct task *t, struct file *f);
void ovl_copy_up(struct inode *in);			/* in->lock held */
extern const struct file_ops ovl_file_ops;
extern const struct page_cache_ops ovl_cache_ops;

int overlay_create(const char *rootfs, struct super **out, char *why, size_t len);

#endif
