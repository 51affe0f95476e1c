/* plan.json: what will be done and in which order, before it is done; with the calibration, once that is known. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

const char *cell_params(const struct cell *cell)
{
	return cell->twin ? "twin=1" : cell->workload->params;
}

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
			 "workload", c->workload->name, "params", cell_params(c), "placement", c->placement->name,
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
		json_t *list = json_array();

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
	return json_pack("{s:s?, s:s?, s:o}", "platforms", plan->platforms, "workloads", plan->workloads, "knobs", knobs);
}

int plan_save(const struct plan *plan, const struct variants *v)
{
	char path[PATH_LEN + 32], tmp[PATH_LEN + 32];
	json_t *o;
	int err = 0;

	o = json_pack("{s:i, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:b, s:b, s:f, s:o, s:o, s:o, s:o, s:o}",
		      "schema", SCHEMA_VERSION, "run_id", plan->run_id, "host", plan->host, "suite", plan->suite->name,
		      "seed", (json_int_t)plan->seed, "trials", (int)plan->trials, "batches", (int)plan->suite->batches,
		      "target_us", (int)plan->suite->target_us, "timeout_s", (int)plan->timeout_s, "subset", plan->subset,
		      "complete", plan->complete, "tsc_hz", plan->tsc_hz, "placements", placements_json(plan),
		      "selection", selection_json(plan), "skipped", skipped_json(v), "cells", cells_json(plan),
		      "order", order_json(plan));
	snprintf(path, sizeof(path), "%s/plan.json", plan->dir);
	snprintf(tmp, sizeof(tmp), "%s/plan.json.tmp", plan->dir);
	if (!o || json_dump_file(o, tmp, JSON_INDENT(1)) || rename(tmp, path)) {
		err = errno ? -errno : -EIO;
		unlink(tmp);
	}
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
	size_t i;

	if (!o || !json_is_object(selection) || !json_string_value(json_object_get(o, "suite"))) {
		json_decref(o);
		return -ENOENT;
	}
	opt->suite = keep_text(o, "suite");
	opt->seed = json_integer_value(json_object_get(o, "seed"));
	opt->seed_given = true;
	opt->trials = json_integer_value(json_object_get(o, "trials"));
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
	       same_text(o, "workload", c->workload->name) && same_text(o, "params", cell_params(c)) &&
	       same_text(o, "placement", c->placement->name);
}

int plan_restore(struct plan *plan)
{
	json_t *o = load(plan->dir), *cells = json_object_get(o, "cells"), *order = order_json(plan);
	int err = -ESTALE;
	size_t i;

	if (json_array_size(cells) != plan->ncells || !json_equal(order, json_object_get(o, "order")))
		goto out;
	for (i = 0; i < plan->ncells; i++) {
		const json_t *c = json_array_get(cells, i);

		if (!same_cell(c, &plan->cells[i]))
			goto out;
		plan->cells[i].inner = json_integer_value(json_object_get(c, "inner"));
		plan->cells[i].batches = json_integer_value(json_object_get(c, "batches"));
	}
	err = 0;
out:
	json_decref(order);
	json_decref(o);
	return err;
}
