/*
 * vCPUs: made when first needed, lent to a context while it runs. A vCPU keeps the extended state of the context that
 * ran on it last, so a task that gets the same one again, as it does while there are enough, moves nothing.
 *
 * Whoever holds `busy` has the vCPU. Its owner takes it without a lock; anybody else, to give it another owner, under
 * pool.lock. When all are busy the next to be put is handed over to the first who waits, and one that runs for long
 * is asked to stop.
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

enum { MAX_VCPUS = (RING0_PAGES - RING0_PAGE_VCPU) / VCPU_PAGES, SLICE_NS = 4000000 };

long kvm_vcpus;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t put;			/* one was handed over */
	struct vcpu *vcpu[MAX_VCPUS];
	_Atomic int n;
	int max, next;				/* next: where to look first for one to take over */
	_Atomic int waiters;
	struct vcpu *handoff;			/* busy, for whoever waits */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .put = PTHREAD_COND_INITIALIZER };

static void no_handler(int signo) { }

/* ---- making one ---- */

/* In KVM_RUN the kick's signal ends the run; everywhere else it waits, and disturbs no host call of the sentry. */
static int set_signal_mask(int fd)
{
	u32 buf[(sizeof(struct kvm_signal_mask) + sizeof(u64)) / sizeof(u32)];
	struct kvm_signal_mask *mask = (struct kvm_signal_mask *)buf;
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	sigdelset(&now, KICK_SIGNAL);
	mask->len = sizeof(u64);	/* the kernel's, not libc's */
	memcpy(mask->sigset, &now, sizeof(u64));
	return ioctl(fd, KVM_SET_SIGNAL_MASK, mask) ? -errno : 0;
}

static void vcpu_destroy(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, machine.run_size);
	if (v->fd >= 0)
		close(v->fd);
	free(v);
}

static struct vcpu *vcpu_create(int id)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	void *run;

	if (!v)
		return NULL;
	v->id = id;
	v->area = machine_private(RING0_PAGE_VCPU + id * VCPU_PAGES);
	v->area_va = RING0_BASE + (RING0_PAGE_VCPU + id * VCPU_PAGES) * PAGE_SIZE;
	v->cpu = (struct ring0_cpu *)(v->area + CPU_OFFSET);
	v->fd = ioctl(machine.vm, KVM_CREATE_VCPU, id);
	if (v->fd < 0)
		goto fail;
	run = mmap(NULL, machine.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		goto fail;
	v->run = run;
	if (set_signal_mask(v->fd) || vcpu_set_up(v))
		goto fail;
	return v;
fail:
	log_error("kvm: can't make vCPU %d: %s", id, strerror(errno));
	vcpu_destroy(v);
	return NULL;
}

/* ---- lending; under pool.lock ---- */

/* The vCPU is busy for the caller: what its owner left in it goes home. */
static void take_over(struct vcpu *v, struct context *ctx)
{
	struct context *old = v->owner;

	if (old && old != ctx) {
		if (old->fp_home == FP_VCPU) {
			if (vcpu_save_fp(v, old->fp))
				die("kvm: can't read the extended state of vCPU %d", v->id);
			old->fp_home = FP_IMAGE;
		}
		atomic_store(&old->vcpu, NULL);
	}
	v->owner = ctx;
	atomic_store(&v->preempt, false);
	atomic_store(&ctx->vcpu, v);
}

static bool try_busy(struct vcpu *v)
{
	bool no = false;

	return atomic_compare_exchange_strong(&v->busy, &no, true);
}

static struct vcpu *find_idle(bool owned)
{
	const int n = atomic_load(&pool.n);

	for (int i = 0; i < n; i++) {
		struct vcpu *v = pool.vcpu[(pool.next + i) % n];

		/* `owner` may change under us if it is busy; then it is not ours to have anyway. */
		if (try_busy(v)) {
			if (!!v->owner == owned) {
				pool.next = (pool.next + i + 1) % n;
				return v;
			}
			atomic_store(&v->busy, false);
		}
	}
	return NULL;
}

static struct vcpu *make_new(void)
{
	const int n = atomic_load(&pool.n);
	struct vcpu *v;

	if (n >= pool.max)
		return NULL;
	v = vcpu_create(n);
	if (!v) {
		pool.max = MAX(n, 1);		/* the host has no more; live with these */
		return NULL;
	}
	atomic_store(&v->busy, true);
	pool.vcpu[n] = v;
	atomic_store(&pool.n, n + 1);
	return v;
}

struct vcpu *vcpu_first(void)
{
	struct vcpu *v;

	pthread_mutex_lock(&pool.lock);
	v = make_new();
	pthread_mutex_unlock(&pool.lock);
	if (v)
		atomic_store(&v->busy, false);
	return v;
}

static struct vcpu *pop_handoff(void)
{
	struct vcpu *v = pool.handoff;

	if (v)
		pool.handoff = v->handoff;
	return v;
}

static void release_handoffs(void)
{
	struct vcpu *v;

	while ((v = pop_handoff()))
		atomic_store(&v->busy, false);
}

/* Another that runs is asked to give way, in turn. */
static void preempt_one(void)
{
	const int n = atomic_load(&pool.n);
	struct vcpu *v;
	pid_t tid;

	if (!n)
		return;
	v = pool.vcpu[pool.next++ % n];
	tid = atomic_load(&v->tid);
	atomic_store(&v->preempt, true);
	if (tid)
		vcpu_kick(v, tid);
}

static struct vcpu *wait_for_one(void)
{
	struct timespec until;
	struct vcpu *v;

	atomic_fetch_add(&pool.waiters, 1);
	while (!(v = pop_handoff()) && !(v = find_idle(false)) && !(v = find_idle(true))) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += SLICE_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		if (pthread_cond_timedwait(&pool.put, &pool.lock, &until) == ETIMEDOUT)
			preempt_one();
	}
	/* More may have been handed over than there were waiters. */
	if (atomic_fetch_sub(&pool.waiters, 1) == 1)
		release_handoffs();
	return v;
}

struct vcpu *vcpu_get(struct context *ctx)
{
	struct vcpu *v = atomic_load(&ctx->vcpu);

	if (v && try_busy(v)) {
		if (v->owner == ctx)
			return v;
		atomic_store(&v->busy, false);
	}
	pthread_mutex_lock(&pool.lock);
	v = atomic_load(&ctx->vcpu);
	if (v && !try_busy(v))
		v = NULL;		/* on its way to another */
	if (!v)
		v = find_idle(false);
	if (!v)
		v = make_new();
	if (!v)
		v = find_idle(true);
	if (!v && atomic_load(&pool.n))
		v = wait_for_one();
	if (v && v->owner != ctx) {
		struct vcpu *mine = atomic_load(&ctx->vcpu);

		/* Ours went to the list for others while we waited for any: it stays there, without our state. */
		if (mine) {
			if (ctx->fp_home == FP_VCPU && !vcpu_save_fp(mine, ctx->fp))
				ctx->fp_home = FP_IMAGE;
			mine->owner = NULL;
		}
		take_over(v, ctx);
	}
	pthread_mutex_unlock(&pool.lock);
	return v;
}

void vcpu_put(struct vcpu *v)
{
	if (!atomic_load(&pool.waiters)) {
		atomic_store(&v->busy, false);
		if (!atomic_load(&pool.waiters))
			return;
		/* Somebody came to wait in between, and may not have seen it idle; at worst a slice passes. */
		pthread_mutex_lock(&pool.lock);
		pthread_cond_signal(&pool.put);
		pthread_mutex_unlock(&pool.lock);
		return;
	}
	pthread_mutex_lock(&pool.lock);
	v->handoff = pool.handoff;
	pool.handoff = v;
	if (atomic_load(&pool.waiters))
		pthread_cond_signal(&pool.put);
	else
		release_handoffs();
	pthread_mutex_unlock(&pool.lock);
}

void vcpu_disown(struct context *ctx)
{
	struct vcpu *v;

	pthread_mutex_lock(&pool.lock);
	v = atomic_load(&ctx->vcpu);
	if (v) {
		v->owner = NULL;
		atomic_store(&ctx->vcpu, NULL);
	}
	pthread_mutex_unlock(&pool.lock);
}

int vcpu_fp_read(struct context *ctx)
{
	int err = 0;

	pthread_mutex_lock(&pool.lock);
	if (ctx->fp_home == FP_VCPU) {
		err = vcpu_save_fp(atomic_load(&ctx->vcpu), ctx->fp);
		if (!err)
			ctx->fp_home = FP_IMAGE;
	}
	pthread_mutex_unlock(&pool.lock);
	return err;
}

/* ---- kicks ---- */

/*
 * immediate_exit ends a KVM_RUN that is about to begin, the signal one that has begun; `stop` is for ring 0, which then
 * does not go back to the guest.
 */
void vcpu_kick(struct vcpu *v, pid_t tid)
{
	atomic_store(&v->cpu->stop, 1);
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	count_host_calls(1);
	syscall(SYS_tgkill, getpid(), tid, KICK_SIGNAL);
}

void vcpu_passed(struct vcpu *v)
{
	atomic_fetch_add(&v->seq, 1);
	if (atomic_load(&v->watchers))
		syscall(SYS_futex, &v->seq, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

static void wait_passed(struct vcpu *v, struct address_space *as, u32 seq)
{
	atomic_fetch_add(&v->watchers, 1);
	while (atomic_load(&v->seq) == seq && atomic_load(&v->running) == as)
		syscall(SYS_futex, &v->seq, FUTEX_WAIT_PRIVATE, seq, NULL, NULL, 0);
	atomic_fetch_sub(&v->watchers, 1);
}

void vcpus_kick_out(struct address_space *as)
{
	const int n = atomic_load(&pool.n);
	u32 seq[MAX_VCPUS];
	bool in[MAX_VCPUS];

	atomic_thread_fence(memory_order_seq_cst);
	for (int i = 0; i < n; i++) {
		struct vcpu *v = pool.vcpu[i];

		in[i] = atomic_load(&v->running) == as;
		if (!in[i])
			continue;
		seq[i] = atomic_load(&v->seq);
		vcpu_kick(v, atomic_load(&v->tid));
	}
	for (int i = 0; i < n; i++)
		if (in[i])
			wait_passed(pool.vcpu[i], as, seq[i]);
}

/* ---- life ---- */

int vcpu_pool_init(int ncpus)
{
	struct sigaction sa = { .sa_handler = no_handler, .sa_flags = SA_RESTART };
	int most = MIN(machine.max_vcpus, (int)MAX_VCPUS);

	pool.max = kvm_vcpus ? MIN((int)kvm_vcpus, most) : MIN(MAX(8 * ncpus, 32), most);
	pool.next = 0;
	return sigaction(KICK_SIGNAL, &sa, NULL) ? -errno : 0;
}

void vcpu_pool_exit(void)
{
	for (int i = 0; i < atomic_load(&pool.n); i++)
		vcpu_destroy(pool.vcpu[i]);
	atomic_store(&pool.n, 0);
	pool.handoff = NULL;
}
