/* Named options of platforms and core: set from the command line before init, listed, compared with their defaults. */
#include "knob.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct knob *const core_knobs[] = { host_knobs, loader_knobs, mm_knobs, task_knobs };

static int table_each(const struct knob *table, knob_fn *fn, void *arg)
{
	int r = 0;

	for (const struct knob *k = table; k && k->name && !r; k++)
		r = fn(k, arg);
	return r;
}

int core_knobs_each(knob_fn *fn, void *arg)
{
	int r = 0;

	for (int i = 0; i < (int)ARRAY_SIZE(core_knobs) && !r; i++)
		r = table_each(core_knobs[i], fn, arg);
	return r;
}

int knobs_each(knob_fn *fn, void *arg)
{
	int r = core_knobs_each(fn, arg);

	for (int i = 0; platforms[i] && !r; i++)
		r = table_each(platforms[i]->knobs, fn, arg);
	return r;
}

void knob_format(const struct knob *k, long value, char *buf, size_t len)
{
	if (k->kind == KNOB_BOOL)
		snprintf(buf, len, "%s", value ? "on" : "off");
	else if (k->kind == KNOB_CHOICE)
		snprintf(buf, len, "%s", k->choices[value]);
	else
		snprintf(buf, len, "%ld", value);
}

/* ---- setting ---- */

struct setting {
	const char *name, *value;
	size_t name_len;
	bool found;
	char *why;
	size_t len;
};

static int parse_bool(const struct knob *k, struct setting *s)
{
	static const char *const yes[] = { "on", "1", "true", "yes" }, *const no[] = { "off", "0", "false", "no" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(s->value, yes[i]) || !strcmp(s->value, no[i])) {
			*k->value = !strcmp(s->value, yes[i]);
			return 0;
		}
	}
	snprintf(s->why, s->len, "%s takes on or off, not '%s'", k->name, s->value);
	return -EINVAL;
}

static int parse_int(const struct knob *k, struct setting *s)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s->value, &end, 10);
	if (errno || end == s->value || *end || v < k->min || v > k->max) {
		snprintf(s->why, s->len, "%s takes a number from %ld to %ld, not '%s'", k->name, k->min, k->max, s->value);
		return -EINVAL;
	}
	*k->value = v;
	return 0;
}

static int parse_choice(const struct knob *k, struct setting *s)
{
	size_t n;

	for (long i = 0; k->choices[i]; i++) {
		if (!strcmp(s->value, k->choices[i])) {
			*k->value = i;
			return 0;
		}
	}
	n = snprintf(s->why, s->len, "%s takes one of", k->name);
	for (long i = 0; k->choices[i] && n < s->len; i++)
		n += snprintf(s->why + n, s->len - n, " %s", k->choices[i]);
	return -EINVAL;
}

static int set_if_named(const struct knob *k, void *arg)
{
	struct setting *s = arg;

	if (strlen(k->name) != s->name_len || strncmp(k->name, s->name, s->name_len))
		return 0;
	s->found = true;
	switch (k->kind) {
	case KNOB_BOOL:
		return parse_bool(k, s);
	case KNOB_INT:
		return parse_int(k, s);
	case KNOB_CHOICE:
		return parse_choice(k, s);
	}
	return -EINVAL;
}

int knob_set(const char *assignment, char *why, size_t len)
{
	const char *eq = strchr(assignment, '=');
	struct setting s = { .name = assignment, .why = why, .len = len };
	int err;

	if (!eq) {
		snprintf(why, len, "'%s' is not NAME=VALUE", assignment);
		return -EINVAL;
	}
	s.name_len = eq - assignment;
	s.value = eq + 1;
	err = knobs_each(set_if_named, &s);
	if (!err && !s.found) {
		snprintf(why, len, "unknown knob '%.*s'; trapgate platforms lists them", (int)s.name_len, assignment);
		return -ENOENT;
	}
	return err;
}

static int reset_one(const struct knob *k, void *unused)
{
	*k->value = k->def;
	return 0;
}

void knobs_reset(void) { knobs_each(reset_one, NULL); }

/* ---- showing ---- */

struct differing {
	char *buf;
	size_t len, n;
};

static int differing_one(const struct knob *k, void *arg)
{
	struct differing *d = arg;
	char now[64];

	if (*k->value == k->def || d->n >= d->len)
		return 0;
	knob_format(k, *k->value, now, sizeof(now));
	d->n += snprintf(d->buf + d->n, d->len - d->n, "%s%s=%s", d->n ? ";" : "", k->name, now);
	return 0;
}

void knobs_differing(char *buf, size_t len)
{
	struct differing d = { buf, len, 0 };

	if (len)
		*buf = 0;
	knobs_each(differing_one, &d);
}
