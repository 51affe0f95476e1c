/* Copy on write: parents, children, grandchildren and threads see exactly their own memory. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

#define P	4096ul
#define PAGES	600
#define RW	(PROT_READ | PROT_WRITE)

static unsigned *base;

static unsigned *word(int page) { return base + page * P / 4; }

static void expect(unsigned first, int step)
{
	for (int i = 0; i < PAGES; i += step)
		CHECK(*word(i) == first + i);
}

static void fill(unsigned first, int step)
{
	for (int i = 0; i < PAGES; i += step)
		*word(i) = first + i;
}

static void join(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void generations(void)
{
	pid_t pid;

	base = mmap(NULL, PAGES * P, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(1000, 1);
	pid = fork();
	if (!pid) {
		expect(1000, 1);
		fill(2000, 3);
		pid = fork();
		if (!pid) {
			expect(2000, 3);
			fill(3000, 7);
			expect(3000, 7);
			_exit(0);
		}
		join(pid);
		expect(2000, 3);
		CHECK(*word(1) == 1001);
		_exit(0);
	}
	fill(5000, 5);
	join(pid);
	expect(5000, 5);
	CHECK(*word(1) == 1001 && *word(3) == 1003);
	fill(6000, 1);
	expect(6000, 1);
}

static void advice(void)
{
	unsigned *shared = mmap(NULL, 2 * P, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned char vec;
	pid_t pid;

	fill(100, 1);
	CHECK(madvise(word(0), P, MADV_DONTFORK) == 0);
	CHECK(madvise(word(1), P, MADV_WIPEONFORK) == 0);
	pid = fork();
	if (!pid) {
		CHECK_ERRNO(mincore(word(0), P, &vec), ENOMEM);
		CHECK(*word(1) == 0 && *word(2) == 102);
		shared[P / 4] = 77;
		_exit(0);
	}
	join(pid);
	CHECK(*word(0) == 100 && *word(1) == 101 && shared[P / 4] == 77);
	CHECK(madvise(word(0), P, MADV_DOFORK) == 0 && madvise(word(1), P, MADV_KEEPONFORK) == 0);
}

static atomic_bool stop;

/* Counts in a page of its own while others fork. */
static void *counter(void *arg)
{
	unsigned *w = arg, n = *w;

	while (!atomic_load(&stop)) {
		for (int i = 0; i < 1000; i++) {
			if (*(volatile unsigned *)w != n)
				return (void *)1;
			*(volatile unsigned *)w = ++n;
		}
	}
	return NULL;
}

/* Reads into one buffer, over and over, while others fork: nothing may be lost. */
static void *reader(void *arg)
{
	unsigned char *buf = arg;
	int fd[2];

	CHECK(pipe(fd) == 0);
	for (unsigned char c = 0; !atomic_load(&stop); c++) {
		CHECK(write(fd[1], &c, 1) == 1 && read(fd[0], buf, 1) == 1);
		if (*(volatile unsigned char *)buf != c)
			return (void *)1;
		((volatile unsigned char *)buf)[1] = c;
	}
	return NULL;
}

static void threads_and_forks(void)
{
	pthread_t t[3];
	void *ret;

	CHECK(pthread_create(&t[0], NULL, counter, word(10)) == 0);
	CHECK(pthread_create(&t[1], NULL, counter, word(300)) == 0);
	CHECK(pthread_create(&t[2], NULL, reader, word(20)) == 0);
	for (int i = 0; i < 60; i++) {
		pid_t pid = fork();

		if (!pid) {
			unsigned before = *word(10);

			*word(11) = i;
			_exit(*(volatile unsigned *)word(10) != before);
		}
		join(pid);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], &ret) == 0 && !ret);
}

/*
 * The same pages written to by both after each of many forks: each sees its own, and the child what was there at the fork. An
 * implementation may have learnt by then what to copy at once.
 */
static void again_and_again(void)
{
	volatile unsigned on_stack = 0;
	int to_child[2], status;
	char c = 0;

	CHECK(pipe(to_child) == 0);
	for (unsigned i = 1; i <= 20; i++) {
		pid_t pid;

		on_stack = *word(40) = *word(300) = i;
		pid = fork();
		if (!pid) {
			if (read(to_child[0], &c, 1) != 1 || on_stack != i || *word(40) != i || *word(300) != i)
				_exit(1);
			on_stack = *word(40) = *word(300) = 7777;
			if (fork() == 0)
				_exit(on_stack != 7777 || *word(40) != 7777);
			_exit(wait(&status) < 0 || status || on_stack != 7777 || *word(300) != 7777);
		}
		on_stack = *word(40) = *word(300) = 1000 + i;
		CHECK(pid > 0 && write(to_child[1], &c, 1) == 1);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		CHECK(on_stack == 1000 + i && *word(40) == 1000 + i && *word(300) == 1000 + i);
	}
	close(to_child[0]);
	close(to_child[1]);
}

int main(void)
{
	generations();
	again_and_again();
	advice();
	threads_and_forks();
	puts("ok");
	return 0;
}
