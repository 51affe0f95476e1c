/*
 * Placements: where the two sides of a hand-over may run. It matters more than the mechanism, so it is a factor.
 *
 *   same-cpu      one CPU
 *   smt-sibling   the two threads of one core
 *   same-llc      two cores that share the last level of cache; only where `free` is wider than that
 *   free          all CPUs of the run
 *
 * What a machine has not, it gets no placement for. The topology is sysfs's; TRAPGATE_SYSFS names another tree, for tests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* "0-3,8" in a file of a CPU's folder. An empty set if the file is not there. */
static void read_list(int cpu, const char *file, cpu_set_t *set)
{
	const char *root = getenv("TRAPGATE_SYSFS");
	char path[PATH_LEN], line[1024], *at, *end;
	long from, to;
	FILE *f;

	CPU_ZERO(set);
	snprintf(path, sizeof(path), "%.800s/devices/system/cpu/cpu%d/%s", root ? root : "/sys", cpu, file);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(line, sizeof(line), f)) {
		for (at = line; *at >= '0' && *at <= '9'; at = *end == ',' ? end + 1 : end) {
			from = to = strtol(at, &end, 10);
			if (*end == '-')
				to = strtol(end + 1, &end, 10);
			for (; from <= to && from < CPU_SETSIZE; from++)
				CPU_SET(from, set);
		}
	}
	fclose(f);
}

/* The highest level of cache that the kernel lists for a CPU. */
static void read_llc(int cpu, cpu_set_t *set)
{
	char file[64];
	cpu_set_t level;
	int i;

	CPU_ZERO(set);
	for (i = 0; i < 8; i++) {
		snprintf(file, sizeof(file), "cache/index%d/shared_cpu_list", i);
		read_list(cpu, file, &level);
		if (CPU_COUNT(&level))
			*set = level;
	}
}

/* `cpu` and the highest CPU of `among` that is not in `but`. False: there is none. */
static bool pair(int cpu, const cpu_set_t *among, const cpu_set_t *but, cpu_set_t *out)
{
	int other;

	for (other = CPU_SETSIZE - 1; other >= 0; other--) {
		if (other == cpu || !CPU_ISSET(other, among) || CPU_ISSET(other, but))
			continue;
		CPU_ZERO(out);
		CPU_SET(cpu, out);
		CPU_SET(other, out);
		return true;
	}
	return false;
}

/* same-cpu is the last CPU we may use: the driver itself stays on the first. */
void placements_make(struct plan *plan)
{
	struct placement *p = plan->placements;
	cpu_set_t all, none, siblings, llc;
	int cpu, last = 0;

	CPU_ZERO(&none);
	sched_getaffinity(0, sizeof(all), &all);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all))
			last = cpu;
	p[0] = (struct placement){ .name = "same-cpu", .bit = PLACE_SAME };
	CPU_SET(last, &p[0].cpus);
	/* With one CPU there is no second placement. */
	p[1] = (struct placement){ .name = "free", .bit = CPU_COUNT(&all) > 1 ? PLACE_FREE : 0, .cpus = all };
	p[2] = (struct placement){ .name = "smt-sibling" };
	p[3] = (struct placement){ .name = "same-llc" };

	read_list(last, "topology/thread_siblings_list", &siblings);
	CPU_AND(&siblings, &siblings, &all);
	if (pair(last, &siblings, &none, &p[2].cpus) && !CPU_EQUAL(&p[2].cpus, &all))
		p[2].bit = PLACE_SMT;
	read_llc(last, &llc);
	CPU_AND(&llc, &llc, &all);
	if (pair(last, &llc, &siblings, &p[3].cpus) && !CPU_EQUAL(&p[3].cpus, &all))
		p[3].bit = PLACE_LLC;
}
