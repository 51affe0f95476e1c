/*
 * Signals at a high rate while threads make calls, start and end: patch_signals [SECONDS].
 *
 * Each call's result and the registers across it are checked; reads are restarted or interrupted as asked for; and
 * nobody may sleep for ever: every wait has a partner who wakes it, and an alarm ends the program if one was missed.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <linux/futex.h>
#include <time.h>

#include "check.h"

enum { CALLERS = 3, PAIRS = 2 };

static double seconds = 1;
static atomic_int stop, signals;
static pthread_t caller[CALLERS];
static pid_t parent;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void on_signal(int signo)
{
	atomic_fetch_add(&signals, 1);
	CHECK(syscall(SYS_getppid) == parent);
}

static void handle(int signo, int flags)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	CHECK(!sigaction(signo, &sa, NULL));
}

static void block(int how)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGALRM);
	pthread_sigmask(how, &s, NULL);
}

/* Threads that never sleep starve the rest on some schedulers; this is no test of those. */
static void breathe(unsigned int n)
{
	if (n % 64 == 0)
		nanosleep(&(struct timespec){ 0, 200000 }, NULL);
}

/* ---- calls in a loop, with registers that must stay ---- */

static void *call_loop(void *arg)
{
	uint64_t n = (uint64_t)arg;

	block(SIG_UNBLOCK);
	for (int i = 1; !atomic_load(&stop); i++) {
		uint64_t bad;
		long ret;

		asm volatile("mov %2, %%rbx; mov %2, %%r12; movq %2, %%xmm9; mov $110, %%eax; syscall;"
			     "movq %%xmm9, %%rdx; xor %2, %%rdx; xor %2, %%rbx; xor %2, %%r12; or %%rbx, %%rdx; or %%r12, %%rdx; mov %%rdx, %1"
			     : "=&a"(ret), "=&r"(bad) : "r"(n) : "rbx", "r12", "rcx", "r11", "rdx", "xmm9", "memory", "cc");
		CHECK(ret == parent && !bad);
		n = n * 6364136223846793005ull + 1;
		breathe(i);
	}
	return NULL;
}

/* ---- two who wake each other ---- */

struct pair {
	atomic_uint word;
	int pipes[2][2];
};

static void futex_turn(struct pair *p, unsigned int mine)
{
	unsigned int w;

	while ((w = atomic_load(&p->word)) % 2 != mine && !atomic_load(&stop))
		syscall(SYS_futex, &p->word, FUTEX_WAIT_PRIVATE, w, NULL, NULL, 0);
	atomic_fetch_add(&p->word, 1);
	syscall(SYS_futex, &p->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static struct pair pairs[PAIRS];

/* SA_RESTART: read() and write() never say EINTR. The first of the two ends it. */
static void pipe_turns(struct pair *p, int second)
{
	int in = p->pipes[!second][0], out = p->pipes[second][1];
	char c = 'x';

	for (int i = 1; c == 'x'; i++) {
		breathe(i);
		if (second)
			CHECK(read(in, &c, 1) == 1);
		else
			c = atomic_load(&stop) ? 'q' : 'x';
		CHECK(write(out, &c, 1) == 1);
		if (!second && c == 'x')
			CHECK(read(in, &c, 1) == 1);
	}
}

static void *turns(void *arg)
{
	int n = (int)(uintptr_t)arg;

	block(SIG_UNBLOCK);
	if (n / 2)
		pipe_turns(&pairs[1], n % 2);
	else
		for (int i = 1; !atomic_load(&stop); i++) {
			futex_turn(&pairs[0], n % 2);
			breathe(i);
		}
	return NULL;
}

/* ---- births and deaths meanwhile ---- */

static void *short_life(void *unused)
{
	CHECK(syscall(SYS_getppid) == parent);
	return NULL;
}

static void births(int n)
{
	pthread_t th[4];
	int status;
	pid_t pid;

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&th[i], NULL, short_life, NULL));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(th[i], NULL));
	if (n % 8)
		return;
	pid = fork();
	if (!pid)
		_exit(n % 100);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == n % 100 << 8);
}

static void storm(void)
{
	double end = now() + seconds;
	pthread_t pair[PAIRS * 2];

	handle(SIGUSR1, SA_RESTART);
	CHECK(!pipe(pairs[1].pipes[0]) && !pipe(pairs[1].pipes[1]));
	for (uintptr_t i = 0; i < CALLERS; i++)
		CHECK(!pthread_create(&caller[i], NULL, call_loop, (void *)(i * 77 + 5)));
	for (uintptr_t i = 0; i < PAIRS * 2; i++)
		CHECK(!pthread_create(&pair[i], NULL, turns, (void *)i));
	for (int n = 0; now() < end; n++) {
		for (int i = 0; i < CALLERS; i++)
			pthread_kill(caller[i], SIGUSR1);
		for (int i = 0; i < PAIRS * 2; i++)
			pthread_kill(pair[i], SIGUSR1);
		if (n % 4 == 0)
			births(n / 4);
	}
	atomic_store(&stop, 1);
	atomic_fetch_add(&pairs[0].word, 1);
	syscall(SYS_futex, &pairs[0].word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0);
	for (int i = 0; i < CALLERS; i++)
		CHECK(!pthread_join(caller[i], NULL));
	for (int i = 0; i < PAIRS * 2; i++)
		CHECK(!pthread_join(pair[i], NULL));
	CHECK(signals > 50);
}

/* ---- one reader at a hot site, interrupted by a timer ---- */

static void *feed(void *fd)
{
	struct timespec ts = { 0, 15000000 };

	block(SIG_BLOCK);
	nanosleep(&ts, NULL);
	CHECK(write((int)(uintptr_t)fd, "y", 1) == 1);
	return NULL;
}

static void interrupted_reads(int flags)
{
	struct itimerval fast = { { 0, 2000 }, { 0, 2000 } }, off = { { 0, 0 }, { 0, 0 } };
	int fd[2], eintr = 0;
	pthread_t th;
	char c;

	CHECK(!pipe(fd));
	for (int i = 0; i < 500; i++)		/* hot */
		CHECK(write(fd[1], "x", 1) == 1 && read(fd[0], &c, 1) == 1);
	handle(SIGALRM, flags);
	signals = 0;
	CHECK(!pthread_create(&th, NULL, feed, (void *)(uintptr_t)fd[1]));
	setitimer(ITIMER_REAL, &fast, NULL);
	while (read(fd[0], &c, 1) != 1) {
		CHECK(errno == EINTR);
		eintr++;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	CHECK(c == 'y' && signals > 0);
	CHECK(flags ? eintr == 0 : eintr > 0);
	CHECK(!pthread_join(th, NULL));
	close(fd[0]);
	close(fd[1]);
}

/* A sleep that a stop interrupts goes on with what is left (restart_syscall). */
static void stopped_sleep(void)
{
	struct timespec ts = { 0, 60000000 };
	int status;
	pid_t pid;

	for (int i = 0; i < 100; i++)		/* hot */
		clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0, 1 }, NULL);
	pid = fork();
	if (!pid) {
		double start = now();

		CHECK(!clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL));
		_exit(now() - start < 0.06);
	}
	nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	CHECK(!kill(pid, SIGSTOP));
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	CHECK(!kill(pid, SIGCONT));
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = atof(argv[1]);
	parent = getppid();
	/* What ends a wait that was never woken; nobody handles it. */
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM };
	struct itimerspec limit = { { 0, 0 }, { (time_t)(seconds * 2 + 40), 0 } };
	timer_t guard;

	CHECK(!timer_create(CLOCK_MONOTONIC, &ev, &guard) && !timer_settime(guard, 0, &limit, NULL));
	for (int i = 0; i < 3; i++) {
		interrupted_reads(SA_RESTART);
		interrupted_reads(0);
	}
	stopped_sleep();
	storm();
	return 0;
}
