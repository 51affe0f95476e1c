/*
 * The pool: a thread that has stubs launched, keeps a few ready, and buries the dead.
 *
 * Lock: pool.lock guards everything in `pool`; a stub on one of its lists belongs to the pool.
 */
#include "backends/stub/stub.h"
#include "lib/sigmask.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

enum {
	POOL_KEEP = 8,			/* returned stubs beyond this many are killed */
	TRIES = 2,			/* failed launches that make stub_get() give up: one may not have been for us */
};

SLIST_HEAD(stub_list, stub);

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* the thread has something to do */
	pthread_cond_t ready;		/* a stub is ready, or a launch failed */
	pthread_t thread;
	bool running, stop;
	struct stub_list stubs, doomed;
	int nready, waiting;
	int error;			/* of the last launch, for those who wait; 0: none */
	u64 failures;			/* launches that failed */
	u64 created, reused;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .ready = PTHREAD_COND_INITIALIZER };

long stub_pool_size = 2;

static bool wants_launch(void) { return pool.nready < MAX((int)stub_pool_size, pool.waiting); }

static int launch_one(void)
{
	struct stub *s;
	int err;

	pthread_mutex_unlock(&pool.lock);
	err = stub_launch(&s);
	pthread_mutex_lock(&pool.lock);
	if (!err) {
		SLIST_INSERT_HEAD(&pool.stubs, s, link);
		pool.nready++;
		pool.created++;
	} else {
		pool.error = err;
		pool.failures++;
	}
	pthread_cond_broadcast(&pool.ready);
	return err;
}

static void bury_one(void)
{
	struct stub *s = SLIST_FIRST(&pool.doomed);

	SLIST_REMOVE_HEAD(&pool.doomed, link);
	pthread_mutex_unlock(&pool.lock);
	stub_destroy(s);
	pthread_mutex_lock(&pool.lock);
}

/* A launch that failed is not tried again until somebody asks: the pool must not spin while the host is full. */
static void *pool_main(void *unused)
{
	pthread_mutex_lock(&pool.lock);
	while (!pool.stop) {
		if (!SLIST_EMPTY(&pool.doomed))
			bury_one();
		else if (!wants_launch() || launch_one())
			pthread_cond_wait(&pool.work, &pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

int stub_pool_init(int memory_fd)
{
	sigset_t all, old;
	int err;

	err = stub_launch_init(memory_fd);
	if (err)
		return err;
	SLIST_INIT(&pool.stubs);
	SLIST_INIT(&pool.doomed);
	pool.stop = false;
	pool.nready = pool.waiting = 0;
	sigmask_most(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&pool.thread, NULL, pool_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pool.running = !err;
	if (err)
		stub_launch_exit();
	return err;
}

static void destroy_list(struct stub_list *list)
{
	while (!SLIST_EMPTY(list)) {
		struct stub *s = SLIST_FIRST(list);

		SLIST_REMOVE_HEAD(list, link);
		stub_destroy(s);
	}
}

void stub_pool_exit(void)
{
	if (!pool.running)
		return;
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_signal(&pool.work);
	pthread_cond_broadcast(&pool.ready);
	pthread_mutex_unlock(&pool.lock);
	pthread_join(pool.thread, NULL);
	pool.running = false;
	destroy_list(&pool.stubs);
	destroy_list(&pool.doomed);
	stub_launch_exit();
}

/* Killed while it waited? Only the stub holds the pipe's other end. */
static bool alive(const struct stub *s)
{
	struct pollfd p = { .fd = s->report_fd };

	return !s->dead && poll(&p, 1, 0) == 0;
}

static struct stub *pop(void)
{
	struct stub *s;

	while ((s = SLIST_FIRST(&pool.stubs))) {
		SLIST_REMOVE_HEAD(&pool.stubs, link);
		pool.nready--;
		if (alive(s))
			return s;
		SLIST_INSERT_HEAD(&pool.doomed, s, link);
	}
	return NULL;
}

int stub_get(struct stub **out)
{
	u64 failures;
	int err = 0;

	pthread_mutex_lock(&pool.lock);
	failures = pool.failures;
	pool.waiting++;
	while (!(*out = pop())) {
		if (pool.stop || pool.failures - failures >= TRIES) {
			/* Out of processes or descriptors is all the same to a guest that forks. */
			err = pool.error == -ENOMEM ? -ENOMEM : -EAGAIN;
			break;
		}
		pthread_cond_signal(&pool.work);
		pthread_cond_wait(&pool.ready, &pool.lock);
	}
	pool.waiting--;
	if (wants_launch())
		pthread_cond_signal(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	return err;
}

void stub_put(struct stub *s)
{
	pthread_mutex_lock(&pool.lock);
	if (!s->dead && pool.nready < POOL_KEEP) {
		SLIST_INSERT_HEAD(&pool.stubs, s, link);
		pool.nready++;
		pool.reused++;
		pthread_cond_signal(&pool.ready);
	} else {
		SLIST_INSERT_HEAD(&pool.doomed, s, link);
		pthread_cond_signal(&pool.work);
	}
	pthread_mutex_unlock(&pool.lock);
}

void stub_pool_counters(u64 *created, u64 *reused)
{
	pthread_mutex_lock(&pool.lock);
	*created = pool.created;
	*reused = pool.reused;
	pthread_mutex_unlock(&pool.lock);
}
