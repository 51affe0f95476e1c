/*
 * Reading the guest's instruction to learn what ptrace does not tell: whether a fault was a read, a write or a fetch.
 *
 * The bytes come from the memory file, through the spans, with no host call. The guest may change them at any time
 * and so make the answer wrong for itself: core then refuses an access that it did not make, or maps one that it may
 * have. Nothing else follows from the answer.
 */
#include "backends/ptrace/internal.h"

#include <Zydis/Zydis.h>

enum { CS_COMPAT = 0x23, MAX_INSN = 15 };

struct decoded {
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	bool truncated;			/* valid as far as it can be read */
};

static bool decode(struct stub_maps *maps, const struct guest_regs *regs, struct decoded *d)
{
	const bool compat = regs->cs == CS_COMPAT;
	u8 code[MAX_INSN];
	size_t n = stub_maps_read(maps, ptrace_memory, regs->rip, code, sizeof(code));
	ZydisDecoder decoder;
	ZyanStatus status;

	ZydisDecoderInit(&decoder, compat ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64,
			 compat ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_64);
	status = ZydisDecoderDecodeFull(&decoder, code, n, &d->insn, d->ops);
	d->truncated = status == ZYDIS_STATUS_NO_MORE_DATA;
	return ZYAN_SUCCESS(status);
}

/* ---- operand addresses ---- */

static u64 gpr64(const struct guest_regs *r, int id)
{
	const u64 value[] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
			      r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

	return id >= 0 && id < 16 ? value[id] : 0;
}

static u64 register_value(const struct decoded *d, const struct guest_regs *r, ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR64:
		return gpr64(r, ZydisRegisterGetId(reg));
	case ZYDIS_REGCLASS_GPR32:
		return (u32)gpr64(r, ZydisRegisterGetId(reg));
	case ZYDIS_REGCLASS_IP:
		return r->rip + d->insn.length;
	default:
		return 0;
	}
}

static u64 segment_base(const struct guest_regs *r, ZydisRegister seg)
{
	if (seg == ZYDIS_REGISTER_FS)
		return r->fs_base;
	return seg == ZYDIS_REGISTER_GS ? r->gs_base : 0;
}

static u64 operand_address(const struct decoded *d, const ZydisDecodedOperand *op, const struct guest_regs *r)
{
	u64 addr = register_value(d, r, op->mem.base);

	addr += register_value(d, r, op->mem.index) * op->mem.scale;
	if (op->mem.disp.has_displacement)
		addr += op->mem.disp.value;
	if (d->insn.address_width == 32)
		addr = (u32)addr;
	return addr + segment_base(r, op->mem.segment);
}

/* A repeated string instruction may fault anywhere in what is left of its range. */
static bool operand_covers(const struct decoded *d, const ZydisDecodedOperand *op, const struct guest_regs *r, gva_t addr)
{
	const bool repeats = d->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
	const u64 size = MAX(op->size / 8, 1), back = r->eflags >> 10 & 1;
	u64 start = operand_address(d, op, r), len = size;

	/* push, call and enter store below rsp; Zydis gives the operand's base as rsp itself. */
	if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && op->mem.base == ZYDIS_REGISTER_RSP &&
	    (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) && addr < start)
		return start - addr <= size;
	if (repeats) {
		if (__builtin_mul_overflow(size, r->rcx, &len) || len > GUEST_END)
			len = GUEST_END;
		if (back)
			start = start + size - len;
	}
	return addr - start < len;
}

/* ---- what was wanted ---- */

struct wants {
	int nread, nwrite;
	bool read_covers, write_covers;
};

static void look_at_operand(const struct decoded *d, const ZydisDecodedOperand *op, const struct guest_regs *regs,
			    gva_t addr, struct wants *w)
{
	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return;
	/* Read-modify-write asks for write access from the start. */
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
		w->nwrite++;
		w->write_covers |= operand_covers(d, op, regs, addr);
	} else {
		w->nread++;
		w->read_covers |= operand_covers(d, op, regs, addr);
	}
}

static struct wants data_wants(const struct decoded *d, const struct guest_regs *regs, gva_t addr)
{
	struct wants w = { 0 };

	for (int i = 0; i < d->insn.operand_count; i++)
		look_at_operand(d, &d->ops[i], regs, addr, &w);
	return w;
}

static enum access data_access(const struct wants *w)
{
	if (!w->nwrite)
		return ACCESS_READ;
	if (!w->nread)
		return ACCESS_WRITE;
	/* Both, as in movs, push [m], call [m]: by address; the load comes first. */
	return w->read_covers || !w->write_covers ? ACCESS_READ : ACCESS_WRITE;
}

/*
 * What may be read now can only have been written to - unless a sibling's fault on the same page was served since. So it is
 * a write only if the instruction can have written there. The others try again.
 */
static enum access readable_access(const struct decoded *d, const struct wants *w, const struct guest_regs *regs, gva_t addr)
{
	if (!w->write_covers && addr - regs->rip < d->insn.length)
		return ACCESS_EXEC;
	if (!w->nwrite || (w->read_covers && !w->write_covers))
		return ACCESS_READ;
	return ACCESS_WRITE;
}

/* Did the processor fail to fetch the instruction itself? */
static bool fetch_failed(struct stub_maps *maps, const struct guest_regs *regs, gva_t addr, enum access prot,
			 struct decoded *d)
{
	if (addr - regs->rip >= MAX_INSN || (prot & ACCESS_EXEC))
		return false;
	if (addr == regs->rip)
		return true;
	/* Later bytes: only on a page of their own, and only if the instruction reaches them. */
	return !decode(maps, regs, d) ? d->truncated : addr < regs->rip + d->insn.length;
}

enum access access_kind(struct stub_maps *maps, const struct guest_regs *regs, gva_t addr)
{
	const enum access prot = stub_maps_prot(maps, addr);
	struct decoded d;
	struct wants w;

	if (fetch_failed(maps, regs, addr, prot, &d))
		return ACCESS_EXEC;
	if (!decode(maps, regs, &d)) {
		/* Unknown to the decoder: a page that is not there is read first, and the retry tells. */
		if (!(prot & ACCESS_READ))
			return ACCESS_READ;
		return addr - regs->rip < MAX_INSN ? ACCESS_EXEC : ACCESS_WRITE;
	}
	w = data_wants(&d, regs, addr);
	return prot & ACCESS_READ ? readable_access(&d, &w, regs, addr) : data_access(&w);
}

bool access_is_x87(struct stub_maps *maps, const struct guest_regs *regs)
{
	struct decoded d;

	return decode(maps, regs, &d) && (d.insn.meta.category == ZYDIS_CATEGORY_X87_ALU || d.insn.meta.isa_set == ZYDIS_ISA_SET_X87);
}

int access_software_interrupt(struct stub_maps *maps, const struct guest_regs *regs)
{
	u8 code[2];

	if (stub_maps_read(maps, ptrace_memory, regs->rip, code, sizeof(code)) != sizeof(code) || code[0] != 0xcd)
		return -1;
	return code[1];
}
