/* What stamps are kept in: lib/stamp.c fills it, core/stamp.c adds it up. */
#ifndef TG_LIB_STAMP_RING_H
#define TG_LIB_STAMP_RING_H

#include "lib/stamp.h"

enum { STAMP_RING = 1024, STAMP_OTHER = 513, STAMP_CALLS };

/* Between two stamps of a switch, in the order of a switch. */
enum part { PART_GUEST, PART_TO_SENTRY, PART_DECODE, PART_HANDLER, PART_LOOP, PART_TO_GUEST, PARTS };

struct stamp_record {
	u64 at[STAMPS];
	u32 call;				/* a system call's number, or what core/stamp.c makes of it */
};

struct stamp_ring {
	u64 n;					/* switches begun; the one under way is record (n - 1) */
	struct stamp_record records[STAMP_RING];
	u64 parts[STAMP_CALLS][PARTS];		/* ticks */
	struct stamp_ring *next;
};

#endif
