/* Five hundred threads at once, all of them making calls and waking each other, on however few CPUs. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "check.h"

enum { THREADS = 500, CALLS = 40 };

static pthread_barrier_t barrier;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int calls;
static int counter;
static pid_t tids[THREADS];

static void *work(void *arg)
{
	long n = (long)arg;
	char stack[256];

	memset(stack, (int)n, sizeof(stack));
	tids[n] = syscall(SYS_gettid);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < CALLS; i++) {
		CHECK(syscall(SYS_gettid) == tids[n]);
		atomic_fetch_add(&calls, 1);
		if (i % 8 == 0) {
			pthread_mutex_lock(&lock);
			counter++;
			pthread_mutex_unlock(&lock);
		}
	}
	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < sizeof(stack); i++)
		CHECK(stack[i] == (char)n);
	return NULL;
}

int main(void)
{
	static pthread_t th[THREADS];
	pthread_attr_t attr;

	CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstacksize(&attr, 65536));
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&th[i], &attr, work, (void *)i));
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(th[i], NULL));
	CHECK(atomic_load(&calls) == THREADS * CALLS);
	CHECK(counter == THREADS * CALLS / 8);
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < i; j++)
			CHECK(tids[i] != tids[j]);
	return 0;
}
