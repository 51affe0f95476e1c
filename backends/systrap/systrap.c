/*
 * The systrap platform: guest calls arrive as SIGSYS in the guest's own thread, or by a patched site without a signal.
 *
 * Why there is no platform that takes calls by seccomp user notification. Measured on one CPU of a two-CPU AMD EPYC guest,
 * Linux 6.18, quiet, least of three launches: floor-notify 6.6 us, floor-futex 6.9 us, floor-sigsys-futex 11.4 us. So a
 * patched site, which is a hand-over by futex, gains nothing (4 %, inside the noise); only sites that cannot be patched
 * would, 1.7 times. And a notification shows six arguments and the instruction pointer, no more: signals, clone, exec, restarts
 * and floating point still need the SIGSYS frame, and with two CPUs a notification cannot be spun for. What it is
 * good for is what the kernel vouches for in it: helper.c and park.c live on that.
 */
#include <cpuid.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "backends/systrap/systrap.h"

long systrap_patch = 1, systrap_handoff = HANDOFF_AUTO, systrap_spin_us = 100, systrap_pin = 1, systrap_balance = 1, systrap_join, systrap_pool = 2,
     systrap_park = 1;

const struct backing *systrap_memory;
int systrap_ncpus;
u64 systrap_ticks_per_us;
struct platform_counters systrap_count;

static const char *const handoffs[] = { "auto", "spin", "futex", NULL };

static const struct knob knobs[] = {
	{ .name = "systrap.patch", .off = "off", .kind = KNOB_BOOL, .value = &systrap_patch, .def = 1,
	  .help = "rewrite call sites into jumps that need no signal" },
	{ .name = "systrap.handoff", .off = "futex", .kind = KNOB_CHOICE, .value = &systrap_handoff, .def = HANDOFF_AUTO, .choices = handoffs,
	  .help = "how control is handed over: spin on two CPUs, futex on one, or whichever pays" },
	{ .name = "systrap.spin_us", .off = "0", .kind = KNOB_INT, .value = &systrap_spin_us, .def = 100, .min = 0, .max = 10000,
	  .help = "microseconds to spin for the other side before sleeping" },
	{ .name = "systrap.pin", .off = "off", .kind = KNOB_BOOL, .value = &systrap_pin, .def = 1,
	  .help = "place task and stub threads on chosen CPUs" },
	{ .name = "systrap.balance", .off = "off", .kind = KNOB_BOOL, .value = &systrap_balance, .def = 1,
	  .help = "a task that waits long for its CPU moves to an idle one" },
	{ .name = "systrap.join", .kind = KNOB_BOOL, .value = &systrap_join, .def = 0,
	  .help = "tasks that wait for each other share one pair of spinning CPUs; costs more than it gains where CPUs are busy" },
	{ .name = "systrap.pool", .off = "0", .kind = KNOB_INT, .value = &systrap_pool, .def = 2, .min = 0, .max = 64,
	  .help = "stub processes kept ready for the next fork or exec" },
	{ .name = "systrap.park", .off = "off", .kind = KNOB_BOOL, .value = &systrap_park, .def = 1,
	  .help = "a guest thread whose guest is gone is parked for the next one, instead of killed and made again" },
	{ .name = NULL },
};

static int systrap_probe(char *why, size_t len)
{
	u32 action = SECCOMP_RET_TRAP, notif = SECCOMP_RET_USER_NOTIF;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) || syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &notif)) {
		snprintf(why, len, "the kernel has no seccomp trap or user notification (CONFIG_SECCOMP_FILTER, Linux 5.0)");
		return -ENOSYS;
	}
	if (!(getauxval(AT_HWCAP2) & 2)) {
		snprintf(why, len, "the kernel does not let programs read the FS base (FSGSBASE, Linux 5.9)");
		return -ENOSYS;
	}
	if (getauxval(AT_MINSIGSTKSZ) > CHANNEL_ALTSTACK_SIZE / 2) {
		snprintf(why, len, "signal frames of %lu bytes are larger than the stub's stack allows", getauxval(AT_MINSIGSTKSZ));
		return -E2BIG;
	}
	return 0;
}

/* RORX is BMI2, CRC32 is SSE4.2. */
static bool cpu_can_patch(void)
{
	u32 a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_BMI2);
}

static u64 calibrate_ticks(void)
{
	struct timespec a, b;
	u64 t0, t1, ns;

	clock_gettime(CLOCK_MONOTONIC, &a);
	t0 = __builtin_ia32_rdtsc();
	do {
		clock_gettime(CLOCK_MONOTONIC, &b);
		ns = (b.tv_sec - a.tv_sec) * 1000000000ull + b.tv_nsec - a.tv_nsec;
	} while (ns < 200000);
	t1 = __builtin_ia32_rdtsc();
	return MAX((t1 - t0) * 1000 / ns, 1);
}

static int systrap_init(const struct platform_config *config)
{
	systrap_memory = config->memory;
	systrap_ncpus = config->ncpus;
	systrap_ticks_per_us = calibrate_ticks();
	memset(&systrap_count, 0, sizeof(systrap_count));
	if (!cpu_can_patch())
		systrap_patch = 0;
	helper_init();
	return 0;
}

static int systrap_start(void)
{
	handoff_start();
	return process_pool_start();
}

static void systrap_exit(void)
{
	process_pool_stop();
	handoff_stop();
}

static int systrap_as_map(struct address_space *as, gva_t addr, u64 len, enum access prot, const struct backing *file, u64 offset,
			  u32 how)
{
	if (file != systrap_memory)
		return -ENODEV;		/* stubs hold the memory file's descriptor only */
	return queue_map(&as->maps, addr, len, prot, offset, how & AS_MAP_POPULATE);
}

static int systrap_as_unmap(struct address_space *as, gva_t addr, u64 len) { return queue_unmap(&as->maps, addr, len); }

static int systrap_as_protect(struct address_space *as, gva_t addr, u64 len, enum access prot)
{
	return queue_protect(&as->maps, addr, len, prot);
}

static bool systrap_patching(void) { return systrap_patch; }
static void systrap_counters(struct platform_counters *out)
{
	*out = systrap_count;
	out->map_calls = map_counters.maps;
	out->unmap_calls = map_counters.unmaps;
	out->protect_calls = map_counters.protects;
	out->batches = map_counters.batches;
}


static const u64 notifications[] = { SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND, SECCOMP_IOCTL_NOTIF_SET_FLAGS, 0 };

static const struct host_call host_calls[] = {
	{ .nr = SYS_ioctl, .arg = 1, .values = notifications, .why = "the helper thread of a stub process" },
	{ .nr = SYS_memfd_create, .why = "channels of a new stub process" },
	{ .nr = SYS_socketpair, .why = "a new stub process sends its listener" },
	{ .nr = SYS_sendmsg, .why = "a new stub process is asked for" },
	{ .nr = SYS_recvmsg, .why = "its listener comes" },
	{ .nr = SYS_pidfd_open, .why = "death of stub processes and guest threads" },
	{ .nr = SYS_waitid, .why = "their ends" },
	{ .why = NULL },
};

const struct platform_ops systrap_platform = {
	.name		= "systrap",
	.help		= "seccomp SIGSYS in the guest's threads, shared memory, patched call sites",
	.knobs		= knobs,
	.probe		= systrap_probe,
	.host_calls	= host_calls,
	.init		= systrap_init,
	.start		= systrap_start,
	.exit		= systrap_exit,
	.as_create	= systrap_as_create,
	.as_destroy	= systrap_as_destroy,
	.as_map		= systrap_as_map,
	.as_unmap	= systrap_as_unmap,
	.as_protect	= systrap_as_protect,
	.context_create	= systrap_context_create,
	.context_destroy = systrap_context_destroy,
	.switch_to	= systrap_switch_to,
	.interrupt	= systrap_interrupt,
	.idle		= handoff_idle,
	.fp_read	= systrap_fp_read,
	.fp_write	= systrap_fp_write,
	.trampoline	= systrap_trampoline,
	.patching	= systrap_patching,
	.counters	= systrap_counters,
};
