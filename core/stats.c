/* Counters for --stats: summed over tasks, written as JSON to a temporary name and renamed when whole. */
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/auto.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "syscall/syscall.h"

_Static_assert((int)SYSCALL_MAX == (int)LIVE_CALLS, "a count for each call");

static bool enabled;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* guards the sums, and who has which place in `live` */
static u64 calls[SYSCALL_MAX], switches, faults, tasks;
static struct live_page *live;			/* NULL: off, or no memory for it */

void stats_enable(void)
{
	enabled = true;
	json_object_seed(0);		/* from /dev/urandom, which is out of reach later */
}

/*
 * The page for `trapgate top`. Sealed, so that who opens it through /proc can only read, and stays as long as it is; the
 * descriptor is kept for them and never used. Without it there is nothing to watch, and the sandbox runs all the same.
 */
void stats_live_open(void)
{
	int fd = memfd_create(LIVE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct live_page *page = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, sizeof(*page)))
		page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		log_info("no live statistics: %m");
		if (fd >= 0)
			close(fd);
		return;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
	page->tasks = LIVE_TASKS;
	page->version = LIVE_VERSION;
	snprintf(page->platform, sizeof(page->platform), "%s", platform->name);
	__atomic_store_n(&page->magic, LIVE_MAGIC, __ATOMIC_RELEASE);
	live = page;
}

static struct live_task *take_place(const struct task *t)
{
	struct live_task *found = NULL;

	if (!live)
		return NULL;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < LIVE_TASKS && !found; i++)
		if (!live->task[i].tid)
			found = &live->task[i];
	if (found) {
		memset(found, 0, sizeof(*found));
		found->tgid = t->tg->tgid;
		memcpy(found->comm, t->comm, sizeof(found->comm));
		__atomic_store_n(&found->tid, t->tid, __ATOMIC_RELEASE);
	} else {
		live->untracked++;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

/* The lock is held. What the task counted is not lost to those who watch. */
static void leave_place(struct live_task *place)
{
	struct live_task *sum = &live->ended;

	sum->switches += place->switches;
	sum->faults += place->faults;
	for (int i = 0; i < LIVE_CALLS; i++)
		sum->calls[i] += place->calls[i];
	__atomic_store_n(&place->tid, 0, __ATOMIC_RELEASE);
}

void stats_task_start(struct task *t)
{
	t->live = take_place(t);
	if (t->live)
		t->syscall_counts = t->live->calls;
	else if (enabled)
		t->syscall_counts = calloc(SYSCALL_MAX, sizeof(u64));
}

void stats_task_renamed(struct task *t)
{
	if (t->live)
		memcpy(t->live->comm, t->comm, sizeof(t->live->comm));
}

void stats_task_end(struct task *t)
{
	pthread_mutex_lock(&lock);
	switches += t->switches;
	faults += t->faults;
	tasks++;
	for (int i = 0; t->syscall_counts && i < SYSCALL_MAX; i++)
		calls[i] += t->syscall_counts[i];
	if (t->live)
		leave_place(t->live);
	pthread_mutex_unlock(&lock);
	if (!t->live)
		free(t->syscall_counts);
	t->live = NULL;
	t->syscall_counts = NULL;
}

static json_t *calls_json(void)
{
	json_t *o = json_object();

	for (int i = 0; i < SYSCALL_MAX; i++)
		if (calls[i])
			json_object_set_new(o, syscall_table[i].name, json_integer(calls[i]));
	return o;
}

static json_t *stats_json(void)
{
	struct platform_counters c = { 0 };
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	if (platform->counters)
		platform->counters(&c);
	return json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I}}",
			 "schema", 1, "platform", platform->name, "reason", platform_reason,
			 "tasks", (json_int_t)tasks, "switches", (json_int_t)switches, "faults", (json_int_t)faults,
			 "calls", calls_json(),
			 "backend", "host_calls", (json_int_t)c.host_calls, "map_calls", (json_int_t)c.map_calls,
			 "unmap_calls", (json_int_t)c.unmap_calls, "protect_calls", (json_int_t)c.protect_calls,
			 "batches", (json_int_t)c.batches, "stubs_created", (json_int_t)c.stubs_created,
			 "stubs_reused", (json_int_t)c.stubs_reused,
			 "memory_pages", "used", (json_int_t)memory_used(), "limit", (json_int_t)memory_limit(),
			 "sentry", "maxrss_kb", (json_int_t)ru.ru_maxrss, "nvcsw", (json_int_t)ru.ru_nvcsw,
			 "nivcsw", (json_int_t)ru.ru_nivcsw,
			 "utime_us", (json_int_t)(ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec),
			 "stime_us", (json_int_t)(ru.ru_stime.tv_sec * 1000000 + ru.ru_stime.tv_usec));
}

int stats_write(FILE *to)
{
	json_t *o = stats_json();
	int err;

	if (!o)
		return -ENOMEM;
	err = json_dumpf(o, to, JSON_INDENT(2)) ? -EIO : 0;
	json_decref(o);
	return err;
}
