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

/* ---- loop devices (fs/loop.c): no "loop" directory without a file, which is how losetup tells ---- */

enum { LOOP_BACKING, LOOP_AUTOCLEAR, LOOP_OFFSET, LOOP_PARTSCAN, LOOP_LIMIT, LOOP_DIO, LOOP_SIZE, LOOP_RO, LOOP_DEV };

static int loop_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct loop_facts f;

	loop_facts(p->num, &f);
	const u64 values[] = {
		[LOOP_AUTOCLEAR] = f.autoclear, [LOOP_OFFSET] = f.offset, [LOOP_PARTSCAN] = f.partscan,
		[LOOP_LIMIT] = f.limit, [LOOP_DIO] = 0, [LOOP_SIZE] = f.sectors, [LOOP_RO] = f.readonly,
	};

	if (p->e->arg == LOOP_DEV)
		seq_printf(s, "7:%d", p->num);
	else if (p->e->arg != LOOP_BACKING)
		seq_printf(s, "%llu", (unsigned long long)values[p->e->arg]);
	else if (f.file)
		seq_path(s, viewer, &f.file->path, "");
	seq_puts(s, "\n");
	file_put(f.file);
	return 0;
}

#define LOOP_FILE(n, what)	{ .name = n, .mode = S_IFREG | 0444, .arg = what, .show = loop_show }

static const struct pseudo_entry loop_names[] = {
	LOOP_FILE("autoclear", LOOP_AUTOCLEAR),
	LOOP_FILE("backing_file", LOOP_BACKING),
	LOOP_FILE("dio", LOOP_DIO),
	LOOP_FILE("offset", LOOP_OFFSET),
	LOOP_FILE("partscan", LOOP_PARTSCAN),
	LOOP_FILE("sizelimit", LOOP_LIMIT),
	{ 0 }
};

static const struct pseudo_entry loop_dir = DIR("loop", loop_names);

static bool loop_attached(u32 number)
{
	struct loop_facts f;

	loop_facts(number, &f);
	file_put(f.file);
	return f.file;
}

static int loop_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	if (strcmp(name, "loop") || !loop_attached(p->num))
		return -ENOENT;
	*out = (struct pseudo){ .e = &loop_dir, .num = p->num };
	return 0;
}

static int loop_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	if (from > 0 || !loop_attached(p->num))
		return -1;
	strcpy(name, "loop");
	*out = (struct pseudo){ .e = &loop_dir, .num = p->num };
	return 0;
}

static const struct pseudo_entry device_names[] = {
	LOOP_FILE("dev", LOOP_DEV),
	LOOP_FILE("ro", LOOP_RO),
	LOOP_FILE("size", LOOP_SIZE),
	{ 0 }
};

static const struct pseudo_entry device_dir = {
	.name = "loopN", .mode = S_IFDIR | 0755, .children = device_names, .lookup = loop_lookup, .next = loop_next,
};

static int block_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	int n = strncmp(name, "loop", 4) ? -1 : proc_parse_number(name + 4);

	if (n < 0 || n >= LOOP_DEVICES)
		return -ENOENT;
	*out = (struct pseudo){ .e = &device_dir, .num = n };
	return 0;
}

static int block_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	if (from >= LOOP_DEVICES)
		return -1;
	snprintf(name, 32, "loop%d", from);
	*out = (struct pseudo){ .e = &device_dir, .num = from };
	return from;
}

/* /sys/dev/block: by number. */
static int block_link_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_printf(s, "../../block/loop%d", p->num);
	return 0;
}

static const struct pseudo_entry block_link = { .name = "7:N", .mode = S_IFLNK | 0777, .show = block_link_show };

static int block_link_lookup(const struct pseudo *p, const char *name, struct pseudo *out)
{
	int n = strncmp(name, "7:", 2) ? -1 : proc_parse_number(name + 2);

	if (n < 0 || n >= LOOP_DEVICES)
		return -ENOENT;
	*out = (struct pseudo){ .e = &block_link, .num = n };
	return 0;
}

static int block_link_next(const struct pseudo *p, int from, char name[32], struct pseudo *out)
{
	if (from >= LOOP_DEVICES)
		return -1;
	snprintf(name, 32, "7:%d", from);
	*out = (struct pseudo){ .e = &block_link, .num = from };
	return from;
}

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

static const struct pseudo_entry dev_names[] = {
	{ .name = "block", .mode = S_IFDIR | 0755, .children = empty_names, .lookup = block_link_lookup, .next = block_link_next },
	{ 0 }
};

static const struct pseudo_entry sys_names[] = {
	{ .name = "block", .mode = S_IFDIR | 0755, .children = empty_names, .lookup = block_lookup, .next = block_next },
	DIR("class", class_names),
	DIR("dev", dev_names),
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
