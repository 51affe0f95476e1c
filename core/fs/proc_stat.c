/* /proc/PID/stat, statm and status, in the kernel's formats. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "fs/proc.h"
#include "task/seccomp.h"
#include "fs/tty.h"
#include "mm/mm.h"
#include "task/clock.h"

#define USER_HZ	100

u64 proc_clock_ticks(u64 ns)
{
	return ns / (NSEC_PER_SEC / USER_HZ);
}

/* What both files tell, taken at one time. */
struct facts {
	char comm[16], state;
	int pid, tid, ppid, pgid, sid, nthreads, exit_signal, exit_status, tgid, nice, policy, priority;
	u64 tty;
	int tpgid;
	sigset64 pending, shared, blocked, ignored, caught;
	u64 start_ns;
	struct rusage_sum use, children;
	struct cred *cred;		/* a reference; NULL: nobody's */
	u32 umask, queued;
	u64 sigpending_max;
	bool no_new_privs;
	int tracer, seccomp_mode, seccomp_filters;
	u64 affinity[16];
	u64 total, rss, locked, data, peak_rss;		/* pages */
	gva_t code_start, code_end, data_start, data_end, brk_start, stack_top, arg_start, arg_end, env_start, env_end;
	bool has_mm;
};

struct kinds {				/* pages by kind, counted for status only */
	u64 anon, file, shmem, stack, code;
};

static void facts_mm(struct facts *a, const struct target *x)
{
	struct mm *mm = target_mm(x);

	if (!mm)
		return;
	a->has_mm = true;
	a->total = mm->total_pages;
	a->rss = mm->rss_pages;
	a->locked = mm->locked_pages;
	a->data = mm->data_pages;
	a->peak_rss = MAX(mm->peak_rss_pages, a->rss);
	a->code_start = mm->code_start;
	a->code_end = mm->code_end;
	a->data_start = mm->data_start;
	a->data_end = mm->data_end;
	a->brk_start = mm->brk_start;
	a->stack_top = mm->stack_top;
	a->arg_start = mm->arg_start;
	a->arg_end = mm->arg_end;
	a->env_start = mm->env_start;
	a->env_end = mm->env_end;
	mm_put(mm);
}

static void facts_family(struct facts *a, const struct target *x)
{
	struct thread_group *tg = x->tg;

	pthread_rwlock_rdlock(&tasklist);
	a->ppid = tg->parent ? tg->parent->tgid : 0;
	a->tracer = x->task && x->task->pt.tracer ? x->task->pt.tracer->tg->tgid : 0;
	a->pgid = tg->pgid;
	a->sid = tg->session ? tg->session->sid : 0;
	pthread_rwlock_unlock(&tasklist);
	tty_of_task(tg, &a->tty, &a->tpgid);
}

static void facts_handlers(struct facts *a, struct sighand *sh)
{
	pthread_mutex_lock(&sh->lock);
	for (int i = 0; i < NSIG_GUEST; i++) {
		if (sh->action[i].handler == (u64)SIG_IGN)
			a->ignored |= (sigset64)1 << i;
		else if (sh->action[i].handler != (u64)SIG_DFL)
			a->caught |= (sigset64)1 << i;
	}
	pthread_mutex_unlock(&sh->lock);
}

/* tg->lock held. */
static void facts_task(struct facts *a, struct task *t)
{
	struct queued_signal *q;

	memcpy(a->comm, t->comm, sizeof(a->comm));
	a->tid = t->tid;
	a->pending = t->pending.set;
	a->blocked = t->blocked;
	a->start_ns = atomic_load(&t->start_ns);
	a->no_new_privs = t->no_new_privs;
	a->seccomp_mode = t->seccomp_mode;
	a->seccomp_filters = seccomp_filters(t);
	a->nice = t->sched.nice;
	a->policy = t->sched.policy;
	a->priority = t->sched.priority;
	memcpy(a->affinity, t->sched.affinity, sizeof(a->affinity));
	if (t->place && !t->dead)
		a->umask = t->place->umask;
	if (t->sighand && !t->dead)
		facts_handlers(a, t->sighand);
	TAILQ_FOREACH(q, &t->pending.queue, link)
		a->queued++;
}

static void facts_get(struct facts *a, const struct target *x, const struct pseudo *p)
{
	struct thread_group *tg = x->tg;
	struct queued_signal *q;

	memset(a, 0, sizeof(*a));
	strcpy(a->comm, "init");
	a->pid = a->tid = tg->tgid;
	a->state = target_state(x);
	facts_family(a, x);
	pthread_mutex_lock(&tg->lock);
	a->nthreads = tg->nthreads;
	a->exit_signal = tg->exit_signal;
	a->exit_status = tg->exit_status;
	a->children = tg->children_usage;
	a->shared = tg->pending.set;
	a->start_ns = tg->start_ns;
	a->sigpending_max = tg->rlim[RLIMIT_SIGPENDING].rlim_cur;
	TAILQ_FOREACH(q, &tg->pending.queue, link)
		a->queued++;
	if (x->task)
		facts_task(a, x->task);
	pthread_mutex_unlock(&tg->lock);
	if (p->tid && x->task)
		task_usage(x->task, &a->use);
	else
		thread_group_usage(tg, &a->use);
	facts_mm(a, x);
	a->cred = target_cred(x);
}

static void facts_put(struct facts *a)
{
	if (a->cred)
		cred_put(a->cred);
}

/* Start times are told on the clock that counts from boot. */
static u64 boot_time(u64 monotonic_ns)
{
	return monotonic_ns + clock_now(CLOCK_BOOTTIME) - clock_now(CLOCK_MONOTONIC);
}

static int stat_priority(const struct facts *a)
{
	return a->policy == SCHED_FIFO || a->policy == SCHED_RR ? -1 - a->priority : 20 + a->nice;
}

/* Addresses are for those who may look into the process; others see zeros, and 1 where the kernel has it. */
static void stat_show(struct seq *s, const struct facts *a, bool open)
{
	typedef unsigned long long ull;

	seq_printf(s, "%d (%.15s) %c %d %d %d %d %d %u", a->tid, a->comm, a->state, a->ppid, a->pgid, a->sid, (int)a->tty,
		   a->tpgid, 0x400000 /* PF_RANDOMIZE */);
	seq_printf(s, " %llu %llu %llu %llu %llu %llu %llu %llu", (ull)a->use.minflt, (ull)a->children.minflt,
		   (ull)a->use.majflt, (ull)a->children.majflt, (ull)proc_clock_ticks(a->use.utime_ns),
		   (ull)proc_clock_ticks(a->use.stime_ns), (ull)proc_clock_ticks(a->children.utime_ns),
		   (ull)proc_clock_ticks(a->children.stime_ns));
	seq_printf(s, " %d %d %d 0 %llu %llu %llu 18446744073709551615", stat_priority(a), a->nice, a->nthreads,
		   (ull)proc_clock_ticks(boot_time(a->start_ns)), (ull)(a->total * PAGE_SIZE), (ull)a->rss);
	seq_printf(s, " %llu %llu %llu 0 0", open ? (ull)a->code_start : a->has_mm, open ? (ull)a->code_end : a->has_mm,
		   open ? (ull)a->stack_top : 0);
	/* The old 31-bit masks of signals. */
	seq_printf(s, " %llu %llu %llu %llu", (ull)((a->pending | a->shared) & 0x7fffffff), (ull)(a->blocked & 0x7fffffff),
		   (ull)(a->ignored & 0x7fffffff), (ull)(a->caught & 0x7fffffff));
	seq_printf(s, " 0 0 0 %d 0 %d %d 0 0 0", a->exit_signal, a->policy == SCHED_OTHER ? 0 : a->priority, a->policy);
	if (open)
		seq_printf(s, " %llu %llu %llu %llu %llu %llu %llu %d\n", (ull)a->data_start, (ull)a->data_end, (ull)a->brk_start,
			   (ull)a->arg_start, (ull)a->arg_end, (ull)a->env_start, (ull)a->env_end, a->exit_status);
	else
		seq_puts(s, " 0 0 0 0 0 0 0 0\n");
}

int proc_pid_stat(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	struct facts a;
	int err = target_get(p, &x);

	if (err)
		return err;
	facts_get(&a, &x, p);
	stat_show(s, &a, !target_allowed(&x, viewer));
	facts_put(&a);
	target_put(&x);
	return 0;
}

int proc_pid_statm(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	struct facts a;
	int err = target_get(p, &x);

	if (err)
		return err;
	facts_get(&a, &x, p);
	facts_put(&a);
	target_put(&x);
	seq_printf(s, "%llu %llu %llu %llu 0 %llu 0\n", (unsigned long long)a.total, (unsigned long long)a.rss, 0ull,
		   (unsigned long long)((page_up(a.code_end) - page_down(a.code_start)) / PAGE_SIZE),
		   (unsigned long long)a.data);
	return 0;
}

/* ---- status ---- */

static const char *state_name(char state)
{
	switch (state) {
	case 'R':
		return "R (running)";
	case 't':
		return "t (tracing stop)";
	case 'T':
		return "T (stopped)";
	case 'Z':
		return "Z (zombie)";
	default:
		return "S (sleeping)";
	}
}

static const struct cred no_cred;

static const struct cred *facts_cred(const struct facts *a)
{
	return a->cred ? a->cred : &no_cred;
}

static void status_ids(struct seq *s, const struct facts *a)
{
	const struct cred *c = facts_cred(a);

	seq_printf(s, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t64\nGroups:\t", c->uid, c->euid, c->suid, c->fsuid,
		   c->gid, c->egid, c->sgid, c->fsgid);
	for (int i = 0; i < c->ngroups; i++)
		seq_printf(s, "%s%u", i ? " " : "", c->groups[i]);
	seq_puts(s, " \n");
	seq_printf(s, "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", a->pid, a->tid, a->pgid, a->sid);
}

static void status_kb(struct seq *s, const char *name, u64 pages)
{
	seq_printf(s, "%s:\t%8llu kB\n", name, (unsigned long long)(pages * (PAGE_SIZE / 1024)));
}

static void count_kinds(const struct target *x, struct kinds *k)
{
	struct mm *mm = target_mm(x);
	struct vma_info *v = NULL;
	size_t n = 0;

	*k = (struct kinds){ 0 };
	if (!mm || mm_snapshot(mm, true, &v, &n))
		goto out;
	for (size_t i = 0; i < n; i++) {
		u64 rest = v[i].rss - MIN(v[i].anon, v[i].rss), pages = (v[i].end - v[i].start) / PAGE_SIZE;

		k->anon += v[i].anon;
		k->file += v[i].file ? rest : 0;
		k->shmem += v[i].file ? 0 : rest;
		if (v[i].flags & MAP_GROWSDOWN)
			k->stack += pages;
		if (v[i].file && (v[i].prot & PROT_EXEC))
			k->code += pages;
	}
	mm_snapshot_free(v, n);
out:
	if (mm)
		mm_put(mm);
}

static void status_mm(struct seq *s, const struct facts *a, const struct kinds *k)
{
	u64 exe = (page_up(a->code_end) - page_down(a->code_start)) / PAGE_SIZE;

	status_kb(s, "VmPeak", a->total);
	status_kb(s, "VmSize", a->total);
	status_kb(s, "VmLck", a->locked);
	status_kb(s, "VmPin", 0);
	status_kb(s, "VmHWM", a->peak_rss);
	status_kb(s, "VmRSS", a->rss);
	status_kb(s, "RssAnon", k->anon);
	status_kb(s, "RssFile", k->file);
	status_kb(s, "RssShmem", k->shmem);
	status_kb(s, "VmData", a->data);
	status_kb(s, "VmStk", k->stack);
	status_kb(s, "VmExe", exe);
	status_kb(s, "VmLib", k->code > exe ? k->code - exe : 0);
	status_kb(s, "VmPTE", (a->rss * 8 + PAGE_SIZE - 1) / PAGE_SIZE);
	status_kb(s, "VmSwap", 0);
	status_kb(s, "HugetlbPages", 0);
	seq_puts(s, "CoreDumping:\t0\nTHP_enabled:\t0\n");
}

static void status_signals(struct seq *s, const struct facts *a)
{
	const struct cred *c = facts_cred(a);
	const struct { const char *name; u64 set; } sets[] = {
		{ "SigPnd", a->pending }, { "ShdPnd", a->shared }, { "SigBlk", a->blocked }, { "SigIgn", a->ignored },
		{ "SigCgt", a->caught }, { "CapInh", c->cap_inheritable }, { "CapPrm", c->cap_permitted },
		{ "CapEff", c->cap_effective }, { "CapBnd", c->cap_bounding }, { "CapAmb", c->cap_ambient },
	};

	seq_printf(s, "Threads:\t%d\nSigQ:\t%u/%lld\n", a->nthreads, a->queued, (long long)a->sigpending_max);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		seq_printf(s, "%s:\t%016llx\n", sets[i].name, (unsigned long long)sets[i].set);
	seq_printf(s, "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%d\n", a->no_new_privs, a->seccomp_mode,
		   a->seccomp_filters);
	seq_puts(s, "Speculation_Store_Bypass:\tthread vulnerable\nSpeculationIndirectBranch:\tconditional enabled\n");
}

static bool cpu_in(const struct facts *a, u32 cpu)
{
	return cpu < 1024 && (a->affinity[cpu / 64] >> (cpu % 64) & 1);
}

static void status_cpus(struct seq *s, const struct facts *a)
{
	const char *sep = "";
	int top = 0;

	for (int i = 0; i < 16; i++)
		if (a->affinity[i])
			top = i;
	seq_puts(s, "Cpus_allowed:\t");
	if (top || a->affinity[0] >> 32)
		for (int w = 2 * top + (a->affinity[top] >> 32 ? 1 : 0); w > 0; w--)
			seq_printf(s, "%08x,", (u32)(a->affinity[w / 2] >> (w % 2 * 32)));
	seq_printf(s, top || a->affinity[0] >> 32 ? "%08x\n" : "%x\n", (u32)a->affinity[0]);
	seq_puts(s, "Cpus_allowed_list:\t");
	for (u32 cpu = 0; cpu < 1024; cpu++) {
		u32 end = cpu;

		if (!cpu_in(a, cpu))
			continue;
		while (cpu_in(a, end + 1))
			end++;
		seq_printf(s, end > cpu ? "%s%u-%u" : "%s%u", sep, cpu, end);
		sep = ",";
		cpu = end;
	}
	seq_puts(s, "\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
}

int proc_pid_status(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct target x;
	struct kinds k;
	struct facts a;
	int err = target_get(p, &x);

	if (err)
		return err;
	facts_get(&a, &x, p);
	count_kinds(&x, &k);
	target_put(&x);
	seq_printf(s, "Name:\t%.15s\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n", a.comm,
		   a.umask, state_name(a.state), a.pid, a.tid, a.ppid, a.tracer);
	status_ids(s, &a);
	if (a.has_mm)
		status_mm(s, &a, &k);
	status_signals(s, &a);
	status_cpus(s, &a);
	seq_printf(s, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
		   (unsigned long long)a.use.nvcsw, (unsigned long long)a.use.nivcsw);
	facts_put(&a);
	return 0;
}
