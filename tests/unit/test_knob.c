/* Knobs: every platform's names and core's, values in and out, and what is refused with which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "knob.h"

static char why[256];

static int set(const char *assignment)
{
	why[0] = 0;
	return knob_set(assignment, why, sizeof(why));
}

static void booleans(void **state)
{
	char buf[256];

	knobs_reset();
	knobs_differing(buf, sizeof(buf));
	assert_string_equal(buf, "");
	assert_int_equal(set("ptrace.pin=off"), 0);
	knobs_differing(buf, sizeof(buf));
	assert_string_equal(buf, "ptrace.pin=off");
	assert_int_equal(set("ptrace.pin=1"), 0);
	knobs_differing(buf, sizeof(buf));
	assert_string_equal(buf, "");
	assert_int_equal(set("ptrace.pin=maybe"), -EINVAL);
	assert_non_null(strstr(why, "on or off"));
}

static void numbers(void **state)
{
	char buf[256];

	knobs_reset();
	assert_int_equal(set("ptrace.pool=5"), 0);
	assert_int_equal(set("ptrace.pin=off"), 0);
	knobs_differing(buf, sizeof(buf));
	assert_string_equal(buf, "ptrace.pin=off;ptrace.pool=5");
	knobs_differing(buf, 5);
	assert_int_equal(strlen(buf), 4);
	assert_int_equal(set("ptrace.pool=65"), -EINVAL);
	assert_int_equal(set("ptrace.pool=-1"), -EINVAL);
	assert_int_equal(set("ptrace.pool="), -EINVAL);
	assert_int_equal(set("ptrace.pool=7x"), -EINVAL);
	assert_int_equal(set("ptrace.pool=99999999999999999999"), -EINVAL);
	assert_non_null(strstr(why, "from 0 to 64"));
	knobs_reset();
	knobs_differing(buf, sizeof(buf));
	assert_string_equal(buf, "");
}

static void names(void **state)
{
	assert_int_equal(set("ptrace.pi=on"), -ENOENT);
	assert_int_equal(set("ptrace.pinned=on"), -ENOENT);
	assert_int_equal(set("=on"), -ENOENT);
	assert_int_equal(set("ptrace.pin"), -EINVAL);
	assert_int_equal(set(""), -EINVAL);
}

/* Names are unique, start with their owner's, have help, and a default that their own limits allow. */
static int check_one(const struct knob *k, void *count)
{
	char now[64], assignment[128];

	++*(int *)count;
	assert_non_null(strchr(k->name, '.'));
	assert_true(k->help && *k->help && !strchr(k->help, '\n'));
	knob_format(k, k->def, now, sizeof(now));
	snprintf(assignment, sizeof(assignment), "%s=%s", k->name, now);
	assert_int_equal(set(assignment), 0);
	assert_int_equal(*k->value, k->def);
	return 0;
}

static void every_knob(void **state)
{
	int n = 0;

	assert_int_equal(knobs_each(check_one, &n), 0);
	assert_true(n >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(booleans), cmocka_unit_test(numbers), cmocka_unit_test(names), cmocka_unit_test(every_knob),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
