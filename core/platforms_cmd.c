/* Lists every platform: whether this machine can run it, why not, and its knobs; then core's own knobs. */
#include "platforms_cmd.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "knob.h"

static json_t *knob_json(const struct knob *k)
{
	static const char *const kinds[] = { "bool", "int", "choice" };
	char def[64], now[64];
	json_t *o;

	knob_format(k, k->def, def, sizeof(def));
	knob_format(k, *k->value, now, sizeof(now));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", k->name, "kind", kinds[k->kind], "default", def, "value", now,
		      "help", k->help);
	if (k->off)
		json_object_set_new(o, "off", json_string(k->off));
	if (k->kind == KNOB_INT) {
		json_object_set_new(o, "min", json_integer(k->min));
		json_object_set_new(o, "max", json_integer(k->max));
	}
	if (k->kind == KNOB_CHOICE) {
		json_t *choices = json_array();

		for (int i = 0; k->choices[i]; i++)
			json_array_append_new(choices, json_string(k->choices[i]));
		json_object_set_new(o, "choices", choices);
	}
	return o;
}

static int add_json(const struct knob *k, void *array)
{
	json_array_append_new(array, knob_json(k));
	return 0;
}

static json_t *table_json(const struct knob *table)
{
	json_t *a = json_array();

	for (const struct knob *k = table; k && k->name; k++)
		json_array_append_new(a, knob_json(k));
	return a;
}

static int print_json(void)
{
	json_t *list = json_array(), *core = json_array(), *o;
	char why[256];

	for (int i = 0; platforms[i]; i++) {
		const struct platform_ops *p = platforms[i];
		int err;

		why[0] = 0;
		err = p->probe(why, sizeof(why));
		o = json_pack("{s:s, s:s, s:b, s:o}", "name", p->name, "help", p->help, "available", !err, "knobs",
			      table_json(p->knobs));
		if (err)
			json_object_set_new(o, "reason", json_string(why));
		json_array_append_new(list, o);
	}
	core_knobs_each(add_json, core);
	o = json_pack("{s:i, s:o, s:o}", "schema", 1, "platforms", list, "knobs", core);
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
	return 0;
}

static int print_knob(const struct knob *k, void *unused)
{
	char now[64];

	knob_format(k, *k->value, now, sizeof(now));
	printf("    %-22s %-8s %s\n", k->name, now, k->help);
	return 0;
}

static void print_table(const struct knob *table)
{
	for (const struct knob *k = table; k && k->name; k++)
		print_knob(k, NULL);
}

int platforms_print(bool json)
{
	char why[256];

	if (json)
		return print_json();
	for (int i = 0; platforms[i]; i++) {
		const struct platform_ops *p = platforms[i];

		why[0] = 0;
		printf("%-8s %s\n", p->name, p->help);
		if (p->probe(why, sizeof(why)))
			printf("    can't run here: %s\n", why);
		else
			printf("    runs here\n");
		print_table(p->knobs);
	}
	printf("all platforms\n");
	core_knobs_each(print_knob, NULL);
	return 0;
}
