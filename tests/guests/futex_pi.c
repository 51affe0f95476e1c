/* PI futexes by the system call, and as pthread mutexes that are robust and inherit priority. */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static unsigned int word;

static long futex(unsigned int *at, int op, const struct timespec *ts) { return syscall(SYS_futex, at, op, 0, ts, NULL, 0); }
static unsigned int tid(void) { return syscall(SYS_gettid); }

static void refusals(void)
{
	struct timespec past = { 1, 0 };

	CHECK(futex(&word, FUTEX_LOCK_PI, NULL) == 0 && word == tid());
	CHECK_ERRNO(futex(&word, FUTEX_LOCK_PI, NULL), EDEADLK);
	CHECK_ERRNO(futex(&word, FUTEX_TRYLOCK_PI, NULL), EDEADLK);
	CHECK(futex(&word, FUTEX_UNLOCK_PI, NULL) == 0 && word == 0);
	CHECK_ERRNO(futex(&word, FUTEX_UNLOCK_PI, NULL), EPERM);
	word = 0x3ffffff0;
	CHECK_ERRNO(futex(&word, FUTEX_LOCK_PI, NULL), ESRCH);
	word = getppid();
	CHECK_ERRNO(futex((unsigned int *)((char *)&word + 1), FUTEX_LOCK_PI, NULL), EINVAL);
	CHECK_ERRNO(futex((unsigned int *)8, FUTEX_LOCK_PI, NULL), EFAULT);
	word = 0;
	(void)past;
}

static void *holder(void *arg)
{
	int *pipes = arg;
	char c;

	CHECK(futex(&word, FUTEX_LOCK_PI, NULL) == 0);
	CHECK(write(pipes[1], "l", 1) == 1);
	while (!(*(volatile unsigned int *)&word & FUTEX_WAITERS))
		sched_yield();
	CHECK(read(pipes[2], &c, 1) == 1);
	if (c == 'u')
		CHECK(futex(&word, FUTEX_UNLOCK_PI, NULL) == 0);
	return NULL;
}

/* 'u': handed over. 'd': its owner ends without unlocking. */
static void contended(char how)
{
	struct timespec soon;
	pthread_t thread;
	int a[2], b[2], pipes[3];
	char c;

	CHECK(pipe(a) == 0 && pipe(b) == 0);
	pipes[1] = a[1];
	pipes[2] = b[0];
	CHECK(pthread_create(&thread, NULL, holder, pipes) == 0);
	CHECK(read(a[0], &c, 1) == 1);
	CHECK_ERRNO(futex(&word, FUTEX_TRYLOCK_PI, NULL), EAGAIN);
	clock_gettime(CLOCK_REALTIME, &soon);
	CHECK_ERRNO(futex(&word, FUTEX_LOCK_PI, &soon), ETIMEDOUT);
	CHECK(word & FUTEX_WAITERS);
	CHECK(write(b[1], &how, 1) == 1);
	CHECK(futex(&word, FUTEX_LOCK_PI, NULL) == 0);
	CHECK((word & FUTEX_TID_MASK) == tid() && !(word & FUTEX_OWNER_DIED) == (how == 'u'));
	CHECK(futex(&word, FUTEX_UNLOCK_PI, NULL) == 0 && word == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	close(a[0]);
	close(a[1]);
	close(b[0]);
	close(b[1]);
}

#define THREADS	4
#define ROUNDS	200

static pthread_mutex_t *mutex;
static int counter;

static void *adder(void *unused)
{
	for (int i = 0; i < ROUNDS; i++) {
		CHECK(pthread_mutex_lock(mutex) == 0);
		counter++;
		CHECK(pthread_mutex_unlock(mutex) == 0);
	}
	return NULL;
}

static void mutexes(void)
{
	pthread_mutexattr_t attr;
	pthread_t threads[THREADS];
	int status;
	pid_t pid;

	mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&attr);
	CHECK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT) == 0);
	CHECK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	CHECK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutex_init(mutex, &attr) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, adder, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(counter == THREADS * ROUNDS);
	pid = fork();
	if (!pid)
		_exit(pthread_mutex_lock(mutex));
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(pthread_mutex_lock(mutex) == EOWNERDEAD);
	CHECK(pthread_mutex_consistent(mutex) == 0 && pthread_mutex_unlock(mutex) == 0);
}

int main(void)
{
	refusals();
	contended('u');
	contended('d');
	mutexes();
	return 0;
}
