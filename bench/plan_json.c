/* plan.json: what will be done and in which order, before it is done; with the calibration, once that is known. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static json_t *floor_json(const struct cell *cell)
{
	if (cell->floor < 0)
		return json_null();
	return json_pack("{s:I, s:i}", "cell", (json_int_t)cell->floor, "times", (int)cell->floor_times);
}

static json_t *cell_json(const struct plan *plan, size_t id)
{
	const struct cell *c = &plan->cells[id];

	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:i, s:o}",
			 "id", (json_int_t)id, "platform", c->variant->platform, "knobs", c->variant->knobs,
			 "workload", c->workload->name, "params", c->params, "placement", c->placement->name,
			 "class", class_name(c->workload->class), "help", c->workload->help,
			 "traps", (int)c->workload->traps,
			 "group", (json_int_t)c->group, "inner", (json_int_t)c->inner, "batches", (int)c->batches,
			 "floor", floor_json(c));
}

static json_t *cells_json(const struct plan *plan)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < plan->ncells; i++)
		json_array_append_new(list, cell_json(plan, i));
	return list;
}

static json_t *order_json(const struct plan *plan)
{
	json_t *blocks = json_array();
	unsigned int block;
	size_t i;

	for (block = 0; block <= plan->trials; block++) {
		json_t *list = json_array();

		for (i = 0; i < plan->ncells; i++)
			json_array_append_new(list, json_integer(plan->order[block][i]));
		json_array_append_new(blocks, list);
	}
	return blocks;
}

static json_t *placements_json(const struct plan *plan)
{
	json_t *o = json_object();
	size_t i;
	int cpu;

	for (i = 0; i < PLACEMENTS; i++) {
		json_t *list;

		/* The two of old are always there, so that a reader need not ask. */
		if (!plan->placements[i].bit && i > 1)
			continue;
		list = json_array();

		for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &plan->placements[i].cpus))
				json_array_append_new(list, json_integer(cpu));
		json_object_set_new(o, plan->placements[i].name, list);
	}
	return o;
}

static json_t *skipped_json(const struct variants *v)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < v->nknown; i++)
		if (v->known[i].reason[0])
			json_array_append_new(list, json_pack("{s:s, s:s}", "platform", v->known[i].name,
							      "reason", v->known[i].reason));
	return list;
}

/* What was asked for, so that --resume can ask for the same again. */
static json_t *selection_json(const struct plan *plan)
{
	json_t *knobs = json_array();
	size_t i;

	for (i = 0; i < plan->nknobs; i++)
		json_array_append_new(knobs, json_string(plan->knobs[i]));
	return json_pack("{s:s?, s:s?, s:s?, s:s?, s:o}", "platforms", plan->platforms, "workloads", plan->workloads,
			 "placements", plan->places, "filter", plan->filter, "knobs", knobs);
}

static json_t *extensions_json(const struct plan *plan)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < plan->nextensions; i++)
		json_array_append_new(list, json_pack("{s:i, s:i, s:s}", "from", (int)plan->extensions[i].from,
						      "to", (int)plan->extensions[i].to, "at", plan->extensions[i].at));
	return list;
}

/* In one step, and on the disk before it is said to be done: whoever finds the file finds all of it. */
int json_save(const json_t *o, const char *dir, const char *name)
{
	char path[PATH_LEN + 32], tmp[PATH_LEN + 48];
	FILE *f;
	int err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	f = o ? fopen(tmp, "we") : NULL;
	if (!f)
		return o ? -errno : -ENOMEM;
	errno = 0;
	err = json_dumpf(o, f, JSON_INDENT(1)) || fflush(f) || fsync(fileno(f)) ? -EIO : 0;
	if (err && errno)
		err = -errno;
	if (fclose(f) && !err)
		err = -errno;
	if (!err && rename(tmp, path))
		err = -errno;
	if (err)
		unlink(tmp);
	return err;
}

int plan_save(const struct plan *plan, const struct variants *v)
{
	json_t *o;
	int err;

	o = json_pack("{s:i, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:b, s:b, s:f, s:o, s:o, s:o, s:o, s:o}",
		      "schema", SCHEMA_VERSION, "run_id", plan->run_id, "host", plan->host, "suite", plan->suite->name,
		      "seed", (json_int_t)plan->seed, "trials", (int)plan->trials, "batches", (int)plan->batches,
		      "target_us", (int)plan->suite->target_us, "timeout_s", (int)plan->timeout_s, "subset", plan->subset,
		      "complete", plan->complete, "tsc_hz", plan->tsc_hz, "placements", placements_json(plan),
		      "selection", selection_json(plan), "skipped", skipped_json(v), "cells", cells_json(plan),
		      "order", order_json(plan));
	json_object_set_new(o, "extensions", extensions_json(plan));
	json_object_set_new(o, "budget_s", plan->budget_s ? json_integer(plan->budget_s) : json_null());
	json_object_set_new(o, "counters", json_boolean(plan->counters));
	json_object_set_new(o, "phases", json_boolean(plan->phases));
	err = json_save(o, plan->dir, "plan.json");
	json_decref(o);
	return err;
}

static json_t *load(const char *dir)
{
	char path[PATH_LEN + 32];

	snprintf(path, sizeof(path), "%s/plan.json", dir);
	return json_load_file(path, 0, NULL);
}

static const char *keep_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? strdup(s) : NULL;
}

/* The settings of the unfinished run replace whatever else was on the command line. Memory is kept until exit. */
int plan_read_options(struct options *opt)
{
	json_t *o = load(opt->resume), *selection = json_object_get(o, "selection"), *knob;
	long more;
	size_t i;

	if (!o || !json_is_object(selection) || !json_string_value(json_object_get(o, "suite"))) {
		json_decref(o);
		return -ENOENT;
	}
	opt->suite = keep_text(o, "suite");
	opt->seed = json_integer_value(json_object_get(o, "seed"));
	opt->seed_given = true;
	more = opt->trials;
	opt->trials = json_integer_value(json_object_get(o, "trials"));
	if (opt->extend)
		opt->trials += more ? more : opt->trials;
	opt->budget_s = opt->extend ? 0 : json_integer_value(json_object_get(o, "budget_s"));
	opt->no_counters = json_is_false(json_object_get(o, "counters"));
	opt->phases = json_is_true(json_object_get(o, "phases"));
	opt->placements = keep_text(selection, "placements");
	opt->filter = keep_text(selection, "filter");
	opt->timeout_s = json_integer_value(json_object_get(o, "timeout_s"));
	opt->platforms = keep_text(selection, "platforms");
	opt->workloads = keep_text(selection, "workloads");
	opt->nknobs = 0;
	json_array_foreach(json_object_get(selection, "knobs"), i, knob)
		if (opt->nknobs < COUNT(opt->knobs) && json_is_string(knob))
			opt->knobs[opt->nknobs++] = strdup(json_string_value(knob));
	json_decref(o);
	return 0;
}

static bool same_text(const json_t *o, const char *key, const char *text)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && !strcmp(s, text);
}

static bool same_cell(const json_t *o, const struct cell *c)
{
	return same_text(o, "platform", c->variant->platform) && same_text(o, "knobs", c->variant->knobs) &&
	       same_text(o, "workload", c->workload->name) && same_text(o, "params", c->params) &&
	       same_text(o, "placement", c->placement->name);
}

/* The order up to the blocks that were planned then is the same; an extension goes on where it ended. */
static bool same_order(const json_t *then, const json_t *now, size_t blocks)
{
	size_t i;

	if (!blocks || json_array_size(now) < blocks)
		return false;
	for (i = 0; i < blocks; i++)
		if (!json_equal(json_array_get(then, i), json_array_get(now, i)))
			return false;
	return true;
}

static void read_extensions(struct plan *plan, const json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		struct extension *e = &plan->extensions[plan->nextensions];
		const char *at = json_string_value(json_object_get(one, "at"));

		if (plan->nextensions == EXTENSIONS)
			return;
		e->from = json_integer_value(json_object_get(one, "from"));
		e->to = json_integer_value(json_object_get(one, "to"));
		snprintf(e->at, sizeof(e->at), "%s", at ? at : "");
		plan->nextensions++;
	}
}

int plan_restore(struct plan *plan)
{
	json_t *o = load(plan->dir), *cells = json_object_get(o, "cells"), *then = json_object_get(o, "order");
	json_t *order = order_json(plan);
	int err = -ESTALE;
	size_t i;

	if (json_array_size(cells) != plan->ncells || !same_order(then, order, json_array_size(then)))
		goto out;
	for (i = 0; i < plan->ncells; i++) {
		const json_t *c = json_array_get(cells, i);

		if (!same_cell(c, &plan->cells[i]))
			goto out;
		plan->cells[i].inner = json_integer_value(json_object_get(c, "inner"));
		plan->cells[i].batches = json_integer_value(json_object_get(c, "batches"));
	}
	read_extensions(plan, json_object_get(o, "extensions"));
	plan->complete = json_is_true(json_object_get(o, "complete"));
	plan->planned = json_array_size(then) - 1;
	err = 0;
out:
	json_decref(order);
	json_decref(o);
	return err;
}
