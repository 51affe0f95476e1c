/*
 * Parking: a guest thread whose guest is gone waits for the next one, instead of being killed and made again, filter and all.
 *
 * Threat note. The next guest must find nothing of the last one in its thread, nor another thread of it beside. The
 * last guest had every chance to put the thread where it likes, with registers, signal mask and signal stack of its choice
 * (rt_sigreturn sets them all). What it cannot do is lie about where it is: a parked thread waits in a user
 * notification, and the kernel says which thread that is, at which instruction, and what is in rdi. Then its memory is
 * ours alone: the guest's is unmapped, its other threads are dead, and its channel, cleared, is written by nobody else. From
 * there PARK_ENTRY uses rdi only and leaves by a signal frame that we wrote, which sets the rest: so it parks a second
 * time, now in a state that we know, and that is where the next guest begins.
 *
 * A thread that does not come here in time is killed, as all are without systrap.park.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "backends/systrap/systrap.h"

enum { ASK_MS = 20, SETTLE_MS = 1000 };

/*
 * The frame to leave by: as the kernel made it for the first trap of a thread, before any guest was near. All channels have
 * theirs at the same place, down to the signal stack's end. Written once, by whoever sees such a thread first.
 */
static struct {
	atomic_int state;		/* 0: not there, 1: being written, 2: ready */
	u32 start;			/* offset in the channel, of the ucontext */
	u8 bytes[CHANNEL_ALTSTACK_SIZE / 2];
} model;

static u64 stub_address(const struct channel_slot *slot)
{
	return STUB_CHANNELS + (u64)slot->index * CHANNEL_SIZE;
}

static u8 *sentry_address(const struct channel_slot *slot)
{
	return (u8 *)slot->ch - CHANNEL_PAGE;
}

/* The slot's thread has just reported for the first time. */
void park_learn(struct address_space *as, struct channel_slot *slot)
{
	u32 len = CHANNEL_ALTSTACK_SIZE - slot->frame;
	int none = 0;

	if (!as->virgin)
		return;
	as->virgin = false;
	if (slot->index || len > sizeof(model.bytes) || !atomic_compare_exchange_strong(&model.state, &none, 1))
		return;
	model.start = slot->frame;
	memcpy(model.bytes, sentry_address(slot) + slot->frame, len);
	atomic_store(&model.state, 2);
}

/* The model in this channel, to go on at PARK_ENTRY with every signal blocked. */
static void write_frame(struct channel_slot *slot)
{
	ucontext_t *uc = (ucontext_t *)(sentry_address(slot) + model.start);
	u64 base = stub_address(slot);
	greg_t *g = uc->uc_mcontext.gregs;

	memcpy(uc, model.bytes, CHANNEL_ALTSTACK_SIZE - model.start);
	uc->uc_stack.ss_sp = (void *)(base + CHANNEL_ALTSTACK);
	uc->uc_mcontext.fpregs = (void *)(base + (u64)uc->uc_mcontext.fpregs % CHANNEL_SIZE);
	memset(g, 0, REG_CSGSFS * sizeof(*g));
	g[REG_RIP] = PARK_ENTRY;
	g[REG_RDI] = base + CHANNEL_PAGE;
	g[REG_EFL] = 0x202;
	memset(&uc->uc_sigmask, 0xff, 8);
	slot->ch->park_frame = base + model.start;
	slot->ch->entry = STUB_FAST_ENTRY;
}

/* It is where it says: by the kernel's word. */
static u64 attested(const struct address_space *as, const struct channel_slot *slot, int timeout_ms)
{
	struct seccomp_notif n;

	if (helper_notified(as, timeout_ms, &n) || (pid_t)n.pid != slot->tid || n.data.instruction_pointer != PARK_RETURN ||
	    n.data.args[0] != stub_address(slot) + CHANNEL_PAGE)
		return 0;
	return n.id;
}

/* Step one, with the guest's memory unmapped and its other threads dead. */
bool park_ask(struct address_space *as, struct channel_slot *slot)
{
	if (!systrap_park || atomic_load(&model.state) != 2 || !slot->tid || slot->dead)
		return false;
	if (slot->parked)
		return true;
	if (slot->fresh || !slot->framed)
		return false;
	slot->ch->command = COMMAND_PARK;
	__atomic_store_n(&slot->ch->ack, slot->seq, __ATOMIC_SEQ_CST);
	COUNT(host_calls);
	syscall(SYS_futex, &slot->ch->ack, FUTEX_WAKE, 1, NULL, NULL, 0);
	slot->parked = attested(as, slot, ASK_MS);
	return slot->parked;
}

/* Step two, with the channel cleared. */
bool park_settle(struct address_space *as, struct channel_slot *slot)
{
	write_frame(slot);
	if (helper_answer(as, slot->parked, 0))
		return false;
	slot->parked = attested(as, slot, SETTLE_MS);
	slot->seq = 0;
	slot->frame = model.start;
	slot->info = model.start;
	slot->framed = true;
	return slot->parked;
}
