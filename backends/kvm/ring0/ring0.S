/*
 * Ring 0's own code. What of it runs depends on where the sentry lives.
 *
 * In the host (kvm.sentry=host): a HLT for each way out, one instruction for each way in. The host tells the ways
 * apart by rip, and never resumes behind a HLT: it puts the vCPU on ring0_iret or ring0_sysret. Each instruction here
 * costs 0.6 us where ring 0 is emulated.
 *
 * In the guest (kvm.sentry=guest): SYSCALL and page faults save the guest's registers in the vCPU's frame (cpu.h) and
 * call entry.c, which asks core. What core could do goes straight back by SYSRET or IRET; for all else the HLT that
 * follows brings the host, which finds registers and event in the frame. A fault of ring 0 itself, and `inside_host`,
 * halt too, and go on behind the HLT when the host has done what was wanted. On the way back `stop` is looked at first;
 * a kick that comes later ends KVM_RUN, and the host, finding rip between the look and the guest, puts it before the
 * look again: the frame is whole until ring 3 has it.
 *
 * Threats. Ring 3 comes in by an exception, an interrupt gate or SYSCALL, with registers of its choice. It can't jump
 * here (supervisor pages; LSTAR's address is the way that SYSCALL arrives on the software hypervisor, so a jump to it
 * is a call that returns to rcx, which the guest could have made anyway).
 * - SYSCALL leaves the guest's rsp, in ring 0, for two instructions, which store it and take the vCPU's own; neither
 *   touches what it points to. Nothing can interrupt them: SFMASK clears TF and IF, there is no interrupt controller,
 *   no breakpoint register is ever set, and NMI, #DB, #DF and #MC have a stack of their own (IST 1). So too at the end,
 *   between the load of the guest's rsp and SYSRETQ.
 * - GS and FS stay the guest's all the time: ring 0 uses neither, so there is no SWAPGS to be had at the wrong time.
 * - AC and DF: cleared by SFMASK, and by hand where an exception came in, so that SMAP holds and strings go up.
 * - SYSRETQ to an address that is not canonical would fault with the guest's rsp. rcx is the instruction behind a
 *   SYSCALL that the guest ran, and the guest ends far below; where it may be anything (the jump above), entry.c looks.
 *   IRETQ gets the frame that the processor wrote, or one that the host has checked: user selectors, no IOPL.
 * - SYSCALL of 32-bit code (AMD) arrives at ring0_cstar and is refused.
 * - What ring 0 faults on that is neither the sentry's memory nor expected ends the thread group, and so does a stack
 *   that runs into its guard page (#DF, on IST 1).
 * - Speculation: there are no branches here that depend on what the guest gave; kvm.kpti keeps the sentry's addresses
 *   out of the tables that ring 3 runs on, for processors that read through them.
 */
#include "backends/kvm/ring0/layout.h"

	.section .note.GNU-stack, "", @progbits
	.section .rodata.ring0, "a"
	.globl ring0_image, ring0_lstar, ring0_cstar, ring0_iret, ring0_sysret, ring0_image_end
	.globl ring0_fault, ring0_fault_kpti, ring0_own_fault, ring0_loop, ring0_loop_end
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

	/* For `auto`: rcx times two instructions. */
ring0_loop:
	dec	%rcx
	jnz	ring0_loop
	hlt
ring0_loop_end:

	/* rsp is at rcx's place in the frame; all behind it is saved. */
	.macro	save_rest
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	.endm

	/* rsp is at the frame's start. */
	.macro	restore_all
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rax
	pop	%rcx
	pop	%rdx
	pop	%rsi
	pop	%rdi
	.endm

	/*
	 * A page fault. The processor has pushed ss to rip and the error code, into the frame if it came from ring 3.
	 * ring0_*_back to ring0_*_end: the way to the guest, see above.
	 */
	.macro	fault_entry kpti
	.balign	16, 0xf4
ring0_fault\kpti:
	testb	$3, 16(%rsp)
	jz	ring0_own_fault
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	%rax
	save_rest
	cld
	.globl	ring0_fault_clac\kpti
ring0_fault_clac\kpti:
	.byte	0x0f, 0x1f, 0x00		/* CLAC goes here where the processor has SMAP */
	mov	%rsp, %rdi
	mov	%cr2, %rsi
	.ifnb	\kpti
	mov	CPU_SENTRY_ROOT - CPU_REGS(%rsp), %rax
	mov	%rax, %cr3
	.endif
	sub	$8, %rsp
	call	*CPU_ON_FAULT - CPU_REGS + 8(%rsp)
	add	$8, %rsp
	test	%eax, %eax
	jz	ring0_fault_host\kpti
	.globl	ring0_fault_back\kpti, ring0_fault_end\kpti, ring0_fault_host\kpti, ring0_fault_stop\kpti
ring0_fault_back\kpti:
	cmpl	$0, CPU_STOP - CPU_REGS(%rsp)
	jne	ring0_fault_stop\kpti
	.ifnb	\kpti
	mov	CPU_ROOT - CPU_REGS(%rsp), %rax
	mov	%rax, %cr3
	.endif
	restore_all
	add	$8, %rsp
	iretq
ring0_fault_end\kpti:
ring0_fault_host\kpti:
	hlt
	jmp	ring0_fault_host\kpti
ring0_fault_stop\kpti:
	hlt
	jmp	ring0_fault_back\kpti
	.endm

	fault_entry
	fault_entry _kpti

	.balign	16, 0xf4
ring0_own_fault:
	hlt
	add	$8, %rsp
	iretq
ring0_image_end:

	/*
	 * The first page of each vCPU's area: SYSCALL's way in, which knows the rest of the area by its distance.
	 */
	.macro	call_entry kpti
	.balign	4096
	.globl	ring0_call\kpti, ring0_call_host\kpti, ring0_call_stop\kpti, ring0_call_back\kpti, ring0_call_end\kpti
	.globl	ring0_call_page_end\kpti
	.set	cpu\kpti, ring0_call\kpti + CPU_OFFSET
ring0_call\kpti:
	mov	%rsp, cpu\kpti + CPU_SCRATCH(%rip)
	.ifnb	\kpti
	mov	cpu\kpti + CPU_SENTRY_ROOT(%rip), %rsp
	mov	%rsp, %cr3
	.endif
	lea	cpu\kpti + CPU_FRAME_END(%rip), %rsp
	push	$SEL_USER_SS
	push	cpu\kpti + CPU_SCRATCH(%rip)
	push	%r11
	push	$SEL_USER_CS
	push	%rcx
	push	%rax
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	$-38				/* -ENOSYS */
	save_rest
	mov	%rsp, %rdi
	sub	$8, %rsp
	call	*cpu\kpti + CPU_ON_CALL(%rip)
	add	$8, %rsp
	test	%eax, %eax
	jz	ring0_call_host\kpti
ring0_call_back\kpti:
	cmpl	$0, cpu\kpti + CPU_STOP(%rip)
	jne	ring0_call_stop\kpti
	.ifnb	\kpti
	mov	cpu\kpti + CPU_ROOT(%rip), %rax
	mov	%rax, %cr3
	.endif
	restore_all
	mov	32(%rsp), %rsp
	sysretq
ring0_call_end\kpti:
ring0_call_host\kpti:
	hlt
	jmp	ring0_call_host\kpti
ring0_call_stop\kpti:
	hlt
	jmp	ring0_call_back\kpti
ring0_call_page_end\kpti:
	.endm

	call_entry
	call_entry _kpti

	/* void inside_host_halt(void): ring 0, called by inside_host(); the host does what the frame's `call` says. */
	.section inside_text, "ax"
	.globl	inside_host_halt, inside_halted
inside_host_halt:
	hlt
inside_halted:
	ret
