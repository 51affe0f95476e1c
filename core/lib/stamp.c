/* Stamps into the thread's own ring. */
#include "lib/stamp_ring.h"

_Thread_local struct stamp_ring *stamp_ring;

void stamp_note(enum stamp which, u64 tick)
{
	struct stamp_ring *r = stamp_ring;

	if (which == STAMP_WOKEN)
		r->records[r->n++ % STAMP_RING] = (struct stamp_record){ .call = STAMP_OTHER };
	if (r->n)
		r->records[(r->n - 1) % STAMP_RING].at[which] = tick;
}
