/* The stub's image, carried inside the sentry. */
	.section .note.GNU-stack, "", @progbits
	.section .rodata
	.globl systrap_image, systrap_image_end
	.balign 16
systrap_image:
	.incbin "systrap_stub"
systrap_image_end:
