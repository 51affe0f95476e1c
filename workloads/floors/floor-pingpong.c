/*
 * One byte to another process and back, where each of the four calls is handed to a server process by futex and back: what a
 * sentry that is a process of its own cannot do without on one CPU. The server is one thread for both, knows what each
 * call will be, and moves no byte: eight switches a round trip, to native Linux's two.
 */
#include "mailbox.h"

enum { SIDES = 2 };

static struct {
	u32 bell __attribute__((aligned(128)));		/* moves with each request: what the server sleeps on */
	struct mailbox side[SIDES];
} *box;

static pid_t server, echo;

/* A side's calls alternate: odd rounds write to the other, even ones read. The second side begins with its read. */
static void call(int side, u32 round)
{
	__atomic_store_n(&box->side[side].ask, round, __ATOMIC_RELAXED);
	__atomic_add_fetch(&box->bell, 1, __ATOMIC_RELEASE);
	sys4(__NR_futex, &box->bell, FUTEX_WAKE, 1, 0);
	mailbox_sleep(&box->side[side].reply, round);
}

static void serve(void)
{
	u32 done[SIDES] = { 0, 1 }, bytes[SIDES] = { 0 }, seen, ask;
	bool idle;
	int i;

	for (;;) {
		seen = __atomic_load_n(&box->bell, __ATOMIC_ACQUIRE);
		for (idle = true, i = 0; i < SIDES; i++) {
			ask = __atomic_load_n(&box->side[i].ask, __ATOMIC_ACQUIRE);
			if (ask == done[i] || !(ask & 1 || bytes[i]))
				continue;			/* nothing new, or a read that has to wait */
			if (ask & 1)
				bytes[!i]++;
			else
				bytes[i]--;
			done[i] = ask;
			mailbox_wake(&box->side[i].reply, ask);
			idle = false;
		}
		if (idle)
			sys4(__NR_futex, &box->bell, FUTEX_WAIT, seen, 0);
	}
}

static void echo_side(void)
{
	u32 round;

	for (round = 2;; round++)
		call(1, round);
}

static void setup(void)
{
	box = floor_shared(sizeof(*box));
	box->side[1].ask = 1;
	server = floor_partner(floor_cpu(0), serve);
	echo = floor_partner(floor_cpu(0), echo_side);
	floor_pin(floor_cpu(0));
}

static u64 batch(u64 n)
{
	static u32 round;
	u64 i;

	for (i = 0; i < n; i++) {
		call(0, ++round);
		call(0, ++round);
	}
	return n;
}

static void finish(void)
{
	floor_reap(echo);
	floor_reap(server);
}

const struct workload workload = {
	.name = "floor-pingpong", .help = "a byte to another process and back, each call handed to a server by futex, on one CPU",
	.class = CLASS_FLOOR, .placements = PLACE_SAME,
	.setup = setup, .batch = batch, .finish = finish,
};
