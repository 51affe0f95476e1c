/* futex(2) by hand: every operation that is offered, its errors and its time-outs. */
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static uint32_t a, b;

static long futex(uint32_t *addr, int op, uint32_t val, const void *timeout, uint32_t *addr2, uint32_t val3)
{
	return syscall(SYS_futex, addr, op, val, timeout, addr2, val3);
}

static void errors(void)
{
	struct timespec ts = { 0, 5000000 }, bad = { 0, 1000000000 };

	a = 1;
	CHECK_ERRNO(futex(&a, FUTEX_WAIT, 0, NULL, NULL, 0), EAGAIN);
	CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 1, &ts, NULL, 0), ETIMEDOUT);
	CHECK_ERRNO(futex(&a, FUTEX_WAIT, 1, &bad, NULL, 0), EINVAL);
	CHECK_ERRNO(futex((uint32_t *)((char *)&a + 1), FUTEX_WAIT, 1, NULL, NULL, 0), EINVAL);
	CHECK_ERRNO(futex((uint32_t *)8, FUTEX_WAIT, 1, NULL, NULL, 0), EFAULT);
	CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0), EINVAL);
	CHECK_ERRNO(futex(&a, 99, 1, NULL, NULL, 0), ENOSYS);
	CHECK(futex(&a, FUTEX_WAKE, 10, NULL, NULL, 0) == 0);
	b = 3;
	CHECK_ERRNO(futex(&a, FUTEX_CMP_REQUEUE, 1, (void *)1, &b, 2), EAGAIN);
}

static void deadlines(void)
{
	struct timespec ts;

	a = 1;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 1, &ts, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
	clock_gettime(CLOCK_REALTIME, &ts);
	CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &ts, NULL, FUTEX_BITSET_MATCH_ANY),
		    ETIMEDOUT);
}

struct waiter {
	pthread_t th;
	uint32_t bits;
	long result;
};

static int started;

static void *wait_a(void *arg)
{
	struct waiter *w = arg;

	__atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
	w->result = futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, w->bits);
	return NULL;
}

static void start(struct waiter *w, int n, const uint32_t *bits)
{
	a = b = 0;
	started = 0;
	for (int i = 0; i < n; i++) {
		w[i].bits = bits ? bits[i] : FUTEX_BITSET_MATCH_ANY;
		CHECK(pthread_create(&w[i].th, NULL, wait_a, &w[i]) == 0);
	}
	while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < n)
		usleep(100);
	usleep(30000);			/* now they sleep, as far as one can tell */
}

static void join(struct waiter *w, int n)
{
	for (int i = 0; i < n; i++) {
		CHECK(pthread_join(w[i].th, NULL) == 0);
		CHECK(w[i].result == 0);
	}
}

static void wakes(void)
{
	const uint32_t bits[] = { 1, 2, 4, 6 };
	struct waiter w[4];

	start(w, 4, bits);
	CHECK(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 8) == 0);
	CHECK(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 4) == 2);
	CHECK(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1);
	CHECK(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1);
	CHECK(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0);
	join(w, 4);
}

static void requeue(void)
{
	struct waiter w[6];

	start(w, 6, NULL);
	CHECK(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)3, &b, 0) == 4);
	CHECK(futex(&b, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0) == 3);
	CHECK(futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &b, 0) == 2);
	CHECK(futex(&a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0) == 0);
	CHECK(futex(&b, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0) == 2);
	join(w, 6);
}

static void wake_op(void)
{
	struct waiter w[2];

	start(w, 2, NULL);
	b = 5;
	/* b += 3; wake one of a, and one of a again since b was 5 */
	CHECK(futex(&b, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &a, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 1)) == 0);
	CHECK(a == 3);
	a = 0;
	CHECK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 2, (void *)1, &b, FUTEX_OP(FUTEX_OP_SET, 9, FUTEX_OP_CMP_GT, 4)) == 2);
	CHECK(b == 9);
	join(w, 2);
}

/* A word in memory shared by two processes, at different addresses. */
static void across_processes(void)
{
	uint32_t *one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *two;
	int status;
	pid_t pid;

	CHECK(one != MAP_FAILED);
	pid = fork();
	if (!pid) {
		two = mremap(one, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)0x200000000ull);
		if (two == MAP_FAILED)
			_exit(2);
		while (!*two)
			if (futex(two, FUTEX_WAIT, 0, NULL, NULL, 0) && errno != EAGAIN)
				_exit(3);
		_exit(0);
	}
	usleep(20000);
	__atomic_store_n(one, 1, __ATOMIC_SEQ_CST);
	CHECK(futex(one, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void on_alarm(int signo)
{
}

/* A signal without SA_RESTART ends the wait; a time-out goes on from where it was otherwise. */
static void signals(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct timespec ts = { 5, 0 };

	a = 0;
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	ualarm(10000, 0);
	CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINTR);
	ualarm(10000, 0);
	CHECK_ERRNO(futex(&a, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0), EINTR);
	sa.sa_flags = SA_RESTART;
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
}

struct waitv {
	uint64_t val, addr;
	uint32_t flags, reserved;
};

static void *set_b(void *arg)
{
	usleep(20000);
	b = 1;
	futex(&b, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return NULL;
}

static void vectors(void)
{
	const uint32_t flags = 2 | FUTEX_PRIVATE_FLAG;
	struct waitv v[2] = { { 0, (uintptr_t)&a, flags, 0 }, { 0, (uintptr_t)&b, flags, 0 } };
	struct timespec ts;
	pthread_t th;
	long r;

	a = b = 0;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	CHECK_ERRNO(syscall(449, v, 2, 0, &ts, CLOCK_MONOTONIC), ETIMEDOUT);
	CHECK_ERRNO(syscall(449, v, 0, 0, NULL, 0), EINVAL);
	CHECK(pthread_create(&th, NULL, set_b, NULL) == 0);
	r = syscall(449, v, 2, 0, NULL, 0);
	CHECK(r == 1 || (r == -1 && errno == EAGAIN));
	CHECK(pthread_join(th, NULL) == 0);
}

int main(void)
{
	errors();
	deadlines();
	wakes();
	requeue();
	wake_op();
	across_processes();
	signals();
	vectors();
	puts("task_futex ok");
	return 0;
}
