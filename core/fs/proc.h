/*
 * What the files of /proc share: whose file it is, and what of that process may be looked at.
 *
 * A process can end at any moment: each file begins with target_get() and works on references.
 */
#ifndef TG_FS_PROC_H
#define TG_FS_PROC_H

#include "fs/pseudo.h"
#include "task/task.h"

struct target {
	struct thread_group *tg;
	struct task *task;		/* p->tid's, or the leader; NULL for group 1 and while being reaped */
};

int target_get(const struct pseudo *p, struct target *out);	/* -ESRCH */
void target_put(struct target *x);

/* References, or NULL if it has none (any more). */
struct mm *target_mm(const struct target *x);
struct fd_table *target_files(const struct target *x);
struct fs_place *target_place(const struct target *x);
struct cred *target_cred(const struct target *x);
char target_state(const struct target *x);			/* R S T Z */

/* May `viewer` look into it (memory, descriptors, what it executes)? As ptrace would allow: -EACCES. */
int target_allowed(const struct target *x, struct task *viewer);

/* ---- tables that the directories are made of ---- */
extern const struct pseudo_entry proc_pid_dir, proc_tid_dir;	/* proc_pid.c */
extern const struct pseudo_entry proc_sys_names[];		/* proc_sys.c */
extern const struct pseudo_entry proc_net_names[];		/* proc_net.c */
extern const struct pseudo_entry proc_sysvipc_names[];		/* proc_ipc.c */

/* ---- files, by where they are ---- */
#define PROC_SHOW(name)	int name(struct seq *s, const struct pseudo *p, struct task *viewer)

PROC_SHOW(proc_pid_stat);		/* proc_stat.c */
PROC_SHOW(proc_pid_statm);
PROC_SHOW(proc_pid_status);

PROC_SHOW(proc_pid_maps);		/* proc_mem.c */
PROC_SHOW(proc_pid_smaps);
PROC_SHOW(proc_pid_smaps_rollup);
PROC_SHOW(proc_pid_cmdline);
PROC_SHOW(proc_pid_environ);
PROC_SHOW(proc_pid_auxv);
int proc_pid_mem_open(const struct pseudo *p, struct task *t, struct file *f);

PROC_SHOW(proc_pid_mounts);		/* proc_mounts.c */
PROC_SHOW(proc_pid_mountinfo);

int proc_fd_lookup(const struct pseudo *p, const char *name, struct pseudo *out);	/* proc_fd.c */
int proc_fd_next(const struct pseudo *p, int from, char name[32], struct pseudo *out);
int proc_fdinfo_lookup(const struct pseudo *p, const char *name, struct pseudo *out);
int proc_fdinfo_next(const struct pseudo *p, int from, char name[32], struct pseudo *out);

PROC_SHOW(proc_meminfo);		/* proc_system.c */
PROC_SHOW(proc_cpuinfo);
PROC_SHOW(proc_stat);
PROC_SHOW(proc_uptime);
PROC_SHOW(proc_loadavg);
PROC_SHOW(proc_version);
PROC_SHOW(proc_vmstat);
PROC_SHOW(proc_interrupts);

PROC_SHOW(proc_config);			/* proc_config.c */

/* ---- numbers ---- */
int proc_parse_number(const char *name);	/* a decimal without leading zeros, or -1 */
u64 proc_clock_ticks(u64 ns);			/* in the unit of USER_HZ */

#endif
