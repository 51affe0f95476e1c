/*
 * Quiescence: look for half a second at what the CPUs do while the driver sleeps. The load average is no help here: it
 * remembers the build of a minute ago.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define LOOK_NS		500000000
#define BUSY_MAX	0.15			/* of one CPU, all others' work together */
#define STEAL_MAX	0.02

struct ticks { double busy, steal, all; };

static bool read_ticks(struct ticks *t)
{
	long long n[8] = { 0 };				/* user nice system idle iowait irq softirq steal */
	FILE *f = fopen("/proc/stat", "re");
	bool ok = f && fscanf(f, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5],
			      &n[6], &n[7]) == 8;

	if (f)
		fclose(f);
	t->busy = n[0] + n[1] + n[2] + n[5] + n[6];
	t->steal = n[7];
	t->all = t->busy + t->steal + n[3] + n[4];
	return ok;
}

static bool look(struct quiet *out)
{
	struct timespec nap = { 0, LOOK_NS };
	struct ticks a, b;
	cpu_set_t cpus;
	double all;

	if (!read_ticks(&a) || nanosleep(&nap, NULL) || !read_ticks(&b))
		return false;
	all = b.all - a.all;
	if (all <= 0)
		return false;
	/* /proc/stat has all CPUs of the machine, whether we may use them or not: noise is noise. */
	sched_getaffinity(0, sizeof(cpus), &cpus);
	out->busy = (b.busy - a.busy) / all * CPU_COUNT(&cpus);
	out->steal = (b.steal - a.steal) / all;
	return true;
}

/* Until two looks in a row are quiet, or `most_s` is over: then the run goes on, flagged. */
void quiet_wait(long most_s, struct quiet *out)
{
	double begin = clock_seconds();
	int quiet_looks = 0;

	memset(out, 0, sizeof(*out));
	if (getloadavg(&out->load, 1) != 1)
		out->load = -1;
	while (!stop_requested && quiet_looks < 2) {
		if (!look(out))
			break;
		quiet_looks = out->busy <= BUSY_MAX && out->steal <= STEAL_MAX ? quiet_looks + 1 : 0;
		if (clock_seconds() - begin >= most_s)
			break;
	}
	out->quiet = quiet_looks > 0;
	out->waited_s = clock_seconds() - begin;
}
