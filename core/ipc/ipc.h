/*
 * System V IPC: what queues, semaphore sets and segments have in common: a number, a key, an owner.
 *
 * Threat: keys, numbers and sizes are the guest's. A number is an index and a generation, so that a stale one finds
 * nothing; every object is reached through its table with a reference and may be removed meanwhile (`removed`, -EIDRM);
 * what a guest can make the sentry allocate is bounded by the table's size and by ipc_charge().
 *
 * Lock order: table->lock, then one object's lock; neither is held over uaccess, mm or fs.
 */
#ifndef TG_IPC_IPC_H
#define TG_IPC_IPC_H

#include <bsd/sys/tree.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fs/sysctl.h"
#include "lib/types.h"
#include "task/task.h"

#define IPC_SLOTS	32768		/* an id is generation * IPC_SLOTS + slot */

struct ipc_object {
	RB_ENTRY(ipc_object) by_key;	/* if key != IPC_PRIVATE and not removed; table->lock, as the next */
	int id, key;
	atomic_int refs;		/* the table's and those at work on it */
	pthread_mutex_t lock;		/* all below, and what the kinds add */
	u32 uid, gid, cuid, cgid, mode;
	bool removed;
};
RB_HEAD(ipc_keys, ipc_object);
/* cppcheck-suppress syntaxError */
RB_PROTOTYPE(ipc_keys, ipc_object, by_key, )

struct ipc_table {
	pthread_mutex_t lock;
	struct ipc_keys keys;
	struct ipc_object *slot[IPC_SLOTS];
	int used;			/* objects */
	struct sysctl max;		/* how many there may be; atomic */
	int last;			/* slot given out last */
	u32 generation;
	void (*destroy)(struct ipc_object *o);	/* the last reference is gone: frees it */
};
#define IPC_TABLE(n, d)	{ .lock = PTHREAD_MUTEX_INITIALIZER, .keys = RB_INITIALIZER(), \
			  .max = { n, 0, n }, .last = -1, .destroy = d }

struct ipc_get {			/* a shmget, semget or msgget under way */
	struct task *t;
	int key, flags;
	u64 size;
	struct ipc_object *(*make)(const struct ipc_get *g, int *err);	/* a blank one of the kind */
	int (*check)(struct ipc_object *o, const struct ipc_get *g);	/* an existing one: large enough? May be NULL */
};

void ipc_object_init(struct ipc_object *o, const struct ipc_get *g);	/* owner and mode from the task; one reference */
long ipc_get(struct ipc_table *tab, const struct ipc_get *g);		/* the id */

/* By number, with a reference. -EINVAL: none such. */
int ipc_find(struct ipc_table *tab, int id, struct ipc_object **out);
int ipc_find_slot(struct ipc_table *tab, int slot, struct ipc_object **out);	/* SHM_STAT and kin */
void ipc_put(struct ipc_table *tab, struct ipc_object *o);
/* Out of the table, and its reference given back; the caller has marked it removed, holds no object's lock and has one of its own. */
void ipc_unlink(struct ipc_table *tab, struct ipc_object *o);
/* Its key is free for another, it can still be found by number. */
void ipc_forget_key(struct ipc_table *tab, struct ipc_object *o);
int ipc_highest(struct ipc_table *tab);			/* highest slot in use; 0 if there is none */
int ipc_used(struct ipc_table *tab);
/* Each object of the table in turn, with a reference that the next call gives back; start with NULL. */
struct ipc_object *ipc_next(struct ipc_table *tab, struct ipc_object *o);

enum { IPC_READ = 0444, IPC_WRITE = 0222, IPC_EXEC = 0111 };
/* o->lock held. -EACCES; ipc_owns: -EPERM. */
int ipc_permission(const struct ipc_object *o, const struct task *t, u32 want);
int ipc_owns(const struct ipc_object *o, const struct task *t);

struct ipc64_perm {			/* as the guest sees it */
	int key;
	u32 uid, gid, cuid, cgid, mode;
	u16 seq, pad;
	u64 unused[2];
};
_Static_assert(sizeof(struct ipc64_perm) == 48, "struct ipc64_perm of the x86-64 ABI");
void ipc_perm_show(const struct ipc_object *o, struct ipc64_perm *out);
int ipc_perm_set(struct ipc_object *o, const struct ipc64_perm *in);	/* IPC_SET: owner and mode */

/* Sentry memory that messages and semaphores take, over all guests. -ENOMEM. */
int ipc_charge(u64 bytes);
void ipc_uncharge(u64 bytes);

/* ---- shm.c, sem.c, msg.c: C values in, see the man pages for errors ---- */
#define SHM_MNI		4096
#define SHM_MAX		(~0ull - (1ull << 24))
#define SEM_MNI		32000
#define SEM_MSL		32000
#define SEM_OPM		500
#define SEM_VMX		32767
#define SEM_MNS		(SEM_MNI * SEM_MSL)
#define MSG_MNI		32000
#define MSG_MAX		8192
#define MSG_MNB		16384

extern struct ipc_table shm_table, sem_table, msg_table;

long shm_get(struct task *t, int key, u64 size, int flags);
long shm_attach(struct task *t, int id, gva_t addr, int flags);
long shm_detach(struct task *t, gva_t addr);
long shm_ctl(struct task *t, int id, int cmd, gva_t buf);

struct sembuf_guest {
	u16 num;
	short op, flags;
};
long sem_get(struct task *t, int key, int nsems, int flags);
long sem_op(struct task *t, int id, const struct sembuf_guest *ops, u32 nops, u64 deadline);
long sem_ctl(struct task *t, int id, int num, int cmd, u64 arg);
int sem_clone(struct task *child, struct task *parent, bool share);	/* the list of SEM_UNDO */
void sem_exit(struct task *t);			/* undoes; also for unshare(CLONE_SYSVSEM) */

long msg_get(struct task *t, int key, int flags);
long msg_send(struct task *t, int id, gva_t msg, u64 size, int flags);
long msg_receive(struct task *t, int id, gva_t msg, u64 size, s64 type, int flags);
long msg_ctl(struct task *t, int id, int cmd, gva_t buf);

/* ---- for /proc/sysvipc: an object of the table, with a reference, no lock held ---- */
struct shm_facts {
	struct ipc64_perm perm;
	u64 size, nattch, rss;
	s64 atime, dtime, ctime;
	int cpid, lpid;
};
struct sem_facts {
	struct ipc64_perm perm;
	int nsems;
	s64 otime, ctime;
};
struct msg_facts {
	struct ipc64_perm perm;
	u64 bytes, count;
	s64 stime, rtime, ctime;
	int lspid, lrpid;
};
void shm_facts(struct ipc_object *o, struct shm_facts *f);
void sem_facts(struct ipc_object *o, struct sem_facts *f);
void msg_facts(struct ipc_object *o, struct msg_facts *f);

#endif
