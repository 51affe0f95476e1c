/*
 * The KVM platform: the table of operations, its knobs, and life. Guest code runs in ring 3 of a VM without devices.
 *
 * Tested on a software hypervisor (PVM: shadow paging, ring 0 emulated) and on AMD-V as QEMU emulates it. Never run on
 * VT-x, where these differ: the pages that KVM_SET_TSS_ADDR and KVM_SET_IDENTITY_MAP_ADDR name, SYSCALL of 32-bit code
 * (#UD there, at CSTAR on AMD), SYSENTER with its CS of 0, VMCALL and VMMCALL with the quirk off, SYSRET to the edge of
 * the canonical addresses (#GP in ring 0 there; set_way_in keeps clear of it), and INVEPT behind machine_forget. Nor on
 * a processor with AVX-512, whose state goes through the same calls as AVX's.
 */
#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "backends/kvm/kvm.h"

enum { CPUID_VMX = 1 << 5, CPUID_SVM = 1 << 2 };	/* ECX of leaf 1, of leaf 0x80000001 */

extern const struct platform_ops kvm_platform;

static const struct knob knobs[] = {
	{ .name = "kvm.vcpus", .kind = KNOB_INT, .value = &kvm_vcpus, .def = 0, .min = 0, .max = 480,
	  .help = "virtual CPUs at most; 0: eight a CPU, 32 at least" },
	{ .name = "kvm.large_pages", .kind = KNOB_BOOL, .value = &kvm_large_pages, .def = 1, .off = "off",
	  .help = "one page-table entry for 2 MiB of memory that lies in one piece" },
	{ .name = "kvm.populate", .kind = KNOB_BOOL, .value = &kvm_populate, .def = 1,
	  .help = "the host maps a run of pages when the guest is shown it, not page by page at the first touch" },
	{ .name = "kvm.sentry", .kind = KNOB_CHOICE, .value = &kvm_sentry, .def = 2, .choices = kvm_sentry_choices,
	  .off = "host", .help = "where calls that need no host service are handled; auto: guest if ring 0 is native" },
	{ .name = "kvm.kpti", .kind = KNOB_BOOL, .value = &kvm_kpti, .def = 0,
	  .help = "sentry in the guest: ring 3 runs on page tables without the sentry, at two loads of CR3 a switch" },
	{ .name = NULL },
};

static void kvm_exit(void)
{
	vcpu_pool_exit();
	sentry_exit();
	machine_exit();
	tables_exit();
}

static int kvm_init(const struct platform_config *config)
{
	int err = tables_init();

	machine.inside = config->inside;
	if (!err)
		err = machine_init(config->memory);
	if (!err)
		err = vcpu_pool_init(config->ncpus);
	if (!err)
		err = residency_choose();
	if (err)
		kvm_exit();
	return err;
}

static void kvm_counters(struct platform_counters *out)
{
	*out = (struct platform_counters){ .host_calls = kvm_host_calls };
	kvm_map_counters(out);
}

/* Without VMX or SVM /dev/kvm is a software hypervisor: an exit costs hundreds of microseconds, the VM tens of ms. */
static int kvm_worth_timing(char *why, size_t len)
{
	u32 a, b, vmx = 0, svm = 0, d;

	__get_cpuid(1, &a, &b, &vmx, &d);
	__get_cpuid(0x80000001, &a, &b, &svm, &d);
	if ((vmx & CPUID_VMX) || (svm & CPUID_SVM))
		return 0;
	snprintf(why, len, "no hardware virtualization");
	return -ENODEV;
}

static const u64 requests[] = {
	KVM_RUN, KVM_CREATE_VCPU, KVM_GET_SUPPORTED_CPUID, KVM_SET_USER_MEMORY_REGION, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_DEBUGREGS, KVM_SET_CPUID2, KVM_SET_MSRS,
	KVM_SET_XCRS, KVM_GET_XSAVE, KVM_GET_XSAVE2, KVM_SET_XSAVE, KVM_GET_VCPU_EVENTS, KVM_SET_SIGNAL_MASK, KVM_SET_DEVICE_ATTR, KVM_CHECK_EXTENSION, 0
};

static const struct host_call host_calls[] = {
	{ .nr = SYS_ioctl, .arg = 1, .values = requests, .why = "the VM and its virtual CPUs" },
	{ .why = NULL },
};

const struct platform_ops kvm_platform = {
	.name		 = "kvm",
	.help		 = "ring 3 of a virtual machine: needs /dev/kvm",
	.knobs		 = knobs,
	.worth_timing	 = kvm_worth_timing,
	.host_calls	 = host_calls,
	.probe		 = machine_probe,
	.init		 = kvm_init,
	.exit		 = kvm_exit,
	.as_create	 = kvm_as_create,
	.as_destroy	 = kvm_as_destroy,
	.as_map		 = kvm_as_map,
	.as_unmap	 = kvm_as_unmap,
	.as_protect	 = kvm_as_protect,
	.context_create	 = kvm_context_create,
	.context_destroy = kvm_context_destroy,
	.switch_to	 = kvm_switch_to,
	.interrupt	 = kvm_interrupt,
	.fp_read	 = kvm_fp_read,
	.fp_write	 = kvm_fp_write,
	.counters	 = kvm_counters,
};
