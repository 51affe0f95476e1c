/* Signals among threads: direction, choice, stops of all, and a crowd that signals itself. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define CROWD 8
#define ROUNDS 200

static atomic_int by_main, by_other, total, quit;
static __thread int mine;
static pthread_t main_thread;
static sem_t ready;

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts))
		;
}

static void handler(int signo)
{
	if (pthread_equal(pthread_self(), main_thread))
		by_main++;
	else
		by_other++;
	mine++;
	total++;
}

static void block(int how, int signo)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, signo);
	pthread_sigmask(how, &s, NULL);
}

static void *waiter(void *arg)
{
	sem_post(&ready);
	while (!atomic_load(&quit))
		nap(5);
	return NULL;
}

static void direction(void)
{
	pthread_t t;

	signal(SIGUSR1, handler);
	CHECK(pthread_create(&t, NULL, waiter, NULL) == 0);
	sem_wait(&ready);
	CHECK(pthread_kill(t, SIGUSR1) == 0);
	while (!by_other)
		nap(1);
	CHECK(by_main == 0 && by_other == 1);
	/* To the process: the main thread takes it if it can. */
	kill(getpid(), SIGUSR1);
	CHECK(by_main == 1);
	block(SIG_BLOCK, SIGUSR1);
	kill(getpid(), SIGUSR1);
	for (int i = 0; i < 1000 && by_other < 2; i++)
		nap(1);
	CHECK(by_main == 1 && by_other == 2);
	/* To the blocked thread itself: it waits there. */
	pthread_kill(pthread_self(), SIGUSR1);
	nap(10);
	CHECK(by_main == 1 && by_other == 2);
	block(SIG_UNBLOCK, SIGUSR1);
	CHECK(by_main == 2);
	quit = 1;
	pthread_join(t, NULL);
	quit = 0;
}

/* One thread waits in sigwaitinfo while all block: it gets every signal to the process. */
static void *sigwaiter(void *arg)
{
	siginfo_t si;
	sigset_t s;
	long n = 0;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR2);
	sigaddset(&s, SIGRTMIN);
	sem_post(&ready);
	for (;;) {
		int signo = sigwaitinfo(&s, &si);

		if (signo == SIGUSR2)
			return (void *)n;
		if (signo == SIGRTMIN)
			n++;
	}
}

static void waiting(void)
{
	pthread_t t;
	void *n;

	block(SIG_BLOCK, SIGRTMIN);
	block(SIG_BLOCK, SIGUSR2);
	CHECK(pthread_create(&t, NULL, sigwaiter, NULL) == 0);
	sem_wait(&ready);
	for (int i = 0; i < 50; i++)
		CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i }) == 0);
	nap(20);
	kill(getpid(), SIGUSR2);
	pthread_join(t, &n);
	/* Some may still have been queued when SIGUSR2, being lower, went first. */
	CHECK((long)n <= 50);
	CHECK((long)n > 0);
	signal(SIGRTMIN, SIG_IGN);
	block(SIG_UNBLOCK, SIGRTMIN);
	block(SIG_UNBLOCK, SIGUSR2);
}

static void *member(void *arg)
{
	pthread_t *crowd = arg;
	unsigned seed = syscall(SYS_gettid);

	sem_post(&ready);
	while (!atomic_load(&quit))
		sched_yield();
	for (int i = 0; i < ROUNDS; i++) {
		pthread_kill(crowd[rand_r(&seed) % CROWD], SIGUSR1);
		if (i % 16 == 0) {
			block(SIG_BLOCK, SIGUSR1);
			block(SIG_UNBLOCK, SIGUSR1);
		}
	}
	sem_post(&ready);
	while (atomic_load(&quit) == 1)
		nap(1);
	return NULL;
}

static void crowd(void)
{
	static pthread_t t[CROWD];

	total = 0;
	for (int i = 0; i < CROWD; i++)
		CHECK(pthread_create(&t[i], NULL, member, t) == 0);
	for (int i = 0; i < CROWD; i++)
		while (sem_wait(&ready))
			;
	quit = 1;
	for (int i = 0; i < CROWD; i++)
		while (sem_wait(&ready))
			;
	quit = 2;
	for (int i = 0; i < CROWD; i++)
		pthread_join(t[i], NULL);
	quit = 0;
	CHECK(total > 0 && total <= CROWD * ROUNDS);
}

static void *spin(void *arg)
{
	atomic_long *counter = arg;

	for (;;)
		atomic_fetch_add(counter, 1);
	return NULL;
}

/* A stop holds every thread, also those that never call; SIGKILL and exit end them all. */
static void stop_all(void)
{
	int fds[2], status;
	long a, b;
	pid_t pid;

	CHECK(pipe(fds) == 0);
	pid = fork();
	if (!pid) {
		static atomic_long c;
		pthread_t t;

		for (int i = 0; i < 2; i++)
			pthread_create(&t, NULL, spin, &c);
		for (;;) {
			nap(5);
			a = atomic_load(&c);
			if (write(fds[1], &a, sizeof(a)) != sizeof(a))
				_exit(1);
		}
	}
	CHECK(read(fds[0], &a, sizeof(a)) == sizeof(a));
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	nap(30);
	CHECK(kill(pid, SIGCONT) == 0);
	CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	do {
		CHECK(read(fds[0], &b, sizeof(b)) == sizeof(b));
	} while (b <= a);
	kill(pid, SIGTERM);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	main_thread = pthread_self();
	sem_init(&ready, 0, 0);
	direction();
	waiting();
	crowd();
	stop_all();
	puts("ok");
	return 0;
}
