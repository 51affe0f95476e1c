/* The floor of KVM with the kernel in the host: SYSCALL in ring 3, HLT in ring 0, registers read and written, and back. */
#include "floor_kvm.h"

__asm__(".pushsection .rodata\n"
	"floor_user:\n"
	"1:	mov $39, %eax\n"
	"	syscall\n"
	"	jmp 1b\n"
	"	.balign 64\n"
	"floor_kernel:\n"
	"	sysretq\n"
	"	.balign 16\n"
	"	hlt\n"			/* LSTAR */
	"	.balign 16\n"
	"	hlt\n"			/* page fault */
	"	.balign 16\n"
	"	hlt\n"			/* other */
	"	.balign 64\n"
	"floor_end:\n"
	".popsection");

static void setup(void)
{
	floor_pin(floor_cpu(0));
	vm_create();
}

/* rcx and r11 hold where the call returns to however it arrived, so SYSRETQ is the way back. */
static u64 batch(u64 n)
{
	u64 right = 0, i;

	for (i = 0; i < n; i++) {
		struct kvm_regs *g = vm_run();
		u64 *frame = (u64 *)(vm.mem + (g->rsp - VM_KERNEL));

		if (g->rip == vm_kernel_at(VM_PAGE_FAULT) + 1 && frame[1] == vm_kernel_at(VM_LSTAR) && frame[2] == VM_USER_CS) {
			right += g->rax == __NR_getpid;
			g->rsp = frame[4];
		} else {
			right += g->rip == vm_kernel_at(VM_LSTAR) + 1 && g->rax == __NR_getpid;
		}
		g->rax = 42;
		g->rip = vm_kernel_at(VM_BOOT);
	}
	return right;
}

const struct workload workload = {
	.name = "floor-kvm-syscall", .help = "ring 3 of a VM to the host by SYSCALL and HLT, and back",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = batch,
};
