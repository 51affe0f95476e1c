/*
 * load_program(): scripts, the layout of the address space, program, interpreter, vDSO, heap, stack - in that order.
 *
 *	GUEST_MIN .. ET_EXEC programs		where they ask to be
 *	PIE_BASE + random			PIE programs, heap behind them
 *	.. mmap_top				interpreter, libraries, mmap: top-down
 *	gap of RLIMIT_STACK
 *	.. stack_top				the stack
 *	a page, then the vDSO			.. GUEST_END
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/random.h>

#include "fs/fs.h"
#include "fs/special.h"
#include "loader/image.h"

#define MIB		(1ul << 20)
#define STACK_RANDOM	(16ul << 30)		/* the stack's top moves by up to this much */
#define PIE_RANDOM	(1ul << 28)		/* pages, as mmap_rnd_bits */
#define MMAP_RANDOM	(1ul << 26)		/* pages: libraries stay above 0x7e8000000000, as TSan's guests expect */
#define BRK_RANDOM	(32 * MIB)
#define CEILING		(GUEST_END - 16 * PAGE_SIZE)

static long knob_aslr = 1;
static long knob_vdso = 1;

const struct knob loader_knobs[] = {
	{ .name = "loader.aslr", .kind = KNOB_BOOL, .value = &knob_aslr, .def = 1,
	  .help = "random addresses for programs, heap, mmap and stack; off: the same ones every run" },
	{ .name = "vdso.enable", .off = "off", .kind = KNOB_BOOL, .value = &knob_vdso, .def = 1,
	  .help = "give guests a vDSO, so that reading a clock needs no switch" },
	{ 0 },
};

static int draw_random(struct loading *l)
{
	l->randomize = knob_aslr && !(l->t->personality & ADDR_NO_RANDOMIZE);
	if (getrandom(&l->rnd, sizeof(l->rnd), 0) != sizeof(l->rnd))
		return -EIO;
	if (!l->randomize)
		memset(&l->rnd, 0, offsetof(struct load_random, at_random));
	return 0;
}

/* Where the stack ends, and where mmap's searches begin below the room that the stack may grow into. */
static void layout(struct loading *l)
{
	u64 gap = MAX(MIN(l->limit_stack, GUEST_END / 6 * 5), 128 * MIB) + MIB;

	if (l->randomize)
		gap += STACK_RANDOM;
	l->mm->stack_top = page_down(CEILING - vdso_span() - PAGE_SIZE - l->rnd.stack % STACK_RANDOM);
	l->mm->mmap_top = page_down(GUEST_END - gap) - (l->rnd.mmap % MMAP_RANDOM) * PAGE_SIZE;
}

static int load_interp(struct loading *l)
{
	struct file *file;
	gva_t at;
	int err;

	if (!l->exe.interp[0])
		return 0;
	err = vfs_open_exec(l->t, AT_FDCWD, l->exe.interp, 0, &file);
	if (err)
		return err;
	err = elf_read(&l->interp, file);
	if (err == -ENOEXEC)
		err = -ELIBBAD;
	if (err)
		goto out;

	/* The interpreter's own PT_INTERP is read and not followed. */
	at = l->interp.lo;
	if (l->interp.eh.e_type == ET_DYN)
		at = place_below(l->mm, l->mm->mmap_top, l->interp.hi - l->interp.lo, l->interp.align);
	err = at ? image_map(l, &l->interp, at) : -ENOMEM;
out:
	/* What runs is the program: its interpreter's file may be written, mapped or not. */
	file_exec_done(file);
	l->interp.file = NULL;
	file_put(file);
	return err;
}

static int load_exe(struct loading *l)
{
	u64 span = l->exe.hi - l->exe.lo;
	gva_t at = l->exe.lo;

	if (l->exe.eh.e_type == ET_DYN && l->exe.interp[0])
		at = align_down(PIE_BASE + (l->rnd.pie % PIE_RANDOM) * PAGE_SIZE, l->exe.align);
	else if (l->exe.eh.e_type == ET_DYN)
		/* A loader run by hand: out of the way of the program it will load to PIE_BASE. */
		at = place_below(l->mm, l->mm->mmap_top, span, l->exe.align);
	return at ? image_map(l, &l->exe, at) : -ENOMEM;
}

/* The fields of /proc/PID/stat, and the start of the heap behind the last segment. */
static void note_ranges(struct loading *l)
{
	struct mm *mm = l->mm;
	gva_t bias = l->exe.bias, end = l->exe.hi + bias;

	mm->code_start = mm->data_start = UINT64_MAX;
	mm->code_end = mm->data_end = 0;
	for (int i = 0; i < l->exe.eh.e_phnum; i++) {
		const Elf64_Phdr *ph = &l->exe.ph[i];

		if (ph->p_type != PT_LOAD || !ph->p_memsz)
			continue;
		if (ph->p_flags & PF_X) {
			mm->code_start = MIN(mm->code_start, ph->p_vaddr + bias);
			mm->code_end = MAX(mm->code_end, ph->p_vaddr + ph->p_filesz + bias);
		} else {
			mm->data_start = MIN(mm->data_start, ph->p_vaddr + bias);
			mm->data_end = MAX(mm->data_end, ph->p_vaddr + ph->p_filesz + bias);
		}
	}
	if (!mm->code_end)
		mm->code_start = 0;
	if (!mm->data_end)
		mm->data_start = 0;

	/* A program in the mmap area has its libraries close above: its heap goes where a PIE would be. */
	if (l->exe.eh.e_type == ET_DYN && !l->exe.interp[0])
		end = PIE_BASE;
	mm->brk_start = mm->brk = end + page_down(l->rnd.brk % BRK_RANDOM);
}

static int map_vdso(struct loading *l)
{
	gva_t addr = l->mm->stack_top + PAGE_SIZE;
	int err;

	if (!knob_vdso || !vdso_span())
		return 0;
	err = vdso_map(l->mm, addr, &l->base_request, &l->vdso);
	l->mm->vdso = l->vdso;
	return err;
}

static int follow_scripts(struct loading *l)
{
	s64 n;
	int more;

	do {
		memset(l->head, 0, sizeof(l->head));
		n = file_read_at(l->file, l->head, sizeof(l->head), 0);
		if (n < 0)
			return n;
		more = script_follow(l);
	} while (more > 0);
	return more;
}

static int copy_argv(struct loading *l, char *const argv[], char *const envp[])
{
	while (argv[l->argc])
		l->argc++;
	while (envp[l->envc])
		l->envc++;
	l->envp = (const char *const *)envp;

	l->argv = calloc(l->argc + 2, sizeof(*l->argv));
	if (!l->argv)
		return -ENOMEM;
	memcpy(l->argv, argv, l->argc * sizeof(*l->argv));
	/* No program may find argv[0] missing: it would read envp as its arguments. */
	if (!l->argc)
		l->argv[l->argc++] = "";
	return 0;
}

static void set_comm(const char *path, char comm[16])
{
	const char *base = strrchr(path, '/');

	memset(comm, 0, 16);
	strncpy(comm, base ? base + 1 : path, 15);
}

static void set_exe(struct mm *mm, struct file *file)
{
	if (mm->exe)
		file_put(mm->exe);
	file_get(file);
	mm->exe = file;
}

static int load(struct loading *l)
{
	int err;

	err = follow_scripts(l);
	if (!err)
		err = stack_check_args(l);
	if (!err)
		err = elf_read(&l->exe, l->file);
	if (!err)
		err = draw_random(l);
	if (err)
		return err;

	layout(l);
	err = load_exe(l);
	if (!err)
		err = load_interp(l);
	if (!err)
		err = map_vdso(l);
	if (err)
		return err;

	note_ranges(l);
	set_exe(l->mm, l->file);
	return stack_build(l);
}

int load_program(struct task *t, struct mm *mm, struct file *file, const char *path, char *const argv[],
		 char *const envp[], struct load_result *out)
{
	/* Some KiB of path and line buffers: not on a task thread's stack. */
	struct loading *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->t = t;
	l->mm = mm;
	l->path = path;
	l->file = file;
	l->limit_stack = task_rlimit(t, RLIMIT_STACK);
	/* 0 would mean "no limit" to the mm. */
	l->base_request.limit_as = MAX(task_rlimit(t, RLIMIT_AS), 1);
	l->base_request.limit_data = MAX(task_rlimit(t, RLIMIT_DATA), 1);
	l->base_request.limit_memlock = MAX(task_rlimit(t, RLIMIT_MEMLOCK), 1);

	err = copy_argv(l, argv, envp);
	if (!err)
		err = load(l);
	if (!err) {
		out->entry = l->interp.ph ? l->interp.entry : l->exe.entry;
		out->sp = l->sp;
		set_comm(path, out->comm);
	}

	elf_free(&l->exe);
	elf_free(&l->interp);
	if (l->file_ref)
		file_put(l->file);
	free(l->argv);
	free(l);
	return err;
}
