/* Exceptions of the guest's own: signal, code, address, vector, and where rip stands, as native Linux has them. */
#include "tests/contract/contract.h"

#include <signal.h>
#include <string.h>

GUEST_CODE(do_int3, "nop; int3; syscall");
GUEST_CODE(do_int1, ".byte 0xf1; syscall");
GUEST_CODE(do_ud2, "nop; ud2; syscall");
GUEST_CODE(do_div0, "xor %ecx, %ecx; div %ecx; syscall");
GUEST_CODE(do_noncanonical, "movabs $0x8000000000000000, %rax; mov (%rax), %rbx; syscall");
GUEST_CODE(do_hlt, "hlt; syscall");
GUEST_CODE(do_int_n, "int $0x2a; syscall");
GUEST_CODE(do_int80, "mov $20, %eax; int $0x80; syscall");
GUEST_CODE(do_out, "out %al, $0x80; syscall");
GUEST_CODE(do_x87, "fninit; movw $0x37b, -8(%rsp); fldcw -8(%rsp); fld1; fldz; fdivrp; fwait; syscall");
GUEST_CODE(do_sse, "movl $0x1d80, -8(%rsp); ldmxcsr -8(%rsp); mov $1, %eax; cvtsi2sd %eax, %xmm0; xorpd %xmm1, %xmm1; divsd %xmm1, %xmm0; syscall");
GUEST_CODE(do_stack_noncanonical, "movabs $0x8000000000000000, %rsp; push %rax; syscall");
GUEST_CODE(do_bad_segment, "mov $0x9f, %eax; mov %eax, %ds; syscall");

struct trap {
	const char *name;
	const u8 *code, *end;
	int signo, code_value;
	u64 trapno, error_code;
	u64 rip;			/* offset from CODE */
	bool addr_is_rip;
};

#define INS(n) #n, n, n##_end
static const struct trap traps[] = {
	{ INS(do_int3), SIGTRAP, SI_KERNEL, 3, 0, 2, false },
	{ INS(do_int1), SIGTRAP, TRAP_BRKPT, 1, 0, 1, true },
	{ INS(do_ud2), SIGILL, ILL_ILLOPN, 6, 0, 1, true },
	{ INS(do_div0), SIGFPE, FPE_INTDIV, 0, 0, 2, true },
	{ INS(do_noncanonical), SIGSEGV, SI_KERNEL, 13, 0, 10, false },
	{ INS(do_hlt), SIGSEGV, SI_KERNEL, 13, 0, 0, false },
	{ INS(do_int_n), SIGSEGV, SI_KERNEL, 13, 0x2a * 8 + 2, 0, false },
	{ INS(do_int80), SIGSEGV, SI_KERNEL, 13, 0x80 * 8 + 2, 5, false },
	{ INS(do_out), SIGSEGV, SI_KERNEL, 13, 0, 0, false },
	{ INS(do_sse), SIGFPE, FPE_FLTDIV, 19, 0, 26, true },
};

static void expect_trap(struct guest *g, const struct trap *t)
{
	guest_code(g, t->code, t->end);
	if (guest_run(g) != EVENT_EXCEPTION || g->ev.signo != t->signo)
		check_failed(__FILE__, __LINE__, t->name);
	CHECK_EQ(g->ev.code, t->code_value);
	CHECK_EQ(g->ev.trapno, t->trapno);
	CHECK_EQ(g->ev.error_code, t->error_code);
	CHECK_EQ(g->regs.rip, CODE + t->rip);
	CHECK_EQ(g->ev.addr, t->addr_is_rip ? g->regs.rip : 0);
}

static void every_trap(void)
{
	struct guest g;

	guest_start(&g, accessors);
	for (size_t i = 0; i < ARRAY_SIZE(traps); i++)
		expect_trap(&g, &traps[i]);
	guest_destroy(&g);
}

static void traps_without_a_fixed_rip(void)
{
	struct guest g;

	guest_start(&g, do_x87);
	CHECK_EQ(guest_run(&g), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.signo, SIGFPE);
	CHECK_EQ(g.ev.code, FPE_FLTDIV);
	CHECK_EQ(g.ev.trapno, 16);
	CHECK_EQ(guest_run_code(&g, do_stack_noncanonical), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.signo, SIGBUS);
	CHECK_EQ(g.ev.trapno, 12);
	CHECK_EQ(guest_run_code(&g, do_bad_segment), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.signo, SIGSEGV);
	CHECK_EQ(g.ev.trapno, 13);
	guest_destroy(&g);
}

GUEST_CODE(steps, "nop; nop; mov $1, %eax; inc %rbx; mov $39, %eax; syscall; nop; nop; jmp .");

/* Single-step: one exception an instruction, at the next rip; calls are still calls. */
static void single_step(void)
{
	static const u8 offset[] = { 1, 2, 7, 10, 15 };
	struct guest g;

	guest_start(&g, steps);
	for (size_t i = 0; i < ARRAY_SIZE(offset); i++) {
		g.regs.eflags |= 0x100;
		CHECK_EQ(guest_run(&g), EVENT_EXCEPTION);
		CHECK_EQ(g.ev.signo, SIGTRAP);
		CHECK_EQ(g.ev.code, TRAP_TRACE);
		CHECK_EQ(g.ev.trapno, 1);
		CHECK_EQ(g.ev.addr, CODE + offset[i]);
		CHECK_EQ(g.regs.rip, CODE + offset[i]);
	}
	g.regs.eflags |= 0x100;
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	CHECK_EQ(g.regs.orig_rax, 39);
	CHECK_EQ(g.regs.rip, CODE + 17);
	g.regs.eflags |= 0x100;
	CHECK_EQ(guest_run(&g), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.code, TRAP_TRACE);
	CHECK(g.regs.rip == CODE + 17 || g.regs.rip == CODE + 18);
	guest_destroy(&g);
}

/* int3 written over code that runs: a debugger's breakpoint. */
static void breakpoint_over_code(void)
{
	struct guest g;
	u8 old;

	guest_start(&g, steps);
	old = *((u8 *)mem_ptr(g.code) + 7);
	*((u8 *)mem_ptr(g.code) + 7) = 0xcc;
	CHECK_EQ(guest_run(&g), EVENT_EXCEPTION);
	CHECK_EQ(g.ev.trapno, 3);
	CHECK_EQ(g.regs.rip, CODE + 8);
	*((u8 *)mem_ptr(g.code) + 7) = old;
	g.regs.rip = CODE + 7;
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	CHECK_EQ(g.regs.rbx, 1);
	guest_destroy(&g);
}

/* Far return to 32-bit code, which then tries all ways into a host kernel: none may act, the guest alone is hurt. */
GUEST_CODE(compat, "pushq $0x23; lea 1f(%rip), %rax; push %rax; lretq\n"
	".code32\n1: mov $0x1234, %ebx; mov $39, %eax; int $0x80; hlt\n.code64");
GUEST_CODE(compat_sysenter, "pushq $0x23; lea 1f(%rip), %rax; push %rax; lretq\n"
	".code32\n1: mov $39, %eax; mov $0x804000, %ebp; sysenter; hlt\n.code64");
GUEST_CODE(sysenter64, "mov $39, %eax; sysenter; hlt");

static void no_32bit_calls(void)
{
	struct guest g;
	u64 value;

	guest_start(&g, compat);
	guest_run(&g);
	CHECK(g.ev.kind == EVENT_EXCEPTION || g.ev.kind == EVENT_FAULT);
	CHECK_EQ(g.ev.signo, SIGSEGV);
	guest_run_code(&g, compat_sysenter);
	CHECK(g.ev.kind == EVENT_EXCEPTION || g.ev.kind == EVENT_FAULT);
	guest_run_code(&g, sysenter64);
	CHECK(g.ev.kind == EVENT_EXCEPTION || g.ev.kind == EVENT_FAULT);
	/* And the context is as good as new. */
	guest_code(&g, accessors, accessors_end);
	CHECK(guest_load(&g, STACK, &value));
	guest_destroy(&g);
}

GUEST_CODE(jump_to_rdi_with_args, "mov $39, %eax; jmp *%rdi");

GUEST_CODE(priv_cli, "cli; syscall");
GUEST_CODE(priv_rdmsr, "mov $0xc0000082, %ecx; rdmsr; syscall");
GUEST_CODE(priv_wrmsr, "mov $0xc0000082, %ecx; wrmsr; syscall");
GUEST_CODE(priv_read_cr3, "mov %cr3, %rax; syscall");
GUEST_CODE(priv_write_cr3, "mov %rax, %cr3; syscall");
GUEST_CODE(priv_write_dr7, "mov %rax, %dr7; syscall");
GUEST_CODE(priv_lgdt, "lgdt (%rsp); syscall");
GUEST_CODE(priv_lidt, "lidt (%rsp); syscall");
GUEST_CODE(priv_ltr, "mov $0x40, %eax; ltr %ax; syscall");
GUEST_CODE(priv_clts, "clts; syscall");
GUEST_CODE(priv_invlpg, "invlpg (%rsp); syscall");
GUEST_CODE(priv_wbinvd, "wbinvd; syscall");
GUEST_CODE(priv_swapgs, "swapgs; syscall");
GUEST_CODE(priv_sysret, "sysretq; syscall");
GUEST_CODE(priv_xsetbv, "xor %ecx, %ecx; mov $3, %eax; xor %edx, %edx; xsetbv; syscall");
GUEST_CODE(priv_vmlaunch, "vmlaunch; syscall");
GUEST_CODE(priv_vmrun, "vmrun; syscall");
GUEST_CODE(priv_vmxoff, "vmxoff; syscall");
GUEST_CODE(priv_clac, "clac; syscall");
GUEST_CODE(priv_ins, "mov $0x80, %edx; lea -64(%rsp), %rdi; insb; syscall");
GUEST_CODE(priv_kernel_cs, "pushq $0x10; lea 1f(%rip), %rax; push %rax; lretq; 1: syscall");
GUEST_CODE(priv_kernel_ss, "mov $0x18, %eax; mov %eax, %ss; syscall");
GUEST_CODE(priv_wrfsbase, "movabs $0x8000000000000000, %rax; wrfsbase %rax; syscall");
GUEST_CODE(priv_int0, "int $0; syscall");
GUEST_CODE(priv_int8, "int $8; syscall");
GUEST_CODE(priv_int14, "int $14; syscall");

#define PRIVILEGED(n) { #n, n, n##_end }
static const struct { const char *name; const u8 *code, *end; } privileged[] = {
	PRIVILEGED(priv_cli), PRIVILEGED(priv_rdmsr), PRIVILEGED(priv_wrmsr), PRIVILEGED(priv_read_cr3),
	PRIVILEGED(priv_write_cr3), PRIVILEGED(priv_write_dr7), PRIVILEGED(priv_lgdt), PRIVILEGED(priv_lidt),
	PRIVILEGED(priv_ltr), PRIVILEGED(priv_clts), PRIVILEGED(priv_invlpg), PRIVILEGED(priv_wbinvd),
	PRIVILEGED(priv_swapgs), PRIVILEGED(priv_sysret), PRIVILEGED(priv_xsetbv), PRIVILEGED(priv_vmlaunch),
	PRIVILEGED(priv_vmrun), PRIVILEGED(priv_vmxoff), PRIVILEGED(priv_clac), PRIVILEGED(priv_ins),
	PRIVILEGED(priv_kernel_cs), PRIVILEGED(priv_kernel_ss), PRIVILEGED(priv_wrfsbase), PRIVILEGED(priv_int0),
	PRIVILEGED(priv_int8), PRIVILEGED(priv_int14),
};

/* Which of the two signals it is differs between processors and hypervisors; that nothing happens does not. */
static void privileged_instructions(void)
{
	struct guest g;
	u64 value;

	guest_start(&g, accessors);
	for (size_t i = 0; i < ARRAY_SIZE(privileged); i++) {
		guest_code(&g, privileged[i].code, privileged[i].end);
		if (guest_run(&g) != EVENT_EXCEPTION || (g.ev.signo != SIGSEGV && g.ev.signo != SIGILL))
			check_failed(__FILE__, __LINE__, privileged[i].name);
		guest_code(&g, accessors, accessors_end);
		CHECK(guest_load(&g, STACK, &value));
	}
	guest_destroy(&g);
}

/* Core may be led to enter the guest anywhere, and with any flags and stack: sigreturn does. */
static void hostile_entries(void)
{
	static const u64 rips[] = { 0, GUEST_END, 0x7ffffffffffe, 0x7fffffffffff, 0x800000000000, 0x8000000000000000,
				    0xffff7fffffffffff, 0xffff800000000000, 0xffffffffff600000, ~(u64)0 };
	struct guest g;
	u64 value;

	guest_start(&g, accessors);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rips); i++) {
		guest_init_regs(&g);
		g.regs.rip = g.regs.rcx = rips[i / 2];
		g.regs.r11 = i & 1 ? g.regs.eflags : 0;		/* as after a call, or not */
		g.regs.rsp = rips[(i * 7) % ARRAY_SIZE(rips)];
		guest_run(&g);
		CHECK(g.ev.kind == EVENT_EXCEPTION || g.ev.kind == EVENT_FAULT);
		CHECK_EQ(g.ev.signo, SIGSEGV);
	}
	for (u64 bit = 1; bit; bit <<= 1) {
		guest_init_regs(&g);
		g.regs.rdi = STACK;
		g.regs.eflags = bit | 2;
		g.regs.rsp = ~(u64)0;
		guest_run(&g);
		CHECK(g.ev.kind == EVENT_SYSCALL || (bit == 0x100 && g.ev.signo == SIGTRAP));
	}
	guest_init_regs(&g);
	CHECK(guest_load(&g, STACK, &value));
	guest_destroy(&g);
}

/* Whatever a guest finds above its own space, running it never reaches the host. */
static void code_above_the_guest(void)
{
	struct guest g;
	u64 value;

	guest_start(&g, jump_to_rdi_with_args);
	for (u64 off = 0; off < 0x400; off++) {
		static const u64 bases[] = { 0x7f1000000000, GUEST_END, 0x7fffffffe000 };

		for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
			guest_init_regs(&g);
			g.regs.rdi = bases[b] + off;
			P->interrupt(g.ctx);	/* a loop there must not last */
			guest_switch(&g);
			guest_switch(&g);
			CHECK(g.ev.kind != EVENT_DEAD);
		}
	}
	guest_code(&g, accessors, accessors_end);
	CHECK(guest_load(&g, STACK, &value));
	CHECK(!guest_store(&g, 0x7f1000000000, 0));
	CHECK(!guest_store(&g, 0x7f1000100000, 0));
	guest_destroy(&g);
}

const struct contract_case exception_cases[] = {
	{ "exceptions", every_trap },
	{ "exceptions_late", traps_without_a_fixed_rip },
	{ "single_step", single_step },
	{ "breakpoint", breakpoint_over_code },
	{ "no_32bit_calls", no_32bit_calls },
	{ "code_above_the_guest", code_above_the_guest },
	{ "privileged", privileged_instructions },
	{ "hostile_entries", hostile_entries },
	{ NULL, NULL },
};
