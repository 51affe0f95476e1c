/*
 * Stub processes: one per guest address space, started from a tiny image of their own, shared by the backends that
 * run guest code in processes.
 *
 * A stub's leader thread runs batches of host system calls for the sentry. Workers are its other threads; a backend
 * seizes them and runs guest code on them.
 *
 * Every stub is a child of the sentry's main thread, made by a launcher process (launcher.h): a parent's death signal is
 * bound to a thread, and a task's thread ends with its task.
 */
#ifndef TG_STUB_STUB_H
#define TG_STUB_STUB_H

#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "lib/types.h"
#include "platform.h"
#include "backends/stub/stub_abi.h"

#define STUB_IDLE_MAX	4		/* parked workers that a stub keeps for its next contexts */

struct stub {
	SLIST_ENTRY(stub) link;		/* in the pool's lists; locked by the pool */
	pid_t pid;			/* immutable */
	int channel_fd, report_fd;
	struct stub_channel *channel;	/* the sentry's writable view */
	_Atomic bool dead;		/* nothing can be run in it any more */

	/* All below: whoever owns the stub, and of several threads the one that holds the owner's lock. */
	pid_t idle[STUB_IDLE_MAX];
	int nidle, nleaving;		/* parked; about to be */
	int nfresh;			/* the first so many of `idle` have never run guest code */
	int leader_cpu;			/* where the leader was pinned to, -1: nowhere */
};

/* ---- pool.c ---- */

extern long stub_pool_size;		/* knob: stubs kept ready */

/* Single-threaded start and end. `memory` is the file that stubs get as STUB_FD_MEMORY. */
int stub_pool_init(int memory_fd);
void stub_pool_exit(void);		/* kills and reaps all of them; none may be in use */

int stub_get(struct stub **out);	/* ready and empty; any thread; waits for a launch if the pool is dry */
void stub_put(struct stub *s);		/* any thread: no worker is traced and nothing is mapped below GUEST_END, or it is dead */
void stub_pool_counters(u64 *created, u64 *reused);

/* ---- launch.c: the pool's thread only, but for init and exit ---- */

int stub_launch_init(int memory_fd);
void stub_launch_exit(void);
int stub_launch(struct stub **out);
void stub_destroy(struct stub *s);	/* kills it, waits until it is gone, frees it */

/* ---- run.c ---- */

/* Pin the leader to `cpu`, so that it is handed the CPU and not woken across; -1: leave it. */
void stub_leader_cpu(struct stub *s, int cpu);

/*
 * Run the channel's first `n` records and wait. 0 with the last STUB_RESULT in *value (which may be NULL), or the
 * errno of the first that failed with its index in *value, or -ESRCH if the stub is dead.
 */
int stub_run(struct stub *s, u32 n, u64 *value);

/* A worker that nobody traces: a parked one or a new one. `*fresh`: its extended state is the initial one. */
int stub_worker_get(struct stub *s, pid_t *tid, bool *fresh);
/*
 * Giving one back: ask where to send it (STUB_PARK or STUB_EXIT), send it there, let it go, and only then say that it
 * is idle (`tid`) or lost (0), since the next owner may seize it at once.
 */
u64 stub_worker_leave(struct stub *s);
void stub_worker_left(struct stub *s, u64 rip, pid_t tid);

void stub_kill(struct stub *s);		/* marks it dead and sends SIGKILL; any thread */

extern _Atomic u64 stub_host_calls;	/* for platform_counters */

#endif
