/* Shared by the floors: where the two sides of a mechanism run, what they share, how they die. libc, native only. */
#ifndef WORKLOADS_FLOOR_H
#define WORKLOADS_FLOOR_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workload.h"

#define CHECK_LIBC(call) ({						\
	__typeof__(call) value_ = (call);				\
	if (value_ == (__typeof__(call))-1)				\
		workload_fail(errno, __LINE__);				\
	value_;								\
})

/*
 * The run's affinity mask is the placement. With one CPU both sides stay there; with more, this side is pinned to the
 * first and floor_other_cpu() pins the partner to the second.
 */
static inline int floor_cpu(int nth)
{
	cpu_set_t set;
	int cpu;

	CHECK_LIBC(sched_getaffinity(0, sizeof(set), &set));
	if (CPU_COUNT(&set) <= nth)
		nth = 0;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && !nth--)
			return cpu;
	return 0;
}

static inline void floor_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK_LIBC(sched_setaffinity(0, sizeof(set), &set));
}

/* Zeroed memory that a forked partner shares. */
static inline void *floor_shared(size_t size)
{
	return CHECK_LIBC(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

static inline void floor_reap(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, __WALL);
}

/* Run `body` in a forked partner on `cpu`, which dies with this process. */
static inline pid_t floor_partner(int cpu, void (*body)(void))
{
	pid_t child = CHECK_LIBC(fork());

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	floor_pin(cpu);
	body();
	_exit(1);
}

#endif
