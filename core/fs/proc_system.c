/* /proc: the machine as the guest may see it. Memory is the memory file's, processors are those the sandbox may use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "fs/proc.h"
#include "host/machine.h"
#include "lib/version.h"
#include "mm/mm.h"
#include "syscall/uts.h"
#include "task/clock.h"

typedef unsigned long long ull;

int proc_meminfo(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	u64 kb = PAGE_SIZE / 1024, total = memory_limit() * kb, used = MIN(memory_used() * kb, total), left = total - used;
	const struct { const char *name; u64 kb; } rows[] = {
		{ "MemTotal", total }, { "MemFree", left }, { "MemAvailable", left }, { "Buffers", 0 }, { "Cached", 0 },
		{ "SwapCached", 0 }, { "Active", used }, { "Inactive", 0 }, { "Active(anon)", used }, { "Inactive(anon)", 0 },
		{ "Active(file)", 0 }, { "Inactive(file)", 0 }, { "Unevictable", 0 }, { "Mlocked", 0 }, { "SwapTotal", 0 },
		{ "SwapFree", 0 }, { "Dirty", 0 }, { "Writeback", 0 }, { "AnonPages", used }, { "Mapped", 0 }, { "Shmem", 0 },
		{ "KReclaimable", 0 }, { "Slab", 0 }, { "SReclaimable", 0 }, { "SUnreclaim", 0 }, { "KernelStack", 0 },
		{ "PageTables", 0 }, { "CommitLimit", total }, { "Committed_AS", used }, { "VmallocTotal", 34359738367 },
		{ "VmallocUsed", 0 }, { "VmallocChunk", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char label[32];

		snprintf(label, sizeof(label), "%s:", rows[i].name);
		seq_printf(s, "%-16s%8llu kB\n", label, (ull)rows[i].kb);
	}
	seq_puts(s, "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n"
		    "Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
	return 0;
}

/* The host's blocks, one a processor, of those that the sandbox may use. */
int proc_cpuinfo(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	size_t len;
	char *all = machine_cpuinfo(&len), *block, *end;
	unsigned int cpu;

	for (block = all; block && *block; block = end) {
		end = strstr(block, "\n\n");
		end = end ? end + 2 : block + strlen(block);
		if (sscanf(block, "processor : %u", &cpu) == 1 && !machine_has_cpu(cpu))
			continue;
		seq_write(s, block, end - block);
	}
	free(all);
	return 0;
}

/* ---- time ---- */

/* CPU time of all that live; kept from falling when a process ends and its parent was never told. */
static void used_time(u64 *user, u64 *sys)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static u64 most_user, most_sys;
	struct rusage_sum one;

	*user = *sys = 0;
	for (int id = task_next_tgid(1); id > 0; id = task_next_tgid(id + 1)) {
		struct thread_group *tg = thread_group_get(id);

		if (!tg)
			continue;
		thread_group_usage(tg, &one);
		pthread_mutex_lock(&tg->lock);
		*user += one.utime_ns + tg->children_usage.utime_ns;
		*sys += one.stime_ns + tg->children_usage.stime_ns;
		pthread_mutex_unlock(&tg->lock);
		thread_group_put(tg);
	}
	pthread_mutex_lock(&lock);
	*user = most_user = MAX(most_user, *user);
	*sys = most_sys = MAX(most_sys, *sys);
	pthread_mutex_unlock(&lock);
}

struct cpu_time {			/* of all processors together, ns */
	u64 user, sys, idle;
};

static void cpu_time(struct cpu_time *c)
{
	u64 all = clock_now(CLOCK_BOOTTIME) * machine_cpus();

	used_time(&c->user, &c->sys);
	c->idle = all > c->user + c->sys ? all - c->user - c->sys : 0;
}

int proc_uptime(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	u64 up = clock_now(CLOCK_BOOTTIME);
	struct cpu_time c;

	cpu_time(&c);
	seq_printf(s, "%llu.%02llu %llu.%02llu\n", (ull)(up / NSEC_PER_SEC), (ull)(up % NSEC_PER_SEC / 10000000),
		   (ull)(c.idle / NSEC_PER_SEC), (ull)(c.idle % NSEC_PER_SEC / 10000000));
	return 0;
}

static void cpu_line(struct seq *s, const char *name, const struct cpu_time *c, u64 share)
{
	seq_printf(s, "%s %llu 0 %llu %llu 0 0 0 0 0 0\n", name, (ull)(proc_clock_ticks(c->user) / share),
		   (ull)(proc_clock_ticks(c->sys) / share), (ull)(proc_clock_ticks(c->idle) / share));
}

static void count_tasks(int *groups, int *threads, int *running, int *last)
{
	*groups = *threads = *running = *last = 0;
	for (int id = task_next_tgid(1); id > 0; id = task_next_tgid(id + 1)) {
		struct thread_group *tg = thread_group_get(id);
		struct task *t;

		if (!tg)
			continue;
		pthread_mutex_lock(&tg->lock);
		TAILQ_FOREACH(t, &tg->threads, thread_link) {
			++*threads;
			*running += atomic_load(&t->state) == 'R';
		}
		pthread_mutex_unlock(&tg->lock);
		++*groups;
		*last = id;
		thread_group_put(tg);
	}
}

int proc_stat(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	int groups, threads, running, last;
	struct cpu_time c;
	char name[16];
	u64 boot = clock_now(CLOCK_REALTIME) - clock_now(CLOCK_BOOTTIME);

	cpu_time(&c);
	count_tasks(&groups, &threads, &running, &last);
	cpu_line(s, "cpu ", &c, 1);
	for (u32 cpu = 0; cpu < machine_cpu_end(); cpu++) {
		snprintf(name, sizeof(name), "cpu%u", cpu);
		if (machine_has_cpu(cpu))
			cpu_line(s, name, &c, machine_cpus());
	}
	seq_printf(s, "intr 0\nctxt 0\nbtime %llu\nprocesses %d\nprocs_running %d\nprocs_blocked 0\n",
		   (ull)(boot / NSEC_PER_SEC), last, running);
	seq_puts(s, "softirq 0 0 0 0 0 0 0 0 0 0 0\n");
	return 0;
}

int proc_loadavg(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	int groups, threads, running, last;
	struct sysinfo info = { 0 };

	sysinfo(&info);
	count_tasks(&groups, &threads, &running, &last);
	for (int i = 0; i < 3; i++)
		seq_printf(s, "%.2f ", info.loads[i] / 65536.0);
	seq_printf(s, "%d/%d %d\n", running, threads, last);
	return 0;
}

int proc_version(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_printf(s, "Linux version %s (trapgate@localhost) (gcc) %s\n", UTS_RELEASE, UTS_VERSION);
	return 0;
}

int proc_vmstat(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	u64 used = MIN(memory_used(), memory_limit());

	seq_printf(s, "nr_free_pages %llu\nnr_anon_pages %llu\nnr_mapped 0\nnr_file_pages 0\nnr_dirty 0\nnr_writeback 0\n",
		   (ull)(memory_limit() - used), (ull)used);
	seq_puts(s, "pgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault 0\npgmajfault 0\n");
	return 0;
}

int proc_interrupts(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_puts(s, "     ");
	for (u32 cpu = 0; cpu < machine_cpu_end(); cpu++)
		if (machine_has_cpu(cpu))
			seq_printf(s, "       CPU%-4u", cpu);
	seq_puts(s, "\n");
	return 0;
}
