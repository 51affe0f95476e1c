/*
 * Placement: a context's thread and its worker on one CPU, where waking the other costs a fifth of a wake-up across.
 *
 * A new context stays on its creator's CPU (it inherited the affinity) unless guest code runs there and another
 * allowed CPU has none. What goes wrong later is put right by the balancer, a thread that wakes up only while contexts
 * meet on a CPU: a context that has waited for its CPU for a good part of some ticks moves to one that has time. Two
 * tasks that hand work back and forth do not wait long for each other and so stay together, which is what they need.
 *
 * Locks: place_lock guards the list, `armed` and the balancer's fields; `running` and a place's own fields are atomics,
 * since the owner changes them at every switch.
 */
#include "backends/stub/place.h"
#include "lib/host_proc.h"
#include "lib/sigmask.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct place {
	TAILQ_ENTRY(place) link;
	pid_t host_tid;			/* immutable */
	_Atomic pid_t worker;		/* 0: none */
	_Atomic int cpu;		/* where both are pinned */
	_Atomic int inside;		/* the CPU that counts it as running guest code, -1: none does */
	atomic_bool apart;		/* the two spin on CPUs of their own: not the balancer's business */
	_Atomic u32 entries;		/* a change says that it is active */
	int home, away;			/* owner's thread: the worker's CPU and its own while apart */
	bool fresh;			/* owner's thread: has not entered the guest yet */

	/* The balancer's. */
	u32 entries_seen;
	u64 ran, waited;		/* ns so far, as the host counts for both threads */
	u64 looked_at;			/* when; 0: never */
	u64 ran_share, waited_share;	/* of the last tick, percent */
	int starved;			/* ticks in a row */
};

static bool pinning, balancing;

enum {
	TICK_MS = 20, QUIET_TICKS = 10,		/* it goes to sleep after so many ticks without a meeting */
	LOOK_AT_MOST = 32,			/* places a tick: each costs two reads in /proc */
	STARVED_PERCENT = 40, STARVED_TICKS = 2, SPARE_PERCENT = 40,
};

static struct {
	cpu_set_t allowed;			/* the sentry's own at start; immutable, like ncpus */
	int ncpus;
	_Atomic int running[CPU_SETSIZE];	/* contexts in guest code there */
} cpus;

static pthread_mutex_t place_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(place_list, place) places = TAILQ_HEAD_INITIALIZER(places);

static struct {
	pthread_t thread;
	pthread_cond_t wake;
	bool started, stop;
	atomic_bool armed;
	_Atomic u32 meetings;			/* contexts that entered the guest on a CPU that ran another */
} balancer;

static void pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(tid, sizeof(set), &set);	/* fails if the thread just ended or a cpuset changed: no matter */
}

/* ---- the balancer ---- */

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Adds what the host says of a thread: ns on a CPU, ns runnable but waiting for one. */
static void add_sched_times(pid_t tid, u64 *ran, u64 *waited)
{
	unsigned long r, w;
	char buf[96];
	ssize_t n;
	int fd;

	snprintf(buf, sizeof(buf), "%d/schedstat", tid);
	fd = tid ? host_proc_open(buf) : -1;
	if (fd < 0)
		return;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	buf[MAX(n, 0)] = 0;
	if (sscanf(buf, "%lu %lu", &r, &w) == 2) {
		*ran += r;
		*waited += w;
	}
}

/* Brings the place's shares of this tick up to date. False: it did nothing. */
static bool look_at(struct place *p, u64 now)
{
	const u32 entries = atomic_load_explicit(&p->entries, memory_order_relaxed);
	const bool active = entries != p->entries_seen || atomic_load(&p->inside) >= 0;
	const u64 since = now - p->looked_at;
	u64 ran = 0, waited = 0;

	p->entries_seen = entries;
	if (!active || atomic_load(&p->apart)) {
		p->looked_at = p->ran_share = p->starved = 0;
		return false;
	}
	add_sched_times(p->host_tid, &ran, &waited);
	add_sched_times(atomic_load(&p->worker), &ran, &waited);
	/* A new worker begins at zero, so a sum that fell tells nothing. */
	if (p->looked_at && since && ran >= p->ran && waited >= p->waited) {
		p->ran_share = (ran - p->ran) * 100 / since;
		p->waited_share = (waited - p->waited) * 100 / since;
		p->starved = p->waited_share > STARVED_PERCENT ? p->starved + 1 : 0;
	}
	p->ran = ran;
	p->waited = waited;
	p->looked_at = now;
	return true;
}

/* The CPU with the least of our work, if it has time to spare; -1. */
static int spare_cpu(const u64 *load)
{
	int best = -1;

	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus.allowed) && load[i] < SPARE_PERCENT && (best < 0 || load[i] < load[best]))
			best = i;
	return best;
}

static void move(struct place *p, int cpu)
{
	int inside = atomic_load(&p->inside);

	atomic_store(&p->cpu, cpu);
	pin(p->host_tid, cpu);
	if (p->worker)
		pin(p->worker, cpu);
	if (inside >= 0 && atomic_compare_exchange_strong(&p->inside, &inside, cpu)) {
		atomic_fetch_sub(&cpus.running[inside], 1);
		atomic_fetch_add(&cpus.running[cpu], 1);
	}
}

/* At most one move a tick: the next one sees what this one changed. */
static void tick(void)
{
	static u64 load[CPU_SETSIZE];
	struct place *p, *starved = NULL;
	const u64 now = now_ns();
	int looked = 0, cpu;

	for (int i = 0; i < CPU_SETSIZE; i++)
		load[i] = 0;
	for (p = TAILQ_FIRST(&places); p; p = TAILQ_NEXT(p, link)) {
		if (looked == LOOK_AT_MOST)
			break;
		if (!look_at(p, now))
			continue;
		looked++;
		load[atomic_load(&p->cpu)] += p->ran_share;
		if (p->starved >= STARVED_TICKS && (!starved || p->waited_share > starved->waited_share))
			starved = p;
	}
	cpu = starved ? spare_cpu(load) : -1;
	if (cpu >= 0 && cpu != starved->cpu) {
		move(starved, cpu);
		starved->starved = 0;
		TAILQ_REMOVE(&places, starved, link);	/* others get their turn to be looked at */
		TAILQ_INSERT_TAIL(&places, starved, link);
	}
}

static void sleep_tick(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += TICK_MS * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	pthread_cond_timedwait(&balancer.wake, &place_lock, &ts);
}

static void *balancer_main(void *unused)
{
	u32 meetings = 0;
	int quiet = 0;

	sched_setaffinity(0, sizeof(cpus.allowed), &cpus.allowed);
	pthread_mutex_lock(&place_lock);
	while (!balancer.stop) {
		if (!balancer.armed) {
			pthread_cond_wait(&balancer.wake, &place_lock);
			continue;
		}
		sleep_tick();
		tick();
		quiet = meetings == balancer.meetings ? quiet + 1 : 0;
		meetings = balancer.meetings;
		if (quiet == QUIET_TICKS)
			balancer.armed = false;
	}
	pthread_mutex_unlock(&place_lock);
	return NULL;
}

/* place_lock held. Without a balancer contexts stay where they began. */
static void balancer_start(void)
{
	sigset_t all, old;

	sigmask_most(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	balancer.started = !pthread_create(&balancer.thread, NULL, balancer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Two contexts met. Seldom more than a load: the lock is taken when the balancer sleeps. */
static void meeting(void)
{
	atomic_fetch_add_explicit(&balancer.meetings, 1, memory_order_relaxed);
	if (atomic_load_explicit(&balancer.armed, memory_order_relaxed) || cpus.ncpus < 2 || !balancing)
		return;
	pthread_mutex_lock(&place_lock);
	if (!balancer.started && !balancer.stop)
		balancer_start();
	balancer.armed = true;
	pthread_cond_signal(&balancer.wake);
	pthread_mutex_unlock(&place_lock);
}

/* ---- life ---- */

bool place_init(bool pin_them, bool balance)
{
	pinning = pin_them;
	balancing = balance;
	if (sched_getaffinity(0, sizeof(cpus.allowed), &cpus.allowed))
		pinning = false;	/* more CPUs than a cpu_set_t holds: leave it to the host */
	cpus.ncpus = CPU_COUNT(&cpus.allowed);
	pthread_cond_init(&balancer.wake, NULL);
	balancer.stop = balancer.started = false;
	balancer.armed = false;
	return pinning;
}

void place_exit(void)
{
	bool started;

	pthread_mutex_lock(&place_lock);
	balancer.stop = true;
	started = balancer.started;
	pthread_cond_signal(&balancer.wake);
	pthread_mutex_unlock(&place_lock);
	if (started)
		pthread_join(balancer.thread, NULL);
}

static int first_allowed(void)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus.allowed))
			return i;
	return 0;
}

struct place *place_create(void)
{
	struct place *p = pinning ? calloc(1, sizeof(*p)) : NULL;
	int cpu = sched_getcpu();

	if (!p)
		return NULL;
	p->cpu = cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET(cpu, &cpus.allowed) ? cpu : first_allowed();
	p->inside = -1;
	p->host_tid = gettid();
	p->fresh = true;
	pin(0, p->cpu);
	pthread_mutex_lock(&place_lock);
	TAILQ_INSERT_TAIL(&places, p, link);
	pthread_mutex_unlock(&place_lock);
	return p;
}

/* The thread gets its freedom back: it may go on to other work. */
void place_destroy(struct place *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&place_lock);
	TAILQ_REMOVE(&places, p, link);
	pthread_mutex_unlock(&place_lock);
	sched_setaffinity(0, sizeof(cpus.allowed), &cpus.allowed);
	free(p);
}

/* A move that races with this pins the worker once more, or the next tick does. */
void place_worker(struct place *p, pid_t tid)
{
	if (!p)
		return;
	atomic_store(&p->worker, tid);
	if (tid)
		pin(tid, p->cpu);
}

/* ---- apart ---- */

int place_cpu(const struct place *p) { return p ? atomic_load(&p->cpu) : 0; }

int place_next_cpu(const struct place *p)
{
	int cpu = place_cpu(p);

	if (p)
		do
			cpu = (cpu + 1) % CPU_SETSIZE;
		while (!CPU_ISSET(cpu, &cpus.allowed));
	return cpu;
}

/* Both CPUs count as busy until they are together again. */
void place_apart(struct place *p, int home, int away)
{
	if (!p || atomic_load(&p->apart))
		return;
	if (home != atomic_load(&p->cpu))
		move(p, home);
	p->home = home;
	p->away = away;
	atomic_store(&p->apart, true);
	atomic_fetch_add(&cpus.running[home], 1);
	atomic_fetch_add(&cpus.running[away], 1);
	pin(0, away);
}

void place_together(struct place *p)
{
	if (!p || !atomic_load(&p->apart))
		return;
	atomic_store(&p->apart, false);
	atomic_fetch_sub(&cpus.running[p->home], 1);
	atomic_fetch_sub(&cpus.running[p->away], 1);
	pin(0, p->home);
}

/* ---- around guest code ---- */

static int idle_cpu(void)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus.allowed) && !atomic_load_explicit(&cpus.running[i], memory_order_relaxed))
			return i;
	return -1;
}

void place_enter(struct place *p)
{
	int cpu, idle;

	if (!p || atomic_load_explicit(&p->apart, memory_order_relaxed))
		return;
	cpu = atomic_load_explicit(&p->cpu, memory_order_relaxed);
	if (atomic_load_explicit(&cpus.running[cpu], memory_order_relaxed)) {
		meeting();
		idle = p->fresh ? idle_cpu() : -1;
		if (idle >= 0) {
			move(p, idle);
			cpu = idle;
		}
	}
	p->fresh = false;
	atomic_fetch_add_explicit(&p->entries, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&cpus.running[cpu], 1, memory_order_relaxed);
	atomic_store_explicit(&p->inside, cpu, memory_order_release);
}

void place_leave(struct place *p)
{
	int cpu;

	if (!p || atomic_load_explicit(&p->inside, memory_order_relaxed) < 0)
		return;
	cpu = atomic_exchange(&p->inside, -1);
	atomic_fetch_sub_explicit(&cpus.running[cpu], 1, memory_order_relaxed);
}
