/*
 * The first stack, as the kernel lays it out:
 *
 *	stack_top ->	8 bytes of zero
 *			path of the program (AT_EXECFN)
 *			environment strings, argument strings
 *			"x86_64", 16 random bytes
 *			auxv, envp, argv, argc		<- sp, 16-byte aligned
 *
 * It is built in one buffer and copied out at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "loader/image.h"

#define STACK_SPARE	(128ul << 10)		/* mapped below sp from the start, as setup_arg_pages() */
#define ARGS_MAX	(6ul << 20)		/* three quarters of the default stack */
#define ARGS_MIN	(128ul << 10)		/* whatever the limit says */

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ	51
#endif

static const char platform_name[] = "x86_64";

static int add_strings(const char *const *list, u64 n, u64 *total)
{
	for (u64 i = 0; i < n; i++) {
		u64 len = strnlen(list[i], MAX_ARG_STRLEN) + 1;

		if (len > MAX_ARG_STRLEN)
			return -E2BIG;
		*total += len;
	}
	return 0;
}

static int string_bytes(struct loading *l, u64 *total)
{
	int err;

	*total = strlen(l->path) + 1;
	err = add_strings(l->argv, l->argc, total);
	if (!err)
		err = add_strings(l->envp, l->envc, total);
	return err;
}

int stack_check_args(struct loading *l)
{
	u64 limit = MAX(MIN(l->limit_stack / 4, ARGS_MAX), ARGS_MIN);
	u64 pointers = (l->argc + l->envc) * sizeof(u64), strings;
	int err = string_bytes(l, &strings);

	if (!err && (pointers >= limit || strings > limit - pointers))
		err = -E2BIG;
	return err;
}

/* A stack image that grows down from `end`; addresses are guest ones. */
struct image {
	u8 *buf;
	u64 size, used;
	gva_t top;
};

static gva_t push(struct image *im, const void *src, u64 len)
{
	im->used += len;
	memcpy(im->buf + im->size - im->used, src, len);
	return im->top - im->used;
}

/* Strings stand in order, the first lowest; *words gets an address for each and a NULL. */
static gva_t push_strings(struct image *im, const char *const *list, u64 n, u64 *words)
{
	gva_t at = im->top - im->used;

	for (u64 i = n; i-- > 0;) {
		at = push(im, list[i], strlen(list[i]) + 1);
		words[i] = at;
	}
	words[n] = 0;
	return at;
}

static u64 fill_auxv(struct loading *l, u64 *av, gva_t random, gva_t plat, gva_t execfn)
{
	const struct cred *c = l->t->cred;
	const u64 pairs[][2] = {
		{ AT_SYSINFO_EHDR, l->vdso },
		{ AT_MINSIGSTKSZ, getauxval(AT_MINSIGSTKSZ) },
		{ AT_HWCAP, getauxval(AT_HWCAP) },
		{ AT_PAGESZ, PAGE_SIZE },
		{ AT_CLKTCK, 100 },
		{ AT_PHDR, l->exe.phdr },
		{ AT_PHENT, sizeof(Elf64_Phdr) },
		{ AT_PHNUM, l->exe.eh.e_phnum },
		{ AT_BASE, l->interp.ph ? l->interp.bias : 0 },
		{ AT_FLAGS, 0 },
		{ AT_ENTRY, l->exe.entry },
		{ AT_UID, c->uid }, { AT_EUID, c->euid }, { AT_GID, c->gid }, { AT_EGID, c->egid },
		{ AT_SECURE, 0 },
		{ AT_RANDOM, random },
		{ AT_HWCAP2, getauxval(AT_HWCAP2) },
		{ AT_EXECFN, execfn },
		{ AT_PLATFORM, plat },
		{ AT_NULL, 0 },
	};
	u64 n = 0;

	/* Zero for the first two means that there is none. */
	for (u64 i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (i < 2 && !pairs[i][1])
			continue;
		av[n++] = pairs[i][0];
		av[n++] = pairs[i][1];
	}
	_Static_assert(sizeof(pairs) <= sizeof(((struct mm *)0)->auxv), "the mm has room for the auxv");
	return n;
}

static int map_stack(struct loading *l, u64 len)
{
	struct map_request req = l->base_request;
	s64 got;

	req.len = MIN(page_up(len + STACK_SPARE), MAX(page_up(len), page_down(l->limit_stack)));
	req.addr = l->mm->stack_top - req.len;
	req.prot = PROT_READ | PROT_WRITE | (l->exe.exec_stack ? PROT_EXEC : 0);
	req.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_STACK;
	req.name = "[stack]";
	got = mm_map(l->mm, &req);
	/* The program's own segments are in the way: to execve's caller there is no room. */
	if (got == -EEXIST)
		got = -ENOMEM;
	return got < 0 ? got : 0;
}

/* Everything above sp. Returns the bytes used; `words` has room for argc, both vectors and the auxv. */
static u64 fill_image(struct loading *l, struct image *im, u64 *words)
{
	struct mm *mm = l->mm;
	u64 *argv = words + 1, *envp = argv + l->argc + 1, *auxv = envp + l->envc + 1, naux, total;
	gva_t execfn, plat, random;

	push(im, &(u64){ 0 }, sizeof(u64));
	execfn = push(im, l->path, strlen(l->path) + 1);
	mm->env_end = execfn;
	mm->env_start = mm->arg_end = push_strings(im, l->envp, l->envc, envp);
	mm->arg_start = push_strings(im, l->argv, l->argc, argv);

	/* Linux moves sp by up to 8 KiB here, so that siblings on one core do not share cache sets. */
	im->used = align_up(im->used, 16) + l->rnd.sp % 8192 / 16 * 16;
	plat = push(im, platform_name, sizeof(platform_name));
	random = push(im, l->rnd.at_random, sizeof(l->rnd.at_random));

	words[0] = l->argc;
	naux = fill_auxv(l, auxv, random, plat, execfn);
	memcpy(mm->auxv, auxv, naux * sizeof(u64));
	total = (u64)(auxv - words) + naux;
	im->used = align_up(im->used + total * sizeof(u64), 16);
	memcpy(im->buf + im->size - im->used, words, total * sizeof(u64));
	return im->used;
}

int stack_build(struct loading *l)
{
	u64 words = l->argc + l->envc + 3 + ARRAY_SIZE(l->mm->auxv), strings;
	struct image im = { .top = l->mm->stack_top };
	u64 *vector = NULL;
	int err;

	err = string_bytes(l, &strings);
	if (err)
		return err;
	im.size = align_up(strings + words * sizeof(u64) + 8192 + 256, 16);
	im.buf = calloc(1, im.size);
	vector = calloc(words, sizeof(u64));
	if (!im.buf || !vector) {
		err = -ENOMEM;
		goto out;
	}

	fill_image(l, &im, vector);
	l->sp = im.top - im.used;
	err = map_stack(l, im.used);
	if (!err && copy_out(l->mm, l->sp, im.buf + im.size - im.used, im.used))
		err = -ENOMEM;		/* our own mapping: only the memory file can have run out */
out:
	free(vector);
	free(im.buf);
	return err;
}
