/* Queue, merge and run the mapping calls of one address space. See maps.h for the rules. */
#include "backends/stub/maps.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "lib/log.h"

struct stub_map_counters stub_map_counters;
bool stub_follow;

int stub_maps_init(struct stub_maps *m)
{
	int err = stub_get(&m->stub);

	if (err)
		return err;
	pthread_mutex_init(&m->lock, NULL);
	RB_INIT(&m->spans);
	m->queued = m->running = 0;
	return 0;
}

static void count(_Atomic u64 *counter) { atomic_fetch_add_explicit(counter, 1, memory_order_relaxed); }

/* ---- running the queue; m->lock held ---- */

/* Drop every guest mapping; what the host still counts is then the stub's own two pages. */
static int drop_all(struct stub_maps *m)
{
	m->stub->channel->records[0] = (struct stub_record){ .nr = SYS_munmap, .arg = { 0, GUEST_END } };
	m->queued = 0;
	span_clear(&m->spans);
	return stub_run(m->stub, 1, NULL);
}

/*
 * The host refused `failed`. Start over with nothing mapped but that: if it succeeds the guest gets on, if it does not
 * the guest could fault on it for ever, so it ends.
 */
static int start_over(struct stub_maps *m, const struct stub_record *failed)
{
	const u64 *arg = failed->arg;
	int err = drop_all(m);

	count(&stub_map_counters.resets);
	if (!err && failed->nr == SYS_mmap) {
		m->stub->channel->records[0] = *failed;
		err = stub_run(m->stub, 1, NULL);
		if (!err)
			err = span_set(&m->spans, arg[0], arg[0] + arg[1], arg[5], (int)arg[2]);
	}
	if (err && err != -ESRCH) {
		log_warn("a stub can't be mapped into any more (%s): its guest ends", strerror(-err));
		stub_kill(m->stub);
		err = -ESRCH;
	}
	return err;
}

static int flush(struct stub_maps *m)
{
	struct stub_record failed;
	u32 n = m->queued;
	u64 index = 0;
	int err;

	if (!n)
		return m->stub->dead ? -ESRCH : 0;
	stub_leader_cpu(m->stub, stub_follow ? sched_getcpu() : -1);
	count(&stub_map_counters.batches);
	err = stub_run(m->stub, n, &index);
	m->queued = 0;
	if (!err || err == -ESRCH)
		return err;
	failed = m->stub->channel->records[MIN(index, STUB_RECORDS - 1)];
	return start_over(m, &failed);
}

/* Out of memory for the list of spans: nothing below it can be trusted to match, so nothing stays mapped. */
static void forget_all(struct stub_maps *m)
{
	if (drop_all(m))
		stub_kill(m->stub);
}

/* ---- the queue; m->lock held ---- */

static bool extends(const struct stub_record *last, const struct stub_record *r)
{
	if (last->nr != r->nr || last->arg[0] + last->arg[1] != r->arg[0])
		return false;
	if (r->nr == SYS_munmap)
		return true;
	if (last->arg[2] != r->arg[2])
		return false;
	return r->nr == SYS_mprotect || (last->arg[3] == r->arg[3] && last->arg[5] + last->arg[1] == r->arg[5]);
}

static void push(struct stub_maps *m, const struct stub_record *r)
{
	struct stub_record *records = m->stub->channel->records;

	if (m->queued && extends(&records[m->queued - 1], r)) {
		records[m->queued - 1].arg[1] += r->arg[1];
		return;
	}
	if (m->queued == STUB_RECORDS)
		flush(m);	/* if it fails the stub is dead, and entering it will say so */
	records[m->queued] = *r;
	atomic_fetch_add(&m->queued, 1);
}

/* Nothing may outlive the call that a sibling in the guest could still use. */
static void complete(struct stub_maps *m)
{
	if (atomic_load(&m->running))
		flush(m);
}

/* Does mapping `offset` at [start, end) with `prot` take a page or an access away? */
static bool replaces(struct stub_maps *m, gva_t start, gva_t end, u64 offset, enum access prot)
{
	struct span *s;

	for (s = span_at_or_after(&m->spans, start); s && s->start < end; s = span_next(s))
		if (s->offset - s->start != offset - start || (s->prot & ~prot))
			return true;
	return false;
}

int stub_map(struct stub_maps *m, gva_t addr, u64 len, enum access prot, u64 offset, bool populate)
{
	const u64 flags = MAP_SHARED | MAP_FIXED | (populate && prot ? MAP_POPULATE : 0);
	const struct stub_record r = { .nr = SYS_mmap, .arg = { addr, len, prot, flags, STUB_FD_MEMORY, offset } };
	bool takes;
	int err;

	pthread_mutex_lock(&m->lock);
	takes = replaces(m, addr, addr + len, offset, prot);
	push(m, &r);
	err = span_set(&m->spans, addr, addr + len, offset, prot);
	if (err)
		forget_all(m);
	else if (takes)
		complete(m);
	count(&stub_map_counters.maps);
	pthread_mutex_unlock(&m->lock);
	return err;
}

int stub_unmap(struct stub_maps *m, gva_t addr, u64 len)
{
	const gva_t end = addr + len;
	gva_t last;
	struct span *s;

	pthread_mutex_lock(&m->lock);
	s = span_at_or_after(&m->spans, addr);
	if (s && s->start < end) {
		addr = MAX(addr, s->start);
		for (last = addr; s && s->start < end; s = span_next(s))
			last = MIN(s->end, end);
		push(m, &(struct stub_record){ .nr = SYS_munmap, .arg = { addr, last - addr } });
		if (span_set(&m->spans, addr, last, 0, -1))
			forget_all(m);
		complete(m);
		count(&stub_map_counters.unmaps);
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

int stub_protect(struct stub_maps *m, gva_t addr, u64 len, enum access prot)
{
	const gva_t end = addr + len;
	bool takes = false, any = false;
	struct span *s;
	gva_t at, to;

	pthread_mutex_lock(&m->lock);
	/* By address and not by span: pushing may flush, and a flush that fails drops the spans. */
	for (at = addr; at < end && (s = span_at_or_after(&m->spans, at)) && s->start < end; at = to) {
		const gva_t from = MAX(s->start, addr);

		to = MIN(s->end, end);
		if (s->prot == prot)
			continue;
		any = true;
		takes = takes || (s->prot & ~prot);
		push(m, &(struct stub_record){ .nr = SYS_mprotect, .arg = { from, to - from, prot } });
		count(&stub_map_counters.protects);
	}
	if (any && span_protect(&m->spans, addr, end, prot))
		forget_all(m);
	if (takes)
		complete(m);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/* ---- around guest code ---- */

int stub_maps_enter(struct stub_maps *m)
{
	int err = 0;

	atomic_fetch_add(&m->running, 1);
	if (atomic_load(&m->queued)) {
		pthread_mutex_lock(&m->lock);
		err = flush(m);
		pthread_mutex_unlock(&m->lock);
	}
	return m->stub->dead ? -ESRCH : err;
}

void stub_maps_leave(struct stub_maps *m) { atomic_fetch_sub(&m->running, 1); }

int stub_maps_worker(struct stub_maps *m, pid_t *tid, bool *fresh)
{
	int err;

	pthread_mutex_lock(&m->lock);
	err = flush(m);		/* the record that makes a worker takes the queue's place */
	if (!err)
		err = stub_worker_get(m->stub, tid, fresh);
	pthread_mutex_unlock(&m->lock);
	return err;
}

u64 stub_maps_worker_put(struct stub_maps *m, pid_t tid)
{
	u64 rip;

	pthread_mutex_lock(&m->lock);
	rip = stub_worker_put(m->stub, tid);
	pthread_mutex_unlock(&m->lock);
	return rip;
}

void stub_maps_exit(struct stub_maps *m)
{
	pthread_mutex_lock(&m->lock);
	if (!m->stub->dead && drop_all(m))
		stub_kill(m->stub);
	span_clear(&m->spans);
	pthread_mutex_unlock(&m->lock);
}

/* ---- what is where ---- */

enum access stub_maps_prot(struct stub_maps *m, gva_t addr)
{
	enum access prot = ACCESS_NONE;
	struct span *s;

	pthread_mutex_lock(&m->lock);
	s = span_find(&m->spans, addr);
	if (s)
		prot = s->prot;
	pthread_mutex_unlock(&m->lock);
	return prot;
}

/* The guest may write these bytes meanwhile: whatever comes out is decoded, not believed. */
__attribute__((no_sanitize("thread"))) static void copy_racy(u8 *dst, const volatile u8 *src, size_t n)
{
	while (n--)
		*dst++ = *src++;
}

size_t stub_maps_read(struct stub_maps *m, const struct backing *memory, gva_t addr, u8 *buf, size_t max)
{
	size_t done = 0, n;
	struct span *s;

	pthread_mutex_lock(&m->lock);
	while (done < max && (s = span_find(&m->spans, addr + done))) {
		n = MIN(max - done, s->end - (addr + done));
		copy_racy(buf + done, memory->base + s->offset + (addr + done - s->start), n);
		done += n;
	}
	pthread_mutex_unlock(&m->lock);
	return done;
}
