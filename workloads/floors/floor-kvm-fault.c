/*
 * The floor of memory in a VM: pages of a memory file that do not exist yet are mapped in the host in one call, then
 * ring 3 writes to each, which its page table already shows in entries of 4 KiB. One operation is one page.
 */
#include "floor_kvm.h"

__asm__(".pushsection .rodata\n"
	"floor_user:\n"
	"1:	incl (%rdi)\n"
	"	add $4096, %rdi\n"
	"	dec %rbx\n"
	"	jnz 1b\n"
	"	ud2\n"
	"	.balign 64\n"
	"floor_kernel:\n"
	"	sysretq\n"
	"	.balign 16\n"
	"	.skip 48, 0xf4\n"	/* every other way in: HLT */
	"floor_end:\n"
	".popsection");

enum { PAGES = 2048, PAGE = 4096 };
#define DATA	0x10000000ul

static int fd;
static char *base;

static void setup(void)
{
	u64 i;

	floor_pin(floor_cpu(0));
	vm_create();
	fd = CHECK_LIBC(memfd_create("floor", MFD_CLOEXEC));
	CHECK_LIBC(ftruncate(fd, PAGES * PAGE));
	base = CHECK_LIBC(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	vm_slot(1, VM_DATA_GPA, base, PAGES * PAGE);
	for (i = 0; i < PAGES; i++)
		vm_map(DATA + i * PAGE, VM_DATA_GPA + i * PAGE, VM_USER_BITS);
}

/* Cutting the file takes the pages out of every table. */
static void prepare(u64 n)
{
	(void)n;
	CHECK_LIBC(ftruncate(fd, 0));
	CHECK_LIBC(ftruncate(fd, PAGES * PAGE));
}

static u64 batch(u64 n)
{
	struct kvm_regs *g = &vm.run->s.regs.regs;

	g->rip = vm_kernel_at(VM_BOOT);
	g->rcx = VM_USER;
	g->r11 = 0x202;
	g->rflags = 2;
	g->rbx = n;
	g->rdi = DATA;
	vm.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	if (madvise(base, PAGES * PAGE, MADV_POPULATE_WRITE))
		return 0;
	g = vm_run();
	return g->rip == vm_kernel_at(VM_OTHER) + 1 ? n - g->rbx : 0;
}

const struct workload workload = {
	.name = "floor-kvm-fault", .help = "one page mapped in the host and written first in ring 3 of a VM",
	.class = CLASS_FLOOR, .placements = PLACE_SAME, .fixed_inner = PAGES,
	.setup = setup, .prepare = prepare, .batch = batch,
};
