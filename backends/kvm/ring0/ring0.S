/*
 * All the code that runs in ring 0 while the sentry stays in the host: a HLT for each way out, one instruction for
 * each way in. The host tells the ways apart by rip, and never resumes behind a HLT: it puts the vCPU on ring0_iret
 * or ring0_sysret. Each instruction here costs 0.6 us where ring 0 is emulated.
 *
 * Threats. Ring 3 comes in by an exception, an interrupt gate or SYSCALL, with registers of its choice, and none of
 * them is read here. It can't jump here (supervisor pages; LSTAR's address is the way that SYSCALL arrives on the
 * software hypervisor, so a jump to it is a call that returns to rcx, which the guest could have made anyway).
 * SYSCALL leaves the guest's rsp: nothing is pushed before HLT; SFMASK clears TF, so no #DB comes in between, and
 * there are no interrupts, for there is no interrupt controller. Exceptions go to the vCPU's own stack through the
 * TSS, #DF, NMI and #MC through IST 1. SYSCALL of 32-bit code (AMD) arrives at ring0_cstar and is refused. IRETQ and
 * SYSRETQ get frames that the host has checked: canonical rip, user selectors, no IOPL, so they don't fault. What
 * ring 0 faults on all the same (saved CS of ring 0) ends the thread group.
 */
#include "backends/kvm/ring0/layout.h"

	.section .note.GNU-stack, "", @progbits
	.section .rodata.ring0, "a"
	.globl ring0_image, ring0_lstar, ring0_cstar, ring0_iret, ring0_sysret, ring0_image_end
	.balign 4096
ring0_image:
	.rept 256
	.balign RING0_STUB_SIZE, 0xf4
1:	hlt
	jmp 1b
	.endr
	.balign 16, 0xf4
ring0_lstar:
	hlt
	jmp ring0_lstar
	.balign 16, 0xf4
ring0_cstar:
	hlt
	jmp ring0_cstar
	.balign 16, 0xf4
ring0_iret:
	iretq
	.balign 16, 0xf4
ring0_sysret:
	sysretq
	.balign 16, 0xf4
ring0_image_end:
