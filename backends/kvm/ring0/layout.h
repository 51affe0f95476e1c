/*
 * Where ring 0's pages stand, for C and assembly: one private slot of 2 MiB at guest-physical 0, seen by ring 0 alone
 * at RING0_BASE. The guest's page tables all share the entry of the top level that shows it.
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
#define RING0_PAGE_PT		4
#define RING0_PAGE_VCPU		8			/* one a vCPU from here on */
#define RING0_PAGES		512

/* Within a vCPU's page. */
#define VCPU_GDT		0x000
#define VCPU_TSS		0x100
#define VCPU_IST_TOP		0x800
#define VCPU_STACK_TOP		0x1000

/* Linux's selectors; the software hypervisor accepts no others. */
#define SEL_KERNEL_CS		0x10
#define SEL_KERNEL_SS		0x18
#define SEL_USER_CS32		0x23
#define SEL_USER_SS		0x2b
#define SEL_USER_CS		0x33
#define SEL_TSS			0x40

#endif
