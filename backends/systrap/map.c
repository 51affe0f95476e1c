/*
 * Mappings: queued while they only show something new, run by the helper in one batch; whatever takes access away is
 * complete before the call returns. The helper's registers, which the kernel reports, say that it is: a guest cannot
 * forge the end of an unmap.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "backends/systrap/systrap.h"

static void record_map(struct stub_record *r, const struct queued_map *q)
{
	*r = (struct stub_record){ .nr = SYS_mmap, .arg = { q->addr, q->len, q->prot,
		MAP_SHARED | MAP_FIXED | (q->populate ? MAP_POPULATE : 0), STUB_FD_MEMORY, q->offset } };
	COUNT(map_calls);
}

static int flush_locked(struct address_space *as)
{
	struct stub_record *r = helper_records(as);
	int n = as->queued;

	if (!n)
		return 0;
	for (int i = 0; i < n; i++)
		record_map(&r[i], &as->queue[i]);
	as->queued = 0;
	atomic_store_explicit(&as->has_queue, 0, memory_order_relaxed);
	return helper_run(as, n, NULL);
}

int map_flush(struct address_space *as)
{
	int err = 0;

	if (!atomic_load_explicit(&as->has_queue, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&as->lock);
	err = flush_locked(as);
	pthread_mutex_unlock(&as->lock);
	return err;
}

static bool merge(struct queued_map *last, const struct queued_map *q)
{
	if (last->addr + last->len != q->addr || last->offset + last->len != q->offset || last->prot != q->prot ||
	    last->populate != q->populate)
		return false;
	last->len += q->len;
	return true;
}

int systrap_as_map(struct address_space *as, gva_t addr, u64 len, enum access prot, const struct backing *file, u64 offset, u32 how)
{
	struct queued_map q = { .addr = addr, .len = len, .offset = offset, .prot = prot, .populate = how & AS_MAP_POPULATE };
	int err = 0;

	if (file != systrap_memory)
		return -EINVAL;
	pthread_mutex_lock(&as->lock);
	if (as->queued && merge(&as->queue[as->queued - 1], &q))
		goto queued;
	if (as->queued == QUEUE_MAX)
		err = flush_locked(as);
	as->queue[as->queued++] = q;
	atomic_store_explicit(&as->has_queue, 1, memory_order_relaxed);
queued:
	if (!err && !(how & AS_MAP_FRESH))
		err = flush_locked(as);
	pthread_mutex_unlock(&as->lock);
	return err;
}

/* What is queued comes first, so that order is kept; then one more record, all in one meeting. */
static int run_after_queue(struct address_space *as, const struct stub_record *last)
{
	struct stub_record *r = helper_records(as);
	int n = as->queued;

	for (int i = 0; i < n; i++)
		record_map(&r[i], &as->queue[i]);
	as->queued = 0;
	atomic_store_explicit(&as->has_queue, 0, memory_order_relaxed);
	r[n] = *last;
	return helper_run(as, n + 1, NULL);
}

int systrap_as_unmap(struct address_space *as, gva_t addr, u64 len)
{
	const struct stub_record r = { .nr = SYS_munmap, .arg = { addr, len } };
	int err;

	COUNT(unmap_calls);
	pthread_mutex_lock(&as->lock);
	err = run_after_queue(as, &r);
	pthread_mutex_unlock(&as->lock);
	return err;
}

/* mprotect(2) stops at the first hole; then the range is unmapped instead: less access, never more. */
int systrap_as_protect(struct address_space *as, gva_t addr, u64 len, enum access prot)
{
	const struct stub_record r = { .nr = SYS_mprotect, .arg = { addr, len, prot } };
	int err;

	COUNT(protect_calls);
	pthread_mutex_lock(&as->lock);
	err = run_after_queue(as, &r);
	if (err == -ENOMEM)
		err = run_after_queue(as, &(struct stub_record){ .nr = SYS_munmap, .arg = { addr, len } });
	pthread_mutex_unlock(&as->lock);
	return err;
}
