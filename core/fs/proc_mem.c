/* /proc/PID: what is in its memory. maps, smaps, cmdline, environ, auxv, mem. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/proc.h"
#include "mm/mm.h"

#define ARGS_MAX	(1u << 20)	/* of cmdline and environ; the kernel has no bound but ARG_MAX */
#define MAPS_NAME_AT	73		/* column of the name in maps */

/* The process's memory if the viewer may look into it; NULL with *err. */
static struct mm *readable_mm(const struct pseudo *p, struct task *viewer, int *err)
{
	struct mm *mm = NULL;
	struct target x;

	*err = target_get(p, &x);
	if (!*err)
		*err = target_allowed(&x, viewer);
	if (!*err)
		mm = target_mm(&x);
	target_put(&x);
	return mm;
}

/* ---- maps ---- */

static void map_name(struct seq *s, const struct vma_info *v, const struct mm *mm, struct task *viewer)
{
	struct path path;

	if (v->name) {
		seq_puts(s, v->name);
	} else if (v->file) {
		if (!file_to_path(v->file, &path)) {
			seq_path(s, viewer, &path, "\n");
			path_put(&path);
		}
	} else if (v->start < mm->brk && v->end > mm->brk_start) {
		seq_puts(s, "[heap]");
	} else if (v->start <= mm->stack_top && v->end >= mm->stack_top && (v->flags & MAP_GROWSDOWN)) {
		seq_puts(s, "[stack]");
	} else if ((v->flags & MAP_TYPE) == MAP_SHARED) {
		seq_puts(s, "/dev/zero (deleted)");
	}
}

static void map_line(struct seq *s, const struct vma_info *v, const struct mm *mm, struct task *viewer)
{
	struct stat st = { 0 };
	size_t begin = s->len, name;

	if (v->file) {
		struct inode *in = v->file->inode;

		if (!in->ops->getattr || in->ops->getattr(in, &st))
			inode_stat(in, &st);
	}
	seq_printf(s, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu ", (unsigned long long)v->start,
		   (unsigned long long)v->end, v->prot & PROT_READ ? 'r' : '-', v->prot & PROT_WRITE ? 'w' : '-',
		   v->prot & PROT_EXEC ? 'x' : '-', (v->flags & MAP_TYPE) == MAP_SHARED ? 's' : 'p',
		   v->file ? (unsigned long long)v->offset : 0ull, major(st.st_dev), minor(st.st_dev),
		   (unsigned long long)st.st_ino);
	name = s->len;
	while (s->len - begin < MAPS_NAME_AT && !s->failed)
		seq_puts(s, " ");
	begin = s->len;
	map_name(s, v, mm, viewer);
	if (s->len == begin && !s->failed)
		s->len = name;		/* no name: no padding either */
	seq_puts(s, "\n");
}

static void smap_sizes(struct seq *s, const struct vma_info *v)
{
	u64 kb = PAGE_SIZE / 1024, rest = v->rss - MIN(v->anon, v->rss), shared = MIN(v->shared, v->rss);
	const struct { const char *name; u64 n; } rows[] = {
		{ "Rss", v->rss * kb }, { "Pss", (v->rss - shared + shared / 2) * kb }, { "Pss_Dirty", v->anon * kb },
		{ "Shared_Clean", shared * kb }, { "Shared_Dirty", 0 }, { "Private_Clean", (rest - MIN(shared, rest)) * kb },
		{ "Private_Dirty", v->anon * kb }, { "Referenced", v->rss * kb }, { "Anonymous", v->anon * kb },
		{ "LazyFree", 0 }, { "AnonHugePages", 0 }, { "ShmemPmdMapped", 0 }, { "FilePmdMapped", 0 },
		{ "Shared_Hugetlb", 0 }, { "Private_Hugetlb", 0 }, { "Swap", 0 }, { "SwapPss", 0 },
		{ "Locked", v->flags & VMA_LOCKED ? v->rss * kb : 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char label[32];

		snprintf(label, sizeof(label), "%s:", rows[i].name);
		seq_printf(s, "%-16s%8llu kB\n", label, (unsigned long long)rows[i].n);
	}
}

static void smap_flags(struct seq *s, const struct vma_info *v)
{
	seq_puts(s, "VmFlags: ");
	seq_puts(s, v->prot & PROT_READ ? "rd " : "");
	seq_puts(s, v->prot & PROT_WRITE ? "wr " : "");
	seq_puts(s, v->prot & PROT_EXEC ? "ex " : "");
	seq_puts(s, (v->flags & MAP_TYPE) == MAP_SHARED ? "sh " : "");
	seq_puts(s, "mr mw me ");
	seq_puts(s, v->flags & MAP_GROWSDOWN ? "gd " : "");
	seq_puts(s, v->flags & VMA_LOCKED ? "lo " : "");
	seq_puts(s, v->flags & VMA_DONTFORK ? "dc " : "");
	seq_puts(s, "\n");
}

static void smap_lines(struct seq *s, const struct vma_info *v)
{
	unsigned long long kb = (v->end - v->start) / 1024;

	seq_printf(s, "Size:           %8llu kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n", kb);
	smap_sizes(s, v);
	seq_puts(s, "THPeligible:           0\n");
	smap_flags(s, v);
}

static int show_maps(struct seq *s, const struct pseudo *p, struct task *viewer, bool smaps)
{
	struct vma_info *v = NULL;
	size_t n = 0;
	int err;
	struct mm *mm = readable_mm(p, viewer, &err);

	if (!mm)
		return err;
	err = mm_snapshot(mm, smaps, &v, &n);
	for (size_t i = 0; !err && i < n; i++) {
		map_line(s, &v[i], mm, viewer);
		if (smaps)
			smap_lines(s, &v[i]);
	}
	if (!err)
		mm_snapshot_free(v, n);
	mm_put(mm);
	return err;
}

int proc_pid_maps(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	return show_maps(s, p, viewer, false);
}

int proc_pid_smaps(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	return show_maps(s, p, viewer, true);
}

int proc_pid_smaps_rollup(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct vma_info *v = NULL, sum = { 0 };
	size_t n = 0;
	int err;
	struct mm *mm = readable_mm(p, viewer, &err);

	if (!mm)
		return err;
	err = mm_snapshot(mm, true, &v, &n);
	mm_put(mm);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		sum.rss += v[i].rss;
		sum.anon += v[i].anon;
		sum.shared += v[i].shared;
	}
	if (n)
		seq_printf(s, "%08llx-%08llx ---p 00000000 00:00 0 %*s[rollup]\n", (unsigned long long)v[0].start,
			   (unsigned long long)v[n - 1].end, 24, "");
	mm_snapshot_free(v, n);
	smap_sizes(s, &sum);
	return 0;
}

/* ---- strings of the stack ---- */

/* [from, to) of its memory, as far as it can be read. */
static void copy_range(struct seq *s, struct mm *mm, gva_t from, gva_t to)
{
	u8 page[PAGE_SIZE];

	to = MIN(to, from + ARGS_MAX);
	while (from < to) {
		u64 n = MIN(to - from, PAGE_SIZE - (from & ~PAGE_MASK));

		if (copy_in(mm, page, from, n))
			return;
		seq_write(s, page, n);
		from += n;
	}
}

/*
 * A program that overwrites its arguments (setproctitle) drops the last NUL: then what it wrote goes on into the
 * environment, up to a NUL.
 */
int proc_pid_cmdline(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	struct mm *mm;
	u8 last = 0;
	int err = target_get(p, &x);

	if (err)
		return err;
	mm = target_mm(&x);
	target_put(&x);
	if (!mm)
		return 0;
	if (mm->arg_end > mm->arg_start && !copy_in(mm, &last, mm->arg_end - 1, 1) && last) {
		copy_range(s, mm, mm->arg_start, MAX(mm->env_end, mm->arg_end));
		s->len = s->len ? strnlen(s->buf, s->len) : 0;
	} else {
		copy_range(s, mm, mm->arg_start, mm->arg_end);
	}
	mm_put(mm);
	return 0;
}

int proc_pid_environ(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	int err;
	struct mm *mm = readable_mm(p, viewer, &err);

	if (!mm)
		return err;
	copy_range(s, mm, mm->env_start, mm->env_end);
	mm_put(mm);
	return 0;
}

int proc_pid_auxv(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	int err;
	struct mm *mm = readable_mm(p, viewer, &err);

	if (!mm)
		return err;
	for (size_t i = 0; i + 1 < ARRAY_SIZE(mm->auxv); i += 2) {
		seq_write(s, &mm->auxv[i], 2 * sizeof(u64));
		if (!mm->auxv[i])
			break;
	}
	mm_put(mm);
	return 0;
}

/* ---- mem: a position is an address ---- */

static s64 mem_move(struct file *f, struct uio *u, u64 *pos, bool write)
{
	struct mm *mm = f->data;
	u8 page[PAGE_SIZE];
	u64 done = 0;

	while (u->len) {
		u64 n = MIN(u->len, PAGE_SIZE - (*pos & ~PAGE_MASK));
		int err;

		if (write)
			n = uio_get(u, page, n);
		err = !guest_range_ok(*pos, n) ? -EFAULT : write ? mm_poke(mm, *pos, page, n) : copy_in(mm, page, *pos, n);
		if (err)
			return done ? (s64)done : -EIO;
		if (!write)
			uio_put(u, page, n);
		*pos += n;
		done += n;
	}
	return done;
}

static s64 mem_read(struct file *f, struct uio *u, u64 *pos)
{
	return mem_move(f, u, pos, false);
}

static s64 mem_write(struct file *f, struct uio *u, u64 *pos)
{
	return mem_move(f, u, pos, true);
}

static s64 mem_seek(struct file *f, s64 offset, int whence)
{
	if (whence == SEEK_CUR)
		offset += f->pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	return f->pos = offset;
}

static void mem_release(struct file *f)
{
	mm_put(f->data);
}

static const struct file_ops mem_ops = {
	.read = mem_read, .write = mem_write, .seek = mem_seek, .release = mem_release,
};

int proc_pid_mem_open(const struct pseudo *p, struct task *t, struct file *f)
{
	int err;
	struct mm *mm = readable_mm(p, t, &err);

	if (!mm)
		return err ? err : -ESRCH;
	f->ops = &mem_ops;
	f->data = mm;
	return 0;
}
