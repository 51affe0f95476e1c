/* Time: the driver's own clock, and how many ticks of the TSC make a second. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define CALIBRATE_SECONDS	0.1

double clock_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

bool tsc_is_constant(void)
{
	char line[8192];
	bool found = false;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "flags", 5) && strstr(line, " constant_tsc") && strstr(line, " nonstop_tsc") &&
			strstr(line, " rdtscp");
	if (f)
		fclose(f);
	return found;
}

static uint64_t tsc_read(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

/* A pair of readings as close together as can be had: an interrupt between the two would be taken for drift. */
static void read_pair(uint64_t *ticks, double *seconds)
{
	uint64_t best = UINT64_MAX, before, after;
	double now;
	int i;

	for (i = 0; i < 20; i++) {
		before = tsc_read();
		now = clock_seconds();
		after = tsc_read();
		if (after - before >= best)
			continue;
		best = after - before;
		*ticks = before + best / 2;
		*seconds = now;
	}
}

double tsc_calibrate(void)
{
	struct timespec pause = { 0, (long)(CALIBRATE_SECONDS * 1e9) };
	uint64_t tick0 = 0, tick1 = 0;
	double sec0 = 0, sec1 = 0;

	if (!tsc_is_constant())
		return 0;
	read_pair(&tick0, &sec0);
	nanosleep(&pause, NULL);
	read_pair(&tick1, &sec1);
	return (tick1 - tick0) / (sec1 - sec0);
}
