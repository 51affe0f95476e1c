/*
 * What the host and ring 0 share of one vCPU: the frame of the guest's registers and what goes with it. It ends the
 * vCPU's stack, so that the processor and the entry code push the guest's registers right into `regs`, and the place
 * of everything follows from rsp: ring 0 needs neither GS nor SWAPGS.
 *
 * Only one of the two runs at a time, on one host thread, but for `stop`, which any thread may set.
 */
#ifndef TG_KVM_RING0_CPU_H
#define TG_KVM_RING0_CPU_H

#include "backends/kvm/ring0/layout.h"
#include "platform.h"

struct ring0_cpu {
	u64 spare;				/* regs must lie so that the processor does not align rsp away from it */
	struct guest_regs regs;			/* up to ss; the rest only the host knows */
	u64 scratch;				/* the guest's rsp for an instruction or two */
	u64 on_call, on_fault;			/* entry.c: int (struct guest_regs *, u64 cr2) */
	u64 root, sentry_root;			/* kvm.kpti: for CR3 */
	_Atomic u32 stop;			/* not to ring 3: the host is wanted */

	inside_fn inside;			/* core's; NULL: everything goes to the host */
	struct guest_regs *home;		/* whose registers these are, as core knows them */
	struct event ev;			/* why ring 0 goes to the host */
	u64 lstar;
	struct { void (*fn)(void *arg); void *arg; } call;
	u64 handled;				/* events that never left the guest */
};

_Static_assert(sizeof(struct ring0_cpu) <= CPU_SIZE, "CPU_SIZE");
_Static_assert(offsetof(struct ring0_cpu, regs) == CPU_REGS, "CPU_REGS");
_Static_assert(offsetof(struct ring0_cpu, regs.orig_rax) == CPU_ORIG_RAX, "CPU_ORIG_RAX");
_Static_assert(offsetof(struct ring0_cpu, regs.rip) == CPU_RIP, "CPU_RIP");
_Static_assert(offsetof(struct ring0_cpu, regs.fs_base) == CPU_FRAME_END, "CPU_FRAME_END");
_Static_assert((CPU_OFFSET + CPU_FRAME_END) % 16 == 0, "the processor pushes from an aligned rsp");
_Static_assert(offsetof(struct ring0_cpu, scratch) == CPU_SCRATCH, "CPU_SCRATCH");
_Static_assert(offsetof(struct ring0_cpu, on_call) == CPU_ON_CALL, "CPU_ON_CALL");
_Static_assert(offsetof(struct ring0_cpu, on_fault) == CPU_ON_FAULT, "CPU_ON_FAULT");
_Static_assert(offsetof(struct ring0_cpu, root) == CPU_ROOT, "CPU_ROOT");
_Static_assert(offsetof(struct ring0_cpu, sentry_root) == CPU_SENTRY_ROOT, "CPU_SENTRY_ROOT");
_Static_assert(offsetof(struct ring0_cpu, stop) == CPU_STOP, "CPU_STOP");

/* entry.c */
int ring0_on_call(struct guest_regs *r);
int ring0_on_fault(struct guest_regs *r, u64 addr);
void inside_host_halt(void);			/* ring0.S */

#endif
