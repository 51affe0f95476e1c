/* A descriptor table's insides, for fd_table.c and fd_get.c. */
#ifndef TG_FS_FD_TABLE_H
#define TG_FS_FD_TABLE_H

#include "fs/fs.h"

struct fd_array {
	struct fd_array *older;		/* outgrown; freed with the table */
	u32 size;
	u64 *open, *cloexec;		/* bitmaps; locked by the table's lock */
	_Atomic(struct file *) slot[];
};

struct fd_table {
	pthread_mutex_t lock;
	atomic_int refs;
	_Atomic(struct fd_array *) array;
	u32 next;			/* no free descriptor below this; locked */
};

#endif
