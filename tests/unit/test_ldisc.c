/* The line discipline, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <asm/termbits.h>
#include <signal.h>
#include <cmocka.h>

#include "fs/ldisc.h"

static struct ldisc l;
static u64 signals;

static int start(void **state)
{
	(void)state;
	ldisc_init(&l);
	signals = 0;
	return 0;
}

static void type(const char *s)
{
	assert_int_equal(ldisc_input(&l, (const u8 *)s, strlen(s), &signals), strlen(s));
}

static void expect_out(const char *want)
{
	u8 buf[LDISC_OUT];
	u64 n = ldisc_drain(&l, buf, sizeof(buf));

	assert_int_equal(n, strlen(want));
	assert_memory_equal(buf, want, n);
}

static void expect_read(const char *want, u64 max)
{
	u8 buf[LDISC_IN];
	bool line_done;
	u64 n = ldisc_read(&l, buf, max, &line_done);

	assert_int_equal(n, strlen(want));
	assert_memory_equal(buf, want, n);
}

static void lines_and_echo(void **state)
{
	type("ab");
	assert_false(ldisc_readable(&l));
	type("c\rnext\n");
	expect_out("abc\r\nnext\r\n");
	expect_read("ab", 2);
	expect_read("c\n", 100);
	expect_read("next\n", 100);
	assert_false(ldisc_readable(&l));
}

static void erasing(void **state)
{
	type("ax\177b\n");
	expect_read("ab\n", 100);
	expect_out("ax\b \bb\r\n");
	type("one two\027three\n");
	expect_read("one three\n", 100);
	type("gone\025kept\n");
	expect_read("kept\n", 100);
	ldisc_flush_output(&l);
	type("a\t\177\n");
	expect_out("a\t\b\b\b\b\b\b\b\r\n");
	ldisc_flush_input(&l);
	type("\001\177\n");
	expect_out("^A\b \b\b \b\r\n");
}

static void utf8_erases_whole_characters(void **state)
{
	struct tty_termios m = l.modes;

	m.iflag |= IUTF8;
	ldisc_set_modes(&l, &m);
	type("a\xc3\xa4\177\n");
	expect_read("a\n", 100);
	expect_out("a\xc3\xa4\b \b\r\n");
}

static void end_of_file(void **state)
{
	type("part\004");
	assert_true(ldisc_readable(&l));
	expect_read("part", 100);
	assert_false(ldisc_readable(&l));
	type("\004");
	assert_true(ldisc_readable(&l));
	expect_read("", 100);
	/* The end of file right behind the bytes asked for belongs to that read. */
	type("four\004");
	expect_read("four", 4);
	assert_false(ldisc_readable(&l));
}

static void signals_flush(void **state)
{
	type("typed\003");
	assert_int_equal(signals, 1ull << SIGINT);
	expect_out("^C");
	type("\n");
	expect_read("\n", 10);
	signals = 0;
	type("\032\034");
	assert_int_equal(signals, (1ull << SIGTSTP) | (1ull << SIGQUIT));
}

static void literal_next(void **state)
{
	type("\026\003\n");
	assert_int_equal(signals, 0);
	expect_read("\003\n", 10);
}

static void raw(void **state)
{
	struct tty_termios m = l.modes;

	m.lflag &= ~(u32)(ICANON | ECHO | ISIG);
	m.iflag = 0;
	m.oflag = 0;
	m.cc[VMIN] = 3;
	ldisc_set_modes(&l, &m);
	type("\r\003");
	assert_false(ldisc_readable(&l));
	type("x");
	assert_true(ldisc_readable(&l));
	expect_out("");
	expect_read("\r\003x", 10);
	assert_int_equal(ldisc_output(&l, (const u8 *)"a\nb", 3), 3);
	expect_out("a\nb");
}

static void modes_change_with_bytes_waiting(void **state)
{
	struct tty_termios cooked = l.modes, m = cooked;

	m.lflag &= ~(u32)ICANON;
	type("half");
	ldisc_set_modes(&l, &m);
	assert_true(ldisc_readable(&l));
	ldisc_set_modes(&l, &cooked);
	assert_true(ldisc_readable(&l));
	expect_read("half", 100);
	assert_false(ldisc_readable(&l));
}

static void output(void **state)
{
	struct tty_termios m = l.modes;

	ldisc_output(&l, (const u8 *)"x\ty\n", 4);
	expect_out("x\ty\r\n");
	m.oflag |= TAB3;
	ldisc_set_modes(&l, &m);
	ldisc_output(&l, (const u8 *)"x\ty", 3);
	expect_out("x       y");
	type("\023");
	assert_int_equal(ldisc_output(&l, (const u8 *)"z", 1), 0);
	type("\021");
	assert_int_equal(ldisc_output(&l, (const u8 *)"z", 1), 1);
}

/* A line that is too long loses its end, but can be ended; a full buffer of lines takes no more. */
static void full(void **state)
{
	static u8 big[LDISC_IN * 2];
	u8 buf[LDISC_IN];
	bool line_done;

	memset(big, 'a', sizeof(big));
	assert_int_equal(ldisc_input(&l, big, sizeof(big), &signals), sizeof(big));
	ldisc_flush_output(&l);
	type("\n");
	assert_int_equal(ldisc_read(&l, buf, sizeof(buf), &line_done), LDISC_IN);
	assert_true(line_done);
	assert_int_equal(buf[LDISC_IN - 1], '\n');

	memset(big, '\n', sizeof(big));
	assert_int_equal(ldisc_input(&l, big, sizeof(big), &signals), LDISC_IN - 1);
	/* Their echo has filled the other direction. */
	assert_int_equal(ldisc_output(&l, big, 100), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(lines_and_echo, start),
		cmocka_unit_test_setup(erasing, start),
		cmocka_unit_test_setup(utf8_erases_whole_characters, start),
		cmocka_unit_test_setup(end_of_file, start),
		cmocka_unit_test_setup(signals_flush, start),
		cmocka_unit_test_setup(literal_next, start),
		cmocka_unit_test_setup(raw, start),
		cmocka_unit_test_setup(modes_change_with_bytes_waiting, start),
		cmocka_unit_test_setup(output, start),
		cmocka_unit_test_setup(full, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
