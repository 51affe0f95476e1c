/* A vCPU's registers: as ring 0 wants them, and the extended state of contexts. The processor shown is the host's. */
#include "backends/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#ifndef KVM_VCPU_TSC_CTRL
#define KVM_VCPU_TSC_CTRL 0
#define KVM_VCPU_TSC_OFFSET 0
#endif

enum { MSR_SYSENTER_CS = 0x174, MSR_TSC_AUX = 0xc0000103 };
#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_CSTAR	0xc0000083
#define MSR_SFMASK	0xc0000084
/* What Linux clears at SYSCALL: all that a guest can set. */
#define SFMASK		0x257fd5

#define CR0_LONG_MODE	0x80050033u	/* PG AM WP NE ET MP PE */
enum { CR4_PAE = 1 << 5, CR4_OSFXSR = 1 << 9, CR4_OSXMMEXCPT = 1 << 10, CR4_FSGSBASE = 1 << 16, CR4_OSXSAVE = 1 << 18,
       CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21, CR4_PKE = 1 << 22, CR4_BASE = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT };
enum { EFER_SCE = 1, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, EFER_NXE = 1 << 11 };
enum { LEAF_FEATURES = 7, LEAF_XSTATE = 0xd, MAX_LEAVES = 256, MAX_SUBLEAVES = 8 };
enum { SW_RESERVED = 464, SW_RESERVED_LEN = 48, XSAVE_HEADER = 512 };

/* ---- CPUID ---- */

/* KVM leaves out parts of what it does not virtualise, the processor's topology among them. */
static void add_subleaves(struct kvm_cpuid2 *cpuid, u32 function)
{
	for (u32 index = 0; index < MAX_SUBLEAVES && cpuid->nent < MAX_LEAVES; index++) {
		struct kvm_cpuid_entry2 e = { .function = function, .index = index,
					      .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
		u32 i = 0;

		while (i < cpuid->nent && (cpuid->entries[i].function != function || cpuid->entries[i].index != index))
			i++;
		__cpuid_count(function, index, e.eax, e.ebx, e.ecx, e.edx);
		if (i == cpuid->nent && (e.eax || e.ebx))
			cpuid->entries[cpuid->nent++] = e;
	}
}

static void add_missing(struct kvm_cpuid2 *cpuid)
{
	static const u32 functions[] = { 4, 7, 0xb, 0x1f, 0x8000001d, 0x80000026 };

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		if (functions[i] <= (u32)__get_cpuid_max(functions[i] & 0x80000000, NULL))
			add_subleaves(cpuid, functions[i]);
}

/* Every leaf that KVM knows, with the host's own answers. */
static int set_cpuid(struct vcpu *v)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + MAX_LEAVES * sizeof(cpuid->entries[0]));
	const u64 features = xstate_features();
	int err = 0;

	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = MAX_LEAVES;
	if (ioctl(machine.kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
		err = -errno;
	else
		add_missing(cpuid);
	for (u32 i = 0; !err && i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function >> 16 == 0x4000)
			continue;	/* the hypervisor's own */
		__cpuid_count(e->function, e->index, e->eax, e->ebx, e->ecx, e->edx);
		if (e->function == LEAF_XSTATE && !e->index) {
			e->eax &= (u32)features;
			e->edx &= features >> 32;
		}
	}
	if (!err && ioctl(v->fd, KVM_SET_CPUID2, cpuid))
		err = -errno;
	free(cpuid);
	return err;
}

static u32 features_ebx(void)
{
	u32 a, b = 0, c, d;

	__get_cpuid_count(LEAF_FEATURES, 0, &a, &b, &c, &d);
	return b;
}

bool cpu_has_smap(void) { return features_ebx() & 1 << 20; }

/* ---- descriptor tables ---- */

static void fill_tables(struct vcpu *v)
{
	u8 *page = v->area + VCPU_PAGE_TABLES * PAGE_SIZE;
	u64 at = v->area_va + VCPU_PAGE_TABLES * PAGE_SIZE;
	u64 *gdt = (u64 *)(page + VCPU_GDT), tss = at + VCPU_TSS;
	u64 rsp0 = vcpu_cpu_va(v) + CPU_FRAME_END, ist1 = at + VCPU_IST_TOP;

	memset(page, 0, PAGE_SIZE);
	gdt[SEL_KERNEL_CS >> 3] = 0x00af9b000000ffff;
	gdt[SEL_KERNEL_SS >> 3] = 0x00cf93000000ffff;
	gdt[SEL_USER_CS32 >> 3] = 0x00cffb000000ffff;
	gdt[SEL_USER_SS >> 3] = 0x00cff3000000ffff;
	gdt[SEL_USER_CS >> 3] = 0x00affb000000ffff;
	gdt[SEL_TSS >> 3] = 0x67 | (tss & 0xffffff) << 16 | (u64)0x89 << 40 | (tss >> 24 & 0xff) << 56;
	gdt[(SEL_TSS >> 3) + 1] = tss >> 32;
	memcpy(page + VCPU_TSS + 4, &rsp0, sizeof(rsp0));
	memcpy(page + VCPU_TSS + 36, &ist1, sizeof(ist1));
	page[VCPU_TSS + 102] = 0x68;		/* I/O bitmap beyond the limit: no ports */
}

/* Its way in for SYSCALL, and what ring 0 has to know. */
static void fill_area(struct vcpu *v)
{
	const u8 *from = machine.kpti ? ring0_call_kpti : ring0_call;
	const u8 *end = machine.kpti ? ring0_call_page_end_kpti : ring0_call_page_end;
	struct ring0_cpu *c = v->cpu;

	fill_tables(v);
	memcpy(v->area + VCPU_PAGE_TEXT * PAGE_SIZE, from, end - from);
	memset(c, 0, sizeof(*c));
	c->lstar = machine.sentry_inside ? v->area_va + VCPU_PAGE_TEXT * PAGE_SIZE : ring0_va(ring0_lstar);
	c->on_call = (u64)ring0_on_call;
	c->on_fault = (u64)ring0_on_fault;
	c->inside = machine.inside;
	c->sentry_root = RING0_PAGE_ROOT * PAGE_SIZE;
}

static void fill_sregs(struct vcpu *v, struct kvm_sregs *s)
{
	const struct kvm_segment unusable = { .unusable = 1 };
	const u64 tables = v->area_va + VCPU_PAGE_TABLES * PAGE_SIZE;
	const u32 ebx = features_ebx();

	s->cr0 = CR0_LONG_MODE;
	s->cr4 = CR4_BASE;
	if (xstate_features() > 3)
		s->cr4 |= CR4_OSXSAVE;
	if (ebx & bit_FSGSBASE)
		s->cr4 |= CR4_FSGSBASE;
	if (ebx & 1 << 7)
		s->cr4 |= CR4_SMEP;
	if (cpu_has_smap())
		s->cr4 |= CR4_SMAP;
	if (xstate_features() >> 9 & 1)
		s->cr4 |= CR4_PKE;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s->gdt.base = tables + VCPU_GDT;
	s->gdt.limit = SEL_TSS + 15;
	s->idt.base = RING0_BASE + RING0_PAGE_IDT * PAGE_SIZE;
	s->idt.limit = 4095;
	s->tr = (struct kvm_segment){ .base = tables + VCPU_TSS, .limit = 0x67, .selector = SEL_TSS, .type = 11,
				      .present = 1 };
	s->cs = (struct kvm_segment){ .limit = ~0u, .selector = SEL_KERNEL_CS, .type = 11, .present = 1, .s = 1, .l = 1,
				      .g = 1 };
	s->ss = (struct kvm_segment){ .limit = ~0u, .selector = SEL_KERNEL_SS, .type = 3, .present = 1, .s = 1, .db = 1,
				      .g = 1 };
	s->ds = s->es = s->fs = s->gs = s->ldt = unusable;
}

static int set_msrs(struct vcpu *v)
{
	const struct kvm_msr_entry entries[] = {
		{ .index = MSR_STAR, .data = (u64)SEL_USER_CS32 << 48 | (u64)SEL_KERNEL_CS << 32 },
		{ .index = MSR_LSTAR, .data = v->cpu->lstar },
		{ .index = MSR_CSTAR, .data = ring0_va(ring0_cstar) },
		{ .index = MSR_SFMASK, .data = SFMASK },
		{ .index = MSR_SYSENTER_CS, .data = 0 },	/* SYSENTER is #GP */
		{ .index = MSR_TSC_AUX, .data = 0 },
	};
	u64 buf[(sizeof(struct kvm_msrs) + sizeof(entries)) / sizeof(u64)];
	struct kvm_msrs *msrs = (struct kvm_msrs *)buf;

	msrs->nmsrs = ARRAY_SIZE(entries);
	memcpy(msrs->entries, entries, sizeof(entries));
	/* The last is there only with RDTSCP. */
	return ioctl(v->fd, KVM_SET_MSRS, msrs) < (int)ARRAY_SIZE(entries) - 1 ? -EIO : 0;
}

/* The guest's vDSO computes with the host's TSC. */
static void show_host_tsc(struct vcpu *v)
{
	u64 offset = 0;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)&offset };

	ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr);
}

int vcpu_set_up(struct vcpu *v)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = xstate_features() } };
	struct kvm_sregs *s = &v->run->s.regs.sregs;
	int err;

	if (!v->has_cpuid) {		/* which KVM lets nobody change later */
		err = set_cpuid(v);
		if (err)
			return err;
		v->has_cpuid = true;
	}
	fill_area(v);
	if (ioctl(v->fd, KVM_GET_SREGS, s))
		return -errno;
	fill_sregs(v, s);
	if (ioctl(v->fd, KVM_SET_SREGS, s))
		return -errno;
	if (xstate_features() > 3 && ioctl(v->fd, KVM_SET_XCRS, &xcrs))
		return -errno;
	err = set_msrs(v);
	if (err)
		return err;
	show_host_tsc(v);
	v->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	v->run->kvm_dirty_regs = 0;
	return 0;
}

/* ---- extended state ---- */

int vcpu_load_fp(struct vcpu *v, const void *image)
{
	u8 buf[XSAVE_MAX] __attribute__((aligned(64)));

	memset(buf, 0, machine.xsave_size);
	memcpy(buf, image, xstate_size());
	memset(buf + SW_RESERVED, 0, SW_RESERVED_LEN);
	count_host_calls(1);
	return ioctl(v->fd, KVM_SET_XSAVE, buf) ? -errno : 0;
}

int vcpu_save_fp(struct vcpu *v, void *image)
{
	u8 buf[XSAVE_MAX] __attribute__((aligned(64))), *header = (u8 *)image + XSAVE_HEADER;
	const unsigned long get = machine.xsave_size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
	u64 bv;

	count_host_calls(1);
	if (ioctl(v->fd, get, buf))
		return -errno;
	memcpy(image, buf, xstate_size());
	memset((u8 *)image + SW_RESERVED, 0, SW_RESERVED_LEN);
	memcpy(&bv, header, sizeof(bv));
	bv &= xstate_features();
	memset(header, 0, 64);
	memcpy(header, &bv, sizeof(bv));
	return 0;
}
