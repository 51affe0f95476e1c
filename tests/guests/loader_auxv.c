/* What a new program finds: auxv, stack, argv and envp, the heap's start. */
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <sys/auxv.h>

#include "check.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static int initialised = 42;
static int zero[5000];
static const char constant[] = "constant";

static int count_phdrs(struct dl_phdr_info *info, size_t size, void *data)
{
	(*(int *)data)++;
	return 0;
}

static void check_range(uintptr_t addr, const char *what)
{
	char line[512], name[256];
	unsigned long start, end;
	FILE *f = fopen("/proc/self/maps", "r");
	int found = 0;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		name[0] = 0;
		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %255s", &start, &end, name) >= 2 && addr >= start && addr < end)
			found = !what || !strcmp(name, what);
	}
	fclose(f);
	CHECK(found);
}

int main(int argc, char **argv, char **envp)
{
	const unsigned char *random = (void *)getauxval(AT_RANDOM);
	const Elf64_Phdr *ph = (void *)getauxval(AT_PHDR);
	const char *vdso = (void *)getauxval(AT_SYSINFO_EHDR);
	const char *base = (void *)getauxval(AT_BASE);
	int loads = 0, sum = 0, objects = 0;
	char c;

	CHECK(getauxval(AT_PAGESZ) == 4096);
	CHECK(getauxval(AT_CLKTCK) == 100);
	CHECK(getauxval(AT_PHENT) == sizeof(Elf64_Phdr));
	CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid());
	CHECK(getauxval(AT_GID) == getgid() && getauxval(AT_EGID) == getegid());
	CHECK(getauxval(AT_SECURE) == 0);
	CHECK(getauxval(AT_HWCAP));
	CHECK(!strcmp((char *)getauxval(AT_PLATFORM), "x86_64"));
	CHECK(strstr((char *)getauxval(AT_EXECFN), "loader_auxv"));
	CHECK(getauxval(AT_MINSIGSTKSZ) >= 1024);

	CHECK(random);
	for (int i = 0; i < 16; i++)
		sum += random[i];
	CHECK(sum);
	CHECK(ph);
	for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
		loads += ph[i].p_type == PT_LOAD;
	CHECK(loads >= 2 && loads < 10);
	CHECK(getauxval(AT_ENTRY) % 16 == 0);
	CHECK(!memcmp(base, ELFMAG, SELFMAG));
	CHECK(vdso && !memcmp(vdso, ELFMAG, SELFMAG));
	CHECK(dl_iterate_phdr(count_phdrs, &objects) == 0 && objects >= 2);

	/* argv, envp and auxv stand one behind the other. */
	CHECK(argc == 1 && argv[0] && !argv[1] && envp == argv + 2);
	while (*envp)
		envp++;
	CHECK(((Elf64_auxv_t *)(envp + 1))->a_type == AT_SYSINFO_EHDR);
	CHECK((uintptr_t)argv % 16 == 8);

	CHECK(initialised == 42 && !strcmp(constant, "constant"));
	for (int i = 0; i < 5000; i++)
		CHECK(zero[i] == 0);
	CHECK((uintptr_t)sbrk(0) >= (uintptr_t)&zero[5000]);
	check_range((uintptr_t)&c, "[stack]");
	check_range((uintptr_t)vdso, "[vdso]");
	check_range((uintptr_t)sbrk(0) - 1, NULL);
	puts("auxv fine");
	return 0;
}
