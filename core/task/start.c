/*
 * Start-up: group 1, which adopts orphans and has no task, and the first guest process: pid 2, child of 1, leader of
 * its own session and process group.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/tty.h"
#include "host/hostsig.h"
#include "host/limits.h"
#include "host/machine.h"
#include "mm/mm.h"
#include "task/clock.h"
#include "task/exec.h"
#include "task/internal.h"

struct thread_group *init_group;
cpu_set_t sandbox_cpus;

static void initial_rlimits(struct thread_group *tg)
{
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (host_limit(i, &tg->rlim[i]))
			tg->rlim[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	tg->rlim[RLIMIT_CORE].rlim_cur = 0;		/* no core files are written */
}

static int make_init_group(void)
{
	struct session *s;
	int err = -ENOMEM;

	init_group = thread_group_new();
	if (!init_group)
		return -ENOMEM;
	pthread_rwlock_wrlock(&tasklist);
	init_group->tgid = pid_alloc();
	pid_set_group(init_group->tgid, init_group);
	s = session_new(init_group->tgid);
	if (s) {
		session_join(init_group, s);
		err = pgrp_join(init_group, init_group->tgid, s);
	}
	pthread_rwlock_unlock(&tasklist);
	return err;
}

/* The first process's numbers, session, process group and parent. */
static int link_first(struct task *t)
{
	struct thread_group *tg = t->tg;
	struct session *s;
	int err = -ENOMEM;

	pthread_rwlock_wrlock(&tasklist);
	t->tid = tg->tgid = pid_alloc();
	s = session_new(t->tid);
	if (!s)
		goto out;
	session_join(tg, s);
	err = pgrp_join(tg, t->tid, s);
	if (err)
		goto out;
	pid_set_task(t->tid, t);
	pid_set_group(t->tid, tg);
	tg->leader = t;
	TAILQ_INSERT_TAIL(&tg->threads, t, thread_link);
	tg->nthreads = 1;
	tg->parent = init_group;
	TAILQ_INSERT_TAIL(&init_group->children, tg, sibling);
	cpu_limit_changed(tg);
out:
	pthread_rwlock_unlock(&tasklist);
	return err;
}

static struct task *make_first(struct fs_place *place)
{
	struct thread_group *tg = thread_group_new();
	struct task *t = tg ? task_new(tg) : NULL;

	if (!t)
		return NULL;
	tg->exit_signal = SIGCHLD;
	tg->start_ns = clock_now(CLOCK_MONOTONIC);
	initial_rlimits(tg);
	t->start_ns = tg->start_ns;
	t->place = place;
	t->cred = cred_initial();
	t->sighand = sighand_new();
	t->files = fd_table_new();
	memcpy(t->sched.affinity, &sandbox_cpus, sizeof(t->sched.affinity));
	if (!t->cred || !t->sighand || !t->files)
		return NULL;
	return t;
}

/* As execvp(3): a name without a slash is looked for in the guest's PATH. "Permission denied" wins over "none". */
static int open_program(struct task *t, const char *name, char *const envp[], char *path, struct file **file)
{
	const char *dirs = "/usr/local/bin:/usr/bin:/bin";
	int err = -ENOENT, r;

	if (strchr(name, '/')) {
		snprintf(path, PATH_MAX, "%s", name);
		return vfs_open_exec(t, AT_FDCWD, name, 0, file);
	}
	for (int i = 0; envp[i]; i++)
		if (!strncmp(envp[i], "PATH=", 5))
			dirs = envp[i] + 5;
	for (const char *d = dirs; d; d = strchr(d, ':') ? strchr(d, ':') + 1 : NULL) {
		int len = strcspn(d, ":");

		snprintf(path, PATH_MAX, "%.*s%s%s", len, d, len ? "/" : "./", name);
		r = vfs_open_exec(t, AT_FDCWD, path, 0, file);
		if (!r)
			return 0;
		if (r == -EACCES)
			err = r;
	}
	snprintf(path, PATH_MAX, "%s", name);
	return err;
}

static int load_first(struct task *t, const char *name, char *const argv[], char *const envp[], char *why, size_t len)
{
	char path[PATH_MAX];
	struct file *file;
	int err;

	err = open_program(t, name, envp, path, &file);
	if (!err) {
		err = exec_first(t, file, path, argv, envp);
		file_put(file);
	}
	if (err)
		snprintf(why, len, "can't run %s: %s", path, strerror(-err));
	return err;
}

int task_start_init(const char *path, char *const argv[], char *const envp[], struct fs_place *place,
		    const struct platform_ops *ops, char *why, size_t len)
{
	struct task *t;
	int err;

	platform = ops;
	usage_init();
	for (u32 cpu = 0; cpu < MACHINE_CPUS; cpu++)
		if (machine_has_cpu(cpu))
			CPU_SET(cpu, &sandbox_cpus);
	err = make_init_group();
	if (err)
		goto fail;
	err = -ENOMEM;
	t = make_first(place);
	if (!t)
		goto fail;
	err = link_first(t);
	if (err)
		goto fail;
	user_charge(t->cred->uid, 1);
	hostsig_inherit(t);
	err = fs_stdio(t);
	if (err)
		goto fail;
	tty_adopt_init(t);
	err = load_first(t, path, argv, envp, why, len);
	if (err)
		return err;
	sandbox_add_task();
	err = hostsig_start(t->tid);
	if (err)
		goto fail;
	err = task_thread_start(t);
	if (err)
		goto fail;
	task_start_go(t);
	return 0;
fail:
	snprintf(why, len, "can't make the first task: %s", strerror(-err));
	return err;
}
