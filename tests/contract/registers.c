/* Registers: general, flags, bases and all of XSAVE's state, over a thousand switches. */
#include "tests/contract/contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Numbers from here on: calls 335 and 336 (uretprobe, uprobe) pass every seccomp filter since Linux 6.11. */
enum { FIRST_CALL = 1000, SWITCHES = 1000, EFLAGS_USER = 0x8d5 };	/* CF PF AF ZF SF OF, which a guest sets freely; DF apart */

GUEST_CODE(count_all,
	"1: inc %rax; inc %rbx; inc %rdx; inc %rsi; inc %rdi; inc %rbp; inc %r8; inc %r9; inc %r10; inc %r12; inc %r13\n"
	"inc %r14; inc %r15; lea 8(%rsp), %rsp; syscall; jmp 1b\n");

static void fill(struct guest_regs *r)
{
	r->rax = 1; r->rbx = 2; r->rdx = 3; r->rsi = 4; r->rdi = 5; r->rbp = 6; r->r8 = 7; r->r9 = 8; r->r10 = 9;
	r->r12 = ~(u64)0; r->r13 = 0x8000000000000000; r->r14 = 12; r->r15 = 13; r->rsp = 0x7000;
}

static void general_registers(void)
{
	struct guest g;
	u64 n;

	guest_start(&g, count_all);
	fill(&g.regs);
	g.regs.rax = FIRST_CALL;
	for (n = 1; n <= SWITCHES; n++) {
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		CHECK_EQ(g.regs.orig_rax, FIRST_CALL + n);
		CHECK_EQ(g.regs.rax, -ENOSYS);
		CHECK_EQ(g.regs.rcx, g.regs.rip);
		CHECK_EQ(g.regs.r11, g.regs.eflags);
		CHECK_EQ(g.regs.rbx, n + 2);
		CHECK_EQ(g.regs.rdx, n + 3);
		CHECK_EQ(g.regs.rsi, n + 4);
		CHECK_EQ(g.regs.rdi, n + 5);
		CHECK_EQ(g.regs.rbp, n + 6);
		CHECK_EQ(g.regs.r8, n + 7);
		CHECK_EQ(g.regs.r9, n + 8);
		CHECK_EQ(g.regs.r10, n + 9);
		CHECK_EQ(g.regs.r12, n - 1);
		CHECK_EQ(g.regs.r13, 0x8000000000000000 + n);
		CHECK_EQ(g.regs.r14, n + 12);
		CHECK_EQ(g.regs.r15, n + 13);
		CHECK_EQ(g.regs.rsp, 0x7000 + 8 * n);
		CHECK_EQ(g.regs.cs, 0x33);
		CHECK_EQ(g.regs.ss, 0x2b);
		g.regs.rax = FIRST_CALL + n;	/* the result, which the guest counts on from */
	}
	guest_destroy(&g);
}

/* What core writes is what the guest sees, each register alone. */
GUEST_CODE(echo,
	"mov %rbx, (%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rsi, 24(%rdi); mov %rbp, 32(%rdi)\n"
	"mov %rsp, 40(%rdi); mov %r8, 48(%rdi); mov %r9, 56(%rdi); mov %r10, 64(%rdi); mov %r11, 72(%rdi)\n"
	"mov %r12, 80(%rdi); mov %r13, 88(%rdi); mov %r14, 96(%rdi); mov %r15, 104(%rdi); mov %rax, 112(%rdi)\n"
	"syscall\n");

static void registers_reach_the_guest(void)
{
	u64 page = mem_alloc(1), *seen = mem_ptr(page);
	struct guest g;

	guest_start(&g, echo);
	guest_map(&g, DATA, 1, RW, page);
	for (u64 n = 1; n < 50; n++) {
		guest_init_regs(&g);
		g.regs.rdi = DATA;
		g.regs.rbx = n; g.regs.rcx = n + 1; g.regs.rdx = n + 2; g.regs.rsi = n + 3; g.regs.rbp = n + 4;
		g.regs.rsp = n + 5; g.regs.r8 = n + 6; g.regs.r9 = n + 7; g.regs.r10 = n + 8; g.regs.r11 = n + 9;
		g.regs.r12 = n + 10; g.regs.r13 = n + 11; g.regs.r14 = n + 12; g.regs.r15 = n + 13; g.regs.rax = n + 14;
		g.regs.orig_rax = n;
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		for (u64 i = 0; i < 15; i++)
			CHECK_EQ(seen[i], n + i);
	}
	guest_destroy(&g);
}

/* Values of rax that mean "restart" inside a host kernel mean nothing for a guest. */
GUEST_CODE(keep_rax, "1: mov %rax, %rbx; mov $39, %eax; syscall; jmp 1b");

static void no_result_restarts_a_call(void)
{
	struct guest g;

	guest_start(&g, keep_rax);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	for (s64 r = -530; r < -500; r++) {
		g.regs.rax = r;
		P->interrupt(g.ctx);	/* a host signal is what would make the kernel look */
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		CHECK_EQ(g.regs.rbx, r);
		CHECK_EQ(g.regs.orig_rax, 39);
	}
	guest_destroy(&g);
}

GUEST_CODE(flags_pass, "1: syscall; jmp 1b");

static void flags(void)
{
	struct guest g;

	guest_start(&g, flags_pass);
	for (u64 f = 0; f < 0x1000; f += 5) {
		const u64 want = (f & (EFLAGS_USER | 0x400)) | 0x202;

		g.regs.eflags = want;
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		CHECK_EQ(g.regs.eflags, want);
	}
	/* What user code may not have is taken away silently: IOPL, interrupts off, virtual-8086 mode. */
	g.regs.eflags = 0x23000;
	g.regs.cs = 0x10;
	g.regs.ss = 0x18;
	g.regs.ds = 0x10;
	g.regs.fs = 0xffff;
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	CHECK_EQ(g.regs.eflags & 0x23200, 0x200);
	CHECK_EQ(g.regs.cs, 0x33);
	CHECK_EQ(g.regs.ss, 0x2b);
	guest_destroy(&g);
}

GUEST_CODE(read_bases, "1: mov %fs:0, %rbx; mov %gs:0, %rdx; mov %rax, %fs:8; syscall; jmp 1b");
GUEST_CODE(write_bases, "wrfsbase %rdi; wrgsbase %rsi; mov %fs:0, %rbx; mov %gs:0, %rdx; syscall");

static bool has_fsgsbase(void)
{
	u32 a, b = 0, c, d;

	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
	return b & 1;
}

static void segment_bases(void)
{
	u64 page = mem_alloc(2), *words = mem_ptr(page);
	struct guest g;

	guest_start(&g, read_bases);
	guest_map(&g, DATA, 2, RW, page);
	for (u64 i = 0; i < 200; i++) {
		words[2 * i] = i;
		guest_init_regs(&g);
		g.regs.fs_base = DATA + 16 * i;
		g.regs.gs_base = DATA + 16 * (199 - i);
		g.regs.rax = 1000 + i;
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		CHECK_EQ(g.regs.rbx, words[2 * i]);
		CHECK_EQ(g.regs.rdx, words[2 * (199 - i)]);
		CHECK_EQ(words[2 * i + 1], 1000 + i);
		CHECK_EQ(g.regs.fs_base, DATA + 16 * i);
		CHECK_EQ(g.regs.gs_base, DATA + 16 * (199 - i));
	}
	if (has_fsgsbase()) {	/* the guest's own doing is seen, and kept */
		guest_code(&g, write_bases, write_bases_end);
		g.regs.rdi = DATA + 32;
		g.regs.rsi = DATA + 64;
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		CHECK_EQ(g.regs.fs_base, DATA + 32);
		CHECK_EQ(g.regs.gs_base, DATA + 64);
		CHECK_EQ(g.regs.rbx, words[4]);
	}
	guest_destroy(&g);
}

/* ---- extended state ---- */

GUEST_CODE(xrstor_then_wait, "mov $-1, %eax; mov $-1, %edx; xrstor (%rdi); 1: syscall; jmp 1b");
GUEST_CODE(xsave_now, "mov $-1, %eax; mov $-1, %edx; xsave (%rdi); syscall");

/* An image with every byte of every component set that may be, different for each seed. */
static void fill_image(u8 *image, u32 seed)
{
	const u64 features = xstate_features();

	xstate_init_image(image);
	for (size_t i = 32; i < 160; i++)			/* x87 registers, 10 of 16 bytes each */
		image[i] = (i - 32) % 16 < 10 ? (u8)(i * 7 + seed) : 0;
	for (size_t i = 160; i < 416; i++)			/* XMM */
		image[i] = (u8)(i * 11 + seed);
	for (int f = 2; f < 9; f++) {
		u32 size, offset, c, d;

		if (!(features >> f & 1))
			continue;
		__asm__("cpuid" : "=a"(size), "=b"(offset), "=c"(c), "=d"(d) : "a"(0xd), "c"(f));
		for (u32 i = 0; i < size; i++)
			image[offset + i] = (u8)(i * 13 + f + seed);
	}
	if (features >> 9 & 1) {		/* one key more than Linux gives; key 0 is for all memory */
		u32 a, offset, c, d, pkru = 0x55555554 & ~(3u << (2 + seed % 15 * 2));

		__asm__("cpuid" : "=a"(a), "=b"(offset), "=c"(c), "=d"(d) : "a"(0xd), "c"(9));
		memcpy(image + offset, &pkru, sizeof(pkru));
	}
	memcpy(image + 512, &features, 8);
}

/* What may differ without the state differing: the host's notes, and the order bits of x87. */
static void compare_images(const u8 *got, const u8 *want)
{
	CHECK(!memcmp(got + 24, want + 24, 4));			/* MXCSR */
	CHECK(!memcmp(got + 32, want + 32, 416 - 32));
	CHECK(!memcmp(got + 576, want + 576, xstate_size() - 576));
}

static u8 *new_image(void)
{
	u8 *p = aligned_alloc(64, align_up(xstate_size(), 64));

	CHECK(p);
	memset(p, 0, xstate_size());
	return p;
}

static void extended_state_survives(void)
{
	u8 *want = new_image(), *got = new_image();
	u64 pages = mem_alloc(4);
	struct guest g;

	guest_start(&g, xrstor_then_wait);
	guest_map(&g, DATA, 4, RW, pages);
	fill_image(want, 1);
	memcpy(mem_ptr(pages), want, xstate_size());
	g.regs.rdi = DATA;
	for (int i = 0; i < SWITCHES; i++)
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	CHECK_EQ(P->fp_read(g.ctx, got), 0);
	compare_images(got, want);
	guest_code(&g, xsave_now, xsave_now_end);
	memset(mem_ptr(pages), 0, xstate_size());
	g.regs.rdi = DATA;
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	compare_images(mem_ptr(pages), want);
	guest_destroy(&g);
	free(want);
	free(got);
}

static void extended_state_is_written(void)
{
	u8 *want = new_image(), *got = new_image();
	u64 pages = mem_alloc(4);
	struct guest g;

	guest_start(&g, xsave_now);
	guest_map(&g, DATA, 4, RW, pages);
	for (u32 i = 0; i < 20; i++) {
		fill_image(want, i);
		CHECK_EQ(P->fp_write(g.ctx, want), 0);	/* the first time before the context has ever run */
		CHECK_EQ(P->fp_read(g.ctx, got), 0);
		compare_images(got, want);
		memset(mem_ptr(pages), 0, xstate_size());
		guest_init_regs(&g);
		g.regs.rdi = DATA;
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		compare_images(mem_ptr(pages), want);
	}
	guest_destroy(&g);
	free(want);
	free(got);
}

static void bad_images_are_refused(void)
{
	u8 *image = new_image(), *got = new_image();
	struct guest g;

	guest_start(&g, flags_pass);
	for (int ran = 0; ran < 2; ran++) {
		fill_image(image, 3);
		CHECK_EQ(P->fp_write(g.ctx, image), 0);
		memset(image + 24, 0xff, 4);			/* MXCSR's reserved bits */
		CHECK_EQ(P->fp_write(g.ctx, image), -EINVAL);
		fill_image(image, 4);
		image[512 + 7] = 0x80;				/* a feature nobody has */
		CHECK_EQ(P->fp_write(g.ctx, image), -EINVAL);
		fill_image(image, 5);
		image[512 + 15] = 0x80;				/* the compacted format */
		CHECK_EQ(P->fp_write(g.ctx, image), -EINVAL);
		fill_image(image, 6);
		image[512 + 40] = 1;
		CHECK_EQ(P->fp_write(g.ctx, image), -EINVAL);
		CHECK_EQ(P->fp_read(g.ctx, got), 0);
		fill_image(image, 3);
		compare_images(got, image);
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	}
	guest_destroy(&g);
	free(image);
	free(got);
}

static void new_contexts_are_clean(void)
{
	u8 *image = new_image(), *want = new_image();
	u64 pages = mem_alloc(4);

	xstate_init_image(want);
	for (int i = 0; i < 6; i++) {	/* each may be given what the last one left */
		struct guest g;

		guest_start(&g, xsave_now);
		guest_map(&g, DATA, 4, RW, pages);
		memset(mem_ptr(pages), 0, xstate_size());
		g.regs.rdi = DATA;
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		CHECK_EQ(*(u32 *)mem_ptr(pages + 24), 0x1f80);
		compare_images(mem_ptr(pages), want);
		fill_image(image, i);
		CHECK_EQ(P->fp_write(g.ctx, image), 0);
		CHECK_EQ(guest_run_code(&g, flags_pass), EVENT_SYSCALL);
		guest_destroy(&g);
	}
	free(image);
	free(want);
}

const struct contract_case register_cases[] = {
	{ "general_registers", general_registers },
	{ "registers_reach_the_guest", registers_reach_the_guest },
	{ "no_restart", no_result_restarts_a_call },
	{ "flags", flags },
	{ "segment_bases", segment_bases },
	{ "extended_state", extended_state_survives },
	{ "extended_state_write", extended_state_is_written },
	{ "extended_state_bad", bad_images_are_refused },
	{ "extended_state_new", new_contexts_are_clean },
	{ NULL, NULL },
};
