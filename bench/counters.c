/*
 * Events between the two signs of a workload, of every thread that the launch has then, and of all they bring forth.
 *
 * While the workload waits for the answer to its first sign, one event a thread and kind is opened and started; at the
 * second they are stopped and read. Hardware events are named by libpfm4 and opened twice, without the host and without
 * the guest of a virtual machine. That an event has a name does not mean that it counts: only opening tells, and what
 * cannot be opened is n/a with the kernel's reason, never 0. Where events shared the hardware, the count is scaled by the
 * time it was on it, and flagged.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <perfmon/pfmlib_perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define OPEN_MAX_FDS	512

struct event {
	const char *name;			/* metric, without _per_op */
	const char *unit;
	const char *pfm;			/* libpfm4's name; NULL: a software event */
	unsigned long long config;
	bool no_host, no_guest;
	bool user_will_do;			/* a clock runs on in the kernel, whatever is excluded */
};

static const struct event events[] = {
	{ "cpu_ns", "ns", NULL, PERF_COUNT_SW_TASK_CLOCK, false, false, true },
	{ "context_switches", "count", NULL, PERF_COUNT_SW_CONTEXT_SWITCHES, false, false, false },
	{ "migrations", "count", NULL, PERF_COUNT_SW_CPU_MIGRATIONS, false, false, false },
	{ "page_faults", "count", NULL, PERF_COUNT_SW_PAGE_FAULTS, false, false, false },
	{ "cycles_host", "count", "CYCLES", 0, false, true, false },
	{ "cycles_guest", "count", "CYCLES", 0, true, false, false },
	{ "instructions_host", "count", "INSTRUCTIONS", 0, false, true, false },
	{ "instructions_guest", "count", "INSTRUCTIONS", 0, true, false, false },
	{ "cache_misses_host", "count", "CACHE-MISSES", 0, false, true, false },
	{ "cache_misses_guest", "count", "CACHE-MISSES", 0, true, false, false },
	{ "branch_misses_host", "count", "BRANCH-MISSES", 0, false, true, false },
	{ "branch_misses_guest", "count", "BRANCH-MISSES", 0, true, false, false },
	{ "dtlb_misses_host", "count", "DTLB-LOAD-MISSES", 0, false, true, false },
	{ "dtlb_misses_guest", "count", "DTLB-LOAD-MISSES", 0, true, false, false },
	{ "itlb_misses_host", "count", "ITLB-LOAD-MISSES", 0, false, true, false },
	{ "itlb_misses_guest", "count", "ITLB-LOAD-MISSES", 0, true, false, false },
};

_Static_assert(COUNT(events) <= COUNTERS_MAX, "a place for each");

static char reasons[COUNT(events)][TEXT_LEN];	/* empty: it counts */
static char metrics[COUNT(events)][NAME_LEN];
static bool probed;

static struct { int fd; unsigned int event; } open_fds[OPEN_MAX_FDS];
static size_t nopen;
static bool overflow;

static int encode(const struct event *e, struct perf_event_attr *attr)
{
	pfm_perf_encode_arg_t arg = { .attr = attr, .size = sizeof(arg) };
	int err;

	memset(attr, 0, sizeof(*attr));
	attr->size = sizeof(*attr);
	if (e->pfm) {
		err = pfm_get_os_event_encoding(e->pfm, PFM_PLM0 | PFM_PLM3, PFM_OS_PERF_EVENT, &arg);
		if (err != PFM_SUCCESS)
			return -ENOTSUP;
	} else {
		attr->type = PERF_TYPE_SOFTWARE;
		attr->config = e->config;
	}
	attr->disabled = 1;
	attr->inherit = 1;
	attr->exclude_hv = 0;
	attr->exclude_host = e->no_host;
	attr->exclude_guest = e->no_guest;
	attr->read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
	return 0;
}

static int open_event(const struct event *e, pid_t tid)
{
	struct perf_event_attr attr;
	int fd, err = encode(e, &attr);

	if (err)
		return err;
	fd = syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 && (errno == EACCES || errno == EPERM) && e->user_will_do) {
		attr.exclude_kernel = 1;
		fd = syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static void explain(int err, bool hardware, char *why, size_t size)
{
	const char *name = strerrorname_np(err), *more = strerror(err);

	if (hardware && (err == ENOENT || err == EOPNOTSUPP || err == ENODEV))
		more = "no PMU on this machine";
	else if (err == EACCES || err == EPERM)
		more = "needs root or kernel.perf_event_paranoid <= 1";
	else if (err == ENOTSUP)
		more = "libpfm4 does not know it here";
	else if (err == ENOSYS)
		more = "this kernel has no perf events";
	snprintf(why, size, "%s: %s", name ? name : "?", more);
}

/* Once: each event on the driver itself. */
static void probe(void)
{
	size_t i;
	int fd;

	if (probed)
		return;
	probed = true;
	pfm_initialize();
	for (i = 0; i < COUNT(events); i++) {
		snprintf(metrics[i], sizeof(metrics[i]), "%s_per_op", events[i].name);
		fd = open_event(&events[i], 0);
		if (fd >= 0)
			close(fd);
		else
			explain(-fd, events[i].pfm, reasons[i], sizeof(reasons[i]));
	}
}

int counter_reason(const char *name, char *why, size_t size)
{
	size_t i, len = strlen(name);

	probe();
	for (i = 0; i < COUNT(events); i++) {
		if (strncmp(events[i].name, name, len))
			continue;
		snprintf(why, size, "%s", reasons[i]);
		return reasons[i][0] ? -ENOENT : 0;
	}
	return -EINVAL;
}

json_t *counters_describe(void)
{
	json_t *o = json_object();
	size_t i;

	probe();
	for (i = 0; i < COUNT(events); i++)
		json_object_set_new(o, metrics[i], reasons[i][0] ? json_sprintf("n/a(%s)", reasons[i]) : json_string("ok"));
	return o;
}

/* ---- the tree ---- */

static void open_all(pid_t tid)
{
	size_t i;
	int fd;

	for (i = 0; i < COUNT(events); i++) {
		if (reasons[i][0])
			continue;
		fd = nopen < OPEN_MAX_FDS ? open_event(&events[i], tid) : -EMFILE;
		if (fd < 0) {
			/* A thread that has just died does not matter; any other loss would be an undercount. */
			overflow |= fd != -ESRCH;
			continue;
		}
		open_fds[nopen].fd = fd;
		open_fds[nopen++].event = i;
	}
}

static void open_tree(pid_t pid, bool self);

static void open_thread(pid_t pid, pid_t tid, bool self)
{
	char path[80];
	int child;
	FILE *f;

	if (!self)
		open_all(tid);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tid);
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &child) == 1)
		open_tree(child, false);
	if (f)
		fclose(f);
}

/* `self`: the driver, of which only the descendants are meant. Orphans are its children: it is their subreaper. */
static void open_tree(pid_t pid, bool self)
{
	struct dirent *de;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.')
			open_thread(pid, atoi(de->d_name), self);
	if (d)
		closedir(d);
}

static void each(unsigned long request)
{
	size_t i;

	for (i = 0; i < nopen; i++)
		ioctl(open_fds[i].fd, request, 0);
}

static void close_all(void)
{
	while (nopen)
		close(open_fds[--nopen].fd);
	overflow = false;
}

void counters_start(pid_t driver)
{
	probe();
	close_all();
	open_tree(driver, true);
	each(PERF_EVENT_IOC_ENABLE);
}

struct sum { double value, enabled, running; bool known, lost; };

static void add_reading(struct sum *s, int fd)
{
	uint64_t n[3];					/* value, enabled, running */

	if (read(fd, n, sizeof(n)) != sizeof(n)) {
		s->lost = true;
		return;
	}
	s->known = true;
	/* A thread that never ran was never enabled, and counted nothing: that 0 is true. */
	if (!n[1])
		return;
	if (!n[2]) {
		s->lost = true;
		return;
	}
	s->value += (double)n[0] * n[1] / n[2];
	s->enabled += n[1];
	s->running += n[2];
}

size_t counters_stop(struct counter_value *out, size_t max)
{
	struct sum sums[COUNT(events)] = { 0 };
	size_t i, n = 0;

	each(PERF_EVENT_IOC_DISABLE);
	for (i = 0; i < nopen; i++)
		add_reading(&sums[open_fds[i].event], open_fds[i].fd);
	for (i = 0; i < COUNT(events) && n < max; i++) {
		const struct sum *s = &sums[i];

		if (reasons[i][0])
			continue;
		out[n++] = (struct counter_value){
			.metric = metrics[i], .unit = events[i].unit, .value = s->value,
			.share = s->enabled > 0 ? s->running / s->enabled : 1,
			.known = s->known && !s->lost && !overflow,
		};
	}
	close_all();
	return n;
}
