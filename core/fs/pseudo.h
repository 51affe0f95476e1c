/*
 * The toolkit of file systems whose files are made when they are read: proc, sys, devpts.
 *
 * A directory is a table of entries; an entry says how its text is made, or where its link leads. Nothing is kept
 * between two looks: every lookup makes an inode from (entry, pid, tid, number), with an inode number that follows from them.
 */
#ifndef TG_FS_PSEUDO_H
#define TG_FS_PSEUDO_H

#include "fs/fs.h"

/* ---- text that grows ---- */

struct seq {
	char *buf;
	size_t len, cap;
	bool failed;			/* out of memory: the reader gets -ENOMEM */
};

__attribute__((format(printf, 2, 3))) void seq_printf(struct seq *s, const char *fmt, ...);
void seq_write(struct seq *s, const void *data, size_t len);
void seq_puts(struct seq *s, const char *text);
void seq_path(struct seq *s, struct task *viewer, const struct path *p, const char *escape);	/* `escape`d bytes as \ooo */
void seq_free(struct seq *s);

/* ---- entries ---- */

struct pseudo_entry;

struct pseudo {				/* an inode's data */
	const struct pseudo_entry *e;
	int pid, tid;			/* proc: whose; 0: none */
	int num;			/* descriptor, CPU, terminal */
};

struct pseudo_entry {
	const char *name;		/* NULL ends a table */
	u32 mode;			/* with the type */
	long arg;			/* for functions that serve several entries */
	const char *text;		/* a regular file or link that never changes */

	int (*show)(struct seq *s, const struct pseudo *p, struct task *viewer);	/* regular files, and what readlink says */
	s64 (*store)(const struct pseudo *p, struct task *t, const char *data, size_t len);	/* a write, at most a page */
	int (*follow)(const struct pseudo *p, struct task *t, struct path *out);	/* magic links */
	int (*open)(const struct pseudo *p, struct task *t, struct file *f);	/* other kinds of file */
	struct inode *(*inode)(const struct pseudo *p);	/* a name for an inode from elsewhere: with a reference, or NULL */

	const struct pseudo_entry *children;	/* directories: the fixed names */
	/* The other names. lookup: 0 with *out filled, or -ENOENT. next: the first number >= from, and its name; -1: end. */
	int (*lookup)(const struct pseudo *p, const char *name, struct pseudo *out);
	int (*next)(const struct pseudo *p, int from, char name[32], struct pseudo *out);
	bool (*exists)(const struct pseudo *p);	/* is it still there, for every use of the directory */
};

const struct pseudo *pseudo_dir(const struct inode *in);	/* what a directory of such a file system stands for; NULL for others */

/* A file system on the tree that `root` describes. `owner` may be NULL: all is root's. */
typedef void (*pseudo_owner_fn)(const struct pseudo *p, u32 *uid, u32 *gid);
int pseudo_create(const char *type, u32 magic, const struct pseudo_entry *root, pseudo_owner_fn owner, struct super **out);

#endif
