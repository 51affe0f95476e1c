/* The VM: what KVM must be able to do, the slots of guest-physical memory, and how mappings of them are forgotten. */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"

struct machine machine = { .kvm = -1, .vm = -1 };
u8 *machine_tables;

enum { SLOT_PRIVATE, SLOT_SPARE, SLOT_TABLES, SLOT_DATA = SLOT_TABLES + TABLES_MAX / TABLES_STEP,
       MAX_DATA_SLOTS = 400, SLOT_SENTRY = SLOT_DATA + MAX_DATA_SLOTS, MAX_SENTRY_SLOTS = 512 };
#define GIB		((u64)1 << 30)
#define DATA_STEP	GIB
#define USER_END	(((u64)1 << 47) - PAGE_SIZE)	/* the host gives its processes no more */
#define VIEW_ALIGN	((u64)2 << 20)
#define GPA_SPARE	((gpa_t)1 << 30)	/* never in a page table */

static struct {
	pthread_mutex_t lock;
	u8 *view;				/* the memory file, mapped for the slots alone */
	u8 *reserved;				/* what view was cut from */
	u64 step;				/* bytes a slot */
	_Atomic bool have[MAX_DATA_SLOTS];
} data = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- capabilities ---- */

static const struct {
	int cap, least;
	const char *what;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, 1, "user memory slots (KVM_CAP_USER_MEMORY)" },
	{ KVM_CAP_SYNC_MMU, 1, "mappings that follow the host's (KVM_CAP_SYNC_MMU)" },
	{ KVM_CAP_NR_MEMSLOTS, SLOT_DATA + 64, "enough memory slots (KVM_CAP_NR_MEMSLOTS)" },
	{ KVM_CAP_IMMEDIATE_EXIT, 1, "immediate_exit (KVM_CAP_IMMEDIATE_EXIT, Linux 4.13)" },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS, 
	  "registers in the run page (KVM_CAP_SYNC_REGS, Linux 4.17)" },
	{ KVM_CAP_XSAVE, 1, "extended state (KVM_CAP_XSAVE)" },
	{ KVM_CAP_XCRS, 1, "XCR0 (KVM_CAP_XCRS)" },
	{ KVM_CAP_VCPU_EVENTS, 1, "pending exceptions (KVM_CAP_VCPU_EVENTS)" },
	{ KVM_CAP_DEBUGREGS, 1, "debug registers (KVM_CAP_DEBUGREGS)" },
	{ KVM_CAP_MAX_VCPUS, 2, "two vCPUs (KVM_CAP_MAX_VCPUS)" },
};

static int check_capabilities(int kvm, char *why, size_t len)
{
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		snprintf(why, len, "/dev/kvm speaks another version of the KVM interface");
		return -ENOSYS;
	}
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		int have = ioctl(kvm, KVM_CHECK_EXTENSION, needed[i].cap);
		bool bits = needed[i].cap == KVM_CAP_SYNC_REGS;

		if (bits ? (have & needed[i].least) != needed[i].least : have < needed[i].least) {
			snprintf(why, len, "the host's KVM lacks %s", needed[i].what);
			return -ENOSYS;
		}
	}
	return 0;
}

int machine_probe(char *why, size_t len)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, err;

	if (kvm < 0) {
		err = -errno;
		snprintf(why, len, err == -ENOENT ? "there is no /dev/kvm (no virtualisation, or no module for it)"
						  : "can't open /dev/kvm: %s", strerror(-err));
		return err;
	}
	err = check_capabilities(kvm, why, len);
	if (err)
		goto out;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0) {
		err = -errno;
		snprintf(why, len, "KVM makes no virtual machine: %s", strerror(-err));
		goto out;
	}
	close(vm);
out:
	close(kvm);
	return err;
}

/* ---- slots ---- */

static int set_slot(u32 slot, gpa_t gpa, void *host, u64 len)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = len, .userspace_addr = (u64)host,
	};

	count_host_calls(1);
	return ioctl(machine.vm, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

int machine_add_tables(u64 from, u64 to)
{
	const u32 slot = SLOT_TABLES + from / (TABLES_STEP * PAGE_SIZE);

	return set_slot(slot, GPA_TABLES + from, machine_tables + from, to - from);
}

static int add_data_slot(u64 i)
{
	int err = 0;

	pthread_mutex_lock(&data.lock);
	if (!data.have[i]) {
		err = set_slot(SLOT_DATA + i, GPA_DATA + i * data.step, data.view + i * data.step,
			       MIN(data.step, machine.memory->size - i * data.step));
		if (!err)
			atomic_store(&data.have[i], true);
		else
			log_error("kvm: no slot for memory at %#lx: %s", i * data.step, strerror(-err));
	}
	pthread_mutex_unlock(&data.lock);
	return err;
}

gpa_t machine_data(u64 offset, u64 len)
{
	for (u64 i = offset / data.step; i <= (offset + len - 1) / data.step; i++)
		if (!atomic_load_explicit(&data.have[i], memory_order_acquire) && add_data_slot(i))
			return 0;
	return GPA_DATA + offset;
}

/* ---- the sentry's own addresses (sentry.c) ---- */

gpa_t machine_sentry_gpa(u32 n) { return GPA_DATA + align_up(machine.memory->size, GIB) + n * GIB; }

gpa_t machine_add_sentry(u32 n, u64 addr)
{
	const gpa_t gpa = machine_sentry_gpa(n);
	const u64 len = MIN(GIB, USER_END - addr);

	return n < MAX_SENTRY_SLOTS && !set_slot(SLOT_SENTRY + n, gpa, (void *)addr, len) ? gpa : 0;
}

static bool overlaps(u64 addr, u64 len, const u8 *base, u64 size)
{
	return addr < (u64)base + size && addr + len > (u64)base;
}

bool machine_has_own_slot(u64 addr, u64 len)
{
	return overlaps(addr, len, machine.memory->base, machine.memory->size) ||
	       overlaps(addr, len, machine_tables, TABLES_MAX * PAGE_SIZE);
}

/* 0: not all of [addr, addr+len) is seen through one slot, or not at a multiple of len. */
gpa_t machine_own_gpa(u64 addr, u64 len)
{
	const u64 file = addr - (u64)machine.memory->base, table = addr - (u64)machine_tables;

	if (!(file & (len - 1)) && file < machine.memory->size && machine.memory->size - file >= len)
		return machine_data(file, len);
	if (!(table & (len - 1)) && table < tables_shown())
		return GPA_TABLES + table;
	return 0;
}

u8 *machine_data_ptr(gpa_t gpa) { return machine.memory->base + (gpa - GPA_DATA); }

/*
 * Dropping the host's own mapping of the pages makes KVM drop every mapping of them in every guest page table, and
 * flush, before madvise returns; the memory file keeps what is in them. It is the one way that works
 * alike under nested paging and under shadow paging, where entries that the host takes away are not noticed.
 */
int machine_forget(gpa_t gpa, u64 len)
{
	count_host_calls(1);
	return madvise(data.view + (gpa - GPA_DATA), len, MADV_DONTNEED) ? -errno : 0;
}

void machine_populate(gpa_t gpa, u64 len, bool write)
{
	count_host_calls(1);
	madvise(data.view + (gpa - GPA_DATA), len, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

/* Removing any slot makes KVM drop all shadow pages of the VM. */
int machine_forget_tables(void)
{
	int err;

	pthread_mutex_lock(&data.lock);
	err = set_slot(SLOT_SPARE, GPA_SPARE, machine.private, 0);
	if (!err)
		err = set_slot(SLOT_SPARE, GPA_SPARE, machine.private, PAGE_SIZE);
	pthread_mutex_unlock(&data.lock);
	return err;
}

/* ---- life ---- */

static void *reserve(u64 len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int map_view(const struct backing *memory)
{
	const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	const int file = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
	u8 *at;

	data.step = MAX(DATA_STEP, align_up(memory->size / (MAX_DATA_SLOTS - 1), DATA_STEP));
	data.reserved = mmap(SENTRY_VIEW_HINT, memory->size + VIEW_ALIGN, PROT_NONE, anonymous, -1, 0);
	if (data.reserved == MAP_FAILED) {
		data.reserved = NULL;
		return -ENOMEM;
	}
	at = (u8 *)align_up((u64)data.reserved, VIEW_ALIGN);
	data.view = mmap(at, memory->size, PROT_READ | PROT_WRITE, file, memory->fd, 0);
	return data.view == MAP_FAILED ? -errno : 0;
}

/* Intel's processors want three pages for themselves; others don't know these calls. */
static void set_intel_pages(void)
{
	u64 identity = 0xfeffc000;

	ioctl(machine.vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(machine.vm, KVM_SET_TSS_ADDR, 0xfeffd000);
}

/*
 * KVM would write the right vendor's VMCALL over the wrong one in the guest's code, natively it is #UD. (The quirk that
 * removing a slot drops all shadow pages stays on: machine_forget_tables needs it.)
 */
static void keep_code_as_it_is(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DISABLE_QUIRKS2, .args[0] = KVM_X86_QUIRK_FIX_HYPERCALL_INSN };

	if (ioctl(machine.kvm, KVM_CHECK_EXTENSION, cap.cap) & KVM_X86_QUIRK_FIX_HYPERCALL_INSN)
		ioctl(machine.vm, KVM_ENABLE_CAP, &cap);
}

static int create_vm(void)
{
	machine.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (machine.kvm < 0)
		return -errno;
	machine.vm = ioctl(machine.kvm, KVM_CREATE_VM, 0);
	if (machine.vm < 0)
		return -errno;
	set_intel_pages();
	keep_code_as_it_is();
	machine.run_size = ioctl(machine.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	machine.max_vcpus = ioctl(machine.kvm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	machine.xsave_size = MAX(ioctl(machine.vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2), (int)sizeof(struct kvm_xsave));
	return machine.xsave_size > XSAVE_MAX ? -E2BIG : 0;
}

void machine_fill_idt(void)
{
	u64 *idt = (u64 *)machine_private(RING0_PAGE_IDT);

	for (u64 i = 0; i < 256; i++) {
		u64 at = ring0_va(ring0_image) + i * RING0_STUB_SIZE;
		u64 dpl = i == 3 || i == 4 ? 3 : 0, ist = i == 1 || i == 2 || i == 8 || i == 18;

		if (i == 14 && machine.sentry_inside)
			at = ring0_va(machine.kpti ? ring0_fault_kpti : ring0_fault);

		idt[2 * i] = (at & 0xffff) | (u64)SEL_KERNEL_CS << 16 | ist << 32 | (0x8e00 | dpl << 13) << 32 |
			     (at >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = at >> 32;
	}
}

static u8 *in_text(const u8 *label) { return machine_private(RING0_PAGE_TEXT) + (label - ring0_image); }

void machine_use_smap(void)
{
	static const u8 clac[] = { 0x0f, 0x01, 0xca };

	memcpy(in_text(ring0_fault_clac), clac, sizeof(clac));
	memcpy(in_text(ring0_fault_clac_kpti), clac, sizeof(clac));
}

int machine_init(const struct backing *memory)
{
	int err;

	machine.memory = memory;
	err = create_vm();
	if (err)
		return err;
	machine.private = reserve(RING0_PAGES * PAGE_SIZE);
	machine_tables = reserve(TABLES_MAX * PAGE_SIZE);
	if (!machine.private || !machine_tables)
		return -ENOMEM;
	err = map_view(memory);
	if (err)
		return err;
	memcpy(machine_private(RING0_PAGE_TEXT), ring0_image, (u64)ring0_image_end - (u64)ring0_image);
	machine_fill_idt();
	pagetable_init_kernel();
	err = set_slot(SLOT_PRIVATE, 0, machine.private, RING0_PAGES * PAGE_SIZE);
	return err ? err : set_slot(SLOT_SPARE, GPA_SPARE, machine.private, PAGE_SIZE);
}

static void unmap(void *p, u64 len)
{
	if (p)
		munmap(p, len);
}

void machine_exit(void)
{
	if (machine.vm >= 0)
		close(machine.vm);
	if (machine.kvm >= 0)
		close(machine.kvm);
	unmap(machine.private, RING0_PAGES * PAGE_SIZE);
	unmap(machine_tables, TABLES_MAX * PAGE_SIZE);
	if (machine.memory)
		unmap(data.reserved, machine.memory->size + VIEW_ALIGN);
	machine = (struct machine){ .kvm = -1, .vm = -1 };
	machine_tables = data.view = data.reserved = NULL;
	memset(data.have, 0, sizeof(data.have));
}
