/* The part of the page table (pt.c) that runs inside too: finding a leaf, and guest memory that is there. */
#include "lib/inside.h"
#include "mm/mm.h"
#include "mm/pt.h"

struct pt_leaf *pt_leaf_find(struct pt *pt, gva_t addr)
{
	struct pt_dir *dir = pt->root;

	if (pt->hot_index == addr / PT_LEAF_SIZE)
		return pt->hot_leaf;
	if (addr >= GUEST_END)
		return NULL;
	for (int level = DIR_LEVELS - 1; level; level--) {
		dir = dir->slot[slot_index(addr, level)];
		if (!dir)
			return NULL;
	}
	return dir->slot[slot_index(addr, 0)] ? remember(pt, addr, dir->slot[slot_index(addr, 0)]) : NULL;
}

/* One segment, to the end of its page or of the range; false: the host must make the page come first. */
static bool segment(struct mm *mm, gva_t addr, u64 len, enum access want, struct iovec *iov)
{
	u64 e = pt_get(mm->pt, addr);

	if (!(e & ((u64)want << 4)))
		return false;
	iov->iov_base = memory_base + pte_offset(e) + (addr & ~PAGE_MASK);
	iov->iov_len = MIN(len, PAGE_SIZE - (addr & ~PAGE_MASK));
	return true;
}

int uaccess_open(struct mm *mm, gva_t addr, u64 len, enum access want, struct iovec *iov, int max)
{
	int n = 0;

	/* A store of an emulated ring 0 to memory that the guest has mapped takes 16 ms on the software hypervisor. */
	if (inside_emulated && want == ACCESS_WRITE)
		return -EHOST;
	if (!guest_range_ok(addr, len) || !inside_lock(&mm->lock))
		return -EHOST;
	for (u64 done = 0; done < len; done += iov[n++].iov_len) {
		if (n < max && segment(mm, addr + done, len - done, want, &iov[n]))
			continue;
		inside_unlock(&mm->lock);
		return -EHOST;
	}
	return n;
}

void uaccess_close(struct mm *mm) { inside_unlock(&mm->lock); }

static int copy_small(struct mm *mm, gva_t addr, u8 *buf, u64 len, enum access want)
{
	struct iovec iov[2];
	int n = uaccess_open(mm, addr, len, want, iov, 2);

	if (n < 0)
		return n;
	for (int i = 0; i < n; buf += iov[i++].iov_len)
		for (u64 k = 0; k < iov[i].iov_len; k++)
			if (want == ACCESS_READ)
				buf[k] = ((volatile u8 *)iov[i].iov_base)[k];
			else
				((volatile u8 *)iov[i].iov_base)[k] = buf[k];
	uaccess_close(mm);
	return 0;
}

int inside_copy_in(struct mm *mm, void *dst, gva_t src, u64 len) { return copy_small(mm, src, dst, len, ACCESS_READ); }

int inside_copy_out(struct mm *mm, gva_t dst, const void *src, u64 len)
{
	return copy_small(mm, dst, (u8 *)src, len, ACCESS_WRITE);
}
