/* The pipe's ring without a guest: growth and wrap against a model, packets, peeking, resizing; seq's text. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <cmocka.h>

#include "fs/pipe.h"
#include "fs/pseudo.h"
#include "fs/special.h"

static s64 put(struct file *w, const void *data, u64 n)
{
	struct iovec iov = { (void *)data, n };
	struct uio u = { .iov = &iov, .iovcnt = 1, .len = n };

	return w->ops->write(w, &u, NULL);
}

static s64 take(struct file *r, void *data, u64 n)
{
	struct iovec iov = { data, n };
	struct uio u = { .iov = &iov, .iovcnt = 1, .len = n };

	return r->ops->read(r, &u, NULL);
}

static void make(struct file **r, struct file **w, u32 flags)
{
	assert_int_equal(pipe_create(NULL, r, w, flags | O_NONBLOCK), 0);
}

/* Random writes, reads and resizes: the bytes are always the next ones of the same sequence. */
static void test_against_model(void **state)
{
	static u8 buf[200000];
	u64 wrote = 0, read = 0;
	struct file *r, *w;

	srand(7);
	make(&r, &w, 0);
	for (int round = 0; round < 20000; round++) {
		u64 n = rand() % (rand() % 8 ? 5000 : sizeof(buf));
		s64 got;

		if (rand() % 2) {
			for (u64 i = 0; i < n; i++)
				buf[i] = (wrote + i) * 13 + (wrote + i) / 256;
			got = put(w, buf, n);
			wrote += got > 0 ? got : 0;
		} else {
			got = take(r, buf, n);
			for (s64 i = 0; i < got; i++)
				assert_int_equal(buf[i], (u8)((read + i) * 13 + (read + i) / 256));
			read += got > 0 ? got : 0;
		}
		assert_true(wrote - read <= (u64)pipe_fcntl(w, NULL, F_GETPIPE_SZ, 0));
		if (rand() % 50 == 0)
			pipe_fcntl(w, NULL, F_SETPIPE_SZ, 4096u << rand() % 7);
	}
	file_put(r);
	assert_int_equal(put(w, buf, 1), -EPIPE);
	file_put(w);
}

static void test_atomic_and_ready(void **state)
{
	static u8 buf[65536];
	struct file *r, *w;

	make(&r, &w, 0);
	assert_int_equal(file_poll(w), EPOLLOUT | EPOLLWRNORM);
	assert_int_equal(put(w, buf, 65536 - 100), 65536 - 100);
	assert_int_equal(put(w, buf, 101), -EAGAIN);
	assert_int_equal(file_poll(w), 0);
	assert_int_equal(put(w, buf, 5000), 100);
	assert_int_equal(take(r, buf, 4095), 4095);
	assert_int_equal(file_poll(w), 0);
	assert_int_equal(take(r, buf, 1), 1);
	assert_int_equal(file_poll(w), EPOLLOUT | EPOLLWRNORM);
	file_put(w);
	assert_int_equal(file_poll(r), EPOLLIN | EPOLLRDNORM | EPOLLHUP);
	file_put(r);
}

static void test_packets_and_peek(void **state)
{
	struct file *r, *w;
	char buf[16];

	make(&r, &w, O_DIRECT);
	assert_int_equal(put(w, "first", 5), 5);
	assert_int_equal(put(w, "second", 6), 6);
	assert_int_equal(pipe_peek(file_pipe(r), buf, 16), 5);
	assert_int_equal(take(r, buf, 2), 2);
	assert_int_equal(take(r, buf, 16), 6);
	assert_memory_equal(buf, "second", 6);
	assert_int_equal(take(r, buf, 16), -EAGAIN);
	for (int i = 0; i < 16; i++)
		assert_int_equal(put(w, "x", 1), 1);
	assert_int_equal(put(w, "x", 1), -EAGAIN);
	file_put(w);
	file_put(r);
}

static void test_seq(void **state)
{
	struct seq s = { 0 };

	for (int i = 0; i < 1000; i++)
		seq_printf(&s, "%03d,", i);
	assert_int_equal(s.len, 4000);
	assert_memory_equal(s.buf + 3996, "999,", 4);
	assert_false(s.failed);
	seq_free(&s);
	assert_null(s.buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_atomic_and_ready),
		cmocka_unit_test(test_packets_and_peek),
		cmocka_unit_test(test_seq),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
