/*
 * Loading programs without a guest: the real loader and mm over a platform that shows nothing to anyone, files that are
 * buffers, and a name space of a few of them (vfs_open_exec is wrapped by the linker, see core/loader/rules.mk).
 */
#ifndef LOADER_ENV_H
#define LOADER_ENV_H

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fs/fs.h"
#include "lib/log.h"
#include "loader/loader.h"
#include "mm/mm.h"
#include "task/task.h"

/* ---- a platform without guests ---- */

static int env_as_create(struct address_space **out) { *out = malloc(1); return *out ? 0 : -ENOMEM; }
static void env_as_destroy(struct address_space *as) { free(as); }
static int env_as_unmap(struct address_space *as, gva_t addr, u64 len) { return 0; }
static int env_as_protect(struct address_space *as, gva_t addr, u64 len, enum access prot) { return 0; }
static int env_as_map(struct address_space *as, gva_t addr, u64 len, enum access prot, const struct backing *file,
		      u64 offset, u32 flags)
{
	if (addr % PAGE_SIZE || len % PAGE_SIZE || !guest_range_ok(addr, len))
		die("the mm maps [%#lx, +%#lx)", addr, len);
	return 0;
}

static const struct platform_ops env_platform = {
	.name = "none",
	.as_create = env_as_create, .as_destroy = env_as_destroy,
	.as_map = env_as_map, .as_unmap = env_as_unmap, .as_protect = env_as_protect,
};

/* ---- files that are buffers ---- */

struct env_file {
	const char *name;
	struct file *file;
	struct page_cache cache;
};

static s64 env_read(struct file *f, struct uio *u, u64 *pos)
{
	ssize_t n = page_cache_read(f->inode->cache, u->iov, u->iovcnt, *pos);

	if (n > 0) {
		uio_advance(u, n);
		*pos += n;
	}
	return n;
}

static const struct file_ops env_file_ops = { .read = env_read };
static const struct page_cache_ops env_cache_ops;

static void env_file_make(struct env_file *ef, const char *name, const void *data, u64 len)
{
	struct iovec iov = { (void *)data, len };

	ef->name = name;
	ef->file = file_new_anon(&env_file_ops, O_RDONLY, NULL);
	if (!ef->file)
		die("no memory for a file");
	page_cache_init(&ef->cache, &env_cache_ops, ef->file->inode, len);
	if (len && page_cache_write(&ef->cache, &iov, 1, 0) != (ssize_t)len)
		die("can't fill a file");
	ef->file->inode->cache = &ef->cache;
}

static void env_file_drop(struct env_file *ef)
{
	struct inode *in = ef->file->inode;

	inode_get(in);
	file_put(ef->file);
	in->cache = NULL;
	page_cache_destroy(&ef->cache);
	inode_put(in);
	ef->file = NULL;
}

static struct env_file env_files[8];

int __wrap_vfs_open_exec(struct task *t, int dirfd, const char *name, int at_flags, struct file **out);
int __wrap_vfs_open_exec(struct task *t, int dirfd, const char *name, int at_flags, struct file **out)
{
	for (size_t i = 0; i < ARRAY_SIZE(env_files); i++) {
		if (!env_files[i].file || strcmp(env_files[i].name, name))
			continue;
		file_get(env_files[i].file);
		*out = env_files[i].file;
		return 0;
	}
	return -ENOENT;
}

/* ---- a task that can only load ---- */

static struct thread_group env_group = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct cred env_cred = { .refs = 1, .uid = 1000, .euid = 1000, .gid = 100, .egid = 100 };
static struct task env_task = { .tid = 2, .tg = &env_group, .cred = &env_cred };

static int env_init(void)
{
	platform = &env_platform;
	knobs_reset();
	for (int i = 0; i < RLIM_NLIMITS; i++)
		env_group.rlim[i].rlim_cur = env_group.rlim[i].rlim_max = RLIM_INFINITY;
	env_group.rlim[RLIMIT_STACK].rlim_cur = 8 << 20;
	return memory_file_init(256 << 20);
}

/* ---- building small ELF files ---- */

struct elf_builder {
	u8 data[16384];
	u64 len;
	Elf64_Ehdr *eh;
	Elf64_Phdr *ph;
};

static void elf_begin(struct elf_builder *b, int type, u64 entry, u64 len)
{
	memset(b, 0, sizeof(*b));
	for (u64 i = 0; i < sizeof(b->data); i++)
		b->data[i] = 0xe0 + i % 16;
	b->len = len;
	b->eh = (void *)b->data;
	b->ph = (void *)(b->data + sizeof(Elf64_Ehdr));
	*b->eh = (Elf64_Ehdr){ .e_type = type, .e_machine = EM_X86_64, .e_version = 1, .e_entry = entry,
			       .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
			       .e_phentsize = sizeof(Elf64_Phdr) };
	memcpy(b->eh->e_ident, ELFMAG, SELFMAG);
	b->eh->e_ident[EI_CLASS] = ELFCLASS64;
	b->eh->e_ident[EI_DATA] = ELFDATA2LSB;
	b->eh->e_ident[EI_VERSION] = 1;
}

static Elf64_Phdr *elf_segment(struct elf_builder *b, u32 flags, u64 offset, u64 vaddr, u64 filesz, u64 memsz)
{
	Elf64_Phdr *ph = &b->ph[b->eh->e_phnum++];

	*ph = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = flags, .p_offset = offset, .p_vaddr = vaddr, .p_paddr = vaddr,
			    .p_filesz = filesz, .p_memsz = memsz, .p_align = PAGE_SIZE };
	return ph;
}

static void elf_interp(struct elf_builder *b, const char *path)
{
	u64 at = 1024;
	Elf64_Phdr *ph = elf_segment(b, PF_R, at, at, strlen(path) + 1, strlen(path) + 1);

	ph->p_type = PT_INTERP;
	memcpy(b->data + at, path, strlen(path) + 1);
}

static void elf_stack(struct elf_builder *b, u32 flags)
{
	elf_segment(b, flags, 0, 0, 0, 0)->p_type = PT_GNU_STACK;
}

/* Text, and data whose last page is half bss, with two more pages of it. */
static void elf_usual(struct elf_builder *b, int type, u64 base)
{
	elf_begin(b, type, base + 0x1100, 0x2800);
	elf_segment(b, PF_R | PF_X, 0, base, 0x1800, 0x1800);
	elf_segment(b, PF_R | PF_W, 0x1800, base + 0x2800, 0x1000, 0x3000);
}

#endif
