/* The stub's ELF image, carried inside the sentry and executed out of a memfd. */
	.section .rodata
	.globl	stub_image, stub_image_end
	.balign	16
stub_image:
	.incbin STUB_IMAGE_FILE
stub_image_end:
	.section .note.GNU-stack, "", @progbits
