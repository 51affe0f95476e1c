/*
 * Who is compared: native, its A/A twin, native under a filter, and the platforms of the sentry beside this binary that can run here.
 *
 * The sentry is asked (`trapgate platforms --json`), never linked: the driver measures it as a process, as it would a
 * peer. Without a sentry, native and the floors are still measured.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

static const char *text_of(const json_t *o, const char *a, const char *b)
{
	const char *s = json_string_value(json_object_get(o, a));

	return s ? s : json_string_value(json_object_get(o, b));
}

static void learn_platform(struct variants *v, const json_t *o)
{
	const char *name = text_of(o, "name", "platform"), *reason = text_of(o, "reason", "why");
	const json_t *ok = json_object_get(o, "available");
	struct platform_state *p;

	if (!ok)
		ok = json_object_get(o, "runnable");
	if (!name || v->nknown >= COUNT(v->known))
		return;
	p = &v->known[v->nknown++];
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->reason[0] = 0;
	if (ok ? !json_is_true(ok) : reason && *reason)
		snprintf(p->reason, sizeof(p->reason), "%s", reason && *reason ? reason : "its probe says no");
}

/* The list may be longer than a launch's page of output, so it goes through popen's sibling: a file. */
static json_t *ask_sentry(const char *trapgate)
{
	char command[PATH_LEN + 64];
	json_error_t error;
	json_t *root;
	FILE *f;

	snprintf(command, sizeof(command), "exec '%s' platforms --json 2>/dev/null </dev/null", trapgate);
	f = strchr(trapgate, '\'') ? NULL : popen(command, "re");
	if (!f)
		return NULL;
	root = json_loadf(f, 0, &error);
	pclose(f);
	return root;
}

static void learn_platforms(struct variants *v, const char *build_dir)
{
	char trapgate[PATH_LEN];
	json_t *root, *list, *o;
	size_t i;

	snprintf(trapgate, sizeof(trapgate), "%.900s/trapgate", build_dir);
	if (access(trapgate, X_OK)) {
		snprintf(v->note, sizeof(v->note), "no %.200s: native and floors only", trapgate);
		return;
	}
	root = ask_sentry(trapgate);
	list = json_is_array(root) ? root : json_object_get(root, "platforms");
	json_array_foreach(list, i, o)
		learn_platform(v, o);
	if (!v->nknown)
		snprintf(v->note, sizeof(v->note), "trapgate platforms --json names no platform: native and floors only");
	v->sentry = root;
}

static const struct platform_state *known_platform(const struct variants *v, const char *name)
{
	size_t i;

	for (i = 0; i < v->nknown; i++)
		if (!strcmp(v->known[i].name, name))
			return &v->known[i];
	return NULL;
}

static void add_knob(struct variant *item, const char *knob)
{
	size_t used = strlen(item->knobs);

	snprintf(item->knobs + used, sizeof(item->knobs) - used, "%s%s", used ? ";" : "", knob);
}

/* "systrap.patch=off" belongs to systrap; "mm.fault_around_kb=4" to every sandbox. */
static bool knob_belongs(const struct variants *v, const char *knob, const char *platform)
{
	size_t len = strcspn(knob, ".="), i;

	if (strlen(platform) == len && !strncmp(knob, platform, len))
		return true;
	for (i = 0; i < v->nknown; i++)
		if (strlen(v->known[i].name) == len && !strncmp(knob, v->known[i].name, len))
			return false;
	return true;
}

static void add_variant(struct variants *v, const char *platform, const char *knobs, const struct options *opt)
{
	struct variant *item;
	size_t i;

	if (v->count >= COUNT(v->items))
		return;
	item = &v->items[v->count++];
	memset(item, 0, sizeof(*item));
	snprintf(item->platform, sizeof(item->platform), "%s", platform);
	item->sandboxed = strncmp(platform, "native", 6);
	item->filtered = !strcmp(platform, "native-seccomp");
	snprintf(item->knobs, sizeof(item->knobs), "%s", knobs);
	for (i = 0; item->sandboxed && i < opt->nknobs; i++)
		if (knob_belongs(v, opt->knobs[i], platform))
			add_knob(item, opt->knobs[i]);
}

/* ---- ablation: the sentry's list says by which value each optimisation is switched off ---- */

static void add_ablated(struct variants *v, const char *platform, const json_t *knobs, const struct options *opt)
{
	char assignment[TEXT_LEN];
	const json_t *knob;
	size_t i;

	json_array_foreach(knobs, i, knob) {
		const char *name = json_string_value(json_object_get(knob, "name"));
		const char *off = json_string_value(json_object_get(knob, "off"));

		if (!name || !off)
			continue;
		snprintf(assignment, sizeof(assignment), "%s=%s", name, off);
		add_variant(v, platform, assignment, opt);
	}
}

static void add_ablations(struct variants *v, const char *platform, const struct options *opt)
{
	const json_t *list = json_object_get(v->sentry, "platforms"), *o;
	size_t i;

	json_array_foreach(list, i, o) {
		const char *name = json_string_value(json_object_get(o, "name"));

		if (name && !strcmp(name, platform))
			add_ablated(v, platform, json_object_get(o, "knobs"), opt);
	}
	add_ablated(v, platform, json_object_get(v->sentry, "knobs"), opt);
}

static void add_platform(struct variants *v, const char *platform, const char *knobs, const struct options *opt)
{
	const struct suite *suite = suite_find(opt->suite);

	add_variant(v, platform, knobs, opt);
	if (suite && suite->ablation)
		add_ablations(v, platform, opt);
}

static int unknown_platform(const struct variants *v, const char *name)
{
	const char *names[VARIANTS_MAX + 1] = { "native" }, *near;
	size_t i;

	for (i = 0; i < v->nknown; i++)
		names[i + 1] = v->known[i].name;
	if (!v->nknown) {
		complain("platform %s: %s", name, v->note);
		return EXIT_MISSING;
	}
	near = suggest(name, names, v->nknown + 1);
	complain("no platform called %s%s%s%s", name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return EXIT_USAGE;
}

static int add_asked(struct variants *v, char *item, const struct options *opt)
{
	char *knobs = strchr(item, ':');
	const struct platform_state *p;

	if (knobs)
		*knobs++ = 0;
	if (!strcmp(item, "native") || !strcmp(item, "native-aa") || !strcmp(item, "native-seccomp"))
		return 0;
	p = known_platform(v, item);
	if (!p)
		return unknown_platform(v, item);
	if (p->reason[0]) {
		complain("platform %s cannot run here: %s", item, p->reason);
		return opt->skip_missing ? 0 : EXIT_MISSING;
	}
	add_platform(v, item, knobs ? knobs : "", opt);
	return 0;
}

/* What a filter alone costs, where the kernel has filters. */
static void add_filtered(struct variants *v, const struct options *opt)
{
	struct platform_state *p;

	if (prctl(PR_GET_SECCOMP) >= 0) {
		add_variant(v, "native-seccomp", "", opt);
		return;
	}
	if (v->nknown >= COUNT(v->known))
		return;
	p = &v->known[v->nknown++];
	snprintf(p->name, sizeof(p->name), "native-seccomp");
	snprintf(p->reason, sizeof(p->reason), "this kernel has no seccomp");
}

/* Returns 0 or an exit code, having said why. */
int variants_make(struct variants *v, const struct options *opt)
{
	char *copy, *save = NULL, *item;
	size_t i;
	int err = 0;

	learn_platforms(v, opt->build_dir);
	add_variant(v, "native", "", opt);
	add_variant(v, "native-aa", "", opt);
	add_filtered(v, opt);
	if (!opt->platforms) {
		for (i = 0; i < v->nknown; i++)
			if (!v->known[i].reason[0])
				add_platform(v, v->known[i].name, "", opt);
		return 0;
	}
	copy = strdup(opt->platforms);
	if (!copy)
		return EXIT_BUG;
	for (item = strtok_r(copy, ", ", &save); item && !err; item = strtok_r(NULL, ", ", &save))
		err = add_asked(v, item, opt);
	free(copy);
	return err;
}
