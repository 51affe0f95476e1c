/*
 * The mappings of one address space in its stub: queued in the channel, merged, run by the leader in one batch.
 *
 * A change may wait until a context next enters the guest. One that takes access away or shows another page must
 * be complete when the call returns, for every context: it is, without a word to the stub, if no context is in the
 * guest, since entering runs the queue first. So `running` and `queued` form a handshake: an entering context raises
 * `running`, then looks at `queued`; a mapper queues, then looks at `running` (both sequentially consistent).
 *
 * All of this is a cache of core's own page table. If the host refuses a call (its limit of mappings per process), all
 * guest mappings are dropped and the guest faults back in what it needs; if even that fails the stub is killed.
 */
#ifndef TG_STUB_MAPS_H
#define TG_STUB_MAPS_H

#include <pthread.h>

#include "backends/stub/span.h"
#include "backends/stub/stub.h"

struct stub_maps {
	pthread_mutex_t lock;		/* guards all but the atomics; the channel and the leader too */
	struct stub *stub;		/* immutable while contexts may use it */
	struct span_tree spans;		/* as after the queue has run */
	_Atomic u32 queued;		/* records in the channel */
	_Atomic u32 running;		/* contexts in guest code */
};

struct stub_map_counters {
	_Atomic u64 maps, unmaps, protects, batches, resets;
};
extern struct stub_map_counters stub_map_counters;

/* Set before any use: the leader is moved to the CPU of whoever asks, to be handed that CPU and not woken on another. */
extern bool stub_follow;

int stub_maps_init(struct stub_maps *m);
void stub_maps_exit(struct stub_maps *m);		/* unmaps everything; the stub can then be put */

/* As the contract's as_map, as_unmap and as_protect. `offset` is in the memory file. */
int stub_map(struct stub_maps *m, gva_t addr, u64 len, enum access prot, u64 offset, bool populate);
int stub_unmap(struct stub_maps *m, gva_t addr, u64 len);
int stub_protect(struct stub_maps *m, gva_t addr, u64 len, enum access prot);

/* Around guest code. enter: 0, or -ESRCH if the stub is dead (leave is called all the same). */
int stub_maps_enter(struct stub_maps *m);
void stub_maps_leave(struct stub_maps *m);

int stub_maps_worker(struct stub_maps *m, pid_t *tid, bool *fresh);	/* stub_worker_get, in order with the queue */
u64 stub_maps_worker_put(struct stub_maps *m, pid_t tid);

/* The access that `addr` is mapped with, ACCESS_NONE if it is not; and up to `max` bytes of what it shows. */
enum access stub_maps_prot(struct stub_maps *m, gva_t addr);
size_t stub_maps_read(struct stub_maps *m, const struct backing *memory, gva_t addr, u8 *buf, size_t max);

#endif
