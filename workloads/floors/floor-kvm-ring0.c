/* The floor of KVM with the kernel in the guest: SYSCALL in ring 3 to ring 0 and back; the host sees only the end. */
#include "floor_kvm.h"

__asm__(".pushsection .rodata\n"
	"floor_user:\n"
	"1:	mov $39, %eax\n"
	"	syscall\n"
	"	add %rax, %r12\n"
	"	dec %rbx\n"
	"	jnz 1b\n"
	"	ud2\n"
	"	.balign 64\n"
	"floor_kernel:\n"
	"	sysretq\n"
	"	.balign 16\n"
	"	mov $1, %eax\n"		/* LSTAR */
	"	sysretq\n"
	"	.balign 16\n"
	"	mov $1, %eax\n"		/* page fault, in truth a call: the guest's stack pointer is in its frame */
	"	mov 32(%rsp), %rsp\n"
	"	sysretq\n"
	"	.balign 16\n"
	"	hlt\n"			/* other: the end */
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
	struct kvm_regs *g = &vm.run->s.regs.regs;

	g->rip = vm_kernel_at(VM_BOOT);
	g->rcx = VM_USER;
	g->r11 = 0x202;
	g->rflags = 2;
	g->rbx = n;
	g->r12 = 0;
	vm.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	g = vm_run();
	return g->rip == vm_kernel_at(VM_OTHER) + 1 ? g->r12 : 0;
}

const struct workload workload = {
	.name = "floor-kvm-ring0", .help = "ring 3 of a VM to its ring 0 by SYSCALL, and back",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = batch,
};
