/* long thread_clone(fn, arg, stack_top, flags): C cannot say "return twice, once on another stack". */
	.text
	.globl thread_clone
	.type thread_clone, @function
thread_clone:
	sub	$16, %rdx
	mov	%rsi, 0(%rdx)
	mov	%rdi, 8(%rdx)
	mov	%rcx, %rdi
	mov	%rdx, %rsi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	mov	$56, %eax
	syscall
	test	%eax, %eax
	jz	1f
	ret
1:	xor	%ebp, %ebp
	pop	%rdi
	pop	%rax
	call	*%rax
	mov	%eax, %edi
	mov	$60, %eax
	syscall
	hlt
	.size thread_clone, . - thread_clone
	.section .note.GNU-stack, "", @progbits
