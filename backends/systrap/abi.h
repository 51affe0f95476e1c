/*
 * What the sentry and the systrap stub share: addresses in the guest's process, the control pages (which the stub can
 * only read) and the channels (which the guest can write, so the sentry believes nothing in them).
 *
 * Used by the sentry, by the stub's C (freestanding) and, for the plain numbers, by its assembly.
 */
#ifndef TG_SYSTRAP_ABI_H
#define TG_SYSTRAP_ABI_H

#define SYSTRAP_ABI_VERSION	1

/* ---- the stub's part of the guest's address space, all above GUEST_END ---- */
#define STUB_BASE		0x7f0000010000	/* the image: code and constants, read and execute only */
#define STUB_LIMIT		0x7f0000100000
#define STUB_FAST_ENTRY		0x7f0000010200	/* where trampolines go (placed by stub.lds) */
#define PARK_ENTRY		0x7f0000010100	/* where a thread waits for its next guest (placed by stub.lds) */
#define PARK_RETURN		0x7f0000010107	/* the instruction behind its call */
#define STUB_CONTROL		0x7f0000100000	/* control pages: read only here */
#define STUB_CONTROL_SIZE	0x19000
#define STUB_CHANNELS		0x7f0010000000	/* channels: read and write */
#define CHANNEL_SIZE		0x10000
#define CHANNEL_MAX		4096		/* guest threads in one address space */

/* Within a channel. The signal frame stays where the kernel put it: the sentry reads and edits it in place. */
#define CHANNEL_ALTSTACK	0x0
#define CHANNEL_ALTSTACK_SIZE	0xc000
#define CHANNEL_FAST_STACK	0xf000		/* top; the patched call's stack grows down from here */
#define CHANNEL_PAGE		0xf000		/* struct channel */

/* Descriptors that the stub is started with. The socket is closed before guest code runs. */
#define STUB_FD_MEMORY		3
#define STUB_FD_SHARED		4		/* stays open: channels are mapped as they are needed */
#define STUB_FD_SOCKET		5

/* Offsets in struct channel that assembly uses; asserted below. */
#define CH_REGS			0x000
#define CH_PHASE		0x0f8
#define CH_NEG_FS		0x180
#define CH_ENTRY		0x188
#define CH_NEW_FS		0x150
#define CH_NEW_GS		0x158
#define CH_PARK_FRAME		0x190

/* Values of channel.phase: how far a patched call is (written by the stub around its register save and restore). */
#define PHASE_SAVE		1
#define PHASE_WAIT		2
#define PHASE_RESTORE		3

/*
 * The call by which the helper thread meets the sentry, and by which a guest thread parks: the filter turns it into a user
 * notification, which says for certain who made it, where and with what.
 */
#define RENDEZVOUS_NR		435		/* clone3. Helper: rdi = records done, rsi = error, rdx = result. Guest: rdi = channel */

#define CONTROL_RECORDS		0x1000		/* struct stub_record array, STUB_RECORDS of them */
#define CONTROL_FILTER		0x8000		/* BPF programs: the process's, then the guest threads' */
#define CONTROL_FILTER2		0xa000
#define CONTROL_TABLE		0x10000		/* fs_base hash -> channel less this address; see trampoline.c */
#define TABLE_FIRST		0x200		/* below the entries: a channel that matches no fs_base, for unused ones */
#define TABLE_SLOTS		4096

/* Offsets in struct stub_control that assembly uses. */
#define CT_FILTER		0x10
#define CT_FILTER2		0x20
#define CT_SENTRY_PID		0x30

/*
 * VM FS FILES PARENT SYSVSEM: a thread group of its own, the sentry's child. Not SIGHAND: a forced signal that is blocked puts
 * the default action back for all who share it, so one guest that dies in its handler would take the next one with it.
 */
#define STUB_CLONE_FLAGS	0x48700

/* The signal that interrupt() sends; SIGUSR2. */
#define STUB_SIGNAL		12

#ifndef __ASSEMBLER__

#include "lib/types.h"
#include "backends/stub/stub_abi.h"
#include "platform.h"

/* Signals that may arrive while guest code runs: ILL TRAP BUS FPE SEGV SYS, and ours. All others are blocked. */
#define SYNC_SIGNALS		((1ull << 3) | (1ull << 4) | (1ull << 6) | (1ull << 7) | (1ull << 10) | (1ull << 30))
#define GUEST_SIGNALS		(SYNC_SIGNALS | 1ull << (STUB_SIGNAL - 1))

struct stub_prog {			/* struct sock_fprog with its padding */
	u64 len;
	u64 addr;
};

/* First control page. Written by the sentry before the stub starts. */
struct stub_control {
	u32 version;
	u32 pad[3];
	struct stub_prog filter;	/* of the process; its listener goes to the sentry */
	struct stub_prog filter2;	/* added by each guest thread */
	u64 sentry_pid;
};

enum channel_event {
	CHANNEL_TRAP = 1,		/* a signal frame at `frame` tells all */
	CHANNEL_CALL,			/* a patched call: registers in `regs`, extended state still in the thread's registers */
	CHANNEL_SIGSYS,			/* a trapped call: a frame at `frame`, and its registers in `regs`, packed into fewer lines */
	CHANNEL_FRAMED,			/* answer to COMMAND_FRAME: the same state, now with a frame */
	CHANNEL_BROKEN,			/* the stub met something that can't be: code and line in `broken` */
};

enum channel_command {
	COMMAND_FRAME_RESUME = 1,	/* return through the frame, which the sentry has filled in */
	COMMAND_RESUME,			/* load `regs`, all of them */
	COMMAND_RESULT,			/* a call's usual end: only rax has changed, and is in `result` */
	COMMAND_FRAME,			/* make a frame for a patched call, then ask again */
	COMMAND_PARK,			/* this guest is over; only in a frame */
};

struct channel {
	/* written by the stub */
	struct guest_regs regs;		/* of a call */
	u8 pad0[0xf8 - sizeof(struct guest_regs)];
	u32 phase;
	u32 interrupted;		/* STUB_SIGNAL came during a patched call's save or wait */
	u32 seq __attribute__((aligned(64)));	/* futex word: moves with each event */
	u32 kind;			/* enum channel_event */
	u32 frame;			/* offset of the ucontext in the channel */
	u32 info;			/* offset of the siginfo in the channel */
	u64 fs_base, gs_base;
	u32 stub_sleeps;		/* it waits on `ack` by futex */
	u32 broken;
	u32 stepping;			/* the guest's single-stepping (TF) met a patched call's way in */
	u64 stamp_stub, stamp_resumed;	/* TSC: the stub has an event, and goes back to the guest; if `stamp` is set */

	/* written by the sentry */
	u32 ack __attribute__((aligned(64)));	/* futex word: == seq once the event is answered */
	u32 command;			/* enum channel_command */
	u64 result;
	u64 new_fs_base, new_gs_base;
	u32 set_bases;
	u32 sentry_sleeps;		/* it waits on `seq` by futex */
	u32 spin;			/* TSC ticks that the stub may spin for the answer */
	u32 stamp;			/* take the stamps */

	/* constants, written by the sentry when the channel is bound */
	u64 neg_fs __attribute__((aligned(64)));	/* minus fs_base: the trampoline finds that it has the right channel */
	u64 entry;			/* address of the stub's patched-call entry */
	u64 park_frame;			/* where in this channel a parked thread finds the frame to leave by */
};

_Static_assert(offsetof(struct channel, regs) == CH_REGS, "assembly");
_Static_assert(offsetof(struct channel, phase) == CH_PHASE, "assembly");
_Static_assert(offsetof(struct channel, seq) == 0x100, "one writer a cache line");
_Static_assert(offsetof(struct channel, ack) == 0x140, "one writer a cache line");
_Static_assert(offsetof(struct channel, neg_fs) == CH_NEG_FS, "assembly");
_Static_assert(offsetof(struct channel, entry) == CH_ENTRY, "assembly");
_Static_assert(offsetof(struct channel, new_fs_base) == CH_NEW_FS, "assembly");
_Static_assert(offsetof(struct channel, new_gs_base) == CH_NEW_GS, "assembly");
_Static_assert(offsetof(struct channel, park_frame) == CH_PARK_FRAME, "assembly");
_Static_assert(sizeof(struct channel) <= 0x1000, "one page");
_Static_assert(offsetof(struct stub_control, filter) == CT_FILTER, "assembly");
_Static_assert(offsetof(struct stub_control, filter2) == CT_FILTER2, "assembly");
_Static_assert(offsetof(struct stub_control, sentry_pid) == CT_SENTRY_PID, "assembly");
_Static_assert(CONTROL_TABLE + TABLE_FIRST + 8 * TABLE_SLOTS <= STUB_CONTROL_SIZE, "fits");
_Static_assert(CH_NEG_FS < TABLE_FIRST, "the unused entries' channel");
_Static_assert(sizeof(struct stub_record) == 64, "assembly");
_Static_assert(CONTROL_RECORDS + STUB_RECORDS * sizeof(struct stub_record) <= CONTROL_FILTER, "fits");

#endif
#endif
