/* Counters for --stats: summed over tasks, written as JSON to a temporary name and renamed when whole. */
#include "stats.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/auto.h"
#include "mm/mm.h"
#include "syscall/syscall.h"

static bool enabled;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* guards the sums */
static u64 calls[SYSCALL_MAX], switches, faults, tasks;

void stats_enable(void) { enabled = true; }

void stats_task_start(struct task *t)
{
	if (enabled)
		t->syscall_counts = calloc(SYSCALL_MAX, sizeof(u64));
}

void stats_task_end(struct task *t)
{
	pthread_mutex_lock(&lock);
	switches += t->switches;
	faults += t->faults;
	tasks++;
	for (int i = 0; t->syscall_counts && i < SYSCALL_MAX; i++)
		calls[i] += t->syscall_counts[i];
	pthread_mutex_unlock(&lock);
	free(t->syscall_counts);
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

/* A device or pipe is written to; a file is replaced as a whole, so that nobody finds half of one. */
static bool replaceable(const char *path)
{
	struct stat st;

	return stat(path, &st) ? errno == ENOENT : S_ISREG(st.st_mode);
}

static int dump(const json_t *o, const char *path)
{
	FILE *f = fopen(path, "w");
	int err;

	if (!f)
		return -errno;
	err = json_dumpf(o, f, JSON_INDENT(2)) ? -EIO : 0;
	if (fclose(f))		/* a full disk shows here */
		err = -errno;
	return err;
}

int stats_write(const char *path)
{
	json_t *o = stats_json();
	char *tmp = NULL;
	int err;

	if (!o || asprintf(&tmp, "%s.%d.tmp", path, getpid()) < 0) {
		err = -ENOMEM;
	} else if (!replaceable(path)) {
		err = dump(o, path);
	} else {
		err = dump(o, tmp);
		if (!err && rename(tmp, path))
			err = -errno;
		if (err)
			unlink(tmp);
	}
	free(tmp);
	json_decref(o);
	return err;
}
