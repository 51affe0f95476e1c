/*
 * The mappings of one address space in a guest's process: queued as records, merged, run by that process in one batch.
 *
 * A change may wait until a context next enters the guest. One that takes access away or shows another page must
 * be complete when the call returns, for every context. A backend that knows for certain when no context is in the
 * guest may count on that (`running`): entering runs the queue first. So `running` and `queued` form a handshake: an
 * entering context raises `running`, then looks at `queued`; a mapper queues, then looks at `running` (both sequentially
 * consistent). A backend that only has the guest's word for it sets `eager`, and such changes always run at once.
 *
 * All of this is a cache of core's own page table. If the host refuses a call (its limit of mappings per process), all
 * guest mappings are dropped and the guest faults back in what it needs; if even that fails the process is killed.
 */
#ifndef TG_STUB_QUEUE_H
#define TG_STUB_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backends/stub/span.h"
#include "backends/stub/stub_abi.h"

/* How records are run in the guest's process. Called with the queue's lock held. */
struct map_runner {
	/* Run the first `n` records. 0, or -errno of the first that failed, its index in *index; -ESRCH: the process is dead. */
	int (*run)(void *self, u32 n, u64 *index);
	void (*kill)(void *self);
	bool (*dead)(void *self);
};

struct map_queue {
	pthread_mutex_t lock;		/* guards all but the atomics; the records and the runner too */
	const struct map_runner *runner;
	void *self;			/* the runner's */
	struct stub_record *records;	/* STUB_RECORDS of them, which the guest can't write */
	int memory_fd;			/* the memory file's descriptor in the guest's process */
	bool eager;
	struct span_tree spans;		/* as after the queue has run */
	_Atomic u32 queued;		/* records waiting */
	_Atomic u32 running;		/* contexts in guest code; not counted if eager */
};

struct map_counters {
	_Atomic u64 maps, unmaps, protects, batches, resets;
};
extern struct map_counters map_counters;

/* The fields runner, self, records, memory_fd and eager are the caller's to set. */
void map_queue_init(struct map_queue *q);
int map_queue_clear(struct map_queue *q);		/* unmaps everything, at once; lock not held */
void map_queue_exit(struct map_queue *q);		/* frees the list of spans; the process is gone or cleared */

/* As the contract's as_map, as_unmap and as_protect. `offset` is in the memory file. */
int queue_map(struct map_queue *q, gva_t addr, u64 len, enum access prot, u64 offset, bool populate);
int queue_unmap(struct map_queue *q, gva_t addr, u64 len);
int queue_protect(struct map_queue *q, gva_t addr, u64 len, enum access prot);

int queue_flush(struct map_queue *q);			/* lock held */

/* Around guest code. enter: 0, or -ESRCH if the process is dead (leave is called all the same). */
int queue_enter(struct map_queue *q);
void queue_leave(struct map_queue *q);

#endif
