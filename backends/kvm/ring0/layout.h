/*
 * Where ring 0's pages stand, for C and assembly: one private slot at guest-physical 0, seen by ring 0 alone at
 * RING0_BASE. The guest's page tables all share the entry of the top level that shows it.
 */
#ifndef TG_KVM_RING0_LAYOUT_H
#define TG_KVM_RING0_LAYOUT_H

#define RING0_BASE		0xffff800000000000	/* guest-virtual address of guest-physical 0 */
#define RING0_STUB_SIZE		8			/* one a vector */

/* Pages of the private slot. */
#define RING0_PAGE_TEXT		0
#define RING0_PAGE_IDT		1
#define RING0_PAGE_PDPT		2
#define RING0_PAGE_PD		3
#define RING0_PAGE_PT		4			/* eight of them */
#define RING0_PAGE_SENTRY	12			/* PDPTs of the sentry's own addresses, sentry.c */
#define RING0_PAGE_ROOT		14			/* kvm.kpti: what ring 0 runs on */
#define RING0_PAGE_VCPU		16			/* VCPU_PAGES a vCPU from here on */
#define RING0_PAGES		4096

/* Pages of a vCPU: the next to last ones are ring 0's stack, which ends in a struct ring0_cpu (cpu.h). */
#define VCPU_PAGE_TEXT		0			/* its own way in for SYSCALL, which finds its place by rip */
#define VCPU_PAGE_TABLES	1			/* GDT, TSS and the stack of NMI, #DB, #DF and #MC */
#define VCPU_PAGE_GUARD		2			/* nothing: what overruns the stack faults */
#define VCPU_PAGE_STACK		3
#define VCPU_PAGES		8
#define VCPU_AREA		(VCPU_PAGES * 4096)

/* Within the page of tables. */
#define VCPU_GDT		0x000
#define VCPU_TSS		0x100
#define VCPU_IST_TOP		0x1000

/* struct ring0_cpu, from the start of a vCPU's area, and in it; asserted in cpu.h. */
#define CPU_SIZE		512
#define CPU_OFFSET		(VCPU_AREA - CPU_SIZE)
#define CPU_REGS		8
#define CPU_ORIG_RAX		(CPU_REGS + 15 * 8)
#define CPU_RIP			(CPU_REGS + 16 * 8)
#define CPU_FRAME_END		(CPU_REGS + 21 * 8)
#define CPU_SCRATCH		224
#define CPU_ON_CALL		232
#define CPU_ON_FAULT		240
#define CPU_ROOT		248
#define CPU_SENTRY_ROOT		256
#define CPU_STOP		264

/* Flags that ring 3 may come from and go to. */
#define RING0_EFLAGS_USER	0x254fd7
#define RING0_EFLAGS_FIXED	0x202

/* What ring 0's code in C answers. */
#define RING0_TO_HOST		0
#define RING0_TO_GUEST		1

/* Linux's selectors; the software hypervisor accepts no others. */
#define SEL_KERNEL_CS		0x10
#define SEL_KERNEL_SS		0x18
#define SEL_USER_CS32		0x23
#define SEL_USER_SS		0x2b
#define SEL_USER_CS		0x33
#define SEL_TSS			0x40

#endif
