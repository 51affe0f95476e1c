/* File handles (name_to_handle_at, open_by_handle_at). Any thread. */
#ifndef TG_FS_HANDLES_H
#define TG_FS_HANDLES_H

#include "fs/fs.h"

struct handle_data {			/* what a guest sees as bytes */
	u64 slot, secret;
};

int handle_make(struct dentry *d, struct handle_data *out);
/* The file, with a reference, if it is on `s` and has not gone: -ESTALE. */
int handle_find(const struct handle_data *h, struct super *s, struct dentry **out);

#endif
