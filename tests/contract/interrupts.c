/* interrupt(): from any thread, before, during and between switches; it sticks, and it never loses a wake-up. */
#include "tests/contract/contract.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

GUEST_CODE(spin, "1: inc %rbx; jmp 1b");
GUEST_CODE(call_forever, "1: inc %rbx; syscall; jmp 1b");

static void before_a_switch(void)
{
	struct guest g;

	guest_start(&g, spin);
	for (int i = 0; i < 100; i++) {
		P->interrupt(g.ctx);
		P->interrupt(g.ctx);	/* twice is once */
		CHECK_EQ(guest_switch(&g), EVENT_INTERRUPT);
		CHECK_EQ(g.regs.rip - CODE < 16, true);
	}
	guest_destroy(&g);
}

static void *interrupt_soon(void *arg)
{
	struct guest *g = arg;

	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	P->interrupt(g->ctx);
	return NULL;
}

static void during_a_switch(void)
{
	struct guest g;
	pthread_t th;

	guest_start(&g, spin);
	for (int i = 0; i < 20; i++) {
		enum event_kind kind;

		CHECK(!pthread_create(&th, NULL, interrupt_soon, &g));
		do {
			kind = guest_switch(&g);
		} while (kind == EVENT_PREEMPT);
		CHECK_EQ(kind, EVENT_INTERRUPT);
		CHECK(!pthread_join(th, NULL));
	}
	CHECK(g.regs.rbx > 1000);
	guest_destroy(&g);
}

/* The flag outlives a switch that ends for a reason of its own. */
static void it_sticks(void)
{
	struct guest g;

	guest_start(&g, call_forever);
	for (int i = 0; i < 200; i++) {
		enum event_kind kind;

		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		P->interrupt(g.ctx);
		kind = guest_switch(&g);
		CHECK(kind == EVENT_INTERRUPT || (kind == EVENT_SYSCALL && guest_switch(&g) == EVENT_INTERRUPT));
	}
	guest_destroy(&g);
}

/* ---- races: one thread runs the guest, another interrupts it at every possible moment ---- */

enum { RACES = 10000, RACES_MIN = 500, RACES_SECONDS = 5 };	/* the full number, unless the machine is busy */

struct race {
	struct guest *g;
	_Atomic int sent, seen;
	_Atomic bool done;
};

static u64 now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* One interrupt at a time: the next is sent when the last was seen, so a lost one is a hang (and the time limit). */
static void *sender(void *arg)
{
	struct race *r = arg;
	const u64 end = now_s() + RACES_SECONDS;
	cpu_set_t all;

	/* A platform may have pinned the thread that made this one; sharing its CPU would measure the scheduler. */
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);

	for (int i = 0; i < RACES && (i < RACES_MIN || now_s() < end); i++) {
		for (volatile int pause = (i * 37) % 2000; pause; pause--)
			;
		atomic_fetch_add(&r->sent, 1);
		P->interrupt(r->g->ctx);
		while (atomic_load(&r->seen) < atomic_load(&r->sent))
			sched_yield();
	}
	atomic_store(&r->done, true);
	P->interrupt(r->g->ctx);
	return NULL;
}

static void races(const u8 *code, const u8 *end)
{
	struct guest g;
	struct race r = { .g = &g };
	pthread_t th;

	guest_create(&g, code, end);
	CHECK(!pthread_create(&th, NULL, sender, &r));
	while (!atomic_load(&r.done)) {
		int sent = atomic_load(&r.sent);

		if (guest_switch(&g) == EVENT_INTERRUPT && sent > atomic_load(&r.seen))
			atomic_store(&r.seen, sent);
		else if (g.ev.kind == EVENT_INTERRUPT && atomic_load(&r.sent) > atomic_load(&r.seen))
			atomic_store(&r.seen, atomic_load(&r.sent));
	}
	CHECK(!pthread_join(th, NULL));
	guest_destroy(&g);
}

static void races_with_a_spinning_guest(void) { races(spin, spin_end); }
static void races_with_calls(void) { races(call_forever, call_forever_end); }

const struct contract_case interrupt_cases[] = {
	{ "interrupt_before", before_a_switch },
	{ "interrupt_during", during_a_switch },
	{ "interrupt_sticks", it_sticks },
	{ "interrupt_races_spin", races_with_a_spinning_guest },
	{ "interrupt_races_calls", races_with_calls },
	{ NULL, NULL },
};
