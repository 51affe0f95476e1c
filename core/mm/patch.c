/*
 * Patching call sites: a SYSCALL instruction that traps often becomes a jump to a trampoline that needs no trap.
 *
 * The SYSCALL itself is never overwritten by more than its own two bytes, and whoever jumps to it still makes the call:
 *
 *	mov $nr,%eax		jmp trampoline		five bytes for five; the SYSCALL behind stays as it was, so a
 *	syscall			syscall			restart or a jump to it traps as before
 *
 *	syscall			jmp short pad		two bytes for two, where the padding behind the function's end has
 *	...			...			room for the long jump; the number may come from anywhere
 *	ret; pad		ret; jmp trampoline
 *
 * A thread may be anywhere in the site meanwhile: each patch is made on a fresh copy of the page, which then replaces the old
 * one as a whole, and no instruction boundary that was one is no longer one. The page becomes the mm's own, so
 * other guests and the file see nothing; fork shares it like any page, trampolines included. A guest that reads
 * its own code sees the jump; one that writes over it gets what it wrote.
 * What does not work is code that is copied or moved (mremap) to another address after it was patched, and runs there: its
 * jumps are relative. For such a program there is the knob that turns patching off.
 */
#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>

#include "mm/internal.h"

enum {
	SEEN_SLOTS	= 256,		/* sites remembered, by hash */
	AREA_SIZE	= 64 << 10,
	AREAS_MAX	= 64,
	MOV_LEN		= 5,		/* b8 imm32 */
	JMP_LEN		= 5,		/* e9 rel32 */
	PAD_SEARCH	= 120,		/* bytes behind the SYSCALL in reach of a short jump */
	GIVEN_UP	= 0xffff,
};

/* A site that traps: how often, or that nothing can be done. Racing tasks may lose a count. */
struct seen_site {
	_Atomic u64 word;		/* address << 16 | count */
};

struct patch_area {
	gva_t start;
	u32 used;			/* bytes */
};

struct patch_state {
	struct seen_site seen[SEEN_SLOTS];
	struct patch_area area[AREAS_MAX];	/* mm->lock */
	int nareas;
};

void patch_state_free(struct mm *mm)
{
	free(mm->patch);
	mm->patch = NULL;
}

/* ---- trampolines ---- */

static bool near(gva_t a, gva_t b)
{
	s64 d = (s64)(a - b);

	return d > -0x70000000ll && d < 0x70000000ll;
}

static s64 area_map(struct mm *mm, gva_t site)
{
	gva_t lo = site > 0x60000000 ? page_up(site - 0x60000000) : GUEST_MIN;
	gva_t hi = MIN(page_down(site + 0x60000000), GUEST_END);
	struct vma *v;
	s64 addr = gap_between(mm, AREA_SIZE, MAX(lo, GUEST_MIN), hi);

	if (addr < 0 || mm->nvmas >= MAX_VMAS)
		return -ENOMEM;
	v = vma_new(addr, addr + AREA_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | VMA_SPECIAL);
	if (!v)
		return -ENOMEM;
	v->name = "[trampoline]";
	vma_insert(mm, v);
	return addr;
}

/* Room for one trampoline in reach of the site. */
static s64 trampoline_place(struct mm *mm, gva_t site)
{
	struct patch_state *ps = mm->patch;
	s64 addr;

	for (int i = 0; i < ps->nareas; i++)
		if (near(ps->area[i].start, site) && ps->area[i].used + TRAMPOLINE_SIZE <= AREA_SIZE)
			return ps->area[i].start + ps->area[i].used;
	if (ps->nareas == AREAS_MAX)
		return -ENOMEM;
	addr = area_map(mm, site);
	if (addr > 0)
		ps->area[ps->nareas++] = (struct patch_area){ .start = addr };
	return addr;
}

static void trampoline_taken(struct mm *mm, gva_t at)
{
	for (int i = 0; i < mm->patch->nareas; i++)
		if (at - mm->patch->area[i].start < AREA_SIZE)
			mm->patch->area[i].used += TRAMPOLINE_SIZE;
}

/* ---- writing to pages that the guest may not write ---- */

/* Replace the page by a copy with `len` bytes at `addr` changed. All of them lie in one page. */
static int page_rewrite(struct mm *mm, gva_t addr, const void *bytes, u64 len)
{
	struct vma *v = vma_find(mm, addr);
	u32 i = pt_index(addr);
	struct pt_leaf *leaf;
	u64 old, offset;
	int err;

	if (!v || vma_shared(v))
		return -EFAULT;
	err = fault_locked(mm, addr, v->prot & PROT_EXEC ? ACCESS_EXEC : ACCESS_READ);
	if (err)
		return err;
	leaf = pt_leaf_find(mm->pt, addr);
	old = leaf ? leaf->e[i] : 0;
	if (!(old & PTE_PRESENT))
		return -EFAULT;
	err = memory_alloc(1, false, &offset);
	if (err)
		return err;
	guest_copy(memory_ptr(offset), memory_ptr(pte_offset(old)), PAGE_SIZE);
	memcpy((u8 *)memory_ptr(offset) + (addr & ~PAGE_MASK), bytes, len);
	leaf->e[i] = offset | PTE_PRESENT | PTE_ANON | (old & PTE_VIEW);
	err = mm_show(mm, v, &(struct pt_run){ page_down(addr), 1, leaf->e[i], leaf, i }, AS_MAP_POPULATE);
	if (err)
		leaf->e[i] = old;		/* the platform may still show it */
	memory_put(err ? offset : pte_offset(old), 1);
	return err;
}

/* As the kernel's FOLL_FORCE: a debugger may write what the program may not, into the program's own copy. */
static int poke_page(struct mm *mm, gva_t addr, const void *bytes, u64 len)
{
	struct vma *v;
	int err = -EFAULT;

	pthread_mutex_lock(&mm->lock);
	v = vma_find(mm, addr);
	if (v && !(v->prot & PROT_WRITE))
		err = page_rewrite(mm, addr, bytes, len);
	pthread_mutex_unlock(&mm->lock);
	return err;
}

int mm_poke(struct mm *mm, gva_t addr, const void *bytes, u64 len)
{
	const u8 *p = bytes;

	if (!guest_range_ok(addr, len))
		return -EFAULT;
	while (len) {
		u64 n = MIN(len, PAGE_SIZE - (addr & ~PAGE_MASK));

		if (copy_out(mm, addr, p, n) && poke_page(mm, addr, p, n))
			return -EFAULT;
		addr += n;
		p += n;
		len -= n;
	}
	return 0;
}

static int write_trampoline(struct mm *mm, const struct trampoline_request *req)
{
	u8 code[TRAMPOLINE_SIZE];
	u64 len = platform->trampoline(code, req), first;
	int err;

	first = MIN(len, PAGE_SIZE - (req->at & ~PAGE_MASK));
	err = page_rewrite(mm, req->at, code, first);
	if (!err && first < len)
		err = page_rewrite(mm, req->at + first, code + first, len - first);
	if (!err)
		trampoline_taken(mm, req->at);
	return err;
}

static void put_jump(u8 *out, gva_t at, gva_t to)
{
	s32 rel = (s32)(to - (at + JMP_LEN));

	out[0] = 0xe9;
	memcpy(out + 1, &rel, 4);
}

/* ---- the two forms ---- */

static bool same_page(gva_t a, gva_t b) { return page_down(a) == page_down(b); }

/* `code` are the bytes from `site` - 8 on; rax held `nr`. */
static int patch_mov(struct mm *mm, gva_t site, const u8 *code, u32 nr)
{
	const u8 *mov = code + 8 - MOV_LEN;
	struct trampoline_request req = { .resume = site + 2, .nr = nr };
	u8 jump[JMP_LEN];
	u32 imm;
	s64 at;
	int err;

	memcpy(&imm, mov + 1, 4);
	/* A REX prefix before it would make it another register's load. */
	if (mov[0] != 0xb8 || imm != nr || (mov[-1] & 0xf0) == 0x40 || !same_page(site - MOV_LEN, site))
		return -ENOENT;
	at = trampoline_place(mm, site);
	if (at < 0)
		return at;
	req.at = at;
	err = write_trampoline(mm, &req);
	if (err)
		return err;
	put_jump(jump, site - MOV_LEN, req.at);
	return page_rewrite(mm, site - MOV_LEN, jump, sizeof(jump));
}

/* The first byte behind the end of the code that follows the call, or 0. */
static u32 code_end(const u8 *code, u32 len)
{
	ZydisDecodedInstruction in;
	ZydisDecoder d;
	u32 pos = 0;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	while (pos < len) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, code + pos, len - pos, &in)))
			return 0;
		pos += in.length;
		if (in.mnemonic == ZYDIS_MNEMONIC_RET || in.mnemonic == ZYDIS_MNEMONIC_JMP)
			return pos;
	}
	return 0;
}

/* The padding at `code`: single-byte, multi-byte NOPs as assemblers make them, or int3. Its length. */
static u32 padding(const u8 *code, u32 len)
{
	ZydisDecodedInstruction in;
	ZydisDecoder d;
	u32 pos = 0;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	while (pos < len && pos < JMP_LEN) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, code + pos, len - pos, &in)))
			break;
		if (in.mnemonic != ZYDIS_MNEMONIC_NOP && in.mnemonic != ZYDIS_MNEMONIC_INT3)
			break;
		pos += in.length;
	}
	return pos;
}

/* `code` are `len` bytes from `site` on. */
static int patch_short(struct mm *mm, gva_t site, const u8 *code, u32 len)
{
	struct trampoline_request req = { .resume = site + 2, .nr = -1 };
	u32 end = code_end(code + 2, len - 2) + 2;
	u8 jump[JMP_LEN], hop[2] = { 0xeb, end - 2 };
	s64 at;
	int err;

	if (end == 2 || end - 2 > PAD_SEARCH || len < end + JMP_LEN || padding(code + end, len - end) < JMP_LEN)
		return -ENOENT;
	if (!same_page(site, site + end + JMP_LEN - 1))
		return -ENOENT;
	at = trampoline_place(mm, site);
	if (at < 0)
		return at;
	req.at = at;
	err = write_trampoline(mm, &req);
	if (err)
		return err;
	put_jump(jump, site + end, req.at);
	err = page_rewrite(mm, site + end, jump, sizeof(jump));
	return err ? err : page_rewrite(mm, site, hop, sizeof(hop));
}

/* Copy code for a look; it stays in its page, so one lookup does. */
static int read_code(struct mm *mm, gva_t addr, u8 *out, u64 len)
{
	u64 e = pt_get(mm->pt, addr);

	if (!(e & PTE_PRESENT) || !same_page(addr, addr + len - 1))
		return -EFAULT;
	guest_copy(out, (u8 *)memory_ptr(pte_offset(e)) + (addr & ~PAGE_MASK), len);
	return 0;
}

static int patch_locked(struct mm *mm, gva_t site, u32 nr)
{
	struct vma *v = vma_find(mm, site);
	u64 ahead = MIN((u64)PAD_SEARCH + 16, page_down(site) + PAGE_SIZE - site);
	u8 before[16], after[PAD_SEARCH + 16];
	int err = -ENOENT;

	if (!v || !(v->prot & PROT_EXEC) || (v->prot & PROT_WRITE) || vma_shared(v))
		return -EACCES;
	if (ahead < 2 || read_code(mm, site, after, ahead) || after[0] != 0x0f || after[1] != 0x05)
		return -ENOENT;
	if (!read_code(mm, site - 8, before, 10))
		err = patch_mov(mm, site, before, nr);
	if (err == -ENOENT)
		err = patch_short(mm, site, after, ahead);
	return err;
}

/* ---- who is worth it ---- */

static struct patch_state *state_of(struct mm *mm)
{
	pthread_mutex_lock(&mm->lock);
	if (!mm->patch)
		__atomic_store_n(&mm->patch, calloc(1, sizeof(*mm->patch)), __ATOMIC_RELEASE);
	pthread_mutex_unlock(&mm->lock);
	return mm->patch;
}

void mm_call_trapped(struct mm *mm, gva_t resume, u32 nr)
{
	struct patch_state *ps = __atomic_load_n(&mm->patch, __ATOMIC_ACQUIRE);
	gva_t site = resume - 2;
	struct seen_site *seen;
	u64 word, count;
	int err;

	if (!ps)
		ps = state_of(mm);
	if (!ps || site >= GUEST_END)
		return;
	seen = &ps->seen[(site ^ site >> 8) % SEEN_SLOTS];
	word = atomic_load_explicit(&seen->word, memory_order_relaxed);
	count = word >> 16 == site ? (word & 0xffff) + 1 : 1;
	if (count > GIVEN_UP)
		return;
	if (count < (u64)knob_patch_after) {
		atomic_store_explicit(&seen->word, site << 16 | count, memory_order_relaxed);
		return;
	}
	pthread_mutex_lock(&mm->lock);
	err = patch_locked(mm, site, nr);
	pthread_mutex_unlock(&mm->lock);
	/* Patched sites that still come here (another thread was at it, a table entry lost) start to count again. */
	atomic_store_explicit(&seen->word, site << 16 | (err ? GIVEN_UP : 0), memory_order_relaxed);
}
