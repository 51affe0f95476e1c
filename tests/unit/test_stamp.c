/* Stamps: sums by call, and a stub's stamps that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform.h"
#include "stamp.h"
#include "task/internal.h"

static const struct platform_ops fake = { .name = "fake" };

/* One switch for getpid: `stub` and `resumed` as the stub says. */
static void one_switch(u64 base, u64 stub, u64 resumed)
{
	stamp_note(STAMP_RESUMED, resumed);
	stamp_note(STAMP_WOKEN, base);
	stamp_note(STAMP_STUB, stub);
	stamp_note(STAMP_EVENT, base + 1000);
	stamp_call(39);
	stamp_note(STAMP_DONE, base + 3000);
	stamp_note(STAMP_BACK, base + 4000);
}

/* Sum of the file's lines that contain `what`, in units of a thousand ticks. */
static u64 sum(const char *what)
{
	char line[256];
	u64 total = 0;
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(stamps_write_profile(f), 0);
	rewind(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, what))
			total += strtoull(strrchr(line, ' '), NULL, 10);
	fclose(f);
	return total;
}

static void test_lies(void **state)
{
	u64 honest, base = 1000000;

	platform = &fake;
	usage_init();
	usleep(20000);
	stamps_enable();

	stamps_task_start();
	assert_non_null(stamp_ring);
	one_switch(base, base - 500, 0);
	one_switch(base + 100000, base + 99500, base + 4500);
	stamps_task_end();
	assert_null(stamp_ring);
	honest = sum("hand-over");
	assert_true(honest > 0);
	assert_true(sum("guest;") > 10 * honest);

	/* Resumed before it was sent back, trapped after it arrived, at the end of time, and in reverse: the same as no stamps. */
	stamps_task_start();
	one_switch(base, 0, 0);
	one_switch(base + 100000, base + 99500, base + 10);
	one_switch(base + 200000, base + 200001, base + 104500);
	one_switch(base + 300000, ~0ull, ~0ull);
	one_switch(base + 400000, base + 304500, base + 399500);
	stamps_task_end();
	assert_int_equal(sum("hand-over"), honest);
	assert_true(sum("guest;") < 40 * sum("sentry;"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lies) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
