/* Rings of stamps, their sums by call, and the two files that are made of them. */
#include "stamp.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/stamp_ring.h"
#include "syscall/syscall.h"
#include "task/internal.h"

enum { RINGS_KEPT = 64 };
enum { CALL_FAULT = SYSCALL_MAX, CALL_OTHER = STAMP_OTHER, CALLS };

_Static_assert(CALL_FAULT < CALL_OTHER && (int)CALLS == (int)STAMP_CALLS, "a place for each");

static bool enabled;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* guards what follows */
static struct stamp_ring *kept;
static int nkept;
static u64 parts[CALLS][PARTS];

void stamps_enable(void) { enabled = true; }

void stamps_task_start(void)
{
	/* Without memory there is one profile less, not a task less. */
	if (enabled)
		stamp_ring = calloc(1, sizeof(*stamp_ring));
}

void stamps_task_end(void)
{
	struct stamp_ring *r = stamp_ring;

	if (!r)
		return;
	stamp_ring = NULL;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < CALLS; i++)
		for (int p = 0; p < PARTS; p++)
			parts[i][p] += r->parts[i][p];
	if (nkept < RINGS_KEPT) {
		nkept++;
		r->next = kept;
		kept = r;
		r = NULL;
	}
	pthread_mutex_unlock(&lock);
	free(r);
}

/* From `from` to `to`, both TSC; a stamp that is missing, or that a guest invented, counts for nothing. */
static u64 between(u64 from, u64 to)
{
	return from && to > from && to - from < 1ull << 50 ? to - from : 0;
}

/* The switch before has come full circle: its way back, and the guest's time until this one. */
static void account(struct stamp_ring *r, const struct stamp_record *last, const struct stamp_record *now)
{
	u64 *p = r->parts[last->call], left = last->at[STAMP_RESUMED], trap = now->at[STAMP_STUB];

	/* Stamps of the stub must lie where they belong, or the sentry's own are all there is. */
	if (left < last->at[STAMP_BACK] || trap < left || now->at[STAMP_WOKEN] < trap)
		left = trap = 0;
	p[PART_DECODE] += between(last->at[STAMP_WOKEN], last->at[STAMP_EVENT]);
	p[PART_HANDLER] += between(last->at[STAMP_EVENT], last->at[STAMP_DONE]);
	p[PART_LOOP] += between(last->at[STAMP_DONE], last->at[STAMP_BACK]);
	p[PART_TO_GUEST] += between(last->at[STAMP_BACK], left);
	r->parts[now->call][PART_GUEST] += left ? between(left, trap) : between(last->at[STAMP_BACK], now->at[STAMP_WOKEN]);
	r->parts[now->call][PART_TO_SENTRY] += between(trap, now->at[STAMP_WOKEN]);
}

void stamp_call(s64 nr)
{
	struct stamp_ring *r = stamp_ring;
	struct stamp_record *now;

	if (!r->n)
		return;
	now = &r->records[(r->n - 1) % STAMP_RING];
	now->call = nr >= 0 && nr < SYSCALL_MAX ? nr : nr == -1 ? CALL_FAULT : CALL_OTHER;
	if (r->n > 1)
		account(r, &r->records[(r->n - 2) % STAMP_RING], now);
}

/* ---- files ---- */

static const char *call_name(u32 call)
{
	const char *name = call < SYSCALL_MAX ? syscall_table[call].name : NULL;

	return name ? name : call == CALL_FAULT ? "page-fault" : call == CALL_OTHER ? "other" : "unknown";
}

static void print_ring(FILE *f, const struct stamp_ring *r, int task)
{
	for (u64 i = r->n > STAMP_RING ? r->n - STAMP_RING : 0; i < r->n; i++) {
		const struct stamp_record *rec = &r->records[i % STAMP_RING];

		fprintf(f, "%d,%s", task, call_name(rec->call));
		for (int s = 0; s < STAMPS; s++)
			fprintf(f, ",%" PRIu64, rec->at[s]);
		fputc('\n', f);
	}
}

int stamps_write_phases(FILE *f)
{
	int task = 0;

	fputs("task,call,stub,woken,event,done,back,resumed\n", f);
	for (const struct stamp_ring *r = kept; r; r = r->next)
		print_ring(f, r, task++);
	return 0;
}

int stamps_write_profile(FILE *f)
{
	static const char *const stacks[PARTS] = {
		[PART_GUEST] = "guest;until", [PART_TO_SENTRY] = "hand-over;to sentry", [PART_DECODE] = "sentry;event",
		[PART_HANDLER] = "sentry;handler", [PART_LOOP] = "sentry;loop", [PART_TO_GUEST] = "hand-over;to guest",
	};

	for (int p = 0; p < PARTS; p++)
		for (int i = 0; i < CALLS; i++)
			if (parts[i][p])
				fprintf(f, "%s;%s;%s %" PRIu64 "\n", platform->name, stacks[p], call_name(i),
					usage_ticks_to_ns(parts[i][p]));
	return 0;
}
