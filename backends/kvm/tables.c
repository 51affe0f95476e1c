/*
 * Pages for page tables: numbers 0.. in the table area, handed out, and taken back in two steps.
 *
 * Under shadow paging KVM keeps what it made of a table, and does not notice that the host writes the page anew, so a
 * table that was destroyed rests until all shadows are dropped, many at a time.
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

enum { REST_MAX = 1024 };

struct table_state {
	u32 next;			/* number + 1 on a list */
	u16 live;
	u64 mark;
};

static struct {
	pthread_mutex_t lock;
	struct table_state *state;
	u32 used, slots_to;		/* numbers handed out so far; numbers with a slot behind them */
	u32 free, resting;		/* lists */
	u32 nresting;
} tables = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct table_state *state_of(gpa_t table) { return &tables.state[(table - GPA_TABLES) >> PAGE_SHIFT]; }
u16 *table_live(gpa_t table) { return &state_of(table)->live; }
u64 *table_mark(gpa_t table) { return &state_of(table)->mark; }

u64 tables_shown(void) { return tables.slots_to * PAGE_SIZE; }

int tables_init(void)
{
	tables.state = mmap(NULL, TABLES_MAX * sizeof(*tables.state), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tables.state == MAP_FAILED) {
		tables.state = NULL;
		return -ENOMEM;
	}
	tables.used = tables.slots_to = tables.free = tables.resting = tables.nresting = 0;
	return 0;
}

void tables_exit(void)
{
	if (tables.state)
		munmap(tables.state, TABLES_MAX * sizeof(*tables.state));
	tables.state = NULL;
}

/* Under the lock, as all below. */
static void settle(void)
{
	u32 last = tables.resting;

	if (!last || machine_forget_tables())
		return;
	while (tables.state[last - 1].next)
		last = tables.state[last - 1].next;
	tables.state[last - 1].next = tables.free;
	tables.free = tables.resting;
	tables.resting = tables.nresting = 0;
}

static u32 take_new(void)
{
	const u64 step = TABLES_STEP * PAGE_SIZE, from = tables.slots_to * PAGE_SIZE;

	if (tables.used == tables.slots_to) {
		if (tables.slots_to == TABLES_MAX || machine_add_tables(from, from + step))
			return 0;
		tables.slots_to += TABLES_STEP;
	}
	return ++tables.used;
}

static u32 take_free(void)
{
	u32 n = tables.free;

	if (!n)
		return 0;
	tables.free = tables.state[n - 1].next;
	memset(machine_tables + (n - 1) * PAGE_SIZE, 0, PAGE_SIZE);
	return n;
}

gpa_t table_create(void)
{
	u32 n;

	pthread_mutex_lock(&tables.lock);
	if (!tables.free && tables.nresting >= REST_MAX)
		settle();
	n = take_free();
	if (!n)
		n = take_new();
	if (!n) {
		settle();
		n = take_free();
	}
	if (n)
		tables.state[n - 1].live = tables.state[n - 1].mark = 0;
	pthread_mutex_unlock(&tables.lock);
	return n ? GPA_TABLES + (n - 1) * PAGE_SIZE : 0;
}

void table_destroy(gpa_t table)
{
	u32 n = ((table - GPA_TABLES) >> PAGE_SHIFT) + 1;

	pthread_mutex_lock(&tables.lock);
	tables.state[n - 1].next = tables.resting;
	tables.resting = n;
	tables.nresting++;
	pthread_mutex_unlock(&tables.lock);
}

void table_retire(u32 *list, gpa_t table)
{
	state_of(table)->next = *list;
	*list = ((table - GPA_TABLES) >> PAGE_SHIFT) + 1;
}

void tables_destroy(u32 *list)
{
	while (*list) {
		gpa_t table = GPA_TABLES + (*list - 1) * PAGE_SIZE;

		*list = state_of(table)->next;
		table_destroy(table);
	}
}

void tables_settle(void)
{
	pthread_mutex_lock(&tables.lock);
	settle();
	pthread_mutex_unlock(&tables.lock);
}
