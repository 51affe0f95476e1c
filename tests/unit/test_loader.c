/* The loader over the real mm: where things stand, what they hold, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <cmocka.h>

#include "loader_env.h"

#define ADDR_EXEC	0x400000ul
#define PIE_ADDR	0x555555554000ul

static struct elf_builder elf;
static struct mm *mm;
static struct load_result result;

static char *const args[] = { "prog", "one", "", NULL };
static char *const envs[] = { "A=1", "PATH=/bin", NULL };

static int load_as(const char *path, char *const argv[], char *const envp[])
{
	assert_int_equal(mm_create(&mm), 0);
	return load_program(&env_task, mm, env_files[0].file, path, argv, envp, &result);
}

/* Loads the builder's file with fixed addresses. */
static int load(void)
{
	env_task.personality = ADDR_NO_RANDOMIZE;
	env_file_make(&env_files[0], "/bin/prog", elf.data, elf.len);
	return load_as("/bin/prog", args, envs);
}

static void done(void)
{
	mm_put(mm);
	for (size_t i = 0; i < ARRAY_SIZE(env_files); i++)
		if (env_files[i].file)
			env_file_drop(&env_files[i]);
}

static void refused(int err)
{
	assert_int_equal(load(), err);
	done();
}

static u64 word(gva_t addr)
{
	u64 w;

	assert_int_equal(get_user(mm, &w, addr), 0);
	return w;
}

static u8 byte(gva_t addr)
{
	u8 b;

	assert_int_equal(get_user(mm, &b, addr), 0);
	return b;
}

static void check_string(gva_t addr, const char *want)
{
	char buf[256];

	assert_true(copy_in_str(mm, buf, addr, sizeof(buf)) >= 0);
	assert_string_equal(buf, want);
}

static u64 aux(u64 type)
{
	for (int i = 0; mm->auxv[i] != AT_NULL; i += 2)
		if (mm->auxv[i] == type)
			return mm->auxv[i + 1];
	return 0;
}

static u32 prot_at(gva_t addr)
{
	struct vma *v;
	u32 prot = ~0u;

	pthread_mutex_lock(&mm->lock);
	v = vma_find(mm, addr);
	if (v)
		prot = v->prot;
	pthread_mutex_unlock(&mm->lock);
	return prot;
}

static void static_exec(void **state)
{
	gva_t sp;

	elf_usual(&elf, ET_EXEC, ADDR_EXEC);
	assert_int_equal(load(), 0);
	assert_int_equal(result.entry, ADDR_EXEC + 0x1100);
	assert_string_equal(result.comm, "prog");
	assert_int_equal(prot_at(ADDR_EXEC), PROT_READ | PROT_EXEC);
	assert_int_equal(byte(ADDR_EXEC + 0x1001), 0xe1);
	/* Data, the zeroed rest of its page, bss; nothing behind. */
	assert_int_equal(byte(ADDR_EXEC + 0x2801), 0xe1);
	assert_int_equal(byte(ADDR_EXEC + 0x37ff), 0xef);
	assert_int_equal(byte(ADDR_EXEC + 0x3800), 0);
	assert_int_equal(byte(ADDR_EXEC + 0x57ff), 0);
	assert_int_equal(prot_at(ADDR_EXEC + 0x5000), PROT_READ | PROT_WRITE);
	assert_int_equal(prot_at(ADDR_EXEC + 0x6000), ~0u);
	assert_int_equal(mm->brk_start, ADDR_EXEC + 0x6000);
	assert_int_equal(mm->code_start, ADDR_EXEC);
	assert_int_equal(mm->data_end, ADDR_EXEC + 0x3800);

	sp = result.sp;
	assert_int_equal(sp % 16, 0);
	assert_int_equal(word(sp), 3);
	check_string(word(sp + 8), "prog");
	check_string(word(sp + 16), "one");
	check_string(word(sp + 24), "");
	assert_int_equal(word(sp + 32), 0);
	check_string(word(sp + 40), "A=1");
	check_string(word(sp + 48), "PATH=/bin");
	assert_int_equal(word(sp + 56), 0);
	for (int i = 0; i < 40 && mm->auxv[i]; i++)
		assert_int_equal(word(sp + 64 + 8 * i), mm->auxv[i]);
	assert_int_equal(word(sp + 8), mm->arg_start);
	assert_int_equal(word(sp + 40), mm->arg_end);
	assert_int_equal(mm->arg_end, mm->env_start);
	assert_int_equal(mm->env_end, aux(AT_EXECFN));
	check_string(aux(AT_EXECFN), "/bin/prog");
	check_string(aux(AT_PLATFORM), "x86_64");
	assert_int_equal(aux(AT_PHDR), ADDR_EXEC + 64);
	assert_int_equal(aux(AT_PHNUM), 2);
	assert_int_equal(aux(AT_ENTRY), result.entry);
	assert_int_equal(aux(AT_BASE), 0);
	assert_int_equal(aux(AT_UID), 1000);
	assert_int_equal(aux(AT_EGID), 100);
	assert_int_equal(prot_at(sp), PROT_READ | PROT_WRITE);
	done();
}

static void vdso_is_there(void **state)
{
	gva_t vdso;

	elf_usual(&elf, ET_EXEC, ADDR_EXEC);
	assert_int_equal(load(), 0);
	vdso = aux(AT_SYSINFO_EHDR);
	assert_int_not_equal(vdso, 0);
	assert_int_equal(mm->vdso, vdso);
	assert_int_equal((u32)word(vdso), 0x464c457f);
	assert_int_equal(prot_at(vdso), PROT_READ | PROT_EXEC);
	assert_int_equal(prot_at(vdso - PAGE_SIZE), PROT_READ);
	/* The vvar page is everybody's: nobody may make it writable. */
	assert_int_equal(mm_protect(mm, vdso - PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE), -EACCES);
	done();
}

static void pie_with_interp(void **state)
{
	struct elf_builder ld;

	elf_usual(&ld, ET_DYN, 0);
	env_file_make(&env_files[1], "/lib/ld.so", ld.data, ld.len);
	elf_usual(&elf, ET_DYN, 0);
	elf_interp(&elf, "/lib/ld.so");
	assert_int_equal(load(), 0);
	assert_int_equal(aux(AT_ENTRY), PIE_ADDR + 0x1100);
	assert_int_equal(aux(AT_PHDR), PIE_ADDR + 64);
	assert_true(aux(AT_BASE) >= GUEST_MIN && aux(AT_BASE) + 0x6000 <= mm->mmap_top);
	assert_int_equal(result.entry, aux(AT_BASE) + 0x1100);
	assert_int_equal(mm->brk_start, PIE_ADDR + 0x6000);
	assert_true(mm->mmap_top <= mm->stack_top - (8 << 20));
	done();

	/* A missing one, one that is no ELF file, one that names an interpreter itself. */
	elf_usual(&elf, ET_DYN, 0);
	elf_interp(&elf, "/lib/gone.so");
	refused(-ENOENT);
	env_file_make(&env_files[1], "/lib/ld.so", "text, and nothing else than text: longer than a header, so that it "
		      "is read in full before it is found out", 100);
	elf_usual(&elf, ET_DYN, 0);
	elf_interp(&elf, "/lib/ld.so");
	refused(-ELIBBAD);
	elf_interp(&ld, "/lib/other.so");
	env_file_make(&env_files[1], "/lib/ld.so", ld.data, ld.len);
	assert_int_equal(load(), 0);
	done();
}

static void static_pie(void **state)
{
	elf_usual(&elf, ET_DYN, 0);
	elf.ph[0].p_align = 2 << 20;
	assert_int_equal(load(), 0);
	assert_true(result.entry < mm->mmap_top);
	assert_int_equal((result.entry - 0x1100) % (2 << 20), 0);
	assert_int_equal(mm->brk_start, PIE_ADDR);
	done();
}

static void random_addresses(void **state)
{
	gva_t stack[2], entry[2], random[2];

	for (int i = 0; i < 2; i++) {
		elf_usual(&elf, ET_DYN, 0);
		env_file_make(&env_files[0], "/bin/prog", elf.data, elf.len);
		env_task.personality = 0;
		assert_int_equal(load_as("/bin/prog", args, envs), 0);
		stack[i] = mm->stack_top;
		entry[i] = result.entry;
		random[i] = word(aux(AT_RANDOM));
		done();
	}
	assert_int_not_equal(stack[0], stack[1]);
	assert_int_not_equal(entry[0], entry[1]);
	assert_int_not_equal(random[0], random[1]);
}

static void exec_stack(void **state)
{
	elf_usual(&elf, ET_EXEC, ADDR_EXEC);
	elf_stack(&elf, PF_R | PF_W | PF_X);
	assert_int_equal(load(), 0);
	assert_int_equal(prot_at(result.sp), PROT_READ | PROT_WRITE | PROT_EXEC);
	done();
}

static void hostile_headers(void **state)
{
#define REFUSED(err, ...) do { elf_usual(&elf, ET_EXEC, ADDR_EXEC); __VA_ARGS__; refused(err); } while (0)
	REFUSED(-ENOEXEC, elf.len = 0);
	REFUSED(-ENOEXEC, elf.len = 63);
	REFUSED(-ENOEXEC, elf.len = 100);
	REFUSED(-ENOEXEC, elf.eh->e_ident[EI_CLASS] = ELFCLASS32);
	REFUSED(-ENOEXEC, elf.eh->e_machine = EM_AARCH64);
	REFUSED(-ENOEXEC, elf.eh->e_type = ET_REL);
	REFUSED(-ENOEXEC, elf.eh->e_phnum = 0);
	REFUSED(-ENOEXEC, elf.eh->e_phnum = 0xffff);
	REFUSED(-ENOEXEC, elf.eh->e_phentsize = 55);
	REFUSED(-ENOEXEC, elf.eh->e_phoff = ~0ul);
	REFUSED(-ENOEXEC, elf.eh->e_phoff = elf.len - 56);
	REFUSED(-ENOEXEC, elf.eh->e_entry = GUEST_END);
	REFUSED(-ENOEXEC, elf.ph[0].p_type = elf.ph[1].p_type = PT_NOTE);
	REFUSED(-ENOEXEC, elf.ph[1].p_filesz = elf.ph[1].p_memsz + 1);
	REFUSED(-ENOEXEC, elf.ph[1].p_memsz = ~0ul);
	REFUSED(-ENOEXEC, elf.ph[1].p_vaddr = ~0ul - 0x7ff);
	REFUSED(-ENOEXEC, elf.ph[1].p_vaddr = GUEST_END - 0x800);
	REFUSED(-ENOEXEC, elf.ph[0].p_vaddr = 0);
	REFUSED(-ENOEXEC, elf.ph[0].p_vaddr = GUEST_MIN - PAGE_SIZE);
	REFUSED(-ENOEXEC, elf.ph[1].p_offset += 8);
	REFUSED(-ENOEXEC, elf.ph[1].p_offset = 0x7ffffffffffff800);
	REFUSED(-ENOEXEC, elf.ph[1].p_offset = 0x100800);		/* bss, but no page of the file to zero */
	REFUSED(-ENOMEM, elf.ph[1].p_vaddr = GUEST_END - 0x20800);	/* over the stack */
	REFUSED(-ENOEXEC, elf_interp(&elf, ""));
	REFUSED(-ENOEXEC, elf_interp(&elf, "/lib/ld.so"); elf.ph[2].p_filesz -= 1);
	REFUSED(-ENOEXEC, elf_interp(&elf, "/lib/ld.so"); elf.ph[2].p_filesz = 5000);
	REFUSED(-EIO, elf_interp(&elf, "/lib/ld.so"); elf.ph[2].p_offset = 1 << 20);
#undef REFUSED
}

static void odd_but_fine(void **state)
{
	/* Overlap: the later segment wins. An empty one counts for nothing. */
	elf_usual(&elf, ET_EXEC, ADDR_EXEC);
	elf_segment(&elf, PF_R, 0, ADDR_EXEC + 0x1000, 0x1000, 0x1000);
	elf_segment(&elf, PF_R, 0, 0, 0, 0);
	elf.ph[1].p_align = 12345;
	assert_int_equal(load(), 0);
	assert_int_equal((u32)word(ADDR_EXEC + 0x1000), 0x464c457f);
	assert_int_equal(prot_at(ADDR_EXEC + 0x1000), PROT_READ);
	done();

	/* Only bss. */
	elf_begin(&elf, ET_EXEC, ADDR_EXEC, 1000);
	elf_segment(&elf, PF_R | PF_W, 0, ADDR_EXEC + 123, 0, 5);
	assert_int_equal(load(), 0);
	assert_int_equal(byte(ADDR_EXEC + 124), 0);
	assert_int_equal(aux(AT_PHDR), 0);
	done();
}

static void scripts(void **state)
{
	static const struct { const char *text; int err; const char *argv[5]; } cases[] = {
		{ "#!/bin/prog\nrest", 0, { "/bin/prog", "/s", "one", "" } },
		{ "#! \t/bin/prog \t-x  y \t\nrest", 0, { "/bin/prog", "-x  y", "/s", "one", "" } },
		{ "#!/bin/prog", 0, { "/bin/prog", "/s", "one", "" } },
		{ "#!/bin/prog\t-a", 0, { "/bin/prog", "-a", "/s", "one", "" } },
		{ "#!\n/bin/prog", -ENOEXEC, { 0 } },
		{ "#!", -EACCES, { 0 } },
		{ "#!   ", -EACCES, { 0 } },
		{ "#!/bin/gone\n", -ENOENT, { 0 } },
		{ "#!/s\n", -ELOOP, { 0 } },
		{ "plain text", -ENOEXEC, { 0 } },
		{ "", -ENOEXEC, { 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		env_task.personality = ADDR_NO_RANDOMIZE;
		env_file_make(&env_files[0], "/s", cases[i].text, strlen(cases[i].text));
		elf_usual(&elf, ET_EXEC, ADDR_EXEC);
		env_file_make(&env_files[1], "/bin/prog", elf.data, elf.len);
		assert_int_equal(load_as("/s", args, envs), cases[i].err);
		if (!cases[i].err) {
			for (u64 n = 0; n < 5 && cases[i].argv[n]; n++)
				check_string(word(result.sp + 8 + 8 * n), cases[i].argv[n]);
			check_string(aux(AT_EXECFN), "/s");
			assert_string_equal(result.comm, "s");
			assert_ptr_equal(mm->exe, env_files[1].file);
		}
		done();
	}
}

static void nested_script(void **state)
{
	char *const argv[] = { "x", "end", NULL };
	static const char *want[] = { "/bin/prog", "-2", "/two", "-1", "/one", "end" };

	env_file_make(&env_files[0], "/one", "#!/two -1\n", 10);
	env_file_make(&env_files[1], "/two", "#!/bin/prog -2\n", 15);
	elf_usual(&elf, ET_EXEC, ADDR_EXEC);
	env_file_make(&env_files[2], "/bin/prog", elf.data, elf.len);
	assert_int_equal(load_as("/one", argv, envs), 0);
	assert_int_equal(word(result.sp), 6);
	for (int i = 0; i < 6; i++)
		check_string(word(result.sp + 8 + 8 * i), want[i]);
	done();
}

static void long_lines(void **state)
{
	char text[400];

	/* An argument may be cut at the end of the head, the interpreter's name may not. */
	memset(text, 'x', sizeof(text));
	memcpy(text, "#!/bin/prog ", 12);
	env_file_make(&env_files[0], "/s", text, sizeof(text));
	elf_usual(&elf, ET_EXEC, ADDR_EXEC);
	env_file_make(&env_files[1], "/bin/prog", elf.data, elf.len);
	assert_int_equal(load_as("/s", args, envs), 0);
	text[255] = 0;
	check_string(word(result.sp + 16), text + 12);
	done();

	text[11] = text[255] = 'x';
	env_file_make(&env_files[0], "/s", text, sizeof(text));
	assert_int_equal(load_as("/s", args, envs), -ENOEXEC);
	done();
}

static void argument_limits(void **state)
{
	char *big = malloc((128 << 10) + 1), *none[] = { NULL };
	char *argv[40];

	memset(big, 'b', 128 << 10);
	big[(128 << 10) - 1] = 0;
	for (int i = 0; i < 39; i++)
		argv[i] = big;

	/* 8 MiB of stack: 2 MiB of strings, sixteen of the largest less the pointers and the path. */
	elf_usual(&elf, ET_EXEC, ADDR_EXEC);
	env_file_make(&env_files[0], "/bin/prog", elf.data, elf.len);
	argv[15] = NULL;
	assert_int_equal(load_as("/bin/prog", argv, envs), 0);
	assert_int_equal(byte(word(result.sp + 8 * 15) + (128 << 10) - 2), 'b');
	mm_put(mm);
	argv[15] = big;
	argv[16] = NULL;
	assert_int_equal(load_as("/bin/prog", argv, envs), -E2BIG);
	mm_put(mm);

	/* One byte too long. */
	big[(128 << 10) - 1] = 'b';
	big[128 << 10] = 0;
	argv[1] = NULL;
	assert_int_equal(load_as("/bin/prog", argv, envs), -E2BIG);
	mm_put(mm);

	/* No argument at all becomes an empty one. */
	assert_int_equal(load_as("/bin/prog", none, none), 0);
	assert_int_equal(word(result.sp), 1);
	check_string(word(result.sp + 8), "");
	done();
	free(big);
}

static void no_leak(void **state)
{
	u64 before = memory_used();

	for (int i = 0; i < 20; i++) {
		static_exec(NULL);
		pie_with_interp(NULL);
	}
	assert_int_equal(memory_used(), before);
}

static int set_up(void **state)
{
	return env_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(static_exec), cmocka_unit_test(vdso_is_there), cmocka_unit_test(pie_with_interp),
		cmocka_unit_test(static_pie), cmocka_unit_test(random_addresses), cmocka_unit_test(exec_stack),
		cmocka_unit_test(hostile_headers), cmocka_unit_test(odd_but_fine), cmocka_unit_test(scripts),
		cmocka_unit_test(nested_script), cmocka_unit_test(long_lines), cmocka_unit_test(argument_limits),
		cmocka_unit_test(no_leak),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
