/* The queue of mappings over a stub's leader, and what the ptrace platform asks about mappings. */
#include "backends/stub/maps.h"

#include <errno.h>
#include <sched.h>

bool stub_follow;

static int leader_run(void *stub, u32 n, u64 *index)
{
	stub_leader_cpu(stub, stub_follow ? sched_getcpu() : -1);
	return stub_run(stub, n, index);
}

static void leader_kill(void *stub) { stub_kill(stub); }
static bool leader_dead(void *stub) { return ((struct stub *)stub)->dead; }

static const struct map_runner leader = { .run = leader_run, .kill = leader_kill, .dead = leader_dead };

int stub_maps_init(struct stub_maps *m)
{
	int err = stub_get(&m->stub);

	if (err)
		return err;
	m->q.runner = &leader;
	m->q.self = m->stub;
	m->q.records = m->stub->channel->records;
	m->q.memory_fd = STUB_FD_MEMORY;
	m->q.eager = false;		/* a context that ptrace has stopped is stopped */
	map_queue_init(&m->q);
	return 0;
}

int stub_maps_worker(struct stub_maps *m, pid_t *tid, bool *fresh)
{
	int err;

	pthread_mutex_lock(&m->q.lock);
	err = queue_flush(&m->q);		/* the record that makes a worker takes the queue's place */
	if (!err)
		err = stub_worker_get(m->stub, tid, fresh);
	pthread_mutex_unlock(&m->q.lock);
	return err;
}

u64 stub_maps_worker_leave(struct stub_maps *m)
{
	u64 rip;

	pthread_mutex_lock(&m->q.lock);
	rip = stub_worker_leave(m->stub);
	pthread_mutex_unlock(&m->q.lock);
	return rip;
}

void stub_maps_worker_left(struct stub_maps *m, u64 rip, pid_t tid)
{
	pthread_mutex_lock(&m->q.lock);
	stub_worker_left(m->stub, rip, tid);
	pthread_mutex_unlock(&m->q.lock);
}

void stub_maps_clear(struct stub_maps *m)
{
	if (map_queue_clear(&m->q))
		stub_kill(m->stub);
}

void stub_maps_exit(struct stub_maps *m)
{
	map_queue_exit(&m->q);
	stub_put(m->stub);
}

/* ---- what is where ---- */

enum access stub_maps_prot(struct stub_maps *m, gva_t addr)
{
	enum access prot = ACCESS_NONE;
	struct span *s;

	pthread_mutex_lock(&m->q.lock);
	s = span_find(&m->q.spans, addr);
	if (s)
		prot = s->prot;
	pthread_mutex_unlock(&m->q.lock);
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

	pthread_mutex_lock(&m->q.lock);
	while (done < max && (s = span_find(&m->q.spans, addr + done))) {
		n = MIN(max - done, s->end - (addr + done));
		copy_racy(buf + done, memory->base + s->offset + (addr + done - s->start), n);
		done += n;
	}
	pthread_mutex_unlock(&m->q.lock);
	return done;
}
