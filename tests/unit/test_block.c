/* Sleeping and waking without a guest: no wake-up is lost, time-outs and kicks end a sleep, wait queues wake whom they should. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/epoll.h>

#include "task/clock.h"
#include "task/internal.h"

#define ROUNDS	20000

static struct thread_group *tg;

static struct task *bare_task(void)
{
	return task_new(tg);
}

static u64 in_ms(u64 ms)
{
	return deadline_after(ms * 1000000);
}

static void wake_before_sleep_sticks(void **state)
{
	struct task *t = bare_task();

	task_wake(t);
	task_wake(t);
	assert_int_equal(task_block(t, TIME_FOREVER), 0);
	assert_int_equal(task_block(t, in_ms(1)), -ETIMEDOUT);
}

static void kicks_end_sleep(void **state)
{
	struct task *t = bare_task();

	task_kick(t, TASK_STOP);
	assert_int_equal(task_block(t, TIME_FOREVER), -EINTR);
	assert_int_equal(task_block(t, TIME_FOREVER), -EINTR);
	assert_int_equal(task_block_killable(t, in_ms(1)), -ETIMEDOUT);
	task_kick(t, TASK_EXIT);
	assert_int_equal(task_block_killable(t, TIME_FOREVER), -EINTR);
}

/* Two tasks pass a token through two wait queues: a lost wake-up would hang (and the alarm would kill us). */
struct side {
	struct task *t;
	struct waitq q;
	atomic_int tokens;
	struct side *other;
};

static void *pass(void *arg)
{
	struct side *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct waiter w = { .task = s->t, .events = EPOLLIN };

		waitq_add(&s->q, &w);
		while (!atomic_load(&s->tokens))
			assert_int_equal(task_block(s->t, in_ms(20000)), 0);
		waitq_remove(&w);
		atomic_fetch_sub(&s->tokens, 1);
		atomic_fetch_add(&s->other->tokens, 1);
		waitq_wake(&s->other->q, EPOLLIN);
	}
	return NULL;
}

static void no_wake_up_is_lost(void **state)
{
	struct side side[2];
	pthread_t th[2];

	for (int i = 0; i < 2; i++) {
		side[i] = (struct side){ .t = bare_task(), .other = &side[!i] };
		waitq_init(&side[i].q);
	}
	side[0].tokens = 1;
	for (int i = 0; i < 2; i++)
		pthread_create(&th[i], NULL, pass, &side[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(th[i], NULL);
	assert_int_equal(side[0].tokens + side[1].tokens, 1);
}

static int calls[3];
static void count_call(struct waiter *w, u32 events) { calls[(intptr_t)w->task]++; }

static void exclusive_waiters_take_turns(void **state)
{
	struct waiter w[3];
	struct waitq q;

	waitq_init(&q);
	for (intptr_t i = 0; i < 3; i++) {
		w[i] = (struct waiter){ .wake = count_call, .task = (void *)i, .exclusive = i < 2, .events = EPOLLIN };
		waitq_add(&q, &w[i]);
	}
	waitq_wake(&q, EPOLLOUT);
	assert_int_equal(calls[0] + calls[1] + calls[2], 0);
	waitq_wake(&q, EPOLLIN);
	waitq_wake(&q, EPOLLIN);
	assert_int_equal(calls[0], 1);
	assert_int_equal(calls[1], 1);
	assert_int_equal(calls[2], 2);
	for (int i = 0; i < 3; i++) {
		waitq_remove(&w[i]);
		waitq_remove(&w[i]);
	}
	waitq_wake(&q, EPOLLIN);
	assert_int_equal(calls[2], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wake_before_sleep_sticks),
		cmocka_unit_test(kicks_end_sleep),
		cmocka_unit_test(no_wake_up_is_lost),
		cmocka_unit_test(exclusive_waiters_take_turns),
	};

	tg = thread_group_new();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
