/*
 * Where the sentry's hot part runs: in the host, or in ring 0 of the guest (kvm.sentry, kvm.kpti).
 *
 * Ring 0 is only worth it where the processor runs it. A software hypervisor emulates it, at half a microsecond an
 * instruction, so `auto` has it run a short loop and looks at the clock.
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "lib/inside.h"
#include "lib/log.h"

enum { SENTRY_HOST, SENTRY_GUEST, SENTRY_AUTO };
enum { LOOPS = 250, TRIES = 3, EMULATED_NS = 60 };	/* two instructions a loop; an emulator's take ten times that */

long kvm_sentry, kvm_kpti;
bool inside_emulated;
const char *const kvm_sentry_choices[] = { "host", "guest", "auto", NULL };

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Nanoseconds that ring 0 takes for `loops` rounds and the way in and out, or 0: it did not get through. */
static u64 time_loop(struct vcpu *v, u64 loops)
{
	u64 from;

	v->run->s.regs.regs.rip = ring0_va(ring0_loop);
	v->run->s.regs.regs.rcx = loops;
	v->run->s.regs.regs.rflags = 2;
	v->run->s.regs.sregs.cr3 = RING0_PAGE_ROOT * PAGE_SIZE;
	v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	v->run->immediate_exit = 0;
	from = now_ns();
	count_host_calls(1);
	if (ioctl(v->fd, KVM_RUN, 0) || v->run->exit_reason != KVM_EXIT_HLT ||
	    v->run->s.regs.regs.rip != ring0_va(ring0_loop_end))
		return 0;
	return now_ns() - from;
}

/* Picoseconds an instruction of ring 0, from the best of a few tries; 0: it does not run. */
static u64 time_ring0(struct vcpu *v)
{
	u64 little = UINT64_MAX, much = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		u64 one = time_loop(v, 1), many = time_loop(v, LOOPS);

		if (!one || !many)
			return 0;
		little = MIN(little, one);
		much = MIN(much, many);
	}
	return much > little ? (much - little) * 1000 / (2 * LOOPS) : 1;
}

static bool ring0_is_native(struct vcpu *v)
{
	u64 ps = time_ring0(v);

	log_info("kvm: an instruction in ring 0 takes %lu.%03lu ns", ps / 1000, ps % 1000);
	return ps && ps < EMULATED_NS * 1000;
}

/* Before any address space is made. */
int residency_choose(void)
{
	struct vcpu *v = NULL;
	char why[160] = "the VM has no place for the sentry";
	bool native;
	int err;

	machine.sentry_inside = machine.kpti = false;
	if (kvm_sentry == SENTRY_HOST)
		return 0;
	v = vcpu_first();
	if (!v)
		return -ENOMEM;
	native = ring0_is_native(v);
	inside_emulated = !native;
	if (kvm_sentry == SENTRY_AUTO && !native)
		goto again;
	err = sentry_init(why, sizeof(why));
	if (!err) {
		machine.sentry_inside = true;
		machine.kpti = kvm_kpti;
		/* The emulator of a software hypervisor has no CLAC, nor follows pointers of a guest's without being told. */
		if (native && cpu_has_smap())
			machine_use_smap();
	} else if (kvm_sentry == SENTRY_GUEST) {
		log_error("kvm.sentry=guest can't be had: %s", why);
		return err;
	} else {
		log_info("kvm: the sentry stays in the host: %s", why);
	}
again:
	machine_fill_idt();
	return vcpu_set_up(v);
}
