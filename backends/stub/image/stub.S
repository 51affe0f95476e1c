/*
 * The stub: all code of ours in the process where a guest's address space lives. Freestanding, registers only.
 *
 * Its leader thread sleeps until the sentry publishes records in the channel, makes those system calls (mmap, munmap,
 * mprotect, clone) and reports. Its other threads, the workers, are made by it, sleep in `park` until a sentry thread
 * seizes them, and from then on run guest code.
 *
 * Threats. Guest code runs in this address space and may read these pages, jump here, or write all memory of its own
 * while the leader works. It gains nothing: workers run traced, every system call they attempt (also by jumping to a
 * `syscall` below) is stopped before the host acts on it; image and channel are not writable; the leader has no
 * stack and keeps all its state in registers, which no other thread can reach. That is why this is assembly: a
 * compiler may spill. What the guest can do is to learn that it runs in a sandbox.
 */
#include <asm/unistd_64.h>
#include "backends/stub/stub_abi.h"

#define FUTEX_WAIT	0
#define PR_SET_NAME	15
#define PROT_READ	1
#define MAP_SHARED_FIXED 0x11

	.section .text, "ax"
	.globl	stub_start

/* STUB_PARK. rip is set here also for workers given back by the sentry, so it must need no register. */
park:
	movabs	$(STUB_CHANNEL + STUB_OFF_PARK), %rdi
	xorl	%esi, %esi
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	movl	$__NR_futex, %eax
	syscall
	jmp	park

/* STUB_EXIT. */
	.org	STUB_EXIT - STUB_IMAGE
	movl	$__NR_exit, %eax
	xorl	%edi, %edi
	syscall
	ud2

/*
 * The leader. r15: the channel; r14d: last seq seen; r13d: records in the batch; r12d: index; rbp: the record;
 * ebx: status to report; rsp: number of the call under way.
 */
	.org	0x80
stub_start:
	xorl	%esp, %esp
	movl	$PR_SET_NAME, %edi
	leaq	name(%rip), %rsi
	movl	$__NR_prctl, %eax
	syscall

	/* Nothing of exec's stays: stack, vDSO, heap. */
	xorl	%edi, %edi
	movabs	$STUB_IMAGE, %rsi
	movl	$__NR_munmap, %eax
	syscall
	testq	%rax, %rax
	jnz	die
	movabs	$(STUB_IMAGE + STUB_IMAGE_SIZE), %rdi
	movabs	$STUB_TASK_END, %rsi
	subq	%rdi, %rsi
	movl	$__NR_munmap, %eax
	syscall
	testq	%rax, %rax
	jnz	die

	movabs	$STUB_CHANNEL, %r15
	movq	%r15, %rdi
	movl	$STUB_CHANNEL_SIZE, %esi
	movl	$PROT_READ, %edx
	movl	$MAP_SHARED_FIXED, %r10d
	movl	$STUB_FD_CHANNEL, %r8d
	xorl	%r9d, %r9d
	movl	$__NR_mmap, %eax
	syscall
	cmpq	%r15, %rax
	jne	die
	cmpl	$STUB_VERSION, STUB_OFF_VERSION(%r15)
	jne	die
	xorl	%r14d, %r14d
	xorl	%ebx, %ebx

report:
	movl	$STUB_FD_REPORT, %edi
	leaq	status(%rip), %rsi
	addq	%rbx, %rsi
	movl	$1, %edx
	movl	$__NR_write, %eax
	syscall
	cmpq	$1, %rax
	jne	die

wait:
	movl	STUB_OFF_SEQ(%r15), %eax
	cmpl	%r14d, %eax
	jne	work
	leaq	STUB_OFF_SEQ(%r15), %rdi
	xorl	%esi, %esi
	movl	%r14d, %edx
	xorl	%r10d, %r10d
	movl	$__NR_futex, %eax
	syscall
	jmp	wait

work:
	movl	%eax, %r14d
	movl	STUB_OFF_COUNT(%r15), %r13d
	xorl	%r12d, %r12d
	xorl	%ebx, %ebx
next:
	cmpl	%r13d, %r12d
	jae	report
	movl	%r12d, %ebp
	shlq	$STUB_RECORD_SHIFT, %rbp
	leaq	STUB_OFF_RECORDS(%r15,%rbp), %rbp
	movq	(%rbp), %rax
	movq	%rax, %rsp		/* the call's number, for `zero`: the record may be another's by then */
	movq	8(%rbp), %rdi
	movq	16(%rbp), %rsi
	movq	24(%rbp), %rdx
	movq	32(%rbp), %r10
	movq	40(%rbp), %r8
	movq	48(%rbp), %r9
	syscall
	testq	%rax, %rax
	jz	zero
	cmpq	$-4095, %rax
	jae	failed
done:
	testl	$STUB_RESULT, 56(%rbp)
	jz	1f
	movq	%rax, %rsi
	movl	$STUB_FD_CHANNEL, %edi
	xorl	%edx, %edx
	movl	$__NR_lseek, %eax
	syscall
1:	incl	%r12d
	jmp	next

zero:	/* a new worker comes out of clone here, with all of the leader's registers, and perhaps late */
	cmpq	$__NR_clone, %rsp
	jne	done
	jmp	park

failed:	/* the value is the record's index, the status its errno */
	negl	%eax
	movzbl	%al, %ebx
	movl	%r12d, %esi
	movl	$STUB_FD_CHANNEL, %edi
	xorl	%edx, %edx
	movl	$__NR_lseek, %eax
	syscall
	jmp	report

die:
	movl	$1, %edi
	movl	$__NR_exit_group, %eax
	syscall
	ud2

name:	.asciz	"trapgate-stub"

	.balign	64
status:	/* byte i is i: the leader has no memory to write a status to, it points at one */
	.set	i, 0
	.rept	256
	.byte	i
	.set	i, i + 1
	.endr

	.section .note.GNU-stack, "", @progbits
