/* /sys: processors, one memory node, and what libraries look up at start. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/proc.h"
#include "fs/pseudo.h"
#include "fs/special.h"
#include "host/machine.h"

#define SYSFS_MAGIC	0x62656572

#define FILE_TEXT(n, t)	{ .name = n, .mode = S_IFREG | 0444, .text = t }
#define FILE_SHOW(n, f)	{ .name = n, .mode = S_IFREG | 0444, .show = f }
#define DIR(n, c)	{ .name = n, .mode = S_IFDIR | 0755, .children = c }

/* ---- processors ---- */

/* "0-3,6": those we have. */
static int cpu_list_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	const char *sep = "";

	for (u32 cpu = 0; cpu < MACHINE_CPUS; cpu++) {
		u32 end = cpu;

		if (!machine_has_cpu(cpu))
			continue;
		while (machine_has_cpu(end + 1))
			end++;
		seq_printf(s, end > cpu ? "%s%u-%u" : "%s%u", sep, cpu, end);
		sep = ",";
		cpu = end;
	}
	seq_puts(s, "\n");
	return 0;
}

static void mask_print(struct seq *s, u32 only)
{
	u32 words = (machine_cpu_end() + 31) / 32;

	for (u32 w = words; w-- > 0;) {
		u32 bits = 0;

		for (u32 b = 0; b < 32; b++)
			if (machine_has_cpu(w * 32 + b) && (only == UINT32_MAX || only == w * 32 + b))
				bits |= 1u << b;
		seq_printf(s, words == 1 ? "%x%s" : "%08x%s", bits, w ? "," : "\n");
	}
}

static int cpu_map_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	mask_print(s, UINT32_MAX);
	return 0;
}

static int cpu_own_map_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	mask_print(s, p->num);
	return 0;
}

static int cpu_number_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_printf(s, "%d\n", p->num);
	return 0;
}

/* Each processor is a core of its own: threads of a core are the host's business. */
static const struct pseudo_entry topology_names[] = {
	FILE_SHOW("core_cpus", cpu_own_map_show),
	FILE_SHOW("core_cpus_list", cpu_number_show),
	FILE_SHOW("core_id", cpu_number_show),
	FILE_SHOW("core_siblings", cpu_map_show),
	FILE_SHOW("core_siblings_list", cpu_list_show),
	FILE_SHOW("package_cpus", cpu_map_show),
	FILE_SHOW("package_cpus_list", cpu_list_show),
	FILE_TEXT("physical_package_id", "0\n"),
	FILE_SHOW("thread_siblings", cpu_own_map_show),
	FILE_SHOW("thread_siblings_list", cpu_number_show),
	{ 0 }
};

static const struct pseudo_entry cpu_names[] = {
	FILE_TEXT("online", "1\n"),
	DIR("topology", topology_names),
	{ 0 }
};

static const struct pseudo_entry cpu_dir = DIR("cpu", cpu_names);

static int cpu_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	int n = strncmp(name, "cpu", 3) ? -1 : proc_parse_number(name + 3);

	if (n < 0 || !machine_has_cpu(n))
		return -ENOENT;
	*out = (struct pseudo){ .e = &cpu_dir, .num = n };
	return 0;
}

static int cpu_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	u32 cpu = from;

	while (cpu < MACHINE_CPUS && !machine_has_cpu(cpu))
		cpu++;
	if (cpu >= MACHINE_CPUS)
		return -1;
	snprintf(name, 32, "cpu%u", cpu);
	*out = (struct pseudo){ .e = &cpu_dir, .num = cpu };
	return cpu;
}

static const struct pseudo_entry cpus_names[] = {
	FILE_TEXT("isolated", "\n"),
	FILE_TEXT("kernel_max", "1023\n"),
	FILE_TEXT("offline", "\n"),
	FILE_SHOW("online", cpu_list_show),
	FILE_SHOW("possible", cpu_list_show),
	FILE_SHOW("present", cpu_list_show),
	{ 0 }
};

/* ---- the memory node ---- */

static const struct pseudo_entry node0_names[] = {
	FILE_SHOW("cpulist", cpu_list_show),
	FILE_SHOW("cpumap", cpu_map_show),
	FILE_TEXT("distance", "10\n"),
	{ 0 }
};

static const struct pseudo_entry node_names[] = {
	FILE_TEXT("has_cpu", "0\n"),
	FILE_TEXT("has_memory", "0\n"),
	DIR("node0", node0_names),
	FILE_TEXT("online", "0\n"),
	FILE_TEXT("possible", "0\n"),
	{ 0 }
};

/* ---- the tree ---- */

static const struct pseudo_entry system_names[] = {
	{ .name = "cpu", .mode = S_IFDIR | 0755, .children = cpus_names, .lookup = cpu_lookup, .next = cpu_next },
	DIR("node", node_names),
	{ 0 }
};

static const struct pseudo_entry devices_names[] = { DIR("system", system_names), { 0 } };

static const struct pseudo_entry thp_names[] = {
	FILE_TEXT("defrag", "always defer defer+madvise [madvise] never\n"),
	FILE_TEXT("enabled", "always madvise [never]\n"),
	FILE_TEXT("hpage_pmd_size", "2097152\n"),
	{ 0 }
};

static const struct pseudo_entry empty_names[] = { { 0 } };
static const struct pseudo_entry mm_names[] = {
	DIR("hugepages", empty_names), DIR("transparent_hugepage", thp_names), { 0 }
};
static const struct pseudo_entry kernel_names[] = { DIR("mm", mm_names), { 0 } };
static const struct pseudo_entry fs_names[] = { DIR("cgroup", empty_names), { 0 } };
static const struct pseudo_entry class_names[] = { DIR("net", empty_names), { 0 } };

static const struct pseudo_entry sys_names[] = {
	DIR("block", empty_names),
	DIR("class", class_names),
	DIR("devices", devices_names),
	DIR("fs", fs_names),
	DIR("kernel", kernel_names),
	{ 0 }
};

static const struct pseudo_entry sys_root = DIR("/", sys_names);

int sysfs_create(struct super **out)
{
	return pseudo_create("sysfs", SYSFS_MAGIC, &sys_root, NULL, out);
}
