/*
 * Reading an ELF file's headers. Every field is hostile: what passes here may be added, rounded and mapped without a
 * further check. Odd files that Linux runs (overlapping segments, no section headers, a tail beyond the end of the
 * file) pass; what it refuses is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "loader/image.h"

#define PHDRS_MAX	(65536 / sizeof(Elf64_Phdr))	/* Linux's bound, which keeps a hostile file cheap */

static int read_exact(struct file *file, void *buf, u64 len, u64 pos, int short_error)
{
	s64 n = file_read_at(file, buf, len, pos);

	if (n < 0)
		return n;
	return (u64)n == len ? 0 : short_error;
}

static int check_header(const Elf64_Ehdr *eh)
{
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB)
		return -ENOEXEC;
	if ((eh->e_type != ET_EXEC && eh->e_type != ET_DYN) || eh->e_machine != EM_X86_64)
		return -ENOEXEC;
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || !eh->e_phnum || eh->e_phnum > PHDRS_MAX)
		return -ENOEXEC;
	if (eh->e_phoff > INT64_MAX - 65536)
		return -ENOEXEC;
	return 0;
}

static int read_interp(struct elf_image *img, const Elf64_Phdr *ph)
{
	int err;

	if (ph->p_filesz < 2 || ph->p_filesz > PATH_MAX || ph->p_offset > INT64_MAX - PATH_MAX)
		return -ENOEXEC;

	err = read_exact(img->file, img->interp, ph->p_filesz, ph->p_offset, -EIO);
	if (err)
		return err;
	/* An empty name would mean "no interpreter" further on. */
	return img->interp[ph->p_filesz - 1] || !img->interp[0] ? -ENOEXEC : 0;
}

static int check_segment(struct elf_image *img, const Elf64_Phdr *ph)
{
	if (ph->p_filesz > ph->p_memsz || !guest_range_ok(ph->p_vaddr, ph->p_memsz))
		return -ENOEXEC;
	if (ph->p_filesz && (ph->p_offset > INT64_MAX - GUEST_END || (ph->p_vaddr - ph->p_offset) % PAGE_SIZE))
		return -ENOEXEC;
	if (img->eh.e_type == ET_EXEC && ph->p_vaddr < GUEST_MIN)
		return -ENOEXEC;

	img->lo = MIN(img->lo, page_down(ph->p_vaddr));
	img->hi = MAX(img->hi, page_up(ph->p_vaddr + ph->p_memsz));
	/* Linux overlooks alignments that are no power of two. */
	if (ph->p_align > img->align && !(ph->p_align & (ph->p_align - 1)))
		img->align = ph->p_align;
	return 0;
}

static int check_segments(struct elf_image *img)
{
	bool has_interp = false;
	int err = 0;

	img->lo = GUEST_END;
	img->hi = 0;
	img->align = PAGE_SIZE;
	for (int i = 0; i < img->eh.e_phnum && !err; i++) {
		const Elf64_Phdr *ph = &img->ph[i];

		if (ph->p_type == PT_LOAD && ph->p_memsz) {
			err = check_segment(img, ph);
		} else if (ph->p_type == PT_INTERP && !has_interp) {
			has_interp = true;
			err = read_interp(img, ph);
		} else if (ph->p_type == PT_GNU_STACK) {
			img->exec_stack = ph->p_flags & PF_X;
		}
	}
	if (!err && img->hi <= img->lo)
		err = -ENOEXEC;
	return err;
}

int elf_read(struct elf_image *img, struct file *file)
{
	u64 size;
	int err;

	img->file = file;
	err = read_exact(file, &img->eh, sizeof(img->eh), 0, -ENOEXEC);
	if (!err)
		err = check_header(&img->eh);
	if (err)
		return err;

	size = img->eh.e_phnum * sizeof(Elf64_Phdr);
	img->ph = malloc(size);
	if (!img->ph)
		return -ENOMEM;
	err = read_exact(file, img->ph, size, img->eh.e_phoff, -ENOEXEC);
	if (!err)
		err = check_segments(img);
	return err;
}

void elf_free(struct elf_image *img)
{
	free(img->ph);
	img->ph = NULL;
}
