/* Find a function in the vDSO that the auxiliary vector names. The vDSO is the kernel's, or the sentry's: trusted. */
#ifndef WORKLOADS_VDSO_H
#define WORKLOADS_VDSO_H

#include <elf.h>

#include "workload.h"

struct vdso_tables {
	const Elf64_Sym *sym;
	const char *str;
	const u32 *hash;			/* DT_HASH: [nbucket, nchain, ...]; nchain is the number of symbols */
	const u32 *gnu_hash;			/* newer kernels carry only DT_GNU_HASH */
};

static inline bool text_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static inline unsigned long auxv_find(unsigned long type)
{
	const unsigned long *p;

	for (p = workload_auxv; p && p[0]; p += 2)
		if (p[0] == type)
			return p[1];
	return 0;
}

static inline void vdso_read_dynamic(struct vdso_tables *t, const Elf64_Dyn *dyn, unsigned long bias)
{
	for (; dyn->d_tag != DT_NULL; dyn++) {
		unsigned long at = dyn->d_un.d_ptr + bias;

		if (dyn->d_tag == DT_SYMTAB)
			t->sym = (const Elf64_Sym *)at;
		if (dyn->d_tag == DT_STRTAB)
			t->str = (const char *)at;
		if (dyn->d_tag == DT_HASH)
			t->hash = (const u32 *)at;
		if (dyn->d_tag == DT_GNU_HASH)
			t->gnu_hash = (const u32 *)at;
	}
}

/* Number of symbols: DT_HASH says it; otherwise follow the highest chain of the GNU table to its end. */
static inline u32 vdso_symbols(const struct vdso_tables *t)
{
	const u32 *buckets, *chain;
	u32 i, top = 0;

	if (t->hash)
		return t->hash[1];
	if (!t->gnu_hash)
		return 0;
	buckets = t->gnu_hash + 4 + t->gnu_hash[2] * 2;
	chain = buckets + t->gnu_hash[0];
	for (i = 0; i < t->gnu_hash[0]; i++)
		top = buckets[i] > top ? buckets[i] : top;
	if (!top)
		return 0;
	while (!(chain[top - t->gnu_hash[1]] & 1))
		top++;
	return top + 1;
}

static inline void *vdso_find(const char *name)
{
	unsigned long base = auxv_find(AT_SYSINFO_EHDR), bias = 0;
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)base;
	const Elf64_Dyn *dyn = 0;
	struct vdso_tables t = { 0 };
	const Elf64_Phdr *ph;
	u32 i;

	if (!base)
		return 0;
	ph = (const Elf64_Phdr *)(base + eh->e_phoff);
	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && !bias)
			bias = base + ph[i].p_offset - ph[i].p_vaddr;
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (const Elf64_Dyn *)(base + ph[i].p_offset);
	}
	if (!dyn)
		return 0;
	vdso_read_dynamic(&t, dyn, bias);
	for (i = 0; t.sym && t.str && i < vdso_symbols(&t); i++)
		if (t.sym[i].st_shndx && text_equal(t.str + t.sym[i].st_name, name))
			return (void *)(bias + t.sym[i].st_value);
	return 0;
}

#endif
