/*
 * The stub's assembly: start, the helper thread, the birth of a guest thread, and the patched call's way in and out.
 *
 * Threat note. Guest code shares this address space and may jump to any instruction here with any registers. What
 * stops it is the seccomp filter of its own thread (filter2: futex on channels and rt_sigreturn from these pages, all
 * else traps), not anything below. The helper thread has the wider filter; it therefore keeps everything in registers,
 * reads only the control pages, which are mapped read-only, and never has a stack: a guest cannot steer it.
 */
#include "../abi.h"

#define NR_RT_SIGRETURN	15
#define NR_CLONE	56
#define NR_MUNMAP	11
#define NR_SIGALTSTACK	131
#define NR_EXIT_GROUP	231
#define NR_SECCOMP	317
#define NR_PRCTL	157
#define NR_GETPPID	110

	.section .note.GNU-stack, "", @progbits
	.text

	.globl _start
_start:
	xor	%ebp, %ebp
	and	$-16, %rsp
	call	stub_boot			/* maps, filter, handlers; still on the process's first stack */

	movabs	$(STUB_CHANNELS + CHANNEL_MAX * CHANNEL_SIZE), %rdi
	movabs	$0x7ffffffff000, %rsi		/* TASK_SIZE: the first stack and the vDSO go as well */
	sub	%rdi, %rsi
	mov	$NR_MUNMAP, %eax
	syscall
	xor	%esp, %esp

/* The helper: r12 the call, r13 records done, r14 the first error, r15 the last result, rbx records to do, rbp the next one. */
	xor	%r13d, %r13d
	mov	%rax, %r14
	xor	%r15d, %r15d
helper:
	mov	%r13, %rdi
	mov	%r14, %rsi
	mov	%r15, %rdx
	mov	$RENDEZVOUS_NR, %eax
	syscall					/* a user notification: the sentry answers with the number of records */
	test	%rax, %rax
	js	helper_end			/* nobody listens any more */
	mov	%rax, %rbx
	movabs	$(STUB_CONTROL + CONTROL_RECORDS), %rbp
	xor	%r13d, %r13d
	xor	%r14d, %r14d
next_record:
	cmp	%rbx, %r13
	jae	helper
	mov	(%rbp), %r12
	mov	%r12, %rax
	mov	8(%rbp), %rdi
	mov	16(%rbp), %rsi
	mov	24(%rbp), %rdx
	mov	32(%rbp), %r10
	mov	40(%rbp), %r8
	mov	48(%rbp), %r9
	syscall
	mov	%rax, %r15
	cmp	$-4095, %rax
	jae	record_failed
	test	%rax, %rax
	jnz	record_done
	cmp	$NR_CLONE, %r12			/* not from the record: the next batch may already stand there */
	je	guest_thread			/* the child of a clone record */
record_done:
	inc	%r13
	add	$64, %rbp
	jmp	next_record
record_failed:
	mov	%rax, %r14
	jmp	helper
helper_end:
	mov	$1, %edi
	mov	$NR_EXIT_GROUP, %eax
	syscall
	hlt

/*
 * A new guest thread. Nothing of the guest has run in it. It takes the narrow filter and then traps, so that its first
 * event comes with a full frame. Its stack is its channel's, which siblings can write: that can only misplace its own
 * signal stack. It reads no records: nobody waits for it before the next ones are written.
 */
guest_thread:
	mov	$1, %edi			/* PR_SET_PDEATHSIG, SIGKILL */
	mov	$9, %esi
	mov	$NR_PRCTL, %eax
	syscall
	mov	$NR_GETPPID, %eax		/* it may have died before */
	syscall
	movabs	$(STUB_CONTROL + CT_SENTRY_PID), %rdi
	cmp	(%rdi), %rax
	jne	helper_end
	lea	-CHANNEL_PAGE+CHANNEL_ALTSTACK(%rsp), %rax
	pushq	$CHANNEL_ALTSTACK_SIZE		/* a stack_t */
	pushq	$0
	push	%rax
	mov	%rsp, %rdi
	xor	%esi, %esi
	mov	$NR_SIGALTSTACK, %eax
	syscall
	test	%rax, %rax
	jnz	helper_end
	mov	$1, %edi			/* SECCOMP_SET_MODE_FILTER */
	xor	%esi, %esi
	movabs	$(STUB_CONTROL + CT_FILTER2), %rdx
	mov	$NR_SECCOMP, %eax
	syscall
	test	%rax, %rax
	jnz	helper_end
	mov	$-1, %eax
	syscall					/* SIGSYS: stub_handler publishes the frame */
	hlt

	.globl stub_restorer
stub_restorer:
	mov	$NR_RT_SIGRETURN, %eax
	syscall
	hlt

	.globl stub_make_frame, stub_frame_trap
stub_make_frame:
	mov	$-1, %eax
	syscall					/* SIGSYS */
stub_frame_trap:
	hlt

/*
 * A guest thread between two guests; rdi the channel. The kernel tells the sentry that it is here (park.c), and keeps rdi. All
 * other registers, its stack, signal mask and signal stack are as the last guest may have left them: so the way on
 * takes everything from the channel, which by then only the sentry can write.
 */
	.section .park, "ax", @progbits
	.globl stub_park
stub_park:
	mov	$RENDEZVOUS_NR, %eax
	syscall
stub_parked:
	test	%rax, %rax
	jnz	1f				/* nobody listens any more */
	mov	CH_NEW_FS(%rdi), %rax
	wrfsbase %rax
	mov	CH_NEW_GS(%rdi), %rax
	wrgsbase %rax
	mov	CH_PARK_FRAME(%rdi), %rsp
	mov	$NR_RT_SIGRETURN, %eax
	syscall
1:	hlt

/*
 * A patched call. From the trampoline: r11 the channel, rcx where the guest goes on, rax the call's number, all else
 * as the guest had it. The guest's stack is not touched. Between stub_fast_entry and the PHASE_SAVE store the
 * phase still says RESTORE from last time: the handler knows that range by its labels.
 */
	.section .fast, "ax", @progbits
	.globl stub_fast_entry, stub_fast_marked
stub_fast_entry:
	movl	$PHASE_SAVE, CH_PHASE(%r11)
stub_fast_marked:
	mov	%rsp, 152(%r11)
	mov	%r11, %rsp			/* the fast stack ends where struct channel starts */
	pushfq
	popq	144(%r11)
	mov	%r15, 0(%r11)
	mov	%r14, 8(%r11)
	mov	%r13, 16(%r11)
	mov	%r12, 24(%r11)
	mov	%rbp, 32(%r11)
	mov	%rbx, 40(%r11)
	mov	%r10, 56(%r11)
	mov	%r9, 64(%r11)
	mov	%r8, 72(%r11)
	mov	%rdx, 96(%r11)
	mov	%rsi, 104(%r11)
	mov	%rdi, 112(%r11)
	mov	%rax, 120(%r11)			/* orig_rax */
	mov	%rcx, 128(%r11)			/* rip */
	cld
	mov	%r11, %rdi
	call	stub_call			/* eax: 1 load everything, 0 only the result changed */
	mov	%rsp, %r11
	test	%eax, %eax
	jnz	load_all

	mov	56(%r11), %r10			/* the C code kept rbx, rbp and r12 to r15 */
	mov	64(%r11), %r9
	mov	72(%r11), %r8
	mov	80(%r11), %rax
	mov	96(%r11), %rdx
	mov	104(%r11), %rsi
	mov	112(%r11), %rdi
	mov	128(%r11), %rcx
	pushq	144(%r11)
	popfq
	mov	152(%r11), %rsp
	mov	144(%r11), %r11			/* as SYSCALL leaves it */
	jmp	*%rcx

load_all:
	pushq	$2				/* NT or TF of the guest's must not meet IRETQ */
	popfq
	pushq	$0x2b				/* ss */
	pushq	152(%r11)
	pushq	144(%r11)
	pushq	$0x33				/* cs */
	pushq	128(%r11)
	mov	0(%r11), %r15
	mov	8(%r11), %r14
	mov	16(%r11), %r13
	mov	24(%r11), %r12
	mov	32(%r11), %rbp
	mov	40(%r11), %rbx
	mov	56(%r11), %r10
	mov	64(%r11), %r9
	mov	72(%r11), %r8
	mov	80(%r11), %rax
	mov	88(%r11), %rcx
	mov	96(%r11), %rdx
	mov	104(%r11), %rsi
	mov	112(%r11), %rdi
	mov	48(%r11), %r11
	iretq
