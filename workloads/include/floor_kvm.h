/*
 * Shared by the floors of KVM: one VM with one vCPU, four page tables, no devices. Each floor brings its guest code: two
 * pages, ring 3's and ring 0's, between the labels floor_user and floor_kernel, and floor_end.
 *
 * Ring 0's page begins with one way in of 16 bytes each: boot (SYSRETQ to rcx), a call at LSTAR, a page fault,
 * any other exception. SYSCALL arrives at LSTAR on AMD-V and VT-x; on the software hypervisor PVM as a page fault whose
 * saved rip is LSTAR and whose saved CS is ring 3's. A floor takes both.
 */
#ifndef WORKLOADS_FLOOR_KVM_H
#define WORKLOADS_FLOOR_KVM_H

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "floor.h"

enum { VM_BOOT = 0, VM_LSTAR = 16, VM_PAGE_FAULT = 32, VM_OTHER = 48 };
enum { VM_MEM = 64 << 12, VM_PML4 = 0x1000, VM_TSS = 0x3000, VM_GDT = 0x4000, VM_IDT = 0x5000, VM_USER_CODE = 0x8000,
       VM_KERNEL_CODE = 0x9000, VM_STACK = 0xb000, VM_TABLES = 0x10000 };
enum { VM_KERNEL_CS = 0x10, VM_KERNEL_SS = 0x18, VM_USER_CS = 0x33, VM_TSS_SEL = 0x40, VM_WRITE = 2, VM_USER_BITS = 7 };
#define VM_KERNEL	0xffff800000000000ul
#define VM_USER		0x400000ul
#define VM_DATA_GPA	0x40000000ul

extern const char floor_user[], floor_kernel[], floor_end[];

static struct {
	int fd, vcpu;
	char *mem;
	u64 next_table;
	struct kvm_run *run;
} vm = { .next_table = VM_TABLES };

/* Guest-virtual address of `at` in ring 0's page. */
static inline u64 vm_kernel_at(u64 at) { return VM_KERNEL + VM_KERNEL_CODE + at; }

static inline u64 *vm_entry(u64 va)
{
	u64 *t = (u64 *)(vm.mem + VM_PML4);
	int level;

	for (level = 3; level > 0; level--) {
		u64 *e = &t[va >> (12 + 9 * level) & 511];

		if (!(*e & 1)) {
			*e = vm.next_table | VM_USER_BITS;
			vm.next_table += 4096;
			if (vm.next_table > VM_MEM)
				workload_fail(ENOMEM, __LINE__);
		}
		t = (u64 *)(vm.mem + (*e & ~0xffful));
	}
	return &t[va >> 12 & 511];
}

static inline void vm_map(u64 va, u64 gpa, u64 bits) { *vm_entry(va) = gpa | bits | 0x60; }

static inline void vm_slot(u32 slot, u64 gpa, void *host, u64 len)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = len, .userspace_addr = (u64)host,
	};

	CHECK_LIBC(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &r));
}

static inline void vm_fill_tables(void)
{
	u64 *gdt = (u64 *)(vm.mem + VM_GDT), *idt = (u64 *)(vm.mem + VM_IDT), tss = VM_KERNEL + VM_TSS, pa, i;

	memcpy(vm.mem + VM_USER_CODE, floor_user, floor_kernel - floor_user);
	memcpy(vm.mem + VM_KERNEL_CODE, floor_kernel, floor_end - floor_kernel);
	for (pa = 0; pa < 0x10000; pa += 4096)
		vm_map(VM_KERNEL + pa, pa, 3);
	vm_map(VM_USER, VM_USER_CODE, VM_USER_BITS);
	gdt[2] = 0x00af9b000000ffff;
	gdt[3] = 0x00cf93000000ffff;
	gdt[5] = 0x00cff3000000ffff;
	gdt[6] = 0x00affb000000ffff;
	gdt[8] = 0x67 | (tss & 0xffffff) << 16 | 0x89ul << 40 | (tss >> 24 & 0xff) << 56;
	gdt[9] = tss >> 32;
	*(u64 *)(vm.mem + VM_TSS + 4) = VM_KERNEL + VM_STACK + 4096;
	for (i = 0; i < 32; i++) {
		u64 h = vm_kernel_at(i == 14 ? VM_PAGE_FAULT : VM_OTHER);

		idt[2 * i] = (h & 0xffff) | VM_KERNEL_CS << 16 | 0x8e00ul << 32 | (h >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = h >> 32;
	}
}

static inline void vm_set_system(void)
{
	const u64 msrs[][2] = { { 0xc0000081, 0x23ul << 48 | (u64)VM_KERNEL_CS << 32 }, { 0xc0000082, vm_kernel_at(VM_LSTAR) },
				{ 0xc0000084, 0x47700 } };
	u64 buf[(sizeof(struct kvm_msrs) + 3 * sizeof(struct kvm_msr_entry)) / 8] = { 0 };
	struct kvm_msrs *m = (struct kvm_msrs *)buf;
	struct kvm_sregs s;
	int i;

	CHECK_LIBC(ioctl(vm.vcpu, KVM_GET_SREGS, &s));
	s.cr3 = VM_PML4;
	s.cr4 = 0x620;				/* PAE OSFXSR OSXMMEXCPT */
	s.cr0 = 0x80050033;
	s.efer = 0xd01;				/* NXE LMA LME SCE */
	s.gdt.base = VM_KERNEL + VM_GDT;
	s.gdt.limit = 127;
	s.idt.base = VM_KERNEL + VM_IDT;
	s.idt.limit = 4095;
	s.tr = (struct kvm_segment){ .base = VM_KERNEL + VM_TSS, .limit = 0x67, .selector = VM_TSS_SEL, .type = 11, .present = 1 };
	s.cs = (struct kvm_segment){ .limit = ~0u, .selector = VM_KERNEL_CS, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	s.ss = (struct kvm_segment){ .limit = ~0u, .selector = VM_KERNEL_SS, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	s.ds = s.es = s.fs = s.gs = (struct kvm_segment){ .unusable = 1 };
	CHECK_LIBC(ioctl(vm.vcpu, KVM_SET_SREGS, &s));
	m->nmsrs = 3;
	for (i = 0; i < 3; i++) {
		m->entries[i].index = msrs[i][0];
		m->entries[i].data = msrs[i][1];
	}
	if (ioctl(vm.vcpu, KVM_SET_MSRS, m) != 3)
		workload_fail(EIO, __LINE__);
}

static inline void vm_set_cpuid(int kvm)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));

	if (!cpuid)
		workload_fail(ENOMEM, __LINE__);
	cpuid->nent = 256;
	CHECK_LIBC(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid));
	CHECK_LIBC(ioctl(vm.vcpu, KVM_SET_CPUID2, cpuid));
	free(cpuid);
}

/* A vCPU about to leave for ring 3, at floor_user, with `rbx`; not run yet. */
static inline void vm_create(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct kvm_regs *g;

	if (kvm < 0)
		workload_unsupported(errno, __LINE__);
	vm.fd = CHECK_LIBC(ioctl(kvm, KVM_CREATE_VM, 0));
	ioctl(vm.fd, KVM_SET_TSS_ADDR, 0xfeffd000);
	vm.mem = floor_shared(VM_MEM);
	vm_slot(0, 0, vm.mem, VM_MEM);
	vm.vcpu = CHECK_LIBC(ioctl(vm.fd, KVM_CREATE_VCPU, 0));
	vm.run = CHECK_LIBC(mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu, 0));
	vm_set_cpuid(kvm);
	vm_fill_tables();
	vm_set_system();
	g = &vm.run->s.regs.regs;
	*g = (struct kvm_regs){ .rip = vm_kernel_at(VM_BOOT), .rcx = VM_USER, .r11 = 0x202, .rflags = 2 };
	vm.run->kvm_valid_regs = vm.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

/* Until ring 0's HLT; its registers are then in the run page, and what is changed there counts. */
static inline struct kvm_regs *vm_run(void)
{
	if (ioctl(vm.vcpu, KVM_RUN, 0) || vm.run->exit_reason != KVM_EXIT_HLT)
		workload_fail(EIO, __LINE__);
	vm.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	return &vm.run->s.regs.regs;
}

#endif
