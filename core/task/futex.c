/*
 * Futexes.
 *
 * Waiters hang in hashed buckets, a lock each. A waiter reads the guest's word under its bucket's lock, and a waker
 * takes that lock after the guest has changed the word: so either the waiter sees the new value, or the waker finds the
 * waiter. The word is pinned while it is read, and never while anybody sleeps.
 *
 * A waiter lives on its task's stack. Waking one is done in two steps: it is unlinked under the bucket's lock
 * (bucket becomes NULL), then, with no lock held, marked `woken` and its task woken; after `woken` it may be gone
 * at any moment. A waiter that gives up and finds itself unlinked waits for `woken`, which is a few instructions
 * away.
 *
 * Two buckets are locked in the order of their addresses. uaccess happens before a bucket lock is taken; below it comes
 * tasklist, for reading, where PI futexes ask for an owner.
 */
#include "task/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>

#include "mm/mm.h"
#include "task/futex_bucket.h"
#include "task/internal.h"

#define ROBUST_LIMIT	2048		/* entries of a robust list that are looked at, as in the kernel */

struct futex_bucket futex_buckets[1 << BUCKET_BITS];
static pthread_once_t buckets_once = PTHREAD_ONCE_INIT;

static void init_buckets(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(futex_buckets); i++) {
		pthread_mutex_init(&futex_buckets[i].lock, NULL);
		TAILQ_INIT(&futex_buckets[i].waiters);
	}
}

static struct futex_bucket *bucket_of(const struct futex_key *key)
{
	pthread_once(&buckets_once, init_buckets);
	return futex_hash(key);
}

static u32 load_word(const u32 *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* Pins the word; -EINVAL if it is not aligned. */
static int get_word(struct task *t, gva_t addr, bool shared, enum access want, u32 **word, struct futex_key *key)
{
	if (addr % sizeof(u32))
		return -EINVAL;
	if (!guest_range_ok(addr, sizeof(u32)))
		return -EFAULT;
	return uaccess_word(t->mm, addr, shared, want, word, key) ? -EFAULT : 0;
}

static int get_key(struct task *t, gva_t addr, bool shared, struct futex_key *key)
{
	u32 *word;
	int err;

	err = get_word(t, addr, shared, ACCESS_READ, &word, key);
	if (!err)
		uaccess_word_unpin(word);
	return err;
}

/* ---- queueing ---- */

static void enqueue(struct futex_waiter *w, struct futex_bucket *b)
{
	TAILQ_INSERT_TAIL(&b->waiters, w, link);
	atomic_store(&w->bucket, b);
}

/* Bucket's lock held. */
static void unlink_waiter(struct futex_waiter *w, struct futex_bucket *b, struct futex_waiter **list)
{
	TAILQ_REMOVE(&b->waiters, w, link);
	task_ref(w->task);
	w->next = *list;
	*list = w;
	atomic_store(&w->bucket, NULL);
}

/* No lock held. The list is in reverse order of waiting; who runs first is the host's to decide anyway. */
static int wake_list(struct futex_waiter *list)
{
	int n = 0;

	while (list) {
		struct futex_waiter *w = list;
		struct task *t = w->task;

		list = w->next;
		atomic_store(&w->woken, true);
		task_wake(t);
		task_put(t);
		n++;
	}
	return n;
}

/* Own thread. True if it had been woken (or is being woken) before we could leave the queue. */
static bool dequeue(struct futex_waiter *w)
{
	struct futex_bucket *b;

	while ((b = atomic_load(&w->bucket))) {
		pthread_mutex_lock(&b->lock);
		if (atomic_load(&w->bucket) == b) {
			TAILQ_REMOVE(&b->waiters, w, link);
			atomic_store(&w->bucket, NULL);
			pthread_mutex_unlock(&b->lock);
			return false;
		}
		pthread_mutex_unlock(&b->lock);		/* requeued or woken meanwhile */
	}
	while (!atomic_load(&w->woken))
		sched_yield();
	return true;
}

/*
 * A fork by another thread may have put a copy of the page in place of the one that prepare() had pinned, and then the
 * word it read is not the one that the guest changed. Queued as we are, a second look at the present page settles it.
 */
static bool still_holds(struct task *t, gva_t addr, bool shared, const u32 *seen, u32 val)
{
	struct futex_key key;
	u32 *word;
	bool ok;

	if (get_word(t, addr, shared, ACCESS_READ, &word, &key))
		return true;
	ok = word == seen || load_word(word) == val;
	uaccess_word_unpin(word);
	return ok;
}

/* Test the word and queue, in one. */
static int prepare(struct task *t, struct futex_waiter *w, gva_t addr, bool shared, u32 val, u32 bitset)
{
	struct futex_bucket *b;
	u32 *word;
	int err;

	err = get_word(t, addr, shared, ACCESS_READ, &word, &w->key);
	if (err)
		return err;
	w->task = t;
	w->bitset = bitset;
	b = bucket_of(&w->key);
	pthread_mutex_lock(&b->lock);
	if (load_word(word) == val)
		enqueue(w, b);
	else
		err = -EAGAIN;
	pthread_mutex_unlock(&b->lock);
	if (!err && !still_holds(t, addr, shared, word, val) && !dequeue(w))
		err = -EAGAIN;
	uaccess_word_unpin(word);
	return err;
}

int futex_wait(struct task *t, gva_t addr, bool shared, u32 val, u64 deadline, u32 bitset)
{
	struct futex_waiter w = { 0 };
	int err;

	if (!bitset)
		return -EINVAL;
	err = prepare(t, &w, addr, shared, val, bitset);
	if (err)
		return err;
	while (!err && !atomic_load(&w.woken))
		err = task_block(t, deadline);
	return dequeue(&w) ? 0 : err;
}

/* Leaves all queues; the index of the first that had been woken, or -1. */
static int dequeue_many(struct futex_waiter *w, int n)
{
	int woken = -1;

	for (int i = 0; i < n; i++)
		if (dequeue(&w[i]) && woken < 0)
			woken = i;
	return woken;
}

static bool any_woken(struct futex_waiter *w, int n)
{
	for (int i = 0; i < n; i++)
		if (atomic_load(&w[i].woken))
			return true;
	return false;
}

int futex_wait_many(struct task *t, const struct futex_wait_spec *spec, int n, u64 deadline)
{
	struct futex_waiter *w = calloc(n, sizeof(*w));
	int err = 0, queued, woken;

	if (!w)
		return -ENOMEM;
	for (queued = 0; queued < n; queued++) {
		err = prepare(t, &w[queued], spec[queued].addr, spec[queued].shared, spec[queued].val,
			      FUTEX_BITSET_MATCH_ANY);
		if (err)
			break;
	}
	while (!err && !any_woken(w, queued))
		err = task_block(t, deadline);
	woken = dequeue_many(w, queued);
	free(w);
	return woken >= 0 ? woken : err;
}

/* ---- waking ---- */

/* Bucket's lock held. Unlinks at most n that match; returns how many. */
static int take_waiters(struct futex_bucket *b, const struct futex_key *key, int n, u32 bitset,
			struct futex_waiter **list)
{
	struct futex_waiter *w, *next;
	int taken = 0;

	for (w = TAILQ_FIRST(&b->waiters); w && taken < n; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!same_key(&w->key, key) || !(w->bitset & bitset))
			continue;
		unlink_waiter(w, b, list);
		taken++;
	}
	return taken;
}

static int wake_key(const struct futex_key *key, int n, u32 bitset)
{
	struct futex_bucket *b = bucket_of(key);
	struct futex_waiter *list = NULL;

	pthread_mutex_lock(&b->lock);
	take_waiters(b, key, n, bitset, &list);
	pthread_mutex_unlock(&b->lock);
	return wake_list(list);
}

int futex_wake(struct task *t, gva_t addr, bool shared, int n, u32 bitset)
{
	struct futex_key key;
	int err;

	if (!bitset)
		return -EINVAL;
	err = get_key(t, addr, shared, &key);
	return err ? err : wake_key(&key, MAX(n, 1), bitset);	/* the kernel, too, wakes one for n <= 0 */
}

int futex_wake_addr(struct task *t, gva_t addr, int n)
{
	return futex_wake(t, addr, true, n, FUTEX_BITSET_MATCH_ANY);
}

static void lock_two(struct futex_bucket *a, struct futex_bucket *b)
{
	pthread_mutex_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		pthread_mutex_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_two(struct futex_bucket *a, struct futex_bucket *b)
{
	pthread_mutex_unlock(&a->lock);
	if (a != b)
		pthread_mutex_unlock(&b->lock);
}

/* Both locks held. */
static int move_waiters(struct futex_bucket *from, const struct futex_key *key, struct futex_bucket *to,
			const struct futex_key *to_key, int n)
{
	struct futex_waiter *w, *next;
	int moved = 0;

	for (w = TAILQ_FIRST(&from->waiters); w && moved < n; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!same_key(&w->key, key) || !w->bitset)
			continue;
		moved++;
		w->key = *to_key;
		if (from == to)
			continue;
		TAILQ_REMOVE(&from->waiters, w, link);
		enqueue(w, to);
	}
	return moved;
}

int futex_requeue(struct task *t, gva_t addr, gva_t to, bool shared, int n, int move, const u32 *cmp)
{
	struct futex_waiter *list = NULL;
	struct futex_bucket *a, *b;
	struct futex_key ka, kb;
	int err, moved = 0;
	u32 *word;

	if (n < 0 || move < 0)
		return -EINVAL;
	err = get_key(t, to, shared, &kb);
	if (!err)
		err = get_word(t, addr, shared, ACCESS_READ, &word, &ka);
	if (err)
		return err;
	a = bucket_of(&ka);
	b = bucket_of(&kb);
	lock_two(a, b);
	if (cmp && load_word(word) != *cmp) {
		err = -EAGAIN;
	} else {
		take_waiters(a, &ka, n, FUTEX_BITSET_MATCH_ANY, &list);
		if (!same_key(&ka, &kb))
			moved = move_waiters(a, &ka, b, &kb, move);
	}
	unlock_two(a, b);
	uaccess_word_unpin(word);
	n = wake_list(list);
	return err ? err : n + moved;
}

/* The atomic operation that FUTEX_WAKE_OP does on its second word. False: the guest keeps changing it; try again. */
static bool apply_op(u32 *word, u32 op, s32 arg, u32 *old)
{
	u32 value;

	*old = load_word(word);
	switch (op) {
	case FUTEX_OP_SET: value = arg; break;
	case FUTEX_OP_ADD: value = *old + arg; break;
	case FUTEX_OP_OR: value = *old | arg; break;
	case FUTEX_OP_ANDN: value = *old & ~arg; break;
	default: value = *old ^ arg; break;
	}
	return __atomic_compare_exchange_n(word, old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool compare_op(s32 old, u32 cmp, s32 arg)
{
	switch (cmp) {
	case FUTEX_OP_CMP_EQ: return old == arg;
	case FUTEX_OP_CMP_NE: return old != arg;
	case FUTEX_OP_CMP_LT: return old < arg;
	case FUTEX_OP_CMP_GE: return old >= arg;
	case FUTEX_OP_CMP_LE: return old <= arg;
	default: return old > arg;
	}
}

int futex_wake_op(struct task *t, gva_t addr, gva_t addr2, bool shared, int n, int n2, u32 encoded)
{
	u32 op = encoded >> 28 & 7, cmp = encoded >> 24 & 15, old = 0;
	s32 oparg = (s32)(encoded << 8) >> 20, cmparg = (s32)(encoded << 20) >> 20;
	struct futex_waiter *list = NULL;
	struct futex_bucket *a, *b;
	struct futex_key ka, kb;
	u32 *word;
	int err;

	if (op > FUTEX_OP_XOR || cmp > FUTEX_OP_CMP_GT)
		return -ENOSYS;
	if (encoded >> 28 & FUTEX_OP_OPARG_SHIFT)
		oparg = (s32)((u32)1 << (oparg & 31));
	err = get_key(t, addr, shared, &ka);
	if (!err)
		err = get_word(t, addr2, shared, ACCESS_WRITE, &word, &kb);
	if (err)
		return err;
	a = bucket_of(&ka);
	b = bucket_of(&kb);
	lock_two(a, b);
	while (!apply_op(word, op, oparg, &old))
		;
	take_waiters(a, &ka, MAX(n, 1), FUTEX_BITSET_MATCH_ANY, &list);
	if (compare_op(old, cmp, cmparg))
		take_waiters(b, &kb, MAX(n2, 1), FUTEX_BITSET_MATCH_ANY, &list);
	unlock_two(a, b);
	uaccess_word_unpin(word);
	return wake_list(list);
}

/* ---- priority inheritance ---- */

/*
 * The word holds its owner's tid. There is no priority here to lend, since the host schedules; what is kept is the
 * protocol: who waits is handed the lock by the one that unlocks it, an owner that dies is noticed, a circle of one
 * is refused.
 */
static atomic_int pi_waiters;		/* so that the exit of a thread need not look for them */

/* May `tid` be taken for gone? */
static bool owner_gone(u32 tid, const struct futex_waiter *w)
{
	struct task *owner;
	bool gone;

	if (w->orphaned && w->owner == tid)
		return true;
	pthread_rwlock_rdlock(&tasklist);
	owner = task_find(tid);
	gone = owner && atomic_load(&owner->futex_gone);
	pthread_rwlock_unlock(&tasklist);
	return gone;
}

static bool owner_exists(u32 tid)
{
	bool found;

	pthread_rwlock_rdlock(&tasklist);
	found = task_find(tid) != NULL;
	pthread_rwlock_unlock(&tasklist);
	return found;
}

static bool has_pi_waiter(struct futex_bucket *b, const struct futex_key *key)
{
	struct futex_waiter *w;

	TAILQ_FOREACH(w, &b->waiters, link)
		if (!w->bitset && same_key(&w->key, key))
			return true;
	return false;
}

/*
 * One try, the bucket's lock held. 0: ours. 1: queued. -EAGAIN: the word moved under us, look again.
 * tasklist is taken below the bucket's lock here, and nowhere the other way round.
 */
static int pi_try(struct task *t, struct futex_waiter *w, struct futex_bucket *b, u32 *word, bool wait)
{
	u32 old = load_word(word), tid = old & FUTEX_TID_MASK, new;
	bool take = !tid || owner_gone(tid, w);

	if (tid == (u32)t->tid)
		return -EDEADLK;
	if (!take && !owner_exists(tid))
		return -ESRCH;
	if (!take && !wait)
		return -EWOULDBLOCK;
	if (take)
		new = (u32)t->tid | (tid ? FUTEX_OWNER_DIED : old & FUTEX_OWNER_DIED) |
		      (has_pi_waiter(b, &w->key) ? FUTEX_WAITERS : 0);
	else
		new = old | FUTEX_WAITERS;
	if (!__atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return -EAGAIN;
	if (take)
		return 0;
	w->owner = tid;
	w->orphaned = false;
	atomic_store(&w->woken, false);
	enqueue(w, b);
	return 1;
}

static int pi_round(struct task *t, struct futex_waiter *w, gva_t addr, bool shared, bool wait)
{
	struct futex_bucket *b;
	u32 *word;
	int r = get_word(t, addr, shared, ACCESS_WRITE, &word, &w->key);

	if (r)
		return r;
	b = bucket_of(&w->key);
	pthread_mutex_lock(&b->lock);
	do {
		r = pi_try(t, w, b, word, wait);
	} while (r == -EAGAIN && wait);
	pthread_mutex_unlock(&b->lock);
	uaccess_word_unpin(word);
	return r;
}

int futex_lock_pi(struct task *t, gva_t addr, bool shared, u64 deadline, bool wait)
{
	struct futex_waiter w = { .task = t };
	int r, err = 0;

	atomic_fetch_add(&pi_waiters, 1);
	for (;;) {
		r = pi_round(t, &w, addr, shared, wait);
		if (r != 1)
			break;
		while (!err && !atomic_load(&w.woken))
			err = task_block(t, deadline);
		r = dequeue(&w) ? 0 : err;
		/* Handed over, or given up; but an orphan takes what its owner left. */
		if (r || !w.orphaned)
			break;
		err = 0;
	}
	atomic_fetch_sub(&pi_waiters, 1);
	return r;
}

/* Bucket's lock held. The first waiter becomes the owner. -EAGAIN: the word moved. */
static int pi_hand_over(struct task *t, struct futex_bucket *b, const struct futex_key *key, u32 *word,
			struct futex_waiter **list)
{
	struct futex_waiter *w, *next = NULL;
	u32 old = load_word(word), new = 0;

	if ((old & FUTEX_TID_MASK) != (u32)t->tid)
		return -EPERM;
	for (w = TAILQ_FIRST(&b->waiters); w; w = TAILQ_NEXT(w, link)) {
		if (!same_key(&w->key, key) || w->bitset)
			continue;
		if (!next)
			next = w;
		else
			w->owner = next->task->tid;
	}
	if (next)
		new = FUTEX_WAITERS | (u32)next->task->tid;
	if (!__atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return -EAGAIN;
	if (next)
		unlink_waiter(next, b, list);
	return 0;
}

int futex_unlock_pi(struct task *t, gva_t addr, bool shared)
{
	struct futex_waiter *list = NULL;
	struct futex_bucket *b;
	struct futex_key key;
	u32 *word;
	int err = get_word(t, addr, shared, ACCESS_WRITE, &word, &key);

	if (err)
		return err;
	b = bucket_of(&key);
	pthread_mutex_lock(&b->lock);
	do {
		err = pi_hand_over(t, b, &key, word, &list);
	} while (err == -EAGAIN);
	pthread_mutex_unlock(&b->lock);
	uaccess_word_unpin(word);
	wake_list(list);
	return err;
}

/* Those who wait for a thread that goes away look again, and find the lock theirs. */
static void wake_orphans(struct task *t)
{
	struct futex_waiter *list = NULL, *w, *next;

	atomic_store(&t->futex_gone, true);
	if (!atomic_load(&pi_waiters))
		return;
	pthread_once(&buckets_once, init_buckets);
	for (size_t i = 0; i < ARRAY_SIZE(futex_buckets); i++) {
		struct futex_bucket *b = &futex_buckets[i];

		pthread_mutex_lock(&b->lock);
		for (w = TAILQ_FIRST(&b->waiters); w; w = next) {
			next = TAILQ_NEXT(w, link);
			if (w->bitset || w->owner != (u32)t->tid)
				continue;
			w->orphaned = true;
			unlink_waiter(w, b, &list);
		}
		pthread_mutex_unlock(&b->lock);
	}
	wake_list(list);
}

/* ---- robust lists ---- */

/* A lock whose owner, this task, has died: say so in its word, and let one waiter find out. */
static int owner_died(struct task *t, gva_t addr, bool pi, bool pending)
{
	struct futex_key key;
	u32 *word, old, new;
	int err;

	err = get_word(t, addr, true, ACCESS_WRITE, &word, &key);
	if (err)
		return err;
	old = load_word(word);
	do {
		if ((old & FUTEX_TID_MASK) != (u32)t->tid)
			break;
		new = (old & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
	} while (!__atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	uaccess_word_unpin(word);
	if (pi)				/* wake_orphans() comes after all of them */
		return 0;
	/* A pending unlock may have cleared the word and died before its wake-up. */
	if (((old & FUTEX_TID_MASK) == (u32)t->tid && (old & FUTEX_WAITERS)) || (pending && !old))
		wake_key(&key, 1, FUTEX_BITSET_MATCH_ANY);
	return 0;
}

/* The list is the guest's: it may be circular, broken or endless. Bit 0 of a pointer marks a PI futex. */
static void walk_robust(struct task *t)
{
	struct robust_list_head head;
	gva_t base = t->robust_list, entry, next;
	u64 pending;
	bool pi;

	if (!base || copy_in(t->mm, &head, base, sizeof(head)))
		return;
	pending = (u64)head.list_op_pending & ~1ull;
	entry = (u64)head.list.next;
	for (int i = 0; i < ROBUST_LIMIT && (entry & ~1ull) != base; i++) {
		pi = entry & 1;
		entry &= ~1ull;
		if (get_user(t->mm, &next, entry))
			next = base;		/* this one is still handled; then the walk ends */
		if (entry != pending && owner_died(t, entry + head.futex_offset, pi, false))
			break;
		entry = next;
	}
	if (pending)
		owner_died(t, pending + head.futex_offset, (u64)head.list_op_pending & 1, true);
}

void futex_exit_robust(struct task *t)
{
	walk_robust(t);
	wake_orphans(t);
}
