/* /proc/PID and /proc/PID/task/TID: the directories, their links, and the small files. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fs/proc.h"
#include "mm/mm.h"

/* ---- links: exe, cwd, root, ns ---- */

enum { LINK_CWD, LINK_ROOT, LINK_EXE };

static int place_path(const struct target *x, bool root, struct path *out)
{
	struct fs_place *place = target_place(x);

	if (!place)
		return -ENOENT;
	pthread_mutex_lock(&place->lock);
	*out = root ? place->root : place->cwd;
	path_get(out);
	pthread_mutex_unlock(&place->lock);
	fs_place_put(place);
	return 0;
}

static int exe_path(const struct target *x, struct path *out)
{
	struct mm *mm = target_mm(x);
	int err = mm && mm->exe ? file_to_path(mm->exe, out) : -ENOENT;

	if (mm)
		mm_put(mm);
	return err;
}

static int link_follow(const struct pseudo *p, struct task *t, struct path *out)
{
	struct target x;
	int err = target_get(p, &x);

	if (!err)
		err = target_allowed(&x, t);
	if (!err)
		err = p->e->arg == LINK_EXE ? exe_path(&x, out) : place_path(&x, p->e->arg == LINK_ROOT, out);
	target_put(&x);
	return err;
}

static int link_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct path path;
	int err = link_follow(p, viewer, &path);

	if (err)
		return err;
	seq_path(s, viewer, &path, "");
	path_put(&path);
	return 0;
}

static const struct pseudo_entry ns_names[] = {
	{ .name = "cgroup",	.mode = S_IFLNK | 0777, .text = "cgroup:[4026531835]" },
	{ .name = "ipc",	.mode = S_IFLNK | 0777, .text = "ipc:[4026531839]" },
	{ .name = "mnt",	.mode = S_IFLNK | 0777, .text = "mnt:[4026531841]" },
	{ .name = "net",	.mode = S_IFLNK | 0777, .text = "net:[4026531840]" },
	{ .name = "pid",	.mode = S_IFLNK | 0777, .text = "pid:[4026531836]" },
	{ .name = "user",	.mode = S_IFLNK | 0777, .text = "user:[4026531837]" },
	{ .name = "uts",	.mode = S_IFLNK | 0777, .text = "uts:[4026531838]" },
	{ 0 }
};

/* ---- small files ---- */

static int comm_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	int err = target_get(p, &x);

	if (err)
		return err;
	pthread_mutex_lock(&x.tg->lock);
	seq_printf(s, "%.15s\n", x.task ? x.task->comm : "init");
	pthread_mutex_unlock(&x.tg->lock);
	target_put(&x);
	return 0;
}

static s64 comm_store(const struct pseudo *p, struct task *t, const char *data, size_t len)
{
	struct target x;
	int err = target_get(p, &x);

	if (err)
		return err;
	if (x.tg != t->tg || !x.task)
		err = -EINVAL;
	else {
		size_t n = MIN(len, sizeof(x.task->comm) - 1);

		pthread_mutex_lock(&x.tg->lock);
		memset(x.task->comm, 0, sizeof(x.task->comm));
		memcpy(x.task->comm, data, strnlen(data, n));
		pthread_mutex_unlock(&x.tg->lock);
	}
	target_put(&x);
	return err ? err : (s64)len;
}

static const struct { const char *name, *unit; } limit_names[RLIM_NLIMITS] = {
	[RLIMIT_CPU]		= { "Max cpu time", "seconds" },
	[RLIMIT_FSIZE]		= { "Max file size", "bytes" },
	[RLIMIT_DATA]		= { "Max data size", "bytes" },
	[RLIMIT_STACK]		= { "Max stack size", "bytes" },
	[RLIMIT_CORE]		= { "Max core file size", "bytes" },
	[RLIMIT_RSS]		= { "Max resident set", "bytes" },
	[RLIMIT_NPROC]		= { "Max processes", "processes" },
	[RLIMIT_NOFILE]		= { "Max open files", "files" },
	[RLIMIT_MEMLOCK]	= { "Max locked memory", "bytes" },
	[RLIMIT_AS]		= { "Max address space", "bytes" },
	[RLIMIT_LOCKS]		= { "Max file locks", "locks" },
	[RLIMIT_SIGPENDING]	= { "Max pending signals", "signals" },
	[RLIMIT_MSGQUEUE]	= { "Max msgqueue size", "bytes" },
	[RLIMIT_NICE]		= { "Max nice priority", NULL },
	[RLIMIT_RTPRIO]		= { "Max realtime priority", NULL },
	[RLIMIT_RTTIME]		= { "Max realtime timeout", "us" },
};

static void limit_value(struct seq *s, rlim_t v)
{
	if (v == RLIM_INFINITY)
		seq_printf(s, "%-20s ", "unlimited");
	else
		seq_printf(s, "%-20lu ", (unsigned long)v);
}

static int limits_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct rlimit lim[RLIM_NLIMITS];
	struct target x;
	int err = target_get(p, &x);

	if (err)
		return err;
	pthread_mutex_lock(&x.tg->lock);
	memcpy(lim, x.tg->rlim, sizeof(lim));
	pthread_mutex_unlock(&x.tg->lock);
	target_put(&x);
	seq_printf(s, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		seq_printf(s, "%-25s ", limit_names[i].name);
		limit_value(s, lim[i].rlim_cur);
		limit_value(s, lim[i].rlim_max);
		seq_printf(s, limit_names[i].unit ? "%-10s\n" : "%s\n", limit_names[i].unit ? limit_names[i].unit : "");
	}
	return 0;
}

static int oom_adj_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	int err = target_get(p, &x);

	if (err)
		return err;
	seq_printf(s, "%d\n", p->e->arg ? x.tg->oom_score_adj * 17 / 1000 : x.tg->oom_score_adj);
	target_put(&x);
	return 0;
}

static s64 oom_adj_store(const struct pseudo *p, struct task *t, const char *data, size_t len)
{
	char *end;
	long v = strtol(data, &end, 10);
	long most = p->e->arg ? 15 : 1000, least = p->e->arg ? -17 : -1000;
	struct target x;
	int err;

	while (isspace((u8)*end))
		end++;
	if (end == data || *end || v < least || v > most)
		return -EINVAL;
	err = target_get(p, &x);
	if (err)
		return err;
	if (p->e->arg)
		v = v * 1000 / 17;
	if (v < x.tg->oom_score_adj && !cred_capable(t->cred, 24 /* CAP_SYS_RESOURCE */))
		err = -EACCES;
	else
		x.tg->oom_score_adj = v;
	target_put(&x);
	return err ? err : (s64)len;
}

static int io_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	int err = target_get(p, &x);

	if (!err)
		err = target_allowed(&x, viewer);
	target_put(&x);
	if (!err)
		seq_puts(s, "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n"
			    "cancelled_write_bytes: 0\n");
	return err;
}

static int personality_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	int err = target_get(p, &x);

	if (err)
		return err;
	seq_printf(s, "%08llx\n", x.task ? (unsigned long long)x.task->personality : 0ull);
	target_put(&x);
	return 0;
}

static int sched_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct rusage_sum use = { 0 };
	struct target x;
	int err = target_get(p, &x);

	if (err)
		return err;
	if (x.task)
		task_usage(x.task, &use);
	seq_printf(s, "%s (%d, #threads: %d)\n", x.task ? x.task->comm : "init", p->pid, x.tg->nthreads);
	seq_printf(s, "-------------------------------------------------------------------\n");
	seq_printf(s, "se.sum_exec_runtime                          : %20.6f\n", (use.utime_ns + use.stime_ns) / 1e6);
	seq_printf(s, "nr_switches                                  : %20llu\n", (unsigned long long)use.nvcsw);
	target_put(&x);
	return 0;
}

/* ---- task/TID ---- */

static int task_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	int tid = proc_parse_number(name);
	struct task *t = tid > 0 ? task_get(tid) : NULL;
	bool mine = t && t->tg->tgid == p->pid;

	if (t)
		task_put(t);
	if (!mine)
		return -ENOENT;
	*out = (struct pseudo){ .e = &proc_tid_dir, .pid = p->pid, .tid = tid };
	return 0;
}

/* Threads are in no order of number: the lowest one from `from` up. */
static int task_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	struct target x;
	struct task *t;
	int best = -1;

	if (target_get(&(struct pseudo){ .pid = p->pid }, &x))
		return -1;
	pthread_mutex_lock(&x.tg->lock);
	if (x.task && x.task->tid >= from)
		best = x.task->tid;
	TAILQ_FOREACH(t, &x.tg->threads, thread_link)
		if (t->tid >= from && (best < 0 || t->tid < best))
			best = t->tid;
	pthread_mutex_unlock(&x.tg->lock);
	target_put(&x);
	if (best >= 0) {
		snprintf(name, 32, "%d", best);
		*out = (struct pseudo){ .e = &proc_tid_dir, .pid = p->pid, .tid = best };
	}
	return best;
}

static bool target_exists(const struct pseudo *p)
{
	struct target x;
	bool there = !target_get(p, &x);

	target_put(&x);
	return there;
}

/* ---- the tables ---- */

#define ID_MAP	"         0          0 4294967295\n"

#define COMMON_NAMES \
	{ .name = "auxv",	.mode = S_IFREG | 0400, .show = proc_pid_auxv }, \
	{ .name = "cgroup",	.mode = S_IFREG | 0444, .text = "0::/\n" }, \
	{ .name = "cmdline",	.mode = S_IFREG | 0444, .show = proc_pid_cmdline }, \
	{ .name = "comm",	.mode = S_IFREG | 0644, .show = comm_show, .store = comm_store }, \
	{ .name = "cwd",	.mode = S_IFLNK | 0777, .show = link_show, .follow = link_follow, .arg = LINK_CWD }, \
	{ .name = "environ",	.mode = S_IFREG | 0400, .show = proc_pid_environ }, \
	{ .name = "exe",	.mode = S_IFLNK | 0777, .show = link_show, .follow = link_follow, .arg = LINK_EXE }, \
	{ .name = "fd",		.mode = S_IFDIR | 0500, .lookup = proc_fd_lookup, .next = proc_fd_next, \
				.exists = target_exists }, \
	{ .name = "fdinfo",	.mode = S_IFDIR | 0555, .lookup = proc_fdinfo_lookup, .next = proc_fdinfo_next, \
				.exists = target_exists }, \
	{ .name = "gid_map",	.mode = S_IFREG | 0444, .text = ID_MAP }, \
	{ .name = "io",		.mode = S_IFREG | 0400, .show = io_show }, \
	{ .name = "limits",	.mode = S_IFREG | 0444, .show = limits_show }, \
	{ .name = "loginuid",	.mode = S_IFREG | 0444, .text = "4294967295" }, \
	{ .name = "maps",	.mode = S_IFREG | 0444, .show = proc_pid_maps }, \
	{ .name = "mem",	.mode = S_IFREG | 0600, .open = proc_pid_mem_open }, \
	{ .name = "mountinfo",	.mode = S_IFREG | 0444, .show = proc_pid_mountinfo }, \
	{ .name = "mounts",	.mode = S_IFREG | 0444, .show = proc_pid_mounts }, \
	{ .name = "net",	.mode = S_IFDIR | 0555, .children = proc_net_names }, \
	{ .name = "ns",		.mode = S_IFDIR | 0511, .children = ns_names }, \
	{ .name = "oom_adj",	.mode = S_IFREG | 0644, .show = oom_adj_show, .store = oom_adj_store, .arg = 1 }, \
	{ .name = "oom_score",	.mode = S_IFREG | 0444, .text = "0\n" }, \
	{ .name = "oom_score_adj", .mode = S_IFREG | 0644, .show = oom_adj_show, .store = oom_adj_store }, \
	{ .name = "personality", .mode = S_IFREG | 0400, .show = personality_show }, \
	{ .name = "root",	.mode = S_IFLNK | 0777, .show = link_show, .follow = link_follow, .arg = LINK_ROOT }, \
	{ .name = "sched",	.mode = S_IFREG | 0444, .show = sched_show }, \
	{ .name = "sessionid",	.mode = S_IFREG | 0444, .text = "4294967295" }, \
	{ .name = "setgroups",	.mode = S_IFREG | 0444, .text = "allow\n" }, \
	{ .name = "smaps",	.mode = S_IFREG | 0444, .show = proc_pid_smaps }, \
	{ .name = "smaps_rollup", .mode = S_IFREG | 0444, .show = proc_pid_smaps_rollup }, \
	{ .name = "stat",	.mode = S_IFREG | 0444, .show = proc_pid_stat }, \
	{ .name = "statm",	.mode = S_IFREG | 0444, .show = proc_pid_statm }, \
	{ .name = "status",	.mode = S_IFREG | 0444, .show = proc_pid_status }, \
	{ .name = "uid_map",	.mode = S_IFREG | 0444, .text = ID_MAP }, \
	{ .name = "wchan",	.mode = S_IFREG | 0444, .text = "0" }

static const struct pseudo_entry pid_names[] = {
	COMMON_NAMES,
	{ .name = "task",	.mode = S_IFDIR | 0555, .lookup = task_lookup, .next = task_next, .exists = target_exists },
	{ .name = "timers",	.mode = S_IFREG | 0444, .text = "" },
	{ 0 }
};

static const struct pseudo_entry tid_names[] = {
	COMMON_NAMES,
	{ 0 }
};

const struct pseudo_entry proc_pid_dir = {
	.name = "PID", .mode = S_IFDIR | 0555, .children = pid_names, .exists = target_exists,
};
const struct pseudo_entry proc_tid_dir = {
	.name = "TID", .mode = S_IFDIR | 0555, .children = tid_names, .exists = target_exists,
};
