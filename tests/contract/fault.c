/* Page faults: the exact address and what was wanted of it, for each kind of instruction that touches memory. */
#include "tests/contract/contract.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

GUEST_CODE(ins_movsb, "rep movsb; syscall");
GUEST_CODE(ins_movsq_back, "std; rep movsq; cld; syscall");
GUEST_CODE(ins_stosq, "rep stosq; syscall");
GUEST_CODE(ins_cmpsb, "repe cmpsb; syscall");
GUEST_CODE(ins_lodsb, "lodsb; syscall");
GUEST_CODE(ins_xchg, "xchg %rax, (%rdi); syscall");
GUEST_CODE(ins_lock_add, "lock addl $1, 4(%rdi); syscall");
GUEST_CODE(ins_cmpxchg, "lock cmpxchg16b (%rdi); syscall");
GUEST_CODE(ins_add_load, "add (%rdi), %eax; syscall");
GUEST_CODE(ins_test, "testb $1, 7(%rdi); syscall");
GUEST_CODE(ins_bts, "btsq %rax, (%rdi); syscall");
GUEST_CODE(ins_push, "mov %rdi, %rsp; push %rax; syscall");
GUEST_CODE(ins_push_mem, "push (%rdi); syscall");
GUEST_CODE(ins_pop_mem, "pop (%rdi); syscall");
GUEST_CODE(ins_call, "mov %rdi, %rsp; call 1f; 1: syscall");
GUEST_CODE(ins_call_mem, "call *(%rdi); syscall");
GUEST_CODE(ins_ret, "mov %rdi, %rsp; ret");
GUEST_CODE(ins_leave, "mov %rdi, %rbp; leave; syscall");
GUEST_CODE(ins_enter, "mov %rdi, %rsp; enter $16, $0; syscall");
GUEST_CODE(ins_fxsave, "fxsave64 (%rdi); syscall");
GUEST_CODE(ins_fxrstor, "fxrstor64 (%rdi); syscall");
GUEST_CODE(ins_fst, "fld1; fstpl (%rdi); syscall");
GUEST_CODE(ins_fld, "fldl (%rdi); syscall");
GUEST_CODE(ins_movaps_store, "movups %xmm0, (%rdi); syscall");
GUEST_CODE(ins_movaps_load, "movups (%rdi), %xmm0; syscall");
GUEST_CODE(ins_movnti, "movnti %rax, (%rdi); syscall");
GUEST_CODE(ins_fs_store, "mov %rax, %fs:16; syscall");
GUEST_CODE(ins_gs_load, "mov %gs:(%rsi), %rax; syscall");
GUEST_CODE(ins_sib, "mov %rax, 8(%rdi,%rcx,4); syscall");
GUEST_CODE(ins_addr32, "mov %eax, (%edi); syscall");
GUEST_CODE(ins_setcc, "sete (%rdi); syscall");
GUEST_CODE(ins_xlat, "mov %rdi, %rbx; xlat; syscall");
GUEST_CODE(ins_sidt_free, "stmxcsr (%rdi); syscall");
GUEST_CODE(ins_ldmxcsr, "ldmxcsr (%rdi); syscall");
GUEST_CODE(ins_clflush, "clflush (%rdi); syscall");

struct kind {
	const char *name;
	const u8 *code, *end;
	gva_t rdi, rsi, rcx;
	gva_t fault;			/* expected; 0: rdi */
	enum access want;
	bool write_only;		/* the page at DATA is readable, and this faults all the same */
	u32 span;			/* the processor may report any of so many bytes; 0: exactly that */
};

enum { OK = 0x20000000 };		/* a mapped page, RW */

#define INS(n) #n, n, n##_end
static const struct kind kinds[] = {
	{ INS(ins_movsb), DATA, OK, 100, DATA, ACCESS_WRITE, true, 0 },
	{ INS(ins_movsb), OK, DATA + 5, 100, DATA + 5, ACCESS_READ, false, 0 },
	{ INS(ins_movsq_back), DATA + 0x100, OK + 0x800, 10, DATA + 0x100, ACCESS_WRITE, true, 0 },
	{ INS(ins_movsq_back), OK + 0x800, DATA + 0x100, 10, DATA + 0x100, ACCESS_READ, false, 0 },
	{ INS(ins_stosq), DATA + 8, 0, 4, DATA + 8, ACCESS_WRITE, true, 0 },
	{ INS(ins_cmpsb), OK, DATA, 4, DATA, ACCESS_READ, false, 0 },
	{ INS(ins_lodsb), 0, DATA + 9, 0, DATA + 9, ACCESS_READ, false, 0 },
	{ INS(ins_xchg), DATA, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_lock_add), DATA, 0, 0, DATA + 4, ACCESS_WRITE, true, 0 },
	{ INS(ins_cmpxchg), DATA + 16, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_add_load), DATA + 12, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_test), DATA, 0, 0, DATA + 7, ACCESS_READ, false, 0 },
	{ INS(ins_bts), DATA, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_push), DATA + 0x108, 0, 0, DATA + 0x100, ACCESS_WRITE, true, 0 },
	{ INS(ins_push_mem), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_pop_mem), DATA, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_call), DATA + 0x108, 0, 0, DATA + 0x100, ACCESS_WRITE, true, 0 },
	{ INS(ins_call_mem), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_ret), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_leave), DATA + 8, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_enter), DATA + 0x200, 0, 0, DATA + 0x1f8, ACCESS_WRITE, true, 0 },
	{ INS(ins_fxsave), DATA, 0, 0, 0, ACCESS_WRITE, true, 512 },
	{ INS(ins_fxrstor), DATA, 0, 0, 0, ACCESS_READ, false, 512 },
	{ INS(ins_fst), DATA, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_fld), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_movaps_store), DATA, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_movaps_load), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_movnti), DATA + 8, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_fs_store), 0, 0, 0, DATA + 0x400 + 16, ACCESS_WRITE, true, 0 },
	{ INS(ins_gs_load), 0, 0x30, 0, DATA + 0x600 + 0x30, ACCESS_READ, false, 0 },
	{ INS(ins_sib), DATA, 0, 6, DATA + 8 + 24, ACCESS_WRITE, true, 0 },
	{ INS(ins_addr32), DATA | (u64)0xabc << 32, 0, 0, DATA, ACCESS_WRITE, true, 0 },
	{ INS(ins_setcc), DATA + 3, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_xlat), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_sidt_free), DATA, 0, 0, 0, ACCESS_WRITE, true, 0 },
	{ INS(ins_ldmxcsr), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
	{ INS(ins_clflush), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
};

static void expect(struct guest *g, const struct kind *k)
{
	gva_t fault = k->fault ? k->fault : k->rdi;

	guest_code(g, k->code, k->end);
	g->regs.rdi = k->rdi;
	g->regs.rsi = k->rsi;
	g->regs.rcx = k->rcx;
	g->regs.fs_base = DATA + 0x400;
	g->regs.gs_base = DATA + 0x600;
	if (guest_run(g) != EVENT_FAULT || g->ev.addr - fault > k->span || g->ev.access != k->want) {
		fprintf(stderr, "%s: event %d at %#lx, access %d\n", k->name, g->ev.kind, g->ev.addr, g->ev.access);
		check_failed(__FILE__, __LINE__, k->name);
	}
	guest_expect_fault(g, g->ev.addr, k->want);
	CHECK_EQ(g->ev.signo, 11);
}

static void every_kind_absent(void)
{
	struct guest g;

	guest_start(&g, accessors);
	guest_map(&g, OK, 1, RW, mem_alloc(1));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		expect(&g, &kinds[i]);
	guest_destroy(&g);
}

static void every_kind_read_only(void)
{
	struct guest g;

	guest_start(&g, accessors);
	guest_map(&g, OK, 1, RW, mem_alloc(1));
	guest_map(&g, DATA, 1, ACCESS_READ, mem_alloc(1));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].write_only)
			expect(&g, &kinds[i]);
	guest_destroy(&g);
}

/* A fault leaves the guest where it was: map, switch again, and the instruction completes. */
static void faults_restart(void)
{
	u64 page = mem_alloc(2);
	struct guest g;

	guest_start(&g, ins_movsb);
	guest_map(&g, OK, 1, RW, mem_alloc(1));
	g.regs.rdi = DATA + PAGE_SIZE - 4;
	g.regs.rsi = OK;
	g.regs.rcx = 8;
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(guest_run(&g), EVENT_FAULT);
		guest_expect_fault(&g, DATA + (i ? PAGE_SIZE : PAGE_SIZE - 4), ACCESS_WRITE);
		CHECK_EQ(g.regs.rip, CODE);
		CHECK_EQ(g.regs.rcx, i ? 4 : 8);
		guest_map(&g, DATA + i * PAGE_SIZE, 1, RW, page + i * PAGE_SIZE);
	}
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	CHECK_EQ(g.regs.rcx, g.regs.rip);
	CHECK_EQ(g.regs.rdi, DATA + PAGE_SIZE + 4);
	guest_destroy(&g);
}

GUEST_CODE(jump_to_rdi, "jmp *%rdi");
/* A ten-byte mov, and a syscall behind it. */
GUEST_CODE(long_mov, "movabs $0x1122334455667788, %rbx; syscall");

static void exec_faults(void)
{
	struct guest g;

	guest_start(&g, jump_to_rdi);
	guest_map(&g, DATA, 1, RW, mem_alloc(1));
	g.regs.rdi = DATA + 0x10;
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	guest_expect_fault(&g, DATA + 0x10, ACCESS_EXEC);
	CHECK_EQ(g.regs.rip, DATA + 0x10);
	guest_init_regs(&g);
	g.regs.rdi = OK;
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	guest_expect_fault(&g, OK, ACCESS_EXEC);
	CHECK_EQ(g.regs.rip, OK);
	guest_destroy(&g);
}

/* An instruction that begins on one page and ends on the next, which is not there. */
static void exec_fault_inside_an_instruction(void)
{
	const gva_t at = DATA + PAGE_SIZE - 5;
	u64 pages = mem_alloc(2);
	struct guest g;

	guest_start(&g, accessors);
	memcpy(mem_ptr(pages + PAGE_SIZE - 5), long_mov, long_mov_end - long_mov);
	guest_map(&g, DATA, 1, RX, pages);
	g.regs.rip = at;
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	guest_expect_fault(&g, DATA + PAGE_SIZE, ACCESS_EXEC);
	CHECK_EQ(g.regs.rip, at);
	guest_map(&g, DATA + PAGE_SIZE, 1, RX, pages + PAGE_SIZE);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	CHECK_EQ(g.regs.rbx, 0x1122334455667788);
	guest_destroy(&g);
}

GUEST_CODE(store_near, "movl $7, 0x40(%rip); syscall");

/* A store next to its own code is a write, not a fetch. */
static void store_into_own_page(void)
{
	struct guest g;

	guest_start(&g, store_near);
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	guest_expect_fault(&g, CODE + 10 + 0x40, ACCESS_WRITE);
	guest_destroy(&g);
}

GUEST_CODE(avx512_scatter, "mov $0xf, %eax; kmovw %eax, %k1; vpbroadcastd %ebx, %zmm1; vpscatterdd %zmm0, (%rdi,%zmm1,4){%k1}; syscall");
GUEST_CODE(avx2_gather, "vpcmpeqd %ymm2, %ymm2, %ymm2; vpxor %ymm1, %ymm1, %ymm1; vpgatherdd %ymm2, (%rdi,%ymm1,4), %ymm0; syscall");
GUEST_CODE(do_xsave, "mov $7, %eax; xor %edx, %edx; xsave (%rdi); syscall");
GUEST_CODE(do_xrstor, "mov $7, %eax; xor %edx, %edx; xrstor (%rdi); syscall");

static void vector_kinds(void)
{
	static const struct kind avx[] = {
		{ INS(avx2_gather), DATA, 0, 0, 0, ACCESS_READ, false, 0 },
		{ INS(do_xrstor), DATA, 0, 0, DATA + 512, ACCESS_READ, false, 0 },
	};
	static const struct kind scatter = { INS(avx512_scatter), DATA, 0, 0, 0, ACCESS_WRITE, true, 0 };
	struct guest g;
	u32 a, b, c, d;

	if (!(xstate_features() & 4) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
		skip("the processor has no AVX2");
	guest_start(&g, accessors);
	expect(&g, &avx[0]);
	/* The order in which XSAVE and XRSTOR touch their image is the processor's. */
	guest_code(&g, avx[1].code, avx[1].end);
	g.regs.rdi = DATA;
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	CHECK_EQ(g.ev.access, ACCESS_READ);
	CHECK(g.ev.addr - DATA < PAGE_SIZE);
	guest_code(&g, do_xsave, do_xsave_end);
	g.regs.rdi = DATA;
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	CHECK(g.ev.addr - DATA < PAGE_SIZE);
	guest_map(&g, DATA, 1, ACCESS_READ, mem_alloc(1));
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	CHECK_EQ(g.ev.access, ACCESS_WRITE);
	CHECK_EQ(P->as_unmap(g.as, DATA, PAGE_SIZE), 0);
	if (xstate_features() & 0xe0)
		expect(&g, &scatter);
	guest_destroy(&g);
}

const struct contract_case fault_cases[] = {
	{ "fault_kinds_absent", every_kind_absent },
	{ "fault_kinds_read_only", every_kind_read_only },
	{ "fault_kinds_vector", vector_kinds },
	{ "fault_restart", faults_restart },
	{ "fault_exec", exec_faults },
	{ "fault_exec_crossing", exec_fault_inside_an_instruction },
	{ "fault_own_page", store_into_own_page },
	{ NULL, NULL },
};
