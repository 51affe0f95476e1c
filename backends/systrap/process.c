/*
 * Stub processes: launch, the helper thread and its rendezvous, guest threads, death.
 *
 * A stub is a fresh image executed out of a memfd, never a fork of the sentry. It needs no ptrace: it confines itself and
 * sends us the listener of its own filter. It dies with us: its helper waits in a user notification, and when the
 * listener is closed that call fails and the helper ends the process. A process that has run guest code is
 * never used for another guest: a thread of it that only pretended to be parked would survive into the next one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "backends/systrap/systrap.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	SECCOMP_IOW(4, __u64)
#endif
#define FD_SYNC_WAKE_UP		1ul		/* linux/seccomp.h since 6.6: the answer switches to the stub on this CPU */

enum { CLONE_GUEST_THREAD = 0x50f00, LAUNCH_STACK = 64 << 10 };

extern const u8 systrap_image[], systrap_image_end[];

static int image_fd = -1;

/* ---- launch ---- */

struct launch {
	int memory, shared, sock;
};

/* In the vfork child: shares our memory, so it only makes system calls. */
static int launch_child(void *arg)
{
	const struct launch *l = arg;
	static char *const argv[] = { (char *)"trapgate-stub", NULL }, *const envp[] = { NULL };
	sigset_t all;

	/* The sources are above 9, so that no dup2 destroys one still needed. */
	if (dup2(l->memory, STUB_FD_MEMORY) < 0 || dup2(l->shared, STUB_FD_SHARED) < 0 || dup2(l->sock, STUB_FD_SOCKET) < 0)
		_exit(1);
	if (dup2(image_fd, STUB_FD_SOCKET + 1) < 0 || fcntl(STUB_FD_SOCKET + 1, F_SETFD, FD_CLOEXEC) < 0)
		_exit(2);
	syscall(SYS_close_range, 0, STUB_FD_MEMORY - 1, 0);
	syscall(SYS_close_range, STUB_FD_SOCKET + 2, ~0u, 0);
	personality(ADDR_NO_RANDOMIZE);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	syscall(SYS_setsid);
	syscall(SYS_execveat, STUB_FD_SOCKET + 1, "", argv, envp, AT_EMPTY_PATH);
	_exit(3);
}

static pid_t launch(const struct launch *l)
{
	char *stack = mmap(NULL, LAUNCH_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigset_t all, old;
	pid_t pid;

	if (stack == MAP_FAILED)
		return -ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);	/* no handler of ours may run in the child */
	pid = clone(launch_child, stack + LAUNCH_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)l);
	if (pid < 0)
		pid = -errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	munmap(stack, LAUNCH_STACK);
	return pid;
}

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

/* ---- the helper ---- */

struct stub_record *helper_records(struct address_space *as)
{
	return (struct stub_record *)((u8 *)as->control + CONTROL_RECORDS);
}

/* Wait for the helper to come (back). Takes what it reports from its registers: the kernel vouches for them. */
static int helper_meet(struct address_space *as, u64 *done, u64 *error, u64 *result)
{
	struct seccomp_notif n;

	do {
		memset(&n, 0, sizeof(n));
		COUNT(host_calls);
		if (!ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &n))
			break;
	} while (errno == EINTR || (errno == ENOENT && !as->dead));
	if (!n.id || (pid_t)n.pid != as->pid) {
		as->dead = true;
		return -ESRCH;
	}
	as->notify_id = n.id;
	*done = n.data.args[0];
	*error = n.data.args[1];
	*result = n.data.args[2];
	return 0;
}

int helper_run(struct address_space *as, int n, u64 *result)
{
	struct seccomp_notif_resp resp = { .id = as->notify_id, .val = n };
	u64 done, error, last;

	if (as->dead)
		return -ESRCH;
	COUNT(host_calls);
	COUNT(batches);
	if (ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_SEND, &resp)) {
		as->dead = true;
		return -ESRCH;
	}
	if (helper_meet(as, &done, &error, &last))
		return -ESRCH;
	if (result)
		*result = last;
	return error ? (int)(s64)error : 0;
}

/* ---- guest threads ---- */

static struct channel *channel_at(struct address_space *as, int index)
{
	return (struct channel *)(as->channels + (u64)index * CHANNEL_SIZE + CHANNEL_PAGE);
}

/* The kernel's stack_t. */
struct alt_stack {
	u64 sp;
	u32 flags, pad;
	u64 size;
};

/* A new thread reports by its first trap; only then may the records be overwritten. */
static int thread_arrives(struct address_space *as, struct channel_slot *slot)
{
	struct timespec patience = { .tv_sec = 1 };

	while (__atomic_load_n(&slot->ch->seq, __ATOMIC_ACQUIRE) == 0 && !as->dead) {
		__atomic_store_n(&slot->ch->sentry_sleeps, 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &slot->ch->seq, FUTEX_WAIT, 0, &patience, NULL, 0);
	}
	__atomic_store_n(&slot->ch->sentry_sleeps, 0, __ATOMIC_RELAXED);
	return as->dead ? -ESRCH : 0;
}

static int thread_create(struct address_space *as, struct channel_slot *slot, int index)
{
	struct stub_record *r = helper_records(as);
	u64 base = STUB_CHANNELS + (u64)index * CHANNEL_SIZE, tid;
	struct alt_stack stack = { .sp = base + CHANNEL_ALTSTACK, .size = CHANNEL_ALTSTACK_SIZE };
	int err;

	slot->ch = channel_at(as, index);
	slot->ch->entry = STUB_FAST_ENTRY;
	r[0] = (struct stub_record){ .nr = SYS_clone, .arg = { CLONE_GUEST_THREAD, base + CHANNEL_PAGE } };
	memcpy(&r[1], &stack, sizeof(stack));
	err = helper_run(as, 1, &tid);
	if (err)
		return err;
	slot->tid = tid;
	return thread_arrives(as, slot);
}

int slot_acquire(struct address_space *as, struct channel_slot **out)
{
	struct channel_slot *slot;
	int err = 0;

	pthread_mutex_lock(&as->lock);
	slot = TAILQ_FIRST(&as->free_slots);
	if (slot) {
		TAILQ_REMOVE(&as->free_slots, slot, link);
		goto out;
	}
	err = -EAGAIN;
	if (as->nslots == CHANNEL_MAX)
		goto out;
	err = -ENOMEM;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		goto out;
	err = thread_create(as, slot, as->nslots);
	if (err) {
		free(slot);
		goto out;
	}
	as->slots[as->nslots++] = slot;
out:
	pthread_mutex_unlock(&as->lock);
	*out = slot;
	return err;
}

/* The thread stays where it is, waiting for an answer; the next context in this address space takes it over. */
void slot_release(struct address_space *as, struct channel_slot *slot)
{
	pthread_mutex_lock(&as->lock);
	TAILQ_INSERT_HEAD(&as->free_slots, slot, link);
	pthread_mutex_unlock(&as->lock);
}

/* ---- fs_base -> channel, for trampolines ---- */

static u32 table_hash(u64 fs_base)
{
	/* As the trampoline does it: crc32, its top 12 bits. */
	u64 crc = 0;

	asm("crc32q %1, %0" : "+r"(crc) : "rm"(fs_base));
	return (u32)crc >> 20;
}

void table_publish(struct address_space *as, struct channel_slot *slot, u64 fs_base)
{
	u64 *table = (u64 *)((u8 *)as->control + CONTROL_TABLE + TABLE_FIRST);
	u64 channel = STUB_CHANNELS + ((u8 *)slot->ch - as->channels);

	slot->ch->neg_fs = -fs_base;
	__atomic_store_n(&table[table_hash(fs_base)], channel - (STUB_CONTROL + CONTROL_TABLE), __ATOMIC_RELEASE);
}

/* ---- creation ---- */

static int map_shared(struct address_space *as)
{
	u64 size = STUB_CONTROL_SIZE + (u64)CHANNEL_MAX * CHANNEL_SIZE;

	as->shared_fd = memfd_create("trapgate-channels", MFD_CLOEXEC);
	if (as->shared_fd < 0 || ftruncate(as->shared_fd, size))
		return -errno;
	as->control = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, as->shared_fd, 0);
	if (as->control == MAP_FAILED) {
		as->control = NULL;
		return -ENOMEM;
	}
	as->channels = (u8 *)as->control + STUB_CONTROL_SIZE;
	return 0;
}

/* A descriptor above those that launch_child() fills. */
static int high_fd(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	close(fd);
	return high;
}

static int start_process(struct address_space *as)
{
	int pair[2], err;
	u64 a, b, c;
	struct launch l;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pair[1] = high_fd(pair[1]);
	as->shared_fd = high_fd(as->shared_fd);
	l = (struct launch){ .memory = systrap_memory->fd, .shared = as->shared_fd, .sock = pair[1] };
	as->pid = launch(&l);
	close(pair[1]);
	err = as->pid < 0 ? as->pid : 0;
	if (!err) {
		as->pidfd = syscall(SYS_pidfd_open, as->pid, 0);
		as->notify_fd = receive_fd(pair[0]);
		err = as->notify_fd < 0 ? as->notify_fd : 0;
	}
	close(pair[0]);
	if (err)
		return err;
	ioctl(as->notify_fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP);	/* before 6.6: slower, as right */
	return helper_meet(as, &a, &b, &c);
}

static void monitor_add(struct address_space *as);
static void monitor_remove(struct address_space *as);

static void destroy(struct address_space *as)
{
	if (as->pid > 0) {
		monitor_remove(as);
		kill(as->pid, SIGKILL);
		waitpid(as->pid, NULL, __WALL);
	}
	if (as->pidfd >= 0)
		close(as->pidfd);
	if (as->notify_fd >= 0)
		close(as->notify_fd);
	if (as->shared_fd >= 0)
		close(as->shared_fd);
	if (as->control)
		munmap(as->control, STUB_CONTROL_SIZE + (u64)CHANNEL_MAX * CHANNEL_SIZE);
	for (int i = 0; i < as->nslots; i++)
		free(as->slots[i]);
	pthread_mutex_destroy(&as->lock);
	free(as);
}

static int create(struct address_space **out)
{
	struct address_space *as = calloc(1, sizeof(*as));
	int err;

	if (!as)
		return -ENOMEM;
	as->pidfd = as->notify_fd = as->shared_fd = -1;
	pthread_mutex_init(&as->lock, NULL);
	TAILQ_INIT(&as->free_slots);
	err = map_shared(as);
	if (err)
		goto fail;
	as->control->version = SYSTRAP_ABI_VERSION;
	*(u64 *)((u8 *)as->control + CONTROL_TABLE + CH_NEG_FS) = 1;	/* no canonical fs_base is minus one */
	filter_write(as->control);
	err = start_process(as);
	if (err)
		goto fail;
	close(as->shared_fd);
	as->shared_fd = -1;
	monitor_add(as);
	COUNT(stubs_created);
	*out = as;
	return 0;
fail:
	destroy(as);
	return err;
}

/* ---- the pool and the monitor: one background thread ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t refill;
	pthread_t thread, monitor;
	TAILQ_HEAD(, address_space) ready, live;	/* live: those that the monitor watches */
	int nready;
	bool stop;
	int epoll, stop_fd;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .refill = PTHREAD_COND_INITIALIZER, .epoll = -1 };

static void *pool_main(void *unused)
{
	pthread_mutex_lock(&pool.lock);
	while (!pool.stop) {
		struct address_space *as;
		int err;

		if (pool.nready >= systrap_pool) {
			pthread_cond_wait(&pool.refill, &pool.lock);
			continue;
		}
		pthread_mutex_unlock(&pool.lock);
		err = create(&as);
		pthread_mutex_lock(&pool.lock);
		if (err) {
			/* The next as_create() meets the same error itself and reports it. */
			pthread_cond_wait(&pool.refill, &pool.lock);
			continue;
		}
		TAILQ_INSERT_TAIL(&pool.ready, as, link);
		pool.nready++;
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/*
 * A stub that is killed from outside would leave its contexts waiting for ever: move every channel's `seq`, so that
 * no wait can start on the old value, and wake.
 */
static void stub_died(struct address_space *as)
{
	as->dead = true;
	for (int i = 0; i < CHANNEL_MAX && as->slots[i]; i++) {
		struct channel *ch = as->slots[i]->ch;

		__atomic_fetch_add(&ch->seq, 0x40000000, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &ch->seq, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

static struct address_space *live_find(int pidfd)
{
	struct address_space *as;

	TAILQ_FOREACH(as, &pool.live, live_link)
		if (as->pidfd == pidfd)
			return as;
	return NULL;
}

static void *monitor_main(void *unused)
{
	struct address_space *as;
	struct epoll_event ev;

	for (;;) {
		if (epoll_wait(pool.epoll, &ev, 1, -1) != 1)
			continue;
		if (ev.data.fd == pool.stop_fd)
			return NULL;
		pthread_mutex_lock(&pool.lock);
		as = live_find(ev.data.fd);	/* NULL: destroy() was quicker */
		if (as) {
			epoll_ctl(pool.epoll, EPOLL_CTL_DEL, as->pidfd, NULL);
			stub_died(as);
		}
		pthread_mutex_unlock(&pool.lock);
	}
}

static void monitor_add(struct address_space *as)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = as->pidfd };

	pthread_mutex_lock(&pool.lock);
	TAILQ_INSERT_TAIL(&pool.live, as, live_link);
	as->watched = true;
	epoll_ctl(pool.epoll, EPOLL_CTL_ADD, as->pidfd, &ev);
	pthread_mutex_unlock(&pool.lock);
}

static void monitor_remove(struct address_space *as)
{
	pthread_mutex_lock(&pool.lock);
	if (as->watched) {
		TAILQ_REMOVE(&pool.live, as, live_link);
		epoll_ctl(pool.epoll, EPOLL_CTL_DEL, as->pidfd, NULL);
	}
	as->watched = false;
	pthread_mutex_unlock(&pool.lock);
}

int systrap_as_create(struct address_space **out)
{
	struct address_space *as;

	pthread_mutex_lock(&pool.lock);
	as = TAILQ_FIRST(&pool.ready);
	if (as) {
		TAILQ_REMOVE(&pool.ready, as, link);
		pool.nready--;
	}
	pthread_cond_signal(&pool.refill);
	pthread_mutex_unlock(&pool.lock);
	if (as && !as->dead) {
		COUNT(stubs_reused);
		*out = as;
		return 0;
	}
	if (as)
		destroy(as);
	return create(out);
}

void systrap_as_destroy(struct address_space *as)
{
	destroy(as);
}

int process_pool_start(void)
{
	struct epoll_event stop = { .events = EPOLLIN };
	int fd = memfd_create("trapgate-stub", MFD_CLOEXEC);
	size_t len = systrap_image_end - systrap_image;

	if (fd < 0)
		return -errno;
	if (write(fd, systrap_image, len) != (ssize_t)len)
		return -EIO;
	image_fd = high_fd(fd);
	TAILQ_INIT(&pool.ready);
	TAILQ_INIT(&pool.live);
	pool.epoll = epoll_create1(EPOLL_CLOEXEC);
	pool.stop_fd = eventfd(0, EFD_CLOEXEC);
	stop.data.fd = pool.stop_fd;
	if (image_fd < 0 || pool.epoll < 0 || epoll_ctl(pool.epoll, EPOLL_CTL_ADD, pool.stop_fd, &stop))
		return -errno;
	pool.stop = false;
	if (pthread_create(&pool.monitor, NULL, monitor_main, NULL) || pthread_create(&pool.thread, NULL, pool_main, NULL))
		return -EAGAIN;
	return 0;
}

/* The last guest is gone: no as_create or as_destroy runs any more. */
void process_pool_stop(void)
{
	struct address_space *as;

	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_signal(&pool.refill);
	pthread_mutex_unlock(&pool.lock);
	pthread_join(pool.thread, NULL);
	eventfd_write(pool.stop_fd, 1);
	pthread_join(pool.monitor, NULL);
	while ((as = TAILQ_FIRST(&pool.ready))) {
		TAILQ_REMOVE(&pool.ready, as, link);
		destroy(as);
	}
	pool.nready = 0;
	close(pool.epoll);
	close(pool.stop_fd);
	close(image_fd);
	image_fd = -1;
}
