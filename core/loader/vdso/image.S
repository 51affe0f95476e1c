/* The vDSO's image as data of the sentry. VDSO_IMAGE is the path that rules.mk built it at. */
	.section .rodata
	.balign 4096
	.globl vdso_image, vdso_image_end
vdso_image:
	.incbin VDSO_IMAGE
	.balign 4096
vdso_image_end:
	.section .note.GNU-stack, "", @progbits
