/* One set of pending signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "task/signal.h"

static struct sigpending p;

static int start(void **state)
{
	(void)state;
	sigpending_init(&p);
	return 0;
}

static int end(void **state)
{
	(void)state;
	sigpending_clear(&p);
	assert_int_equal(sigqueue_count(), 0);
	return 0;
}

static int add(int signo, int code, int value, u64 limit)
{
	union guest_siginfo info;

	memset(&info, 0, sizeof(info));
	info.si.si_signo = signo;
	info.si.si_code = code;
	info.si.si_value.sival_int = value;
	return sigqueue_add(&p, &info, limit);
}

static void expect(int signo, int value)
{
	union guest_siginfo info;

	assert_int_equal(sigqueue_take(&p, ~0ull, &info), signo);
	if (signo)
		assert_int_equal(info.si.si_value.sival_int, value);
}

static void standard_signals_do_not_queue(void **state)
{
	assert_int_equal(add(SIGUSR1, SI_USER, 1, 10), 0);
	assert_int_equal(add(SIGUSR1, SI_USER, 2, 10), 0);
	assert_int_equal(sigqueue_count(), 1);
	expect(SIGUSR1, 1);
	expect(0, 0);
}

static void realtime_signals_queue_in_order(void **state)
{
	add(40, SI_QUEUE, 1, 10);
	add(34, SI_QUEUE, 2, 10);
	add(40, SI_QUEUE, 3, 10);
	add(SIGTERM, SI_USER, 4, 10);
	expect(SIGTERM, 4);
	expect(34, 2);
	expect(40, 1);
	assert_true(p.set & SIGBIT(40));
	expect(40, 3);
	assert_int_equal(p.set, 0);
}

static void faults_go_first(void **state)
{
	union guest_siginfo info;

	add(SIGHUP, SI_USER, 1, 10);
	add(SIGSEGV, SI_USER, 2, 10);
	assert_int_equal(sigqueue_take_fault(&p, ~0ull, &info), 0);
	add(SIGBUS, BUS_ADRERR, 3, 10);
	assert_int_equal(sigqueue_take_fault(&p, ~0ull, &info), SIGBUS);
	expect(SIGSEGV, 2);
	expect(SIGHUP, 1);
}

static void limits(void **state)
{
	union guest_siginfo info;

	assert_int_equal(add(40, SI_QUEUE, 1, 1), 0);
	assert_int_equal(add(40, SI_QUEUE, 2, 1), -EAGAIN);
	/* kill(2) never fails for want of room: the signal arrives, without its details. */
	assert_int_equal(add(41, SI_USER, 3, 1), 0);
	assert_int_equal(add(SIGUSR1, SI_USER, 4, 1), 0);
	assert_int_equal(add(SIGUSR2, SI_QUEUE, 5, 1), 0);
	expect(SIGUSR1, 4);
	assert_int_equal(sigqueue_take(&p, SIGBIT(SIGUSR2), &info), SIGUSR2);
	assert_int_equal(info.si.si_code, SI_USER);
	expect(40, 1);
	expect(41, 0);
}

static void masks_and_dropping(void **state)
{
	union guest_siginfo info;

	add(SIGUSR1, SI_USER, 1, 10);
	add(40, SI_QUEUE, 2, 10);
	add(40, SI_QUEUE, 3, 10);
	assert_int_equal(sigqueue_take(&p, SIGBIT(SIGUSR2), &info), 0);
	sigqueue_drop(&p, SIGBIT(40) | SIGBIT(SIGUSR2));
	assert_int_equal(sigqueue_count(), 1);
	expect(SIGUSR1, 1);
	expect(0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(standard_signals_do_not_queue, start, end),
		cmocka_unit_test_setup_teardown(realtime_signals_queue_in_order, start, end),
		cmocka_unit_test_setup_teardown(faults_go_first, start, end),
		cmocka_unit_test_setup_teardown(limits, start, end),
		cmocka_unit_test_setup_teardown(masks_and_dropping, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
