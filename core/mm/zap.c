/*
 * What the platform shows of the page table: showing runs, hiding ranges, following a change of protection.
 *
 * The order is always: hide first (complete when the call returns), then let go of the pages, so that a page with no
 * reference is never within a guest's reach.
 */
#include "mm/internal.h"

int mm_show(struct mm *mm, struct vma *v, const struct pt_run *run, u32 how)
{
	enum access prot = pte_access(v, run->pte);
	u64 len = run->n << PAGE_SHIFT;
	int err;

	err = platform->as_map(mm->as, run->addr, len, prot, memory_file(), pte_offset(run->pte), how);
	/* A failure may leave a part of it shown. If that can't be hidden, all of it counts as shown from here on. */
	if (err && !platform->as_unmap(mm->as, run->addr, len))
		pt_run_flags(run, PTE_VIEW, 0);
	else
		pt_run_flags(run, PTE_VIEW, pte_view(prot));
	return err;
}

int mm_hide(struct mm *mm, gva_t start, gva_t end)
{
	gva_t first = 0, last = 0, pos = start;
	struct pt_run run;
	int err;

	while (pt_next_run(mm->pt, &pos, end, &run)) {
		if (!(run.pte & PTE_SHOWN))
			continue;
		first = first ? first : run.addr;
		last = pos;
	}
	if (!first)
		return 0;
	err = platform->as_unmap(mm->as, first, last - first);
	if (err)
		return err;
	for (pos = first; pt_next_run(mm->pt, &pos, last, &run);)
		pt_run_flags(&run, PTE_VIEW, 0);
	return 0;
}

void mm_drop(struct mm *mm, gva_t start, gva_t end)
{
	struct pt_run run;
	gva_t pos = start;

	while (pt_next_run(mm->pt, &pos, end, &run)) {
		pt_run_clear(mm->pt, &run);
		memory_put(pte_offset(run.pte), run.n);
		mm_count_rss(mm, -(s64)run.n);
	}
}

int mm_zap(struct mm *mm, gva_t start, gva_t end)
{
	int err = mm_hide(mm, start, end);

	if (!err)
		mm_drop(mm, start, end);
	return err;
}

/* ---- truncation ---- */

/* `anon`: private copies too. A punched hole leaves them alone. */
static bool zap_part(struct mm *mm, gva_t start, gva_t end, bool anon)
{
	struct pt_run run;
	gva_t pos = start;
	bool any = false;

	while (pt_next_run(mm->pt, &pos, end, &run)) {
		if ((run.pte & PTE_ANON) && !anon)
			continue;
		/* A backend that cannot unmap leaves the guest the old pages, which stay referenced: harmless. */
		any |= !mm_zap(mm, run.addr, anon ? end : pos);
		pos = anon ? end : pos;
	}
	return any;
}

bool mm_zap_cache(struct mm *mm, struct page_cache *pc, u64 first, u64 last, bool anon)
{
	bool any = false;
	struct vma *v;

	pthread_mutex_lock(&mm->lock);
	RB_FOREACH(v, vma_tree, &mm->vmas) {
		u64 lo = v->offset >> PAGE_SHIFT, hi = lo + vma_pages(v) - 1;
		gva_t start, end;

		if (v->cache != pc || hi < first || lo > last)
			continue;
		start = v->start + ((MAX(lo, first) - lo) << PAGE_SHIFT);
		end = v->start + ((MIN(hi, last) - lo + 1) << PAGE_SHIFT);
		any |= zap_part(mm, start, end, anon);
	}
	pthread_mutex_unlock(&mm->lock);
	return any;
}

/* ---- protection ---- */

/* Pages of one vma that want the same new access; what is not shown between them may be swept along. */
struct sweep {
	gva_t first, last;
	enum access prot;
	bool change;
};

static int sweep_flush(struct mm *mm, struct sweep *s)
{
	struct pt_run run;
	int err;

	if (!s->change)
		return 0;
	err = platform->as_protect(mm->as, s->first, s->last - s->first, s->prot);
	if (err)
		return err;
	for (gva_t pos = s->first; pt_next_run(mm->pt, &pos, s->last, &run);)
		if (run.pte & PTE_SHOWN)
			pt_run_flags(&run, PTE_VIEW, pte_view(s->prot));
	s->change = false;
	return 0;
}

static int reprotect(struct mm *mm, struct vma *v)
{
	struct sweep s = { .change = false };
	struct pt_run run;
	bool open = false;
	int err;

	for (gva_t pos = v->start; pt_next_run(mm->pt, &pos, v->end, &run);) {
		enum access prot = pte_access(v, run.pte);

		if (!(run.pte & PTE_SHOWN))
			continue;
		if (open && prot != s.prot) {
			err = sweep_flush(mm, &s);
			if (err)
				return err;
			open = false;
		}
		if (!open)
			s = (struct sweep){ .first = run.addr, .prot = prot };
		open = true;
		s.last = pos;
		s.change |= pte_shown(run.pte) != prot;
	}
	return open ? sweep_flush(mm, &s) : 0;
}

/* A backend that fails half-way may have added access already: then it is to show nothing there. */
int mm_reprotect(struct mm *mm, struct vma *v)
{
	int err = reprotect(mm, v);

	if (err)
		mm_hide(mm, v->start, v->end);
	return err;
}
