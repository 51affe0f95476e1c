/* The timer queue: order, re-arming, disarming while fire() runs, and that it sleeps when nothing is due. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "task/clock.h"
#include "task/task.h"

#define MS	1000000ull
#define MANY	500

struct probe {
	struct timer timer;
	u64 due;
	_Atomic u64 fired;		/* when, 0: not yet */
	atomic_int count, order;
	atomic_bool inside;
	u64 again;			/* re-arm from fire() with this period */
};

static atomic_int next_order;

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return timespec_to_ns(&ts);
}

static void note(struct timer *tm)
{
	struct probe *p = CONTAINER_OF(tm, struct probe, timer);

	atomic_store(&p->fired, now_ns());
	atomic_store(&p->order, atomic_fetch_add(&next_order, 1));
	atomic_fetch_add(&p->count, 1);
	if (p->again) {
		p->due += p->again;
		timer_arm(tm, p->due);
	}
}

static void slow(struct timer *tm)
{
	struct probe *p = CONTAINER_OF(tm, struct probe, timer);

	atomic_store(&p->inside, true);
	usleep(50000);
	atomic_fetch_add(&p->count, 1);
	timer_arm(tm, now_ns() + 1);
	atomic_store(&p->inside, false);
}

static void in_order(void **state)
{
	static struct probe p[MANY];
	u64 start = now_ns() + 500 * MS;

	srandom(1);
	for (int i = 0; i < MANY; i++) {
		p[i].timer.fire = note;
		p[i].due = start + random() % (50 * MS);
		timer_arm(&p[i].timer, p[i].due);
	}
	/* A third moves, a third goes. */
	for (int i = 0; i < MANY; i += 3) {
		p[i].due = start + random() % (50 * MS);
		timer_arm(&p[i].timer, p[i].due);
		timer_disarm(&p[(i + 1) % MANY].timer);
	}
	/* Those due last have fired once everything before them has; a busy machine may be late. */
	for (int wait = 0; wait < 200 && next_order < MANY * 2 / 3; wait++)
		usleep(50000);
	for (int i = 0; i < MANY; i++) {
		bool gone = i % 3 == 1;

		assert_int_equal(p[i].count, gone ? 0 : 1);
		if (gone)
			continue;
		assert_true(p[i].fired >= p[i].due);
		for (int j = 0; j < MANY; j++)
			if (p[j].count && p[j].due < p[i].due)
				assert_true(p[j].order < p[i].order);
	}
}

static void periodic(void **state)
{
	static struct probe p = { .timer = { .fire = note }, .again = 2 * MS };

	u64 start = now_ns();

	p.due = start + 2 * MS;
	timer_arm(&p.timer, p.due);
	usleep(100000);
	timer_disarm(&p.timer);
	assert_true(p.count >= 5 && p.count <= (int)((now_ns() - start) / (2 * MS)));
}

static void disarm_waits(void **state)
{
	static struct probe p = { .timer = { .fire = slow } };

	timer_arm(&p.timer, 1);
	while (!atomic_load(&p.inside))
		usleep(100);
	timer_disarm(&p.timer);
	assert_false(p.inside);
	assert_int_equal(p.count, 1);
	usleep(60000);
	assert_int_equal(p.count, 1);
}

static void forever(void **state)
{
	static struct probe p = { .timer = { .fire = note } };

	timer_arm(&p.timer, now_ns() + 10 * MS);
	timer_arm(&p.timer, TIME_FOREVER);
	usleep(30000);
	assert_int_equal(p.count, 0);
	timer_disarm(&p.timer);
}

static void sleeps_when_idle(void **state)
{
	static struct probe p = { .timer = { .fire = note } };
	struct rusage before, after;

	timer_arm(&p.timer, now_ns() + 60 * 1000 * MS);
	usleep(20000);
	getrusage(RUSAGE_SELF, &before);
	usleep(300000);
	getrusage(RUSAGE_SELF, &after);
	timer_disarm(&p.timer);
	/* Our own usleep is one switch, and a sanitizer has a slow ticker; polling would be hundreds. */
	assert_true(after.ru_nvcsw - before.ru_nvcsw <= 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order),
		cmocka_unit_test(periodic),
		cmocka_unit_test(disarm_waits),
		cmocka_unit_test(forever),
		cmocka_unit_test(sleeps_when_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
