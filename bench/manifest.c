/* manifest.json: the machine, the build and the run, written when a run begins and again when it ends. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static json_t *now_json(void)
{
	time_t now = time(NULL);
	char stamp[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(stamp);
}

static json_t *git_json(const struct options *opt)
{
	const char *const head[] = { "/usr/bin/git", "-C", opt->root_dir, "rev-parse", "HEAD", NULL };
	const char *const dirty[] = { "/usr/bin/git", "-C", opt->root_dir, "status", "--porcelain", "-uno", NULL };
	json_t *commit = command_output(head), *changes;
	bool known = json_is_string(commit);

	changes = known ? command_output(dirty) : json_null();
	commit = json_pack("{s:o, s:o}", "commit", commit,
			   "dirty", known ? json_boolean(json_is_string(changes)) : json_null());
	json_decref(changes);
	return commit;
}

/* SHA-256 of each program that was measured, and of the sentry: results of different binaries are not compared. */
static json_t *binaries_json(const struct plan *plan, const struct options *opt)
{
	json_t *o = json_object();
	char trapgate[PATH_LEN];
	size_t i;

	snprintf(trapgate, sizeof(trapgate), "%.900s/trapgate", opt->build_dir);
	for (i = 0; i <= plan->ncells; i++) {
		const char *path = i < plan->ncells ? plan->cells[i].workload->path : trapgate;
		const char *name = i < plan->ncells ? plan->cells[i].workload->name : "trapgate";
		const char *const argv[] = { "/usr/bin/sha256sum", path, NULL };
		json_t *sum;

		if (json_object_get(o, name) || access(path, R_OK))
			continue;
		sum = command_output(argv);
		if (json_is_string(sum) && json_string_length(sum) > 64)
			json_object_set_new(o, name, json_stringn(json_string_value(sum), 64));
		json_decref(sum);
	}
	return o;
}

static json_t *words_json(int argc, char *const *argv)
{
	json_t *list = json_array();
	int i;

	for (i = 0; i < argc; i++)
		json_array_append_new(list, json_string(argv[i]));
	return list;
}

static json_t *variants_json(const struct variants *v)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < v->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "platform", v->items[i].platform,
							      "knobs", v->items[i].knobs));
	return list;
}

/* What a reader must know before believing a number. */
static json_t *warnings_json(const json_t *machine, const struct quiet *quiet, const struct plan *plan)
{
	const char *module = json_string_value(json_object_get(json_object_get(machine, "kvm"), "module"));
	json_t *list = json_array();

	if (json_is_string(json_object_get(machine, "hypervisor")))
		json_array_append_new(list, json_string("the host is itself a virtual machine"));
	if (module && !strcmp(module, "kvm_pvm"))
		json_array_append_new(list, json_string("/dev/kvm is kvm_pvm (software): KVM numbers hold for it only"));
	if (!quiet->quiet)
		json_array_append_new(list, json_string("the machine was not idle when the run began"));
	if (json_is_false(json_object_get(json_object_get(machine, "pmu"), "available")))
		json_array_append_new(list, json_string("no hardware counters"));
	if (plan->tsc_hz <= 0)
		json_array_append_new(list, json_string("no constant TSC: time is clock_gettime's"));
	if (plan->phases)
		json_array_append_new(list, json_string("phases are stamped: times of the platforms include the stamps"));
	if (plan->subset)
		json_array_append_new(list, json_string("a subset of the suite"));
	return list;
}

static json_t *quiet_json(const struct quiet *q)
{
	return json_pack("{s:b, s:f, s:f, s:f}", "quiet", q->quiet, "waited_s", q->waited_s, "busy_cpus", q->busy,
			 "steal", q->steal);
}

static json_t *begin_json(const struct plan *plan, const struct options *opt, const struct variants *v,
			  const struct quiet *quiet)
{
	json_t *machine = machine_describe(plan->tsc_hz), *start = machine_load();
	json_t *warnings = warnings_json(machine, quiet, plan);

	return json_pack("{s:o, s:o, s:i, s:s, s:s, s:o, s:s, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "counters", counters_describe(), "quiet", quiet_json(quiet),
			 "schema", SCHEMA_VERSION, "run_id", plan->run_id, "host", plan->host, "started", now_json(),
			 "suite", plan->suite->name, "seed", (json_int_t)plan->seed, "trials", (int)plan->trials,
			 "command", words_json(opt->argc, opt->argv), "variants", variants_json(v), "git", git_json(opt),
			 "machine", machine, "packages", machine_packages(), "binaries", binaries_json(plan, opt),
			 "start", start, "warnings", warnings);
}

/* The binaries of the run that is gone on with must be these. One that only an extension brings is none of its. */
int manifest_same_binaries(const struct plan *plan, const struct options *opt)
{
	char path[PATH_LEN + 32];
	json_t *o, *then, *now, *sum;
	const char *name;
	int err = 0;

	snprintf(path, sizeof(path), "%s/manifest.json", plan->dir);
	o = json_load_file(path, 0, NULL);
	then = json_object_get(o, "binaries");
	now = binaries_json(plan, opt);
	json_object_foreach(then, name, sum)
		if (!json_equal(sum, json_object_get(now, name)))
			err = -ESTALE;
	json_decref(now);
	json_decref(o);
	return err;
}

static double ticks_of(const json_t *reading, const char *name)
{
	return json_number_value(json_object_get(json_object_get(reading, "ticks"), name));
}

/* What only shows afterwards: time that the hypervisor took. */
static void add_steal(json_t *o)
{
	static const char *const names[] = { "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal" };
	const json_t *start = json_object_get(o, "start"), *end = json_object_get(o, "end");
	double all = 0, stolen = ticks_of(end, "steal") - ticks_of(start, "steal");
	size_t i;

	for (i = 0; i < COUNT(names); i++)
		all += ticks_of(end, names[i]) - ticks_of(start, names[i]);
	if (all > 0 && stolen / all > 0.01)
		json_array_append_new(json_object_get(o, "warnings"),
				      json_sprintf("the hypervisor took %.1f %% of the time", 100 * stolen / all));
}

int manifest_save(const struct plan *plan, const struct options *opt, const struct variants *v, const struct quiet *quiet,
		  bool ended)
{
	char path[PATH_LEN + 32];
	json_t *o = NULL;
	int err;

	snprintf(path, sizeof(path), "%s/manifest.json", plan->dir);
	if (ended)
		o = json_load_file(path, 0, NULL);
	if (!o)
		o = begin_json(plan, opt, v, quiet);
	json_object_set_new(o, "trials", json_integer(plan->trials));
	json_object_set_new(o, "ended", ended ? now_json() : json_null());
	json_object_set_new(o, "end", ended ? machine_load() : json_null());
	json_object_set_new(o, "complete", json_boolean(plan->complete));
	if (ended)
		add_steal(o);
	err = json_save(o, plan->dir, "manifest.json");
	json_decref(o);
	return err;
}
