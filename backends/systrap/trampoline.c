/*
 * Trampolines: what a patched call site jumps to.
 *
 * They have to find the thread's channel with nothing but rcx and r11, which SYSCALL destroys anyway, without touching the
 * guest's stack, flags or GS: a hash of fs_base indexes a table in the control pages, and the channel found holds minus
 * the fs_base that it is for. Their sum is zero for the right channel (JRCXZ reads no flags); for any other the
 * trampoline makes the SYSCALL itself, which traps as if nothing had been patched.
 */
#include <string.h>

#include "backends/systrap/systrap.h"

struct code {
	u8 *p;
};

static void bytes(struct code *c, const void *b, size_t n)
{
	memcpy(c->p, b, n);
	c->p += n;
}

#define EMIT(c, ...)	bytes(c, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

/* r11 = this thread's channel as the table has it (an unused entry gives the table's first page); `base` is lost. */
static void emit_lookup(struct code *c, bool base_is_rax)
{
	const u64 table = STUB_CONTROL + CONTROL_TABLE;

	EMIT(c, 0xf3, 0x48, 0x0f, 0xae, 0xc1);			/* rdfsbase %rcx */
	EMIT(c, 0x41, 0xbb, 0, 0, 0, 0);			/* mov $0,%r11d */
	EMIT(c, 0xf2, 0x4c, 0x0f, 0x38, 0xf1, 0xd9);		/* crc32q %rcx,%r11 */
	EMIT(c, 0xc4, 0x43, 0xfb, 0xf0, 0xdb, 20);		/* rorx $20,%r11,%r11 */
	EMIT(c, 0x45, 0x0f, 0xb7, 0xdb);			/* movzwl %r11w,%r11d */
	if (base_is_rax) {
		EMIT(c, 0x48, 0xb8);				/* movabs $table,%rax */
		bytes(c, &table, 8);
		EMIT(c, 0x4e, 0x8b, 0x9c, 0xd8);		/* mov TABLE_FIRST(%rax,%r11,8),%r11 */
		bytes(c, &(u32){ TABLE_FIRST }, 4);
		EMIT(c, 0x4e, 0x8d, 0x1c, 0x18);		/* lea (%rax,%r11),%r11 */
	} else {
		EMIT(c, 0x48, 0xb9);				/* the same with %rcx */
		bytes(c, &table, 8);
		EMIT(c, 0x4e, 0x8b, 0x9c, 0xd9);
		bytes(c, &(u32){ TABLE_FIRST }, 4);
		EMIT(c, 0x4e, 0x8d, 0x1c, 0x19);
	}
}

static void emit_load_nr(struct code *c, s32 nr)
{
	EMIT(c, 0xb8);						/* mov $nr,%eax */
	bytes(c, &nr, 4);
}

/* Ends with a jump over the SYSCALL way if rcx, made fs_base minus the channel's, is zero. */
static void emit_check(struct code *c, s32 nr)
{
	if (nr >= 0) {
		EMIT(c, 0x49, 0x8b, 0x83);			/* mov CH_NEG_FS(%r11),%rax */
		bytes(c, &(u32){ CH_NEG_FS }, 4);
		EMIT(c, 0x48, 0x8d, 0x0c, 0x01);		/* lea (%rcx,%rax),%rcx */
		emit_load_nr(c, nr);
	} else {
		EMIT(c, 0x4d, 0x8b, 0x9b);			/* mov CH_NEG_FS(%r11),%r11 */
		bytes(c, &(u32){ CH_NEG_FS }, 4);
		EMIT(c, 0xf3, 0x48, 0x0f, 0xae, 0xc1);		/* rdfsbase %rcx */
		EMIT(c, 0x4a, 0x8d, 0x0c, 0x19);		/* lea (%rcx,%r11),%rcx */
	}
	EMIT(c, 0xe3, 0x07);					/* jrcxz over the next two */
}

/* rax holds the call's number only at the end when it is a constant, so it is free until then. */
size_t systrap_trampoline(u8 *out, const struct trampoline_request *req)
{
	struct code c = { out };
	s32 back;

	emit_lookup(&c, req->nr >= 0);
	emit_check(&c, req->nr);
	EMIT(&c, 0x0f, 0x05);					/* syscall */
	EMIT(&c, 0xe9);						/* jmp resume */
	back = (s32)(req->resume - (req->at + (c.p - out) + 4));
	bytes(&c, &back, 4);
	if (req->nr < 0)
		emit_lookup(&c, false);				/* the check destroyed it */
	EMIT(&c, 0x48, 0xb9);					/* movabs $resume,%rcx */
	bytes(&c, &req->resume, 8);
	EMIT(&c, 0x41, 0xff, 0xa3);				/* jmp *CH_ENTRY(%r11) */
	bytes(&c, &(u32){ CH_ENTRY }, 4);
	return c.p - out;
}
