/*
 * Fuzzer of the loader: mutated ELF files, interpreters and scripts, loaded into the real mm. The seeds are made here,
 * the mutations come from a seeded generator: the same arguments give the same runs.
 *
 *	fuzz_elf [RUNS [SEED [FIRST]]]		FIRST: begin with that run, to look at one again
 *
 * A load may fail in any way that load_program() names. It may not crash, leak memory of the memory file, or
 * succeed with something outside of the guest's space.
 */
#include "../unit/loader_env.h"

#define RUNS		10000
#define ARGC		3

static u64 state;
static u64 run_nr;

static u64 rnd(u64 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

#define REQUIRE(cond)	do { if (!(cond)) die("run %lu: %s", run_nr, #cond); } while (0)

/* ---- seeds ---- */

static void make_elf(struct elf_builder *b)
{
	int kind = rnd(4);

	elf_usual(b, kind ? ET_DYN : ET_EXEC, kind ? 0 : 0x400000);
	if (kind == 2)
		elf_interp(b, "/ld");
	if (kind == 3)
		elf_segment(b, PF_R | PF_W, 0, 0x8000, 0, 0x4000);
	if (rnd(2))
		elf_stack(b, PF_R | PF_W | (rnd(2) ? PF_X : 0));
}

static void make_script(struct elf_builder *b)
{
	static const char *const text[] = {
		"#!/elf\n", "#!/elf -x\n", "#! /script y z \n", "#!/ld", "#!/gone\n", "#! ", "#!\t\t/elf\t",
	};
	const char *s = text[rnd(ARRAY_SIZE(text))];

	memset(b, 0, sizeof(*b));
	b->len = strlen(s);
	memcpy(b->data, s, b->len);
	if (!rnd(4)) {
		memset(b->data + b->len, rnd(2) ? ' ' : 'p', 300);
		b->len += rnd(300);
	}
}

/* ---- mutations ---- */

static u64 odd_number(void)
{
	static const u64 odd[] = {
		0, 1, 7, 8, 0xfff, 0x1000, 0x1001, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, GUEST_MIN - 1,
		GUEST_END - 0x1000, GUEST_END, GUEST_END + 1, 0x555555554000, INT64_MAX, (u64)INT64_MAX + 1, UINT64_MAX,
		UINT64_MAX - 0xfff, UINT64_MAX - 0x1000,
	};
	u64 x = odd[rnd(ARRAY_SIZE(odd))];

	switch (rnd(4)) {
	case 0:
		return x + rnd(16) - 8;
	case 1:
		return (u64)1 << rnd(64);
	default:
		return x;
	}
}

/* Offsets of the fields in a program header and in the file header, by size. */
static const u8 ph_words[] = { 8, 16, 32, 40, 48 };	/* offset, vaddr, filesz, memsz, align */
static const u8 eh_words[] = { 24, 32 };		/* entry, phoff */
static const u8 eh_halves[] = { 16, 18, 54, 56 };	/* type, machine, phentsize, phnum */

static void mutate_header(struct elf_builder *b)
{
	u64 n = MAX(MIN(b->eh->e_phnum, 12), 1), value = odd_number();
	u8 *ph = (u8 *)&b->ph[rnd(n)];
	u16 small = rnd(2) ? rnd(8) : value;

	switch (rnd(8)) {
	case 0:
		memcpy(b->data + eh_words[rnd(ARRAY_SIZE(eh_words))], &value, 8);
		break;
	case 1:
		memcpy(b->data + eh_halves[rnd(ARRAY_SIZE(eh_halves))], &small, 2);
		break;
	case 2:
		value = rnd(8);
		memcpy(ph + 4 * rnd(2), &value, 4);
		break;
	case 3:
		memcpy(&b->ph[rnd(12)], ph, sizeof(Elf64_Phdr));
		b->eh->e_phnum = rnd(13);
		break;
	case 4:
		/* Still congruent to the page: gets further than a wild number. */
		value = (rnd(64) * PAGE_SIZE) | (((u64)rnd(2) ? 0x800 : 0));
		/* fall through */
	default:
		memcpy(ph + ph_words[rnd(ARRAY_SIZE(ph_words))], &value, 8);
		break;
	}
}

static void mutate(struct elf_builder *b)
{
	u64 at = rnd(MAX(b->len, 1));

	switch (rnd(10)) {
	case 0:
		b->data[at % 1200] ^= 1 << rnd(8);
		break;
	case 1:
		b->data[rnd(512)] = rnd(256);
		break;
	case 2:
		b->len = rnd(4) ? at : rnd(200);
		break;
	default:
		if (b->eh)
			mutate_header(b);
		else
			b->data[at] = rnd(256);
		break;
	}
}

static void make_file(struct env_file *ef, const char *name, bool script, struct elf_builder *b)
{
	if (script)
		make_script(b);
	else
		make_elf(b);
	for (u64 n = rnd(5); n; n--)
		mutate(b);
	env_file_make(ef, name, b->data, b->len);
}

/* ---- what a load that succeeded must have left ---- */

static void check_vmas(struct mm *mm, gva_t sp)
{
	gva_t last = GUEST_MIN;
	bool stack = false;
	struct vma *v;

	pthread_mutex_lock(&mm->lock);
	for (v = vma_next(mm, 0); v; v = vma_next(mm, v->end)) {
		REQUIRE(v->start >= last && v->start < v->end && v->end <= GUEST_END);
		REQUIRE(!((v->start | v->end) % PAGE_SIZE));
		stack |= (v->flags & MAP_GROWSDOWN) && v->start <= sp && sp < v->end;
		last = v->end;
	}
	pthread_mutex_unlock(&mm->lock);
	REQUIRE(stack);
}

static void check_stack(struct mm *mm, gva_t sp)
{
	u64 words[24];
	char buf[64];

	REQUIRE(sp % 16 == 0);
	REQUIRE(!copy_in(mm, words, sp, sizeof(words)));
	REQUIRE(words[0] >= ARGC && words[0] < 20 && !words[words[0] + 1]);
	REQUIRE(copy_in_str(mm, buf, words[words[0]], sizeof(buf)) == 4 && !strcmp(buf, "last"));
	REQUIRE(copy_in_str(mm, buf, words[words[0] + 2], sizeof(buf)) == 3 && !strcmp(buf, "E=1"));
	REQUIRE(mm->arg_start < mm->arg_end && mm->arg_end <= mm->env_start && mm->env_end < mm->stack_top);
}

static void check_loaded(struct mm *mm, const struct load_result *res)
{
	REQUIRE(res->entry < GUEST_END);
	REQUIRE(mm->exe);
	check_vmas(mm, res->sp);
	check_stack(mm, res->sp);
	/* What the guest would touch first. */
	mm_fault(mm, res->entry, ACCESS_EXEC, 8 << 20);
	mm_fault(mm, mm->data_start, ACCESS_WRITE, 8 << 20);
	mm_fault(mm, mm->brk_start - 1, ACCESS_WRITE, 8 << 20);
}

static bool known_error(int err)
{
	static const int known[] = { ENOEXEC, ELIBBAD, ENOENT, E2BIG, ENOMEM, EACCES, ELOOP, EIO };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (err == -known[i])
			return true;
	return false;
}

static bool one_run(void)
{
	static struct elf_builder b[3];
	char *argv[] = { "prog", "mid", "last", NULL }, *envp[] = { "E=1", NULL };
	struct load_result res;
	struct mm *mm;
	int err;

	make_file(&env_files[0], "/script", !rnd(4), &b[0]);
	make_file(&env_files[1], "/elf", false, &b[1]);
	make_file(&env_files[2], "/ld", false, &b[2]);
	env_task.personality = rnd(2) ? 0x0040000 : 0;
	REQUIRE(!mm_create(&mm));

	err = load_program(&env_task, mm, env_files[0].file, "/script", argv, envp, &res);
	if (!err)
		check_loaded(mm, &res);
	else
		REQUIRE(known_error(err));

	mm_put(mm);
	for (int i = 0; i < 3; i++)
		env_file_drop(&env_files[i]);
	return !err;
}

int main(int argc, char **argv)
{
	u64 runs = argc > 1 ? strtoull(argv[1], NULL, 0) : RUNS, seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	u64 first = argc > 3 ? strtoull(argv[3], NULL, 0) : 0, loaded = 0, used = 0;

	if (env_init())
		die("no memory file");
	for (run_nr = first; run_nr < runs; run_nr++) {
		state = (seed << 32 | run_nr) * 0x9e3779b97f4a7c15 | 1;
		loaded += one_run();
		if (run_nr == first)
			used = memory_used();	/* the vDSO's pages may be made by a later run */
	}
	if (memory_used() > used + 8)
		die("%lu pages of the memory file leaked", memory_used() - used);
	printf("fuzz_elf: %lu runs, %lu loaded, seed %lu\n", runs - first, loaded, seed);
	return 0;
}
