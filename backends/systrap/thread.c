/*
 * Guest threads: their birth in the stub's process, the table by which trampolines find them, their end.
 *
 * Each is a thread group of its own that shares all memory with the helper (CLONE_VM without CLONE_THREAD) and is our
 * child (CLONE_PARENT): so one of them can be killed for certain, and waited for, without the others. That is what
 * makes it safe to give the process to another guest afterwards.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/stub/launcher.h"
#include "backends/systrap/systrap.h"

/* ---- fs_base -> channel, for trampolines ---- */

static u32 table_hash(u64 fs_base)
{
	/* As the trampoline does it: crc32, its top 12 bits. */
	u64 crc = 0;

	asm("crc32q %1, %0" : "+r"(crc) : "rm"(fs_base));
	return (u32)crc >> 20;
}

static u64 *table_of(struct address_space *as)
{
	return (u64 *)((u8 *)as->control + CONTROL_TABLE + TABLE_FIRST);
}

static void unpublish(struct address_space *as, struct channel_slot *slot)
{
	if (slot->table_index)
		__atomic_store_n(&table_of(as)[slot->table_index - 1], 0, __ATOMIC_RELEASE);
	slot->table_index = 0;
}

/*
 * Two threads may have the same fs_base (vfork, clone without a new TLS): then it names neither, and both trap until
 * one is gone. `fs_known` says that a slot has been looked at since the last such change.
 */
void table_publish(struct address_space *as, struct channel_slot *slot, u64 fs_base)
{
	const u32 index = table_hash(fs_base) + 1;
	bool shared = false;

	pthread_mutex_lock(&as->maps.lock);
	unpublish(as, slot);
	slot->fs_base = fs_base;
	slot->ch->neg_fs = -fs_base;
	for (int i = 0; i < as->nslots; i++) {
		struct channel_slot *other = as->slots[i];

		if (other == slot || !other->bound)
			continue;
		if (other->fs_base == fs_base) {
			shared = true;
			unpublish(as, other);
		} else if (other->table_index == index) {
			other->table_index = 0;		/* ours now; its own trampolines find no match and trap */
		}
	}
	if (!shared) {
		slot->table_index = index;
		__atomic_store_n(&table_of(as)[index - 1],
				 STUB_CHANNELS + ((u8 *)slot->ch - as->channels) - (STUB_CONTROL + CONTROL_TABLE), __ATOMIC_RELEASE);
	}
	atomic_store(&slot->fs_known, true);
	pthread_mutex_unlock(&as->maps.lock);
}

/* The slot's context is leaving it: its fs_base may now be another's alone. Lock held. */
static void table_forget(struct address_space *as, struct channel_slot *slot)
{
	unpublish(as, slot);
	for (int i = 0; i < as->nslots; i++)
		if (as->slots[i]->bound && as->slots[i]->fs_base == slot->fs_base)
			atomic_store(&as->slots[i]->fs_known, false);
}

/* ---- threads ---- */

static struct channel *channel_at(struct address_space *as, int index)
{
	return (struct channel *)(as->channels + (u64)index * CHANNEL_SIZE + CHANNEL_PAGE);
}

static void thread_bury(struct channel_slot *slot)
{
	if (!slot->tid)
		return;
	kill(slot->tid, SIGKILL);
	monitor_remove(&slot->watch);
	launcher_reap(slot->tid);
	slot->tid = 0;
	slot->parked = 0;
}

/*
 * Two records: show the channel (only slots in use are, so that a guest can't fill the others), make the thread. It reports
 * by its first trap, for which its first user waits, without the lock.
 */
static int thread_create(struct address_space *as, struct channel_slot *slot)
{
	u64 base = STUB_CHANNELS + (u64)slot->index * CHANNEL_SIZE, done, tid;
	struct stub_record *r = helper_records(as);
	int n = 0, err = queue_flush(&as->maps);	/* our records take its place */

	if (err)
		return err;
	if (!slot->shown)
		r[n++] = (struct stub_record){ .nr = SYS_mmap, .arg = { base, CHANNEL_SIZE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED, STUB_FD_SHARED, base - STUB_CHANNELS + STUB_CONTROL_SIZE } };
	slot->ch->entry = STUB_FAST_ENTRY;
	r[n++] = (struct stub_record){ .nr = SYS_clone, .arg = { STUB_CLONE_FLAGS, base + CHANNEL_PAGE } };
	err = helper_run(as, n, &done, &tid);
	if (err)
		return err;
	slot->shown = true;
	slot->dead = false;
	slot->tid = tid;
	slot->seq = 0;
	slot->fresh = true;
	err = monitor_add(&slot->watch, tid);
	if (!err && as->dead)		/* too late for the monitor to have ended it with the others */
		err = -ESRCH;
	if (err)
		thread_bury(slot);
	return err;
}

static int slot_new(struct address_space *as, struct channel_slot **out)
{
	struct channel_slot *slot;

	if (as->nslots == CHANNEL_MAX)
		return -EAGAIN;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->index = as->nslots;
	slot->as = as;
	slot->ch = channel_at(as, slot->index);
	slot->watch.slot = slot;
	slot->watch.pidfd = -1;
	as->slots[as->nslots++] = slot;
	*out = slot;
	return 0;
}

/* Its thread was killed while others of the address space went on. */
static void slot_renew(struct channel_slot *slot)
{
	thread_bury(slot);
	madvise((u8 *)slot->ch - CHANNEL_PAGE, CHANNEL_SIZE, MADV_REMOVE);
	slot->framed = false;
	slot->dead = false;
}

int slot_acquire(struct address_space *as, struct channel_slot **out)
{
	struct channel_slot *slot;
	int err = 0;

	pthread_mutex_lock(&as->maps.lock);
	slot = TAILQ_FIRST(&as->free_slots);
	if (slot)
		TAILQ_REMOVE(&as->free_slots, slot, link);
	else
		err = slot_new(as, &slot);
	if (!err && slot->dead)
		slot_renew(slot);
	if (!err && !slot->tid) {
		err = thread_create(as, slot);
		if (err)
			TAILQ_INSERT_TAIL(&as->free_slots, slot, link);
	}
	if (!err) {
		slot->bound = true;
		slot->fs_known = false;
		slot->fs_base = ~0ull;
	}
	pthread_mutex_unlock(&as->maps.lock);
	*out = slot;
	return err;
}

int threads_prepare(struct address_space *as)
{
	struct channel_slot *slot;
	int err = slot_acquire(as, &slot);

	if (!err)
		slot_release(as, slot);
	return err;
}

/* The thread stays where it is, waiting for an answer; the next context in this address space takes it over. */
void slot_release(struct address_space *as, struct channel_slot *slot)
{
	pthread_mutex_lock(&as->maps.lock);
	slot->bound = false;
	table_forget(as, slot);
	TAILQ_INSERT_HEAD(&as->free_slots, slot, link);
	pthread_mutex_unlock(&as->maps.lock);
}

static void kill_all(struct address_space *as)
{
	for (int i = 0; i < as->nslots; i++)
		if (as->slots[i]->tid)
			kill(as->slots[i]->tid, SIGKILL);
}

/* End all guest threads for certain. Nobody uses the address space any more. */
void threads_kill(struct address_space *as)
{
	kill_all(as);
	for (int i = 0; i < as->nslots; i++)
		thread_bury(as->slots[i]);
}

/* A thread that can be waited for has left its memory. They stay unburied: their contexts still name them. */
void threads_end(struct address_space *as)
{
	siginfo_t info;

	if (as->ended)
		return;
	as->ended = true;
	kill(as->pid, SIGKILL);
	kill_all(as);
	for (int i = 0; i < as->nslots; i++)
		if (as->slots[i]->tid)
			waitid(P_PID, as->slots[i]->tid, &info, WEXITED | WNOWAIT | __WALL);
	waitid(P_PID, as->pid, &info, WEXITED | WNOWAIT | __WALL);
}

/* Forget what the guest left in channels and table. The slots stay; all but the first have no thread any more. */
void threads_recycle(struct address_space *as)
{
	struct channel_slot *first = as->nslots ? as->slots[0] : NULL;
	bool parked;

	for (int i = 1; i < as->nslots; i++)
		if (as->slots[i]->tid)
			kill(as->slots[i]->tid, SIGKILL);
	for (int i = 1; i < as->nslots; i++)
		thread_bury(as->slots[i]);
	parked = first && park_ask(as, first);
	if (first && !parked)
		thread_bury(first);
	TAILQ_INIT(&as->free_slots);
	for (int i = as->nslots - 1; i >= 0; i--) {
		struct channel_slot *slot = as->slots[i];

		unpublish(as, slot);
		slot->framed = false;
		TAILQ_INSERT_HEAD(&as->free_slots, slot, link);
	}
	if (as->nslots)
		madvise(as->channels, (u64)as->nslots * CHANNEL_SIZE, MADV_REMOVE);
	if (parked && !park_settle(as, first))
		thread_bury(first);
}
