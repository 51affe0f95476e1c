/* Processors: the set that the sandbox was started with, and the host's description of them. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/machine.h"
#include "lib/host_proc.h"

#define CPUINFO_MAX	(16u << 20)

static cpu_set_t cpus;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Threads of guests may be pinned: the first thread of the sentry is not. */
static void learn(void)
{
	if (sched_getaffinity(getpid(), sizeof(cpus), &cpus))
		CPU_SET(0, &cpus);
}

bool machine_has_cpu(u32 cpu)
{
	pthread_once(&once, learn);
	return cpu < MACHINE_CPUS && CPU_ISSET(cpu, &cpus);
}

u32 machine_cpus(void)
{
	pthread_once(&once, learn);
	return CPU_COUNT(&cpus);
}

u32 machine_cpu_end(void)
{
	u32 end = 0;

	for (u32 cpu = 0; cpu < MACHINE_CPUS; cpu++)
		if (machine_has_cpu(cpu))
			end = cpu + 1;
	return end;
}

char *machine_cpuinfo(size_t *len)
{
	int fd = host_proc_open("cpuinfo");
	size_t cap = 64 << 10;
	char *buf = malloc(cap), *more;
	ssize_t n = -1;

	*len = 0;
	while (fd >= 0 && buf && (n = read(fd, buf + *len, cap - *len - 1)) > 0) {
		*len += n;
		if (cap - *len > 1)
			continue;
		more = cap < CPUINFO_MAX ? realloc(buf, 2 * cap) : NULL;
		if (!more)
			break;
		buf = more;
		cap *= 2;
	}
	if (fd >= 0)
		close(fd);
	if (fd < 0 || n < 0) {
		free(buf);
		return NULL;
	}
	buf[*len] = 0;
	return buf;
}
