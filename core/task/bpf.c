/*
 * Classic BPF as seccomp filters use it: a checker and an interpreter.
 *
 * Threat: a program is hostile data. It is copied once and checked whole before it first runs: jumps go forward and stay
 * inside, so it ends after at most as many steps as it has instructions; loads from the data are of aligned words
 * within it; scratch memory is read only where every path has written it; constants neither divide by zero nor shift by
 * 32 and more; only what is listed here is an instruction. The interpreter then needs no checks but the one for division by X.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "task/seccomp.h"

enum { BAD, PLAIN, USES_K_AS_DIVISOR, USES_K_AS_SHIFT, LOADS_DATA, LOADS_MEM, STORES_MEM, JUMPS, JUMPS_IF, RETURNS };

static int kind_of(u16 code)
{
	switch (code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return LOADS_DATA;
	case BPF_LD | BPF_W | BPF_LEN: case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM: case BPF_LDX | BPF_IMM: case BPF_MISC | BPF_TAX: case BPF_MISC | BPF_TXA:
	case BPF_ALU | BPF_ADD | BPF_K: case BPF_ALU | BPF_ADD | BPF_X: case BPF_ALU | BPF_SUB | BPF_K:
	case BPF_ALU | BPF_SUB | BPF_X: case BPF_ALU | BPF_MUL | BPF_K: case BPF_ALU | BPF_MUL | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K: case BPF_ALU | BPF_AND | BPF_X: case BPF_ALU | BPF_OR | BPF_K:
	case BPF_ALU | BPF_OR | BPF_X: case BPF_ALU | BPF_XOR | BPF_K: case BPF_ALU | BPF_XOR | BPF_X:
	case BPF_ALU | BPF_NEG: case BPF_ALU | BPF_DIV | BPF_X: case BPF_ALU | BPF_LSH | BPF_X: case BPF_ALU | BPF_RSH | BPF_X:
		return PLAIN;
	case BPF_ALU | BPF_DIV | BPF_K:
		return USES_K_AS_DIVISOR;
	case BPF_ALU | BPF_LSH | BPF_K: case BPF_ALU | BPF_RSH | BPF_K:
		return USES_K_AS_SHIFT;
	case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM:
		return LOADS_MEM;
	case BPF_ST: case BPF_STX:
		return STORES_MEM;
	case BPF_JMP | BPF_JA:
		return JUMPS;
	case BPF_JMP | BPF_JEQ | BPF_K: case BPF_JMP | BPF_JEQ | BPF_X: case BPF_JMP | BPF_JGE | BPF_K:
	case BPF_JMP | BPF_JGE | BPF_X: case BPF_JMP | BPF_JGT | BPF_K: case BPF_JMP | BPF_JGT | BPF_X:
	case BPF_JMP | BPF_JSET | BPF_K: case BPF_JMP | BPF_JSET | BPF_X:
		return JUMPS_IF;
	case BPF_RET | BPF_K: case BPF_RET | BPF_A:
		return RETURNS;
	default:
		return BAD;
	}
}

static bool one_is_good(const struct sock_filter *i, u32 left)
{
	switch (kind_of(i->code)) {
	case BAD:
		return false;
	case USES_K_AS_DIVISOR:
		return i->k != 0;
	case USES_K_AS_SHIFT:
		return i->k < 32;
	case LOADS_DATA:
		return !(i->k & 3) && i->k < sizeof(struct seccomp_data);
	case LOADS_MEM: case STORES_MEM:
		return i->k < BPF_MEMWORDS;
	case JUMPS:
		return i->k < left;
	case JUMPS_IF:
		return i->jt < left && i->jf < left;
	default:
		return true;
	}
}

/*
 * Which scratch words are written on every path to each instruction. As jumps go forward, one pass sees every jump to
 * an instruction before the instruction itself.
 */
static bool memory_is_good(const struct sock_filter *insn, u32 len)
{
	u16 *written = malloc(len * sizeof(*written)), here = 0;
	bool good = written;

	if (!written)
		return false;
	memset(written, 0xff, len * sizeof(*written));
	for (u32 i = 0; good && i < len; i++) {
		const struct sock_filter *f = &insn[i];

		here &= written[i];
		switch (kind_of(f->code)) {
		case STORES_MEM:
			here |= 1u << f->k;
			break;
		case LOADS_MEM:
			good = here >> f->k & 1;
			break;
		case JUMPS:
			written[i + 1 + f->k] &= here;
			here = 0xffff;
			break;
		case JUMPS_IF:
			written[i + 1 + f->jt] &= here;
			written[i + 1 + f->jf] &= here;
			here = 0xffff;
			break;
		case RETURNS:
			here = 0xffff;		/* what follows is reached by jumps only */
			break;
		default:
			break;
		}
	}
	free(written);
	return good;
}

int bpf_check(const struct sock_filter *insn, u32 len)
{
	for (u32 i = 0; i < len; i++)
		if (!one_is_good(&insn[i], len - i - 1))
			return -EINVAL;
	if (!len || kind_of(insn[len - 1].code) != RETURNS || !memory_is_good(insn, len))
		return -EINVAL;
	return 0;
}

static u32 alu(u16 code, u32 a, u32 b)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_AND:
		return a & b;
	case BPF_OR:
		return a | b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 31);
	case BPF_RSH:
		return a >> (b & 31);
	case BPF_NEG:
		return -a;
	default:
		return a / b;		/* DIV: the caller has seen that b is not 0 */
	}
}

static bool condition(u16 code, u32 a, u32 b)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	default:
		return a & b;
	}
}

u32 bpf_run(const struct sock_filter *i, const u32 *data, u32 words)
{
	u32 a = 0, x = 0, mem[BPF_MEMWORDS] = { 0 };

	for (;; i++) {
		u32 operand = BPF_SRC(i->code) == BPF_X ? x : i->k;

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			a = BPF_MODE(i->code) == BPF_ABS ? data[i->k / 4] : BPF_MODE(i->code) == BPF_LEN ? words * 4 :
			    BPF_MODE(i->code) == BPF_MEM ? mem[i->k] : i->k;
			break;
		case BPF_LDX:
			x = BPF_MODE(i->code) == BPF_LEN ? words * 4 : BPF_MODE(i->code) == BPF_MEM ? mem[i->k] : i->k;
			break;
		case BPF_ST:
			mem[i->k] = a;
			break;
		case BPF_STX:
			mem[i->k] = x;
			break;
		case BPF_ALU:
			if (BPF_OP(i->code) == BPF_DIV && !operand)
				return 0;
			a = alu(i->code, a, operand);
			break;
		case BPF_JMP:
			i += BPF_OP(i->code) == BPF_JA ? i->k : condition(i->code, a, operand) ? i->jt : i->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? a : i->k;
		default:
			if (BPF_MISCOP(i->code) == BPF_TAX)
				x = a;
			else
				a = x;
		}
	}
}
