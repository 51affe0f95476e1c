/* Queue, merge and run the mapping calls of one address space. See queue.h for the rules. */
#include "backends/stub/queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "lib/log.h"

struct map_counters map_counters;

static void count(_Atomic u64 *counter) { atomic_fetch_add_explicit(counter, 1, memory_order_relaxed); }

/* ---- running the queue; q->lock held ---- */

/* Drop every guest mapping; what the host still counts is then the stub's own. */
static int drop_all(struct map_queue *q)
{
	q->records[0] = (struct stub_record){ .nr = SYS_munmap, .arg = { 0, GUEST_END } };
	q->queued = 0;
	span_clear(&q->spans);
	return q->runner->run(q->self, 1, &(u64){ 0 });
}

/*
 * The host refused `failed`. Start over with nothing mapped but that: if it succeeds the guest gets on, if it does not
 * the guest could fault on it for ever, so it ends.
 */
static int start_over(struct map_queue *q, const struct stub_record *failed)
{
	const u64 *arg = failed->arg;
	int err = drop_all(q);

	count(&map_counters.resets);
	if (!err && failed->nr == SYS_mmap) {
		q->records[0] = *failed;
		err = q->runner->run(q->self, 1, &(u64){ 0 });
		if (!err)
			err = span_set(&q->spans, arg[0], arg[0] + arg[1], arg[5], (int)arg[2]);
	}
	if (err && err != -ESRCH) {
		log_warn("a guest's process can't be mapped into any more (%s): that guest ends", strerror(-err));
		q->runner->kill(q->self);
		err = -ESRCH;
	}
	return err;
}

int queue_flush(struct map_queue *q)
{
	struct stub_record failed;
	u32 n = q->queued;
	u64 index = 0;
	int err;

	if (!n)
		return q->runner->dead(q->self) ? -ESRCH : 0;
	count(&map_counters.batches);
	err = q->runner->run(q->self, n, &index);
	q->queued = 0;
	if (!err || err == -ESRCH)
		return err;
	failed = q->records[MIN(index, STUB_RECORDS - 1)];
	return start_over(q, &failed);
}

/* Out of memory for the list of spans: nothing below it can be trusted to match, so nothing stays mapped. */
static void forget_all(struct map_queue *q)
{
	if (drop_all(q))
		q->runner->kill(q->self);
}

/* ---- the queue; q->lock held ---- */

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

static void push(struct map_queue *q, const struct stub_record *r)
{
	struct stub_record *records = q->records;

	if (q->queued && extends(&records[q->queued - 1], r)) {
		records[q->queued - 1].arg[1] += r->arg[1];
		return;
	}
	if (q->queued == STUB_RECORDS)
		queue_flush(q);	/* if it fails the stub is dead, and entering it will say so */
	records[q->queued] = *r;
	atomic_fetch_add(&q->queued, 1);
}

/* Nothing may outlive the call that a sibling in the guest could still use. */
static void complete(struct map_queue *q)
{
	if (q->eager || atomic_load(&q->running))
		queue_flush(q);
}

/* Does mapping `offset` at [start, end) with `prot` take a page or an access away? */
static bool replaces(struct map_queue *q, gva_t start, gva_t end, u64 offset, enum access prot)
{
	struct span *s;

	for (s = span_at_or_after(&q->spans, start); s && s->start < end; s = span_next(s))
		if (s->offset - s->start != offset - start || (s->prot & ~prot))
			return true;
	return false;
}

int queue_map(struct map_queue *q, gva_t addr, u64 len, enum access prot, u64 offset, bool populate)
{
	const u64 flags = MAP_SHARED | MAP_FIXED | (populate && prot ? MAP_POPULATE : 0);
	const struct stub_record r = { .nr = SYS_mmap, .arg = { addr, len, prot, flags, q->memory_fd, offset } };
	bool takes;
	int err;

	pthread_mutex_lock(&q->lock);
	takes = replaces(q, addr, addr + len, offset, prot);
	push(q, &r);
	err = span_set(&q->spans, addr, addr + len, offset, prot);
	if (err)
		forget_all(q);
	else if (takes)
		complete(q);
	count(&map_counters.maps);
	pthread_mutex_unlock(&q->lock);
	return err;
}

int queue_unmap(struct map_queue *q, gva_t addr, u64 len)
{
	const gva_t end = addr + len;
	gva_t last;
	struct span *s;

	pthread_mutex_lock(&q->lock);
	s = span_at_or_after(&q->spans, addr);
	if (s && s->start < end) {
		addr = MAX(addr, s->start);
		for (last = addr; s && s->start < end; s = span_next(s))
			last = MIN(s->end, end);
		push(q, &(struct stub_record){ .nr = SYS_munmap, .arg = { addr, last - addr } });
		if (span_set(&q->spans, addr, last, 0, -1))
			forget_all(q);
		complete(q);
		count(&map_counters.unmaps);
	}
	pthread_mutex_unlock(&q->lock);
	return 0;
}

int queue_protect(struct map_queue *q, gva_t addr, u64 len, enum access prot)
{
	const gva_t end = addr + len;
	bool takes = false, any = false;
	struct span *s;
	gva_t at, to;

	pthread_mutex_lock(&q->lock);
	/* By address and not by span: pushing may flush, and a flush that fails drops the spans. */
	for (at = addr; at < end && (s = span_at_or_after(&q->spans, at)) && s->start < end; at = to) {
		const gva_t from = MAX(s->start, addr);

		to = MIN(s->end, end);
		if (s->prot == prot)
			continue;
		any = true;
		takes = takes || (s->prot & ~prot);
		push(q, &(struct stub_record){ .nr = SYS_mprotect, .arg = { from, to - from, prot } });
		count(&map_counters.protects);
	}
	if (any && span_protect(&q->spans, addr, end, prot))
		forget_all(q);
	if (takes)
		complete(q);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

/* ---- around guest code ---- */

int queue_enter(struct map_queue *q)
{
	int err = 0;

	if (!q->eager)
		atomic_fetch_add(&q->running, 1);
	if (atomic_load(&q->queued)) {
		pthread_mutex_lock(&q->lock);
		err = queue_flush(q);
		pthread_mutex_unlock(&q->lock);
	}
	return q->runner->dead(q->self) ? -ESRCH : err;
}

void queue_leave(struct map_queue *q)
{
	if (!q->eager)
		atomic_fetch_sub(&q->running, 1);
}

void map_queue_init(struct map_queue *q)
{
	pthread_mutex_init(&q->lock, NULL);
	RB_INIT(&q->spans);
	q->queued = q->running = 0;
}

int map_queue_clear(struct map_queue *q)
{
	int err;

	pthread_mutex_lock(&q->lock);
	err = q->runner->dead(q->self) ? -ESRCH : drop_all(q);
	pthread_mutex_unlock(&q->lock);
	return err;
}

void map_queue_exit(struct map_queue *q)
{
	span_clear(&q->spans);
	pthread_mutex_destroy(&q->lock);
}
