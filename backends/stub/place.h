/* Which CPU a context's task thread and the thread that runs its guest code share. See place.c. */
#ifndef TG_STUB_PLACE_H
#define TG_STUB_PLACE_H

#include <sys/types.h>

#include "lib/types.h"

struct place;				/* of one context; every call but place_init takes NULL: not placed */

/* Single-threaded start and end. False: threads are left to the host. */
bool place_init(bool pin, bool balance);
void place_exit(void);

/* On the context's own thread. */
struct place *place_create(void);	/* NULL when not pinning */
void place_destroy(struct place *p);
void place_worker(struct place *p, pid_t tid);	/* the thread now bound, 0: none */
void place_enter(struct place *p);	/* before guest code: may move both to an idle CPU */
void place_leave(struct place *p);

/* To spin, the worker goes to CPU `home` and the task thread to `away`; then back, the task thread to its worker. */
void place_apart(struct place *p, int home, int away);
void place_together(struct place *p);
int place_cpu(const struct place *p);		/* the worker's; 0 if not placed, like the next */
int place_next_cpu(const struct place *p);	/* another one */

#endif
