/* The sentry's own counters: the witness for a workload's claim of work. */
#include <jansson.h>

#include "bench.h"

static bool get(const json_t *o, const char *key, uint64_t *out)
{
	const json_t *n = json_object_get(o, key);

	if (!json_is_integer(n) || json_integer_value(n) < 0)
		return false;
	*out = json_integer_value(n);
	return true;
}

void counters_read(const char *path, struct counters *c)
{
	json_t *o = json_load_file(path, 0, NULL), *count;
	const char *name;

	*c = (struct counters){ 0 };
	json_object_foreach(json_object_get(o, "calls"), name, count)
		c->calls += json_integer_value(count);
	c->has_calls = json_is_object(json_object_get(o, "calls"));
	c->has_switches = get(o, "switches", &c->switches);
	c->has_faults = get(o, "faults", &c->faults);
	c->has_host_calls = get(json_object_get(o, "backend"), "host_calls", &c->host_calls);
	c->has_rss = get(json_object_get(o, "sentry"), "maxrss_kb", &c->rss_kib);
	json_decref(o);
}
