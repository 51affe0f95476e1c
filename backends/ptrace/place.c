/*
 * Placement: a context's thread and its worker on one CPU, where waking the other costs a fifth of a wake-up across.
 *
 * A new context stays on its creator's CPU (it inherited the affinity) unless guest code runs there and another
 * allowed CPU is free of it.
 *
 * Lock: `lock` guards the list and each place's tids; `running` are atomics.
 */
#include "backends/ptrace/internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct place {
	int cpu;			/* owner's thread writes, under the lock */
	pid_t host_tid, worker;
	bool fresh;			/* has not entered the guest yet */
};

long ptrace_pin = 1;

static struct {
	cpu_set_t allowed;		/* the sentry's own at start; immutable */
	_Atomic int running[CPU_SETSIZE];	/* contexts in guest code that are pinned to the CPU */
} cpus;

static void pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(tid, sizeof(set), &set);	/* fails if the thread just ended or a cpuset changed: no matter */
}

int place_init(void)
{
	if (sched_getaffinity(0, sizeof(cpus.allowed), &cpus.allowed))
		ptrace_pin = 0;		/* more CPUs than a cpu_set_t holds: leave it to the host */
	stub_follow = ptrace_pin;
	return 0;
}

void place_exit(void) {}

static int first_allowed(void)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus.allowed))
			return i;
	return 0;
}

struct place *place_create(void)
{
	struct place *p = ptrace_pin ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	p->cpu = sched_getcpu();
	if (p->cpu < 0 || p->cpu >= CPU_SETSIZE || !CPU_ISSET(p->cpu, &cpus.allowed))
		p->cpu = first_allowed();
	p->host_tid = gettid();
	p->fresh = true;
	pin(0, p->cpu);
	return p;
}

/* The thread gets its freedom back: it may go on to other work. */
void place_destroy(struct place *p)
{
	if (!p)
		return;
	sched_setaffinity(0, sizeof(cpus.allowed), &cpus.allowed);
	free(p);
}

void place_worker(struct place *p, pid_t tid)
{
	if (!p)
		return;
	p->worker = tid;
	if (tid)
		pin(tid, p->cpu);
}

static int idle_cpu(void)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus.allowed) && !atomic_load_explicit(&cpus.running[i], memory_order_relaxed))
			return i;
	return -1;
}

static void move(struct place *p, int cpu)
{
	atomic_fetch_sub(&cpus.running[p->cpu], 1);
	atomic_fetch_add(&cpus.running[cpu], 1);
	p->cpu = cpu;
	pin(0, cpu);
	pin(p->worker, cpu);
}

void place_enter(struct place *p)
{
	int cpu;

	if (!p)
		return;
	if (atomic_fetch_add_explicit(&cpus.running[p->cpu], 1, memory_order_relaxed) && p->fresh) {
		cpu = idle_cpu();
		if (cpu >= 0)
			move(p, cpu);
	}
	p->fresh = false;
}

void place_leave(struct place *p)
{
	if (p)
		atomic_fetch_sub_explicit(&cpus.running[p->cpu], 1, memory_order_relaxed);
}
