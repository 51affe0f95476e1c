/*
 * What the sentry and the stub agree on: where the stub lives, its descriptors, and the channel, the one page run
 * they share.
 *
 * One writer: the sentry. The stub sees the channel read-only, and so does the guest, which lives in the same
 * process: nothing that the stub acts upon can be forged. Answers go back over a pipe (one byte, 0 or an errno) and
 * as the file offset of the channel's descriptor (a value), which guest code cannot reach: it makes no system call.
 *
 * Included by C and by assembly. Values that assembly uses are macros; C asserts that the structs agree.
 */
#ifndef TG_STUB_ABI_H
#define TG_STUB_ABI_H

#define STUB_VERSION		1

#define STUB_IMAGE		0x7f1000000000	/* above GUEST_END; one page of code and constants, read and execute */
#define STUB_IMAGE_SIZE		0x1000
#define STUB_PARK		(STUB_IMAGE)		/* a worker that nobody traces sleeps here */
#define STUB_EXIT		(STUB_IMAGE + 0x40)	/* a worker sent here ends itself */
#define STUB_CHANNEL		0x7f1000100000
#define STUB_CHANNEL_SIZE	0x5000
#define STUB_TASK_END		0x7ffffffff000	/* first address that no process can map */

#define STUB_FD_MEMORY		3	/* the memory file */
#define STUB_FD_CHANNEL		4
#define STUB_FD_REPORT		5	/* pipe to the sentry; its other end sees EOF when the stub dies */
#define STUB_FD_IMAGE		6	/* closed by exec */

#define STUB_RECORDS		256
#define STUB_RECORD_SHIFT	6
#define STUB_RESULT		1	/* record.flags: store the call's result as the channel's file offset */

#define STUB_OFF_VERSION	0
#define STUB_OFF_PARK		4
#define STUB_OFF_SEQ		64
#define STUB_OFF_COUNT		68
#define STUB_OFF_RECORDS	0x1000

#ifndef __ASSEMBLER__
#include "lib/types.h"

/* One host system call that the stub's leader makes. */
struct stub_record {
	u64 nr;
	u64 arg[6];
	u64 flags;
};

struct stub_channel {
	u32 version;
	u32 park;				/* always 0: parked workers wait on it */
	u8 pad0[STUB_OFF_SEQ - 8];
	u32 seq;				/* futex: a change means that `count` records are to be run, in order */
	u32 count;
	u8 pad1[STUB_OFF_RECORDS - STUB_OFF_SEQ - 8];
	struct stub_record records[STUB_RECORDS];
};

_Static_assert(offsetof(struct stub_channel, version) == STUB_OFF_VERSION, "stub.S reads it");
_Static_assert(offsetof(struct stub_channel, park) == STUB_OFF_PARK, "stub.S reads it");
_Static_assert(offsetof(struct stub_channel, seq) == STUB_OFF_SEQ, "stub.S reads it");
_Static_assert(offsetof(struct stub_channel, count) == STUB_OFF_COUNT, "stub.S reads it");
_Static_assert(offsetof(struct stub_channel, records) == STUB_OFF_RECORDS, "stub.S reads it");
_Static_assert(sizeof(struct stub_record) == 1 << STUB_RECORD_SHIFT, "stub.S shifts by it");
_Static_assert(offsetof(struct stub_record, flags) == 56, "stub.S reads it");
_Static_assert(sizeof(struct stub_channel) == STUB_CHANNEL_SIZE, "whole pages");
_Static_assert(STUB_IMAGE >= GUEST_END, "the guest ends below the stub");
#endif
#endif
