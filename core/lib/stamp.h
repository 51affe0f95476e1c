/*
 * Time stamps at the boundaries of a switch, for --phases and --profile. Off, a boundary costs the test of a thread's own
 * pointer. One ring a task's thread; nobody else writes it.
 *
 *   guest | STUB  stub  | WOKEN  backend | EVENT  core | DONE  core | BACK  backend, stub | RESUMED  guest
 *
 * STUB and RESUMED are taken by code that runs in the guest's process, and told in memory that the guest can write: good
 * for a profile of that guest, and believed for nothing else. A platform without such code has none.
 */
#ifndef TG_LIB_STAMP_H
#define TG_LIB_STAMP_H

#include "lib/types.h"

enum stamp { STAMP_STUB, STAMP_WOKEN, STAMP_EVENT, STAMP_DONE, STAMP_BACK, STAMP_RESUMED, STAMPS };

struct stamp_ring;
extern _Thread_local struct stamp_ring *stamp_ring;	/* NULL: off */

void stamp_note(enum stamp which, u64 tick);		/* stamp_ring is not NULL. WOKEN begins the next switch */
void stamp_call(s64 nr);				/* what the switch under way was for; negative: no system call */

static inline void stamp_mark(enum stamp which)
{
	if (__builtin_expect(stamp_ring != NULL, 0))
		stamp_note(which, __builtin_ia32_rdtsc());
}

/* What a stub left in its channel, after the event that it brought. */
static inline void stamp_mark_event(const volatile u64 *resumed, const volatile u64 *stub)
{
	if (__builtin_expect(stamp_ring != NULL, 0)) {
		u64 now = __builtin_ia32_rdtsc();

		stamp_note(STAMP_RESUMED, *resumed);
		stamp_note(STAMP_WOKEN, now);
		stamp_note(STAMP_STUB, *stub);
	}
}

#endif
