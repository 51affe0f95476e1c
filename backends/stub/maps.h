/* The mappings of one address space in its stub: a map_queue whose records the stub's leader runs. */
#ifndef TG_STUB_MAPS_H
#define TG_STUB_MAPS_H

#include "backends/stub/queue.h"
#include "backends/stub/stub.h"

struct stub_maps {
	struct map_queue q;		/* its lock guards the channel and the leader too */
	struct stub *stub;		/* immutable while contexts may use it */
};

/* Set before any use: the leader is moved to the CPU of whoever asks, to be handed that CPU and not woken on another. */
extern bool stub_follow;

int stub_maps_init(struct stub_maps *m);
void stub_maps_clear(struct stub_maps *m);		/* unmaps everything, at once */
void stub_maps_exit(struct stub_maps *m);		/* after that, and when no worker is traced any more: gives the stub back */

int stub_maps_worker(struct stub_maps *m, pid_t *tid, bool *fresh);	/* stub_worker_get, in order with the queue */
u64 stub_maps_worker_leave(struct stub_maps *m);
void stub_maps_worker_left(struct stub_maps *m, u64 rip, pid_t tid);

/* The access that `addr` is mapped with, ACCESS_NONE if it is not; and up to `max` bytes of what it shows. */
enum access stub_maps_prot(struct stub_maps *m, gva_t addr);
size_t stub_maps_read(struct stub_maps *m, const struct backing *memory, gva_t addr, u8 *buf, size_t max);

#endif
