/*
 * Inside the systrap backend: stub processes, channels, contexts.
 *
 * Lock map: the queue's lock (as->maps.lock) guards the helper (records, rendezvous), the channel list and the fs_base
 * table. A channel's private half (struct channel_slot) belongs to the context bound to it, or to that lock while free.
 * Lock order: as->maps.lock, then the monitor's; a context's bind_lock is held over no other; the pool's lock is held over neither.
 */
#ifndef TG_SYSTRAP_H
#define TG_SYSTRAP_H

#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>

/* linux/seccomp.h has it since 6.6. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	SECCOMP_IOW(4, __u64)
#endif

#include "lib/stamp.h"
#include "platform.h"
#include "backends/stub/place.h"
#include "backends/stub/queue.h"
#include "backends/systrap/abi.h"

/* A process whose death the monitor reports: a slot's thread, or an address space's helper. */
struct watch {
	int pidfd;			/* -1: not watched; monitor's lock */
	u64 id;				/* what epoll knows it by: descriptors' numbers come back too soon */
	struct channel_slot *slot;	/* one of these two */
	struct address_space *as;
	TAILQ_ENTRY(watch) link;	/* monitor's lock */
};

/* What the sentry alone knows about a stub thread; nothing here comes from guest-writable memory unchecked. */
struct channel_slot {
	int index;			/* immutable */
	pid_t tid;			/* 0: no thread yet */
	bool shown;			/* the channel is mapped in the stub */
	bool fresh;			/* its thread has not reported yet; the owner's */
	atomic_bool dead;		/* its thread is gone */
	bool bound;			/* a context uses it; lock */
	u64 fs_base;			/* that context's, as last published; lock */
	atomic_bool fs_known;		/* nothing has changed about who has that fs_base since */
	u32 table_index;		/* its entry of the fs_base table + 1; 0: none; lock */
	struct watch watch;
	u32 seq;			/* last event taken */
	bool framed;			/* it waits in a signal frame (else in a patched call) */
	u64 parked;			/* id of the notification in which it waits for its first guest; 0: it does not */
	u32 frame, info;		/* offsets, checked */
	struct channel *ch;		/* immutable, as is `as` */
	struct address_space *as;
	TAILQ_ENTRY(channel_slot) link;	/* as->free_slots */
};

struct address_space {
	pid_t pid;
	int notify_fd;
	u64 notify_id;			/* the helper's pending rendezvous */
	atomic_int users;		/* core, until as_destroy(), and the contexts bound to it: then it is recycled */
	atomic_bool dead;		/* the process is gone or can't be trusted to be whole */
	bool ended;			/* and its threads are known to have gone too; lock */
	bool virgin;			/* no guest thread has run in it yet */
	struct stub_control *control;	/* our writable view of the control pages */
	u8 *channels;			/* our view of the channels */
	struct map_queue maps;		/* its lock guards the helper, the slots and the fs_base table too */
	int nslots;
	struct channel_slot *slots[CHANNEL_MAX];
	TAILQ_HEAD(channel_slot_free_slots_head, channel_slot) free_slots;
	struct watch watch;
	TAILQ_ENTRY(address_space) link;	/* the pool's lists and lock */
};

struct context {
	struct address_space *as;	/* where it is bound; NULL: nowhere yet */
	struct channel_slot *slot;
	atomic_int running;		/* guest code may be running */
	atomic_int interrupted;		/* interrupt() was called and not reported yet */
	pthread_mutex_t bind_lock;	/* `slot` changes only under it: interrupt() looks at it from other threads */
	struct guest_regs last;		/* as the last event showed them */
	bool last_valid;		/* `last` is what the waiting thread would go on with, but for rax */
	u8 *fp;				/* xstate_size() bytes: the image of a context that is bound nowhere, or is moving */
	bool fp_pending;		/* `fp` is to be loaded at the next resume */
	/* hand-over, see handoff.c */
	u64 spin_ticks;
	struct place *place;
	struct pair *pair;		/* of CPUs, on which it spins; NULL: it does not */
	bool resting;			/* and its task sleeps in the sentry; pair's lock, written by the owner */
	bool sleeps_long;		/* the last such sleep outlasted the spin budget */
	u64 idle_since;			/* ticks; 0: the task has not slept since its last answer */
	u32 short_waits;		/* in a row */
	u32 short_wanted;		/* before the next try to spin */
};

/* Knobs. */
extern long systrap_patch, systrap_handoff, systrap_spin_us, systrap_pin, systrap_balance, systrap_join, systrap_pool, systrap_park;
enum { HANDOFF_AUTO, HANDOFF_SPIN, HANDOFF_FUTEX };

extern const struct backing *systrap_memory;
extern int systrap_ncpus;
extern u64 systrap_ticks_per_us;
extern struct platform_counters systrap_count;		/* relaxed adds */
#define COUNT(field)	__atomic_fetch_add(&systrap_count.field, 1, __ATOMIC_RELAXED)

/* process.c */
int process_pool_start(void);
void process_pool_stop(void);
int systrap_as_create(struct address_space **out);
void systrap_as_destroy(struct address_space *as);
void process_put(struct address_space *as);

/* helper.c */
extern const struct map_runner helper_runner;
void helper_init(void);
int helper_meet(struct address_space *as, u64 *done, u64 *error, u64 *result);
int helper_run(struct address_space *as, u32 n, u64 *done, u64 *result);	/* lock held; runs n records; the first error */
struct stub_record *helper_records(struct address_space *as);

int helper_notified(const struct address_space *as, int timeout_ms, struct seccomp_notif *n);
int helper_answer(const struct address_space *as, u64 id, s64 value);

/* park.c */
void park_learn(struct address_space *as, struct channel_slot *slot);
bool park_ask(struct address_space *as, struct channel_slot *slot);
bool park_settle(struct address_space *as, struct channel_slot *slot);

/* monitor.c */
int monitor_start(void);
void monitor_stop(void);
int monitor_add(struct watch *w, pid_t pid);
void monitor_remove(struct watch *w);

/* thread.c */
void threads_kill(struct address_space *as);
void threads_recycle(struct address_space *as);		/* parks the first, ends the others, forgets the guest */
void threads_end(struct address_space *as);		/* lock held; after the helper's death, before anybody relies on it */
int threads_prepare(struct address_space *as);	/* its first guest thread, so that the next context need not wait for it */
int slot_acquire(struct address_space *as, struct channel_slot **out);
void slot_release(struct address_space *as, struct channel_slot *slot);
void table_publish(struct address_space *as, struct channel_slot *slot, u64 fs_base);

/* handoff.c */
int handoff_answer_and_wait(struct context *ctx, u32 command);	/* 0, or -ESRCH when the stub is gone */
int handoff_wait(struct context *ctx);
void handoff_bind(struct context *ctx);
void handoff_unbind(struct context *ctx);
void handoff_idle(struct context *ctx, bool sleeps);
void handoff_start(void);
void handoff_stop(void);

/* switch.c */
int systrap_switch_to(struct context *ctx, struct address_space *as, struct guest_regs *regs, struct event *ev);
int systrap_context_create(struct context **out);
void systrap_context_destroy(struct context *ctx);
void systrap_interrupt(struct context *ctx);
int systrap_fp_read(struct context *ctx, void *buf);
int systrap_fp_write(struct context *ctx, const void *buf);

/* trampoline.c */
size_t systrap_trampoline(u8 *out, const struct trampoline_request *req);

/* filter.c: writes both programs into the control pages. */
int filter_write(struct stub_control *control);

#endif
