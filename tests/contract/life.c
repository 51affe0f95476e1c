/* Life and death: of guests' vehicles killed from outside, of the sentry, and of everything at the end. */
#include "tests/contract/contract.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/stub/launcher.h"

GUEST_CODE(idle_call, "1: syscall; jmp 1b");
GUEST_CODE(busy, "1: jmp 1b");

enum { MAX_PIDS = 256, CYCLES = 84 };	/* of 12 address spaces each: a thousand */

/* ThreadSanitizer's own memory grows with the program's history. */
#ifdef __SANITIZE_THREAD__
enum { GROWTH_KB = 65536 };
#else
enum { GROWTH_KB = 2048 };
#endif

static void nap(long ns) { nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL); }

/* Processes whose parent is `parent`, whichever of its threads made them: the launcher (launcher.h) or all others. */
static int find_children(pid_t parent, bool launcher, pid_t *pids)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	char path[300], comm[16], state;
	int n = 0, ppid;

	CHECK(d);
	while ((e = readdir(d))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		if (fscanf(f, "%*d (%15[^)]) %c %d", comm, &state, &ppid) == 3 && ppid == parent && n < MAX_PIDS &&
		    !strcmp(comm, LAUNCHER_NAME) == launcher)
			pids[n++] = atoi(e->d_name);
		fclose(f);
	}
	closedir(d);
	return n;
}

static int children_of(pid_t parent, pid_t *pids) { return find_children(parent, false, pids); }

/* All its threads: a leader may be a zombie while another still holds the descriptors by which a death is heard of. */
static bool gone(pid_t pid)
{
	char path[64], state = 'X';
	int threads = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", &state, &threads) != 2)
		state = 'X';
	fclose(f);
	return state == 'X' || (state == 'Z' && threads <= 1);
}

static int kill_all_children(void)
{
	pid_t pids[MAX_PIDS];
	int n = children_of(getpid(), pids);

	for (int i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < n; i++)
		for (int tries = 0; tries < 1000 && !gone(pids[i]); tries++)
			nap(1000000);
	return n;
}

static void *kill_soon(void *unused)
{
	nap(20000000);
	kill_all_children();
	return NULL;
}

static void expect_dead_and_recover(struct guest *g)
{
	struct guest other;
	u64 value;

	CHECK_EQ(guest_run(g), EVENT_DEAD);
	CHECK_EQ(guest_run(g), EVENT_DEAD);
	/* What core may still do to what is left. */
	P->as_unmap(g->as, DATA, PAGE_SIZE);
	P->as_protect(g->as, CODE, PAGE_SIZE, ACCESS_READ);
	P->interrupt(g->ctx);
	guest_destroy(g);
	/* Others are not touched by it. */
	guest_start(&other, accessors);
	CHECK(guest_load(&other, STACK, &value));
	guest_destroy(&other);
}

static void killed_between_switches(void)
{
	struct guest g;

	guest_start(&g, idle_call);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	if (!kill_all_children())
		skip("the platform runs guests in no process of their own");
	nap(5000000);
	expect_dead_and_recover(&g);
}

static void killed_in_the_guest(void)
{
	struct guest g;
	pthread_t th;

	guest_start(&g, idle_call);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	if (!count_children())
		skip("the platform runs guests in no process of their own");
	guest_code(&g, busy, busy_end);
	CHECK(!pthread_create(&th, NULL, kill_soon, NULL));
	CHECK_EQ(guest_run(&g), EVENT_DEAD);
	CHECK(!pthread_join(th, NULL));
	expect_dead_and_recover(&g);
}

/* Nothing new can begin, and the caller is told so; what runs goes on. */
static void killed_launcher(void)
{
	struct address_space *spare[64];
	struct guest g;
	pid_t pid;
	int n = 0, err = 0;

	guest_start(&g, idle_call);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	if (find_children(getpid(), true, &pid) != 1)
		skip("the platform has no launcher");
	kill(pid, SIGKILL);
	for (int tries = 0; tries < 1000 && !gone(pid); tries++)
		nap(1000000);
	while (n < 64 && !(err = P->as_create(&spare[n])))
		n++;
	CHECK_EQ(err, -EAGAIN);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	while (n)
		P->as_destroy(spare[--n]);
	guest_destroy(&g);
}

/* Signals from outside, to every thread of every stub, are not the guest's. */
static void signals_from_outside(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD, SIGCONT, SIGURG, SIGALRM, SIGWINCH };
	pid_t pids[MAX_PIDS];
	struct guest g;
	int n;

	guest_start(&g, idle_call);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	n = children_of(getpid(), pids);
	for (size_t s = 0; s < ARRAY_SIZE(signals); s++) {
		for (int i = 0; i < n; i++)
			kill(pids[i], signals[s]);
		for (int i = 0; i < 20; i++) {
			g.regs.rax = 1000 + i;
			CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
			CHECK_EQ(g.regs.orig_rax, 1000 + i);
		}
	}
	guest_destroy(&g);
}

/* ---- the sentry dies ---- */

static void *run_busy(void *arg)
{
	struct guest g;

	guest_join(&g, arg);
	for (;;)
		guest_run(&g);
	return NULL;
}

/* A sentry with guests in every state: spinning, stopped, made by a thread that is gone, and a pool. */
static void doomed_sentry(int report)
{
	struct guest g, h;
	pthread_t th[3];

	platform_start();
	guest_start(&g, busy);
	for (int i = 0; i < 3; i++)
		pthread_create(&th[i], NULL, run_busy, &g);
	guest_start(&h, idle_call);
	guest_run(&h);
	nap(50000000);
	if (write(report, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* The suite's own platform threads do not survive fork, so the doomed one starts its platform afresh. */
static void stubs_die_with_the_sentry(void)
{
	pid_t pids[MAX_PIDS], pid;
	int pipefd[2], n, left;
	char c;

	P->exit();
	for (int round = 0; round < 3; round++) {
		CHECK(!pipe(pipefd));
		pid = fork();
		if (!pid)
			doomed_sentry(pipefd[1]);
		CHECK_EQ(read(pipefd[0], &c, 1), 1);
		n = children_of(pid, pids);
		kill(pid, SIGKILL);
		CHECK_EQ(waitpid(pid, NULL, 0), pid);
		left = n;
		for (int tries = 0; tries < 200 && left; tries++) {
			left = 0;
			for (int i = 0; i < n; i++)
				left += !gone(pids[i]);
			nap(10000000);
		}
		CHECK_EQ(left, 0);
		close(pipefd[0]);
		close(pipefd[1]);
	}
	platform_start();
}

/* ---- teardown ---- */

static u64 resident_kb(void)
{
	char line[128];
	u64 kb = 0;
	FILE *f = fopen("/proc/self/status", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "RssAnon:", 8))
			kb = strtoul(line + 8, NULL, 10);
	fclose(f);
	return kb;
}

static void one_cycle(void)
{
	enum { N = 12 };
	struct guest g[N];

	for (int i = 0; i < N; i++) {
		guest_start(&g[i], idle_call);
		CHECK_EQ(guest_run(&g[i]), EVENT_SYSCALL);
	}
	for (int i = 0; i < N; i++)
		guest_destroy(&g[i]);
}

static void nothing_is_left(void)
{
	int fds;
	u64 kb;

	P->exit();
	fds = count_fds();
	CHECK_EQ(count_children(), 0);
	for (int i = 0; i < 3; i++) {
		platform_start();
		one_cycle();
		P->exit();
		CHECK_EQ(count_children(), 0);
		CHECK_EQ(count_fds(), fds);
	}
	platform_start();
	for (int i = 0; i < 10; i++)
		one_cycle();
	fds = count_fds();
	kb = resident_kb();
	for (int i = 0; i < CYCLES; i++)
		one_cycle();
	for (int ms = 0; ms < 5000 && count_fds() > fds + 16; ms += 10)
		usleep(10000);		/* the backend may still be cleaning up what it was given back */
	CHECK(count_fds() <= fds + 16);
	CHECK(resident_kb() <= kb + GROWTH_KB);
}

static struct guest crowd;

static void *short_life(void *unused)
{
	struct guest g;

	guest_join(&g, &crowd);
	CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
	P->context_destroy(g.ctx);
	return NULL;
}

static void threads_come_and_go(void)
{
	pthread_t th[16];

	guest_start(&crowd, idle_call);
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 16; i++)
			CHECK(!pthread_create(&th[i], NULL, short_life, NULL));
		for (int i = 0; i < 16; i++)
			CHECK(!pthread_join(th[i], NULL));
	}
	guest_destroy(&crowd);
}

/* More address spaces than a pool keeps, and more contexts than a shell script makes. */
static void many_processes(void)
{
	enum { N = 200 };
	static struct guest g[N];
	int made = 0, err;
	u64 value;

	for (; made < N; made++) {
		err = P->as_create(&g[made].as);
		if (err)
			break;
		CHECK_EQ(P->context_create(&g[made].ctx), 0);
	}
	CHECK(made == N || err == -EAGAIN || err == -ENOMEM || err == -EMFILE);
	for (int i = 0; i < made; i++) {
		g[i].code = mem_alloc(1);
		guest_code(&g[i], accessors, accessors_end);
		guest_map(&g[i], CODE, 1, RX, g[i].code);
		CHECK(!guest_load(&g[i], DATA, &value));
	}
	for (int i = 0; i < made; i++)
		guest_destroy(&g[i]);
}

const struct contract_case life_cases[] = {
	{ "killed_between", killed_between_switches },
	{ "killed_inside", killed_in_the_guest },
	{ "launcher_killed", killed_launcher },
	{ "outside_signals", signals_from_outside },
	{ "sentry_killed", stubs_die_with_the_sentry },
	{ "teardown", nothing_is_left },
	{ "threads_come_and_go", threads_come_and_go },
	{ "many_processes", many_processes },
	{ NULL, NULL },
};
