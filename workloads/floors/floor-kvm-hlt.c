/* The floor of leaving a VM: HLT in ring 0, KVM_RUN again. Ring 3 is never entered. */
#include "floor_kvm.h"

__asm__(".pushsection .rodata\n"
	"floor_user:\n"
	"	ud2\n"
	"	.balign 64\n"
	"floor_kernel:\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"	.balign 64\n"
	"floor_end:\n"
	".popsection");

static void setup(void)
{
	floor_pin(floor_cpu(0));
	vm_create();
}

static u64 batch(u64 n)
{
	u64 right = 0, i;

	for (i = 0; i < n; i++) {
		right += !ioctl(vm.vcpu, KVM_RUN, 0) && vm.run->exit_reason == KVM_EXIT_HLT;
	}
	return right;
}

const struct workload workload = {
	.name = "floor-kvm-hlt", .help = "ring 0 of a VM to the host by HLT, and back",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = batch,
};
