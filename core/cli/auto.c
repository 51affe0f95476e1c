/* Choosing the platform: by name, or for auto the first in the registry's order whose probe succeeds. */
#include "cli/auto.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"

int platform_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
}

static const struct platform_ops *choose_auto(char *why, size_t len)
{
	char reason[256];
	int n;

	n = snprintf(why, len, "no platform can run on this machine:");
	for (int i = 0; platforms[i]; i++) {
		if (!platforms[i]->probe(reason, sizeof(reason))) {
			log_info("platform %s: first choice of those that can run here", platforms[i]->name);
			return platforms[i];
		}
		if (n < (int)len)
			n += snprintf(why + n, len - n, " %s: %s;", platforms[i]->name, reason);
	}
	return NULL;
}

const struct platform_ops *platform_choose(const char *name, char *why, size_t len)
{
	const struct platform_ops *p;
	char reason[200];

	if (!strcmp(name, "auto"))
		return choose_auto(why, len);
	p = platform_find(name);
	if (!p) {
		snprintf(why, len, "unknown platform '%s'; trapgate platforms lists them", name);
		return NULL;
	}
	if (p->probe(reason, sizeof(reason))) {
		snprintf(why, len, "platform %s can't run here: %s", name, reason);
		return NULL;
	}
	return p;
}
