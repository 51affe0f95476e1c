/*
 * Inside the loader: what its parts tell each other. elf.c reads headers, map.c places and maps segments, script.c
 * follows #! lines, stack.c builds the first stack, vdso_map.c maps the vDSO, load.c puts them in order.
 */
#ifndef TG_LOADER_IMAGE_H
#define TG_LOADER_IMAGE_H

#include <elf.h>
#include <limits.h>

#include "loader/loader.h"

struct fs_place;

/* What Linux's ELF_ET_DYN_BASE is: two thirds of a 47-bit space, the address people know from debuggers. */
#define PIE_BASE	((gva_t)0x555555554000)
#define SCRIPT_LINE	256		/* bytes of a file's head that count, as BINPRM_BUF_SIZE */
#define SCRIPT_DEPTH	5		/* rewrites before -ELOOP, as exec_binprm() */
#define MAX_ARG_STRLEN	(128ul << 10)	/* one string, its NUL included */

/* A checked ELF file. All arithmetic on its segments is safe once elf_read() has returned 0. */
struct elf_image {
	struct file *file;		/* not a reference */
	Elf64_Ehdr eh;
	Elf64_Phdr *ph;			/* eh.e_phnum of them; freed by elf_free() */
	gva_t lo, hi;			/* the page-aligned span of all segments, before the bias */
	u64 align;			/* power of two, at least a page */
	bool exec_stack;
	char interp[PATH_MAX];		/* empty: none */

	gva_t bias;			/* set when mapped: what is added to every address of the file */
	gva_t entry, phdr;		/* likewise, biased; phdr is 0 if no segment holds the headers */
};

int elf_read(struct elf_image *img, struct file *file);
void elf_free(struct elf_image *img);

/* Random numbers of one load; all zero when addresses are not randomised. */
struct load_random {
	u64 stack, mmap, pie, brk, sp;
	u8 at_random[16];		/* always random */
};

/* One load under way. */
struct loading {
	struct task *t;
	struct mm *mm;
	const char *path;		/* what was asked for: AT_EXECFN, comm */
	struct elf_image exe, interp;
	struct load_random rnd;
	bool randomize;
	u64 limit_stack;
	struct map_request base_request;	/* the limits, for every mapping */

	const char **argv;		/* own array of borrowed strings */
	const char *const *envp;
	u64 argc, envc;
	struct file *file;		/* what is looked at now; a reference from the first #! on */
	bool file_ref;
	char head[SCRIPT_LINE];
	char lines[SCRIPT_DEPTH][SCRIPT_LINE];	/* strings that argv borrows */
	int depth;

	gva_t vdso;			/* its ELF header, or 0 */
	gva_t sp;
};

/* map.c. The first free range of `len` below `top`, or 0. The mm is still private to the loader. */
gva_t place_below(struct mm *mm, gva_t top, u64 len, u64 align);
bool place_is_free(struct mm *mm, gva_t addr, u64 len);
int image_map(struct loading *l, struct elf_image *img, gva_t lo);	/* `lo`: where img->lo shall be */

/* script.c. 1: it was a script, and file, path and arguments are now its interpreter's; 0: it was none. */
int script_follow(struct loading *l);

/* stack.c */
int stack_check_args(struct loading *l);	/* -E2BIG */
int stack_build(struct loading *l);		/* maps it, fills it, sets l->sp and the mm's fields */

/* vdso_map.c */
u64 vdso_span(void);				/* bytes that vdso_map() takes; 0 when there is no vDSO */
int vdso_map(struct mm *mm, gva_t addr, const struct map_request *base, gva_t *ehdr);

#endif
