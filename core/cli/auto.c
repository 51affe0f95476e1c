/*
 * Choosing the platform: by name, or for auto the one whose switches are cheapest here, by a short calibration of each
 * that can run. What was measured is logged with the choice (--log=info) and kept for --stats.
 */
#include "cli/auto.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/calibrate.h"
#include "lib/log.h"

char platform_reason[256];

int platform_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
}

struct choice {
	const struct platform_ops *best;
	double ns;
	char said[256];
	size_t n;
};

__attribute__((format(printf, 2, 3))) static void say(struct choice *c, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c->said + c->n, sizeof(c->said) - c->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		c->n = MIN(c->n + n, sizeof(c->said) - 1);
}

static void consider(struct choice *c, const struct platform_ops *p, const struct platform_config *config)
{
	char reason[200];
	double ns;

	if (p->probe(reason, sizeof(reason)) || (p->worth_timing && p->worth_timing(reason, sizeof(reason)))) {
		say(c, " %s: %s;", p->name, reason);
		return;
	}
	ns = platform_calibrate(p, config, c->best ? c->ns : 0);
	if (ns < 0) {
		say(c, " %s: does not run;", p->name);
		return;
	}
	say(c, " %s: %.1f us a switch;", p->name, ns / 1000);
	if (!c->best || ns < c->ns) {
		c->best = p;
		c->ns = ns;
	}
}

static const struct platform_ops *choose_auto(const struct platform_config *config, char *why, size_t len)
{
	struct choice c = { .n = 0 };

	for (int i = 0; platforms[i]; i++)
		consider(&c, platforms[i], config);
	if (!c.best)
		snprintf(why, len, "no platform can run on this machine:%s", c.said);
	else
		snprintf(platform_reason, sizeof(platform_reason), "%s, the cheapest of%.200s", c.best->name, c.said);
	if (c.best)
		log_info("auto chose %s", platform_reason);
	return c.best;
}

const struct platform_ops *platform_choose(const char *name, const struct platform_config *config, char *why, size_t len)
{
	const struct platform_ops *p;
	char reason[200];

	if (!strcmp(name, "auto"))
		return choose_auto(config, why, len);
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
