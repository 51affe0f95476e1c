/* Threads: many of them, mutexes and condition variables, exit of the leader, robust mutexes, exit_group. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define MANY	200

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long counter;

static void *count(void *arg)
{
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void many(void)
{
	pthread_t th[MANY];
	void *result;

	for (long i = 0; i < MANY; i++)
		CHECK(pthread_create(&th[i], NULL, count, (void *)i) == 0);
	for (long i = 0; i < MANY; i++) {
		CHECK(pthread_join(th[i], &result) == 0);
		CHECK(result == (void *)i);
	}
	CHECK(counter == MANY * 100);
}

static int turn;

static void *ping(void *arg)
{
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&lock);
		while (turn != 1)
			pthread_cond_wait(&cond, &lock);
		turn = 0;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void condition(void)
{
	struct timespec ts;
	pthread_t th;

	CHECK(pthread_create(&th, NULL, ping, NULL) == 0);
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&lock);
		turn = 1;
		pthread_cond_broadcast(&cond);
		while (turn != 0)
			pthread_cond_wait(&cond, &lock);
		pthread_mutex_unlock(&lock);
	}
	CHECK(pthread_join(th, NULL) == 0);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 20 * 1000 * 1000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	pthread_mutex_lock(&lock);
	CHECK(pthread_cond_timedwait(&cond, &lock, &ts) == ETIMEDOUT);
	pthread_mutex_unlock(&lock);
}

static __thread int tls = 5;

static void *check_tls(void *arg)
{
	CHECK(tls == 5);
	tls = (long)arg;
	sched_yield();
	CHECK(tls == (long)arg);
	CHECK(syscall(SYS_gettid) != getpid());
	return NULL;
}

static void thread_local_storage(void)
{
	pthread_t a, b;

	CHECK(pthread_create(&a, NULL, check_tls, (void *)1) == 0);
	CHECK(pthread_create(&b, NULL, check_tls, (void *)2) == 0);
	CHECK(pthread_join(a, NULL) == 0 && pthread_join(b, NULL) == 0);
	CHECK(tls == 5);
}

static void *late_exit(void *arg)
{
	usleep(20000);
	_exit(31);
}

static void *spin(void *arg)
{
	for (;;)
		__asm__ volatile("pause");
	return NULL;
}

static void *sleep_for_ever(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

static void group_exit(void)
{
	pthread_t th;
	int status;
	pid_t pid = fork();

	if (!pid) {
		pthread_create(&th, NULL, late_exit, NULL);
		syscall(SYS_exit, 1);			/* the leader goes first; the group lives on */
	}
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 31);
	pid = fork();
	if (!pid) {
		pthread_create(&th, NULL, spin, NULL);	/* must be interrupted in the guest */
		usleep(5000);
		exit(32);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 32);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 4; i++)
			pthread_create(&th, NULL, i & 1 ? spin : sleep_for_ever, NULL);
		kill(getpid(), SIGKILL);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL);
}

static pthread_mutex_t robust;

static void *die_with_lock(void *arg)
{
	pthread_mutex_lock(arg);
	return NULL;
}

static void robust_mutex(void)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	atomic_int *locked;
	pthread_t th;
	pid_t pid;

	CHECK(shared != MAP_FAILED);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	CHECK(pthread_mutex_init(&robust, &attr) == 0);
	CHECK(pthread_create(&th, NULL, die_with_lock, &robust) == 0);
	CHECK(pthread_join(th, NULL) == 0);
	CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD);
	CHECK(pthread_mutex_consistent(&robust) == 0);
	CHECK(pthread_mutex_unlock(&robust) == 0);

	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	CHECK(pthread_mutex_init(shared, &attr) == 0);
	locked = (atomic_int *)(shared + 1);
	pid = fork();
	if (!pid) {
		pthread_mutex_lock(shared);
		*locked = 1;
		usleep(20000);				/* let the parent wait for it */
		_exit(0);
	}
	while (!*locked)
		usleep(100);
	CHECK(pthread_mutex_lock(shared) == EOWNERDEAD);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

int main(void)
{
	many();
	condition();
	thread_local_storage();
	group_exit();
	robust_mutex();
	puts("task_threads ok");
	return 0;
}
