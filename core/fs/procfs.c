/* /proc: its top, processes by number, and how a file gets hold of the process it tells about. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/proc.h"
#include "fs/special.h"
#include "mm/mm.h"

#define PROC_MAGIC	0x9fa0

/* ---- targets ---- */

static int target_thread(const struct pseudo *p, struct target *out)
{
	struct task *t = task_get(p->tid);

	if (!t)
		return -ESRCH;
	if (t->tg->tgid != p->pid) {
		task_put(t);
		return -ESRCH;
	}
	thread_group_ref(t->tg);
	*out = (struct target){ .tg = t->tg, .task = t };
	return 0;
}

int target_get(const struct pseudo *p, struct target *out)
{
	*out = (struct target){ NULL, NULL };
	if (p->tid)
		return target_thread(p, out);
	pthread_rwlock_rdlock(&tasklist);
	out->tg = thread_group_find(p->pid);
	if (out->tg) {
		thread_group_ref(out->tg);
		out->task = out->tg->leader;
		if (out->task)
			task_ref(out->task);
	}
	pthread_rwlock_unlock(&tasklist);
	return out->tg ? 0 : -ESRCH;
}

void target_put(struct target *x)
{
	if (x->task)
		task_put(x->task);
	if (x->tg)
		thread_group_put(x->tg);
}

/* A dead leader leaves its threads: any of them has what the process shares. tg->lock held. */
static struct task *sharing_task(const struct target *x)
{
	if (x->task && !x->task->dead)
		return x->task;
	return TAILQ_FIRST(&x->tg->threads);
}

struct mm *target_mm(const struct target *x)
{
	struct mm *mm = NULL;
	struct task *t;

	pthread_mutex_lock(&x->tg->lock);
	t = sharing_task(x);
	if (t && t->mm) {
		mm = t->mm;
		mm_get(mm);
	}
	pthread_mutex_unlock(&x->tg->lock);
	return mm;
}

struct fd_table *target_files(const struct target *x)
{
	struct fd_table *files = NULL;
	struct task *t;

	pthread_mutex_lock(&x->tg->lock);
	t = sharing_task(x);
	if (t && t->files) {
		files = t->files;
		fd_table_get(files);
	}
	pthread_mutex_unlock(&x->tg->lock);
	return files;
}

struct fs_place *target_place(const struct target *x)
{
	struct fs_place *place = NULL;
	struct task *t;

	pthread_mutex_lock(&x->tg->lock);
	t = sharing_task(x);
	if (t && t->place) {
		place = t->place;
		fs_place_get(place);
	}
	pthread_mutex_unlock(&x->tg->lock);
	return place;
}

struct cred *target_cred(const struct target *x)
{
	struct cred *c = NULL;

	pthread_mutex_lock(&x->tg->lock);
	if (x->task && x->task->cred) {
		c = x->task->cred;
		cred_get(c);
	}
	pthread_mutex_unlock(&x->tg->lock);
	return c;
}

char target_state(const struct target *x)
{
	char state = 'S';

	pthread_mutex_lock(&x->tg->lock);
	if (x->task)
		state = x->task->dead ? 'Z' : atomic_load(&x->task->state);
	if (x->tg->stopped && state != 'Z' && state != 't')
		state = 'T';
	pthread_mutex_unlock(&x->tg->lock);
	return state;
}

int target_allowed(const struct target *x, struct task *viewer)
{
	struct cred *c;
	bool same;

	if (!viewer)
		return -EACCES;
	if (viewer->tg == x->tg || cred_capable(viewer->cred, CAP_SYS_PTRACE))
		return 0;
	c = target_cred(x);
	if (!c)
		return -EACCES;
	same = viewer->cred->fsuid == c->euid && c->euid == c->suid && c->suid == c->uid &&
	       viewer->cred->fsgid == c->egid && c->egid == c->sgid && c->sgid == c->gid;
	cred_put(c);
	return same ? 0 : -EACCES;
}

int proc_parse_number(const char *name)
{
	long n = 0;

	if (!*name || (name[0] == '0' && name[1]))
		return -1;
	for (; *name; name++) {
		if (*name < '0' || *name > '9')
			return -1;
		n = n * 10 + *name - '0';
		if (n > INT32_MAX)
			return -1;
	}
	return n;
}

/* ---- the top ---- */

static int self_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_printf(s, "%d", viewer->tg->tgid);
	return 0;
}

static int thread_self_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_printf(s, "%d/task/%d", viewer->tg->tgid, viewer->tid);
	return 0;
}

/* A thread's number leads to a directory too, although it is not listed. */
static int root_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	int n = proc_parse_number(name);
	struct thread_group *tg = n > 0 ? thread_group_get(n) : NULL;
	struct task *t;

	*out = (struct pseudo){ .e = &proc_pid_dir, .pid = n };
	if (tg) {
		thread_group_put(tg);
		return 0;
	}
	t = n > 0 ? task_get(n) : NULL;
	if (!t)
		return -ENOENT;
	out->pid = t->tg->tgid;
	out->tid = n;
	task_put(t);
	return 0;
}

static int root_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	int n = task_next_tgid(from);

	if (n < 0)
		return -1;
	snprintf(name, 32, "%d", n);
	*out = (struct pseudo){ .e = &proc_pid_dir, .pid = n };
	return n;
}

static void proc_owner(const struct pseudo *p, u32 *uid, u32 *gid)
{
	struct target x;
	struct cred *c;

	if (!p->pid || target_get(p, &x))
		return;
	c = target_cred(&x);
	if (c) {
		*uid = c->euid;
		*gid = c->egid;
		cred_put(c);
	}
	target_put(&x);
}

#define FILESYSTEMS	"nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\nnodev\tmqueue\nnodev\toverlay\n"
#define DEVICES		"Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n 10 misc\n136 pts\n\nBlock devices:\n  7 loop\n"

static const struct pseudo_entry root_names[] = {
	{ .name = "self",	.mode = S_IFLNK | 0777, .show = self_show },
	{ .name = "thread-self", .mode = S_IFLNK | 0777, .show = thread_self_show },
	{ .name = "mounts",	.mode = S_IFLNK | 0777, .text = "self/mounts" },
	{ .name = "net",	.mode = S_IFLNK | 0777, .text = "self/net" },
	{ .name = "cmdline",	.mode = S_IFREG | 0444, .text = "quiet\n" },
	{ .name = "config.gz",	.mode = S_IFREG | 0444, .show = proc_config },
	{ .name = "cpuinfo",	.mode = S_IFREG | 0444, .show = proc_cpuinfo },
	{ .name = "devices",	.mode = S_IFREG | 0444, .text = DEVICES },
	{ .name = "diskstats",	.mode = S_IFREG | 0444, .text = "" },
	{ .name = "filesystems", .mode = S_IFREG | 0444, .text = FILESYSTEMS },
	{ .name = "interrupts",	.mode = S_IFREG | 0444, .show = proc_interrupts },
	{ .name = "loadavg",	.mode = S_IFREG | 0444, .show = proc_loadavg },
	{ .name = "locks",	.mode = S_IFREG | 0444, .text = "" },
	{ .name = "meminfo",	.mode = S_IFREG | 0444, .show = proc_meminfo },
	{ .name = "misc",	.mode = S_IFREG | 0444, .text = "" },
	{ .name = "modules",	.mode = S_IFREG | 0444, .text = "" },
	{ .name = "partitions",	.mode = S_IFREG | 0444, .text = "major minor  #blocks  name\n\n" },
	{ .name = "stat",	.mode = S_IFREG | 0444, .show = proc_stat },
	{ .name = "swaps",	.mode = S_IFREG | 0444, .text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" },
	{ .name = "sys",	.mode = S_IFDIR | 0555, .children = proc_sys_names },
	{ .name = "sysvipc",	.mode = S_IFDIR | 0555, .children = proc_sysvipc_names },
	{ .name = "uptime",	.mode = S_IFREG | 0444, .show = proc_uptime },
	{ .name = "version",	.mode = S_IFREG | 0444, .show = proc_version },
	{ .name = "vmstat",	.mode = S_IFREG | 0444, .show = proc_vmstat },
	{ 0 }
};

static const struct pseudo_entry proc_root = {
	.name = "/", .mode = S_IFDIR | 0555, .children = root_names, .lookup = root_lookup, .next = root_next,
};

int procfs_create(struct super **out)
{
	return pseudo_create("proc", PROC_MAGIC, &proc_root, proc_owner, out);
}

int proc_file_pid(const struct file *f)
{
	const struct pseudo *p = pseudo_dir(f->inode);

	return p && p->e == &proc_pid_dir ? p->pid : 0;
}
