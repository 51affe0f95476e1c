/* What a guest may try on the processor it is given: it learns what native Linux tells it, and hurts itself alone. */
#include "tests/contract/contract.h"

#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* After an attack: the context runs, and so does memory. */
static void expect_alive(struct guest *g)
{
	u64 value;

	guest_code(g, accessors, accessors_end);
	CHECK(guest_load(g, STACK, &value));
}

/* The guest was stopped by a signal that its own program would get natively. */
static bool refused(const struct guest *g)
{
	return (g->ev.kind == EVENT_EXCEPTION || g->ev.kind == EVENT_FAULT) &&
	       (g->ev.signo == SIGSEGV || g->ev.signo == SIGILL || g->ev.signo == SIGBUS);
}

/* ---- CPUID ---- */

GUEST_CODE(do_cpuid, "mov %edi, %eax; mov %esi, %ecx; cpuid; mov %ecx, %r8d; syscall");

struct leaf {
	u32 a, b, c, d;
};

/* What differs from one processor of a machine to the next. */
static void mask_local(u32 leaf, u32 sub, struct leaf *l)
{
	switch (leaf) {
	case 1:
		l->b &= 0x00ffffff;
		break;
	case 0xb: case 0x1f: case 0x80000026:
		l->d = 0;
		break;
	case 0xd:				/* what the sentry does not offer */
		l->a &= sub ? ~0u : (u32)xstate_features();
		break;
	case 0x8000001e:
		l->a = l->b = l->c = 0;
		break;
	}
}

static void compare_leaf(struct guest *g, u32 leaf, u32 sub)
{
	struct leaf host, guest;

	if (leaf == 0xd && sub > 1 && !(xstate_features() >> sub & 1))
		return;
	__cpuid_count(leaf, sub, host.a, host.b, host.c, host.d);
	guest_init_regs(g);
	g->regs.rdi = leaf;
	g->regs.rsi = sub;
	CHECK_EQ(guest_run(g), EVENT_SYSCALL);
	guest = (struct leaf){ (u32)g->regs.orig_rax, (u32)g->regs.rbx, (u32)g->regs.r8, (u32)g->regs.rdx };
	mask_local(leaf, sub, &host);
	mask_local(leaf, sub, &guest);
	if (!memcmp(&host, &guest, sizeof(host)))
		return;
	fprintf(stderr, "leaf %#x.%u: %08x %08x %08x %08x, the host's %08x %08x %08x %08x\n", leaf, sub, guest.a, guest.b,
		guest.c, guest.d, host.a, host.b, host.c, host.d);
	check_failed(__FILE__, __LINE__, "CPUID is the host's");
}

static void cpuid_is_the_hosts(void)
{
	struct guest g;

	guest_start(&g, do_cpuid);
	for (u32 base = 0; base <= 0x80000000; base += 0x80000000) {
		u32 top = __get_cpuid_max(base, NULL);

		CHECK(top >= base && top - base < 0x100);
		for (u32 leaf = base; leaf <= top; leaf++)
			for (u32 sub = 0; sub < (leaf == 0xd ? 20 : 4); sub++)
				compare_leaf(&g, leaf, sub);
		if (base)
			break;
	}
	guest_destroy(&g);
}

/* ---- MSRs ---- */

GUEST_CODE(do_rdmsr, "mov %edi, %ecx; rdmsr; syscall");
GUEST_CODE(do_wrmsr, "mov %edi, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; syscall");

static void no_msr(struct guest *g, u32 msr)
{
	guest_init_regs(g);
	g->regs.rdi = msr;
	if (guest_run(g) == EVENT_EXCEPTION && g->ev.signo == SIGSEGV && g->ev.trapno == 13 && !g->ev.error_code)
		return;
	fprintf(stderr, "MSR %#x: event %d, signal %d, vector %lu\n", msr, g->ev.kind, g->ev.signo, g->ev.trapno);
	check_failed(__FILE__, __LINE__, "#GP for every MSR");
}

static void no_msrs(void)
{
	/* Architectural, hypervisors' (KVM, Hyper-V, the software hypervisor's own), AMD's. */
	static const struct { u32 from, to; } ranges[] = {
		{ 0, 0x1000 }, { 0x40000000, 0x40000100 }, { 0x4b564d00, 0x4b564d10 }, { 0x4b564df0, 0x4b564e00 },
		{ 0xc0000080, 0xc0000110 }, { 0xc0010000, 0xc0010120 }, { 0xfffffff0, 0xffffffff },
	};
	struct guest g;

	guest_start(&g, do_rdmsr);
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		for (u32 msr = ranges[i].from; msr < ranges[i].to; msr++)
			no_msr(&g, msr);
	guest_code(&g, do_wrmsr, do_wrmsr_end);
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		for (u32 msr = ranges[i].from; msr < ranges[i].to; msr++)
			no_msr(&g, msr);
	expect_alive(&g);
	guest_destroy(&g);
}

/* ---- selectors ---- */

GUEST_CODE(load_ds, "mov %edi, %ds; mov (%rsp), %rbx; syscall");
GUEST_CODE(load_es, "mov %edi, %es; lea -8(%rsp), %rdi; stosb; syscall");
GUEST_CODE(load_fs, "mov %edi, %fs; mov $8, %esi; mov %fs:(%rsi), %rbx; syscall");
GUEST_CODE(load_gs, "mov %edi, %gs; mov $8, %esi; mov %gs:(%rsi), %rbx; syscall");
GUEST_CODE(load_ss, "mov %edi, %ss; push %rax; syscall");
GUEST_CODE(far_return, "push %rdi; lea 1f(%rip), %rax; push %rax; lretq; 1: nop; nop; ud2");
GUEST_CODE(iret_selectors,
	   "mov %rsp, %rax; push %rsi; push %rax; pushfq; push %rdi; lea 1f(%rip), %rax; push %rax; iretq; 1: nop; ud2");
GUEST_CODE(do_lldt, "lldt %di; syscall");
GUEST_CODE(do_verr, "verr %di; verw %di; lar %edi, %eax; lsl %edi, %eax; syscall");

#define INS(n) { n, n##_end }
static const struct { const u8 *code, *end; } loads[] = {
	INS(load_ds), INS(load_es), INS(load_fs), INS(load_gs), INS(load_ss), INS(far_return), INS(iret_selectors),
	INS(do_lldt), INS(do_verr),
};

static void odd_selectors(void)
{
	struct guest g;

	guest_start(&g, accessors);
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		for (u64 sel = 0; sel < 0x10000; sel += sel < 0x100 ? 1 : 0x3f5) {
			guest_code(&g, loads[i].code, loads[i].end);
			g.regs.rdi = sel;
			g.regs.rsi = i == 6 && sel & 1 ? 0x2b : sel;
			guest_run(&g);
			CHECK(g.ev.kind == EVENT_SYSCALL || refused(&g));
			CHECK((g.regs.cs & 3) == 3 && (g.regs.ss & 3) == 3);
		}
		expect_alive(&g);
	}
	guest_destroy(&g);
}

/* ---- flags ---- */

GUEST_CODE(pop_flags, "push %rdi; popfq; pushfq; pop %rbx; syscall");
GUEST_CODE(iret_flags,
	   "mov %rsp, %rax; push $0x2b; push %rax; push %rdi; push $0x33; lea 1f(%rip), %rax; push %rax; iretq\n"
	   "1: pushfq; pop %rbx; syscall");
GUEST_CODE(iret_nested, "push $0x4002; popfq; iretq; syscall");
GUEST_CODE(misaligned, "pushfq; orl $0x40000, (%rsp); popfq; mov 1(%rsp), %eax; syscall");
GUEST_CODE(trap_next, "pushfq; orl $0x100, (%rsp); popfq; nop; nop; syscall");

enum { FLAG_TF = 0x100, FLAG_IF = 0x200, FLAG_NT = 0x4000, FLAG_IOPL = 0x3000, FLAG_VM = 0x20000, FLAG_AC = 0x40000 };

static void flags_of_its_choice(struct guest *g, const u8 *code, const u8 *end, u64 flags)
{
	guest_code(g, code, end);
	g->regs.rdi = flags;
	guest_run(g);
	/* A step over the first instruction behind; whatever is misaligned is fair game too. */
	CHECK(g->ev.kind == EVENT_SYSCALL || g->ev.signo == SIGTRAP || refused(g));
	CHECK(!(g->regs.eflags & (FLAG_IOPL | FLAG_VM)) && g->regs.eflags & FLAG_IF);
	if (g->ev.kind == EVENT_SYSCALL)
		CHECK(!(g->regs.rbx & (FLAG_IOPL | FLAG_VM)) && g->regs.rbx & FLAG_IF);
}

static void any_flags(void)
{
	struct guest g;

	guest_start(&g, accessors);
	for (u64 bit = 1; bit; bit <<= 1) {
		flags_of_its_choice(&g, pop_flags, pop_flags_end, bit);
		flags_of_its_choice(&g, pop_flags, pop_flags_end, ~bit & ~(u64)FLAG_TF);
		flags_of_its_choice(&g, iret_flags, iret_flags_end, bit);
		flags_of_its_choice(&g, iret_flags, iret_flags_end, ~bit & ~(u64)FLAG_TF);
	}
	CHECK_EQ(guest_run_code(&g, iret_nested), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.signo, SIGSEGV);
	CHECK_EQ(g.ev.trapno, 13);
	CHECK_EQ(guest_run_code(&g, trap_next), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.signo, SIGTRAP);
	CHECK_EQ(g.ev.code, TRAP_TRACE);
	expect_alive(&g);
	guest_destroy(&g);
}

static void alignment_check(void)
{
	struct guest g;

	guest_start(&g, misaligned);
	CHECK_EQ(guest_run(&g), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.signo, SIGBUS);
	CHECK_EQ(g.ev.code, BUS_ADRALN);
	CHECK_EQ(g.ev.trapno, 17);
	CHECK_EQ(g.ev.error_code, 0);
	CHECK_EQ(g.ev.addr, 0);
	CHECK(g.regs.eflags & FLAG_AC);
	g.regs.eflags &= ~(u64)FLAG_AC;
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	guest_destroy(&g);
}

/* ---- the kernel's part of the address space ---- */

GUEST_CODE(jump_above, "mov $39, %eax; xor %ecx, %ecx; jmp *%rdi");

static bool is_stopped(const struct guest *g)
{
	return refused(g) || g->ev.kind == EVENT_SYSCALL || g->ev.signo == SIGTRAP;
}

static void kernel_addresses(void)
{
	static const u64 bases[] = { 0xffff800000000000, 0xffff800000001000, 0xffff800000008000, 0xffffffff81000000,
				     0xffffffffff600000, 0xfffffffffffff000 };
	struct guest g;
	u64 value;

	guest_start(&g, accessors);
	for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
		for (u64 off = 0; off < PAGE_SIZE; off += 0x88) {
			CHECK(!guest_load(&g, bases[b] + off, &value) || bases[b] == 0xffffffffff600000);
			CHECK(!guest_store(&g, bases[b] + off, ~(u64)0));
		}
	}
	guest_code(&g, jump_above, jump_above_end);
	for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
		for (u64 off = 0; off < PAGE_SIZE; off += b ? 0x40 : 1) {
			guest_init_regs(&g);
			g.regs.rdi = bases[b] + off;
			guest_run(&g);
			CHECK(is_stopped(&g));
			CHECK_EQ(g.regs.cs, 0x33);
		}
	}
	expect_alive(&g);
	guest_destroy(&g);
}

/* Exceptions of every kind while the stack pointer is no stack. */
static void no_stack(void)
{
	static const u64 stacks[] = { 0, 8, GUEST_END, 0x7ffffffffff8, 0x800000000000, 0x8000000000000000, 0xffff800000000000,
				      0xffff800000008ff8, ~(u64)0, ~(u64)7 };
	static const char codes[][4] = { "\xcc", "\x0f\x0b", "\xf4", "\xf1", "\x50", "\xc3", "\xcf", "\x0f\x05", "\xfa" };
	struct guest g;

	guest_start(&g, accessors);
	for (size_t c = 0; c < ARRAY_SIZE(codes); c++) {
		for (size_t s = 0; s < ARRAY_SIZE(stacks); s++) {
			guest_code(&g, (const u8 *)codes[c], (const u8 *)codes[c] + 2);
			g.regs.rsp = stacks[s];
			guest_run(&g);
			CHECK(is_stopped(&g));
			CHECK_EQ(g.regs.rsp, stacks[s]);
		}
	}
	expect_alive(&g);
	guest_destroy(&g);
}

/* ---- 32-bit code ---- */

#define COMPAT(name, code) \
	GUEST_CODE(name, "pushq $0x23; lea 1f(%rip), %rax; push %rax; lretq\n.code32\n1: " code "\nhlt\n.code64")

COMPAT(compat_int3, "int3");
COMPAT(compat_into, "mov $0x7f, %al; inc %al; into");
COMPAT(compat_bound, "sub $8, %esp; movl $1, (%esp); movl $2, 4(%esp); mov $5, %eax; bound %eax, (%esp)");
COMPAT(compat_ud2, "ud2");
COMPAT(compat_div, "xor %ecx, %ecx; div %ecx");
COMPAT(compat_hlt, "hlt");
COMPAT(compat_null_ds, "mov (%esi), %ebx");
COMPAT(compat_absent, "mov $0x10, %eax; mov %ss:(%eax), %ebx");
COMPAT(compat_back, "ljmp $0x33, $(0x400000 + 2f - compat_back)\n.code64\n2: mov $39, %eax; syscall\n.code32");

static const struct {
	const u8 *code, *end;
	int signo;
	u64 trapno;
} compats[] = {
	{ compat_int3, compat_int3_end, SIGTRAP, 3 }, { compat_into, compat_into_end, SIGSEGV, 4 },
	{ compat_bound, compat_bound_end, SIGSEGV, 5 }, { compat_ud2, compat_ud2_end, SIGILL, 6 },
	{ compat_div, compat_div_end, SIGFPE, 0 }, { compat_hlt, compat_hlt_end, SIGSEGV, 13 },
	{ compat_null_ds, compat_null_ds_end, SIGSEGV, 13 }, { compat_absent, compat_absent_end, SIGSEGV, 14 },
};

/* Linux has the segment whether or not it has calls for it. */
static void compat_exceptions(void)
{
	struct guest g;

	guest_start(&g, accessors);
	for (size_t i = 0; i < ARRAY_SIZE(compats); i++) {
		guest_code(&g, compats[i].code, compats[i].end);
		guest_run(&g);
		CHECK(g.ev.kind == EVENT_EXCEPTION || g.ev.kind == EVENT_FAULT);
		CHECK_EQ(g.ev.signo, compats[i].signo);
		/* Who only sees the signal can't tell #OF and #BR from #GP. */
		CHECK(g.ev.trapno == compats[i].trapno || (g.ev.trapno == 13 && compats[i].trapno < 6));
		CHECK_EQ(g.regs.cs, 0x23);
		CHECK(g.regs.rip > CODE && g.regs.rip <= CODE + (u64)(compats[i].end - compats[i].code));
	}
	CHECK_EQ(guest_run_code(&g, compat_back), EVENT_SYSCALL);
	CHECK_EQ(g.regs.orig_rax, 39);
	CHECK_EQ(g.regs.cs, 0x33);
	expect_alive(&g);
	guest_destroy(&g);
}

/* ---- hypervisor calls, floods ---- */

GUEST_CODE(do_vmcall, "mov $1, %eax; vmcall; syscall");
GUEST_CODE(do_vmmcall, "mov $1, %eax; vmmcall; syscall");

/* Natively they are refused by whoever is the hypervisor, by a signal or a result. */
static void hypercalls(void)
{
	struct guest g;

	guest_start(&g, accessors);
	for (u64 nr = 0; nr < 64; nr++) {
		guest_code(&g, nr & 1 ? do_vmcall : do_vmmcall, nr & 1 ? do_vmcall_end : do_vmmcall_end);
		g.regs.rbx = g.regs.rcx = g.regs.rdx = g.regs.rsi = nr << 32;
		guest_run(&g);
		CHECK(g.ev.kind == EVENT_SYSCALL || refused(&g));
		/* In place, as it was written: KVM would like to write the right one over the wrong one. */
		CHECK(!memcmp(mem_ptr(g.code), nr & 1 ? do_vmcall : do_vmmcall, 8));
	}
	expect_alive(&g);
	guest_destroy(&g);
}

const struct contract_case hostile_cases[] = {
	{ "cpuid", cpuid_is_the_hosts },
	{ "no_msrs", no_msrs },
	{ "odd_selectors", odd_selectors },
	{ "any_flags", any_flags },
	{ "alignment_check", alignment_check },
	{ "kernel_addresses", kernel_addresses },
	{ "no_stack", no_stack },
	{ "compat_exceptions", compat_exceptions },
	{ "hypercalls", hypercalls },
	{ NULL, NULL },
};
