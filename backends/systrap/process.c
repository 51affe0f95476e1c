/*
 * Stub processes: launch, the pool of ready ones, recycling, death.
 *
 * A stub is a fresh image executed out of a memfd, never a fork of the sentry. It needs no ptrace: it confines itself
 * and sends us the listener of its own filter. It dies with us, however we die: the helper's notification fails when the
 * listener is closed, and guest threads have PR_SET_PDEATHSIG. That signal comes when the *thread* ends whose
 * child they are: the sentry's main thread (see launcher.h).
 *
 * An address space that is given back is unmapped by its helper at once; the pool thread then parks its first guest
 * thread (park.c), kills the others, clears its channels and offers it again.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/stub/launcher.h"
#include "backends/systrap/systrap.h"

#define FD_SYNC_WAKE_UP		1ul		/* linux/seccomp.h since 6.6: the answer switches to the stub on this CPU */

extern const u8 systrap_image[], systrap_image_end[];

_Static_assert(STUB_FD_MEMORY == LAUNCH_FD_FIRST && STUB_FD_SOCKET == LAUNCH_FD_FIRST + LAUNCH_FDS - 1, "the launcher counts so");

static int memory_fd = -1;

/* ---- creation ---- */

static int receive_fd(int sock)
{
	union { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 || byte != SYSTRAP_ABI_VERSION)
		return -EPROTO;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static u64 shared_size(void) { return STUB_CONTROL_SIZE + (u64)CHANNEL_MAX * CHANNEL_SIZE; }

/* Maps the shared file; its descriptor is only needed until the stub has it. */
static int map_shared(struct address_space *as, int *fd)
{
	*fd = memfd_create("trapgate-channels", MFD_CLOEXEC);
	if (*fd < 0)
		return -errno;
	if (ftruncate(*fd, shared_size()))
		return -errno;
	as->control = mmap(NULL, shared_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *fd, 0);
	if (as->control == MAP_FAILED) {
		as->control = NULL;
		return -ENOMEM;
	}
	as->channels = (u8 *)as->control + STUB_CONTROL_SIZE;
	as->control->version = SYSTRAP_ABI_VERSION;
	as->control->sentry_pid = getpid();
	*(u64 *)((u8 *)as->control + CONTROL_TABLE + CH_NEG_FS) = 1;	/* no canonical fs_base is minus one */
	return filter_write(as->control);
}

static int start_process(struct address_space *as, int shared_fd)
{
	u64 done, error, result;
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	as->pid = launcher_spawn(&(struct launch){ .fd = { memory_fd, shared_fd, pair[1] }, .blocked = ~0ull });
	close(pair[1]);
	err = as->pid < 0 ? as->pid : 0;
	if (!err) {
		as->notify_fd = receive_fd(pair[0]);
		err = as->notify_fd < 0 ? as->notify_fd : 0;
	}
	close(pair[0]);
	if (err)
		return err;
	ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP);	/* before 6.6: slower, as right */
	return helper_meet(as, &done, &error, &result);
}

static void destroy(struct address_space *as)
{
	monitor_remove(&as->watch);
	if (as->pid > 0)
		kill(as->pid, SIGKILL);
	threads_kill(as);
	if (as->pid > 0)
		launcher_reap(as->pid);
	if (as->notify_fd >= 0)
		close(as->notify_fd);
	if (as->control)
		munmap(as->control, shared_size());
	for (int i = 0; i < as->nslots; i++)
		free(as->slots[i]);
	map_queue_exit(&as->maps);
	free(as);
}

/* The pool thread only; see above. */
static int create(struct address_space **out)
{
	struct address_space *as = calloc(1, sizeof(*as));
	int err, shared_fd = -1;

	if (!as)
		return -ENOMEM;
	as->notify_fd = -1;
	as->watch.pidfd = -1;
	as->watch.as = as;
	map_queue_init(&as->maps);
	TAILQ_INIT(&as->free_slots);
	err = map_shared(as, &shared_fd);
	as->maps.runner = &helper_runner;
	as->maps.self = as;
	as->maps.memory_fd = STUB_FD_MEMORY;
	as->virgin = true;
	as->maps.eager = true;		/* that its threads have stopped is only what the guest's memory says */
	if (!err) {
		as->maps.records = helper_records(as);
		err = start_process(as, shared_fd);
	}
	if (!err)
		err = monitor_add(&as->watch, as->pid);
	if (shared_fd >= 0)
		close(shared_fd);
	if (err) {
		destroy(as);
		return err;
	}
	COUNT(stubs_created);
	*out = as;
	return 0;
}

/* ---- the pool ---- */

static struct {
	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t work, served;
	pthread_t thread;
	TAILQ_HEAD(address_space_ready_head, address_space) ready, used;	/* used: given back, to be cleaned */
	int nready, waiting, error;
	bool stop;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .served = PTHREAD_COND_INITIALIZER };

static void offer(struct address_space *as)
{
	TAILQ_INSERT_TAIL(&pool.ready, as, link);
	pool.nready++;
	pthread_cond_signal(&pool.served);
}

/* Called with the lock held, drops it meanwhile. */
static void clean_one(struct address_space *as)
{
	bool keep = pool.nready < MAX(systrap_pool, 1) * 2 && !as->dead;

	TAILQ_REMOVE(&pool.used, as, link);
	pthread_mutex_unlock(&pool.lock);
	if (keep) {
		threads_recycle(as);
		threads_prepare(as);	/* if it fails, the next context finds out */
	} else {
		destroy(as);
	}
	pthread_mutex_lock(&pool.lock);
	if (keep) {
		COUNT(stubs_reused);
		offer(as);
	}
}

static void create_one(void)
{
	struct address_space *as;
	int err;

	pthread_mutex_unlock(&pool.lock);
	err = create(&as);
	if (!err)
		threads_prepare(as);
	pthread_mutex_lock(&pool.lock);
	pool.error = err;
	if (err)
		pthread_cond_broadcast(&pool.served);
	else
		offer(as);
}

static void *pool_main(void *unused)
{
	struct address_space *as;

	pthread_mutex_lock(&pool.lock);
	while (!pool.stop) {
		as = TAILQ_FIRST(&pool.used);
		if (pool.waiting > pool.nready && !pool.error && !as)
			create_one();
		else if (as)
			clean_one(as);
		else if (pool.nready < systrap_pool && !pool.error)
			create_one();
		else
			pthread_cond_wait(&pool.work, &pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/* Called with the lock held: one that is ready, or NULL with pool.error set. */
static struct address_space *take_ready(void)
{
	struct address_space *as;

	while (!(as = TAILQ_FIRST(&pool.ready)) && !pool.error) {
		pthread_cond_signal(&pool.work);
		pthread_cond_wait(&pool.served, &pool.lock);
	}
	if (as) {
		TAILQ_REMOVE(&pool.ready, as, link);
		pool.nready--;
	}
	return as;
}

int systrap_as_create(struct address_space **out)
{
	struct address_space *as;
	int err;

	pthread_mutex_lock(&pool.lock);
	pool.waiting++;
	pool.error = 0;
	while ((as = take_ready()) && as->dead)	/* killed from outside while it waited */
		destroy(as);
	pool.waiting--;
	err = as ? 0 : pool.error;
	if (pool.nready < systrap_pool)
		pthread_cond_signal(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	if (as)
		as->users = 1;
	*out = as;
	return err == -ENOMEM || err == -EMFILE ? -ENOMEM : err ? -EAGAIN : 0;
}

void process_put(struct address_space *as)
{
	if (atomic_fetch_sub(&as->users, 1) != 1)
		return;
	if (as->dead) {
		destroy(as);
		return;
	}
	pthread_mutex_lock(&pool.lock);
	TAILQ_INSERT_TAIL(&pool.used, as, link);
	pthread_cond_signal(&pool.work);
	pthread_mutex_unlock(&pool.lock);
}

/* Contexts that ran in it last may still hold its threads; the process waits for them, its pages do not. */
void systrap_as_destroy(struct address_space *as)
{
	if (map_queue_clear(&as->maps)) {
		pthread_mutex_lock(&as->maps.lock);
		as->dead = true;
		threads_end(as);
		pthread_mutex_unlock(&as->maps.lock);
	}
	process_put(as);
}

int process_pool_start(void)
{
	int err = launcher_start(systrap_image, (size_t)(systrap_image_end - systrap_image));

	if (err)
		return err;
	memory_fd = systrap_memory->fd;
	err = monitor_start();
	if (err)
		return err;
	TAILQ_INIT(&pool.ready);
	TAILQ_INIT(&pool.used);
	pool.stop = false;
	return -pthread_create(&pool.thread, NULL, pool_main, NULL);
}

static void destroy_list(struct address_space *first)
{
	while (first) {
		struct address_space *next = TAILQ_NEXT(first, link);

		destroy(first);
		first = next;
	}
}

/* The last guest is gone: no as_create or as_destroy runs any more. */
void process_pool_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_signal(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	pthread_join(pool.thread, NULL);
	destroy_list(TAILQ_FIRST(&pool.ready));
	destroy_list(TAILQ_FIRST(&pool.used));
	pool.nready = 0;
	monitor_stop();
	launcher_stop();
}
