/*
 * Mapping an ELF image's segments: file pages, the zeroed tail of the last one, and bss.
 */
#include <errno.h>
#include <sys/mman.h>

#include "fs/fs.h"
#include "loader/image.h"

bool place_is_free(struct mm *mm, gva_t addr, u64 len)
{
	struct vma *v;
	bool taken;

	if (addr < GUEST_MIN || !guest_range_ok(addr, len))
		return false;

	pthread_mutex_lock(&mm->lock);
	v = vma_next(mm, addr);
	taken = v && v->start < addr + len;
	pthread_mutex_unlock(&mm->lock);
	return !taken;
}

gva_t place_below(struct mm *mm, gva_t top, u64 len, u64 align)
{
	struct vma *v;
	gva_t addr = 0;

	pthread_mutex_lock(&mm->lock);
	/* Each round steps below one vma, of which there are only the loader's own. */
	while (top > len && len <= GUEST_END) {
		addr = align_down(top - len, align);
		v = vma_next(mm, addr);
		if (addr < GUEST_MIN || !v || v->start >= addr + len)
			break;
		top = v->start;
	}
	pthread_mutex_unlock(&mm->lock);
	return top > len && addr >= GUEST_MIN ? addr : 0;
}

static u32 segment_prot(const Elf64_Phdr *ph)
{
	return (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
	       (ph->p_flags & PF_X ? PROT_EXEC : 0);
}

static int map_fixed(struct loading *l, gva_t start, gva_t end, u32 prot, struct file *file, u64 offset)
{
	struct map_request req = l->base_request;
	s64 got;

	if (start == end)
		return 0;
	req.addr = start;
	req.len = end - start;
	req.prot = prot;
	req.flags = MAP_PRIVATE | MAP_FIXED | (file ? 0 : MAP_ANONYMOUS);
	req.file = file;
	req.offset = offset;
	got = mm_map(l->mm, &req);
	return got < 0 ? got : 0;
}

static int map_segment(struct loading *l, struct elf_image *img, const Elf64_Phdr *ph)
{
	gva_t start = ph->p_vaddr + img->bias;
	gva_t file_end = start + ph->p_filesz, end = page_up(start + ph->p_memsz);
	gva_t file_pages = ph->p_filesz ? page_up(file_end) : page_down(start);
	u32 prot = segment_prot(ph);
	int err = 0;

	if (ph->p_filesz)
		err = map_fixed(l, page_down(start), file_pages, prot, img->file, page_down(ph->p_offset));
	if (!err && file_pages < end)
		err = map_fixed(l, file_pages, end, prot, NULL, 0);
	if (err)
		return err;

	/* A segment that may not be written keeps the file's bytes behind its end, as under Linux. */
	if (ph->p_filesz && ph->p_memsz > ph->p_filesz && (prot & PROT_WRITE) && file_end < file_pages &&
	    clear_out(l->mm, file_end, file_pages - file_end))
		err = -ENOEXEC;		/* the file is shorter than it says: nothing to zero */
	return err;
}

/* As Linux finds them: through the segment that holds their file offset, not PT_PHDR, which may lie. */
static gva_t headers_address(const struct elf_image *img)
{
	for (int i = 0; i < img->eh.e_phnum; i++) {
		const Elf64_Phdr *ph = &img->ph[i];

		if (ph->p_type == PT_LOAD && ph->p_offset <= img->eh.e_phoff &&
		    img->eh.e_phoff - ph->p_offset < ph->p_filesz)
			return img->eh.e_phoff - ph->p_offset + ph->p_vaddr + img->bias;
	}
	return 0;
}

int image_map(struct loading *l, struct elf_image *img, gva_t lo)
{
	int err = 0;

	if (!place_is_free(l->mm, lo, img->hi - img->lo))
		return -ENOMEM;

	img->bias = lo - img->lo;
	for (int i = 0; i < img->eh.e_phnum && !err; i++)
		if (img->ph[i].p_type == PT_LOAD && img->ph[i].p_memsz)
			err = map_segment(l, img, &img->ph[i]);

	img->entry = img->eh.e_entry + img->bias;
	img->phdr = headers_address(img);
	/* An entry in unmapped guest space is the guest's SIGSEGV; one outside must not reach the platform. */
	if (!err && img->entry >= GUEST_END)
		err = -ENOEXEC;
	return err;
}
