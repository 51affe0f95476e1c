/*
 * Life and death of tasks all at once: processes whose threads fork, exec, exit, stop and kill each other at random
 * moments. It checks only that every child ends and is told of once; the sentry's sanitizers see the rest.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define CHILDREN	60
#define THREADS		4

static const char *self;

static uint32_t pick(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % n;
}

static void grandchild(uint32_t *seed)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(pick(seed, 2) ? 0 : 7);
	if (pid > 0 && pick(seed, 4))
		waitpid(pid, &status, 0);
}

static void *worker(void *arg)
{
	uint32_t seed = (uintptr_t)arg;

	for (int i = 0; i < 6; i++) {
		switch (pick(&seed, 8)) {
		case 0:
			grandchild(&seed);
			break;
		case 1:
			syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
			break;
		case 2:
			usleep(pick(&seed, 2000));
			break;
		case 3:
			if (!pick(&seed, 4))
				execl(self, self, "again", NULL);
			break;
		case 4:
			if (!pick(&seed, 4))
				_exit(3);
			break;
		case 5:
			kill(getpid(), SIGCONT);
			break;
		case 6:
			if (!pick(&seed, 3))
				syscall(SYS_exit, 0);
			break;
		default:
			for (volatile int j = 0; j < 10000; j++)
				;
		}
	}
	return NULL;
}

static void ignore(int signo)
{
}

static void child(uint32_t seed)
{
	pthread_t th[THREADS];

	signal(SIGUSR1, ignore);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&th[i], NULL, worker, (void *)(seed * 31 + i)))
			_exit(9);
	worker((void *)(uintptr_t)seed);
	for (int i = 0; i < THREADS; i++)
		pthread_join(th[i], NULL);
	_exit(0);
}

int main(int argc, char **argv)
{
	uint32_t seed = 12345;
	pid_t pids[CHILDREN];
	int status, ended = 0;

	if (argc > 1)
		return 5;
	self = "/proc/self/exe";
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (!pids[i])
			child(seed + i * 7919);
		if (i >= 4 && pick(&seed, 3) == 0)
			kill(pids[i - pick(&seed, 4)], pick(&seed, 2) ? SIGSTOP : SIGKILL);
		if (pick(&seed, 4) == 0)
			usleep(3000);
	}
	for (int i = 0; i < CHILDREN; i++)
		if (pick(&seed, 2))
			kill(pids[i], SIGCONT);
	usleep(200000);
	for (int i = 0; i < CHILDREN; i++)
		kill(pids[i], SIGKILL);
	while (waitpid(-1, &status, 0) > 0)
		ended++;
	CHECK(errno == ECHILD && ended == CHILDREN);
	puts("task_stress ok");
	return 0;
}
