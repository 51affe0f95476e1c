/* Readings of the machine that could explain a number. What cannot be read is null, never a guess. */
#include <cpuid.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench.h"

static json_t *text_json(const char *text)
{
	json_t *o = text ? json_string(text) : NULL;

	return o ? o : json_null();
}

/* First line of a file. */
static json_t *file_json(const char *path)
{
	char line[8192];
	FILE *f = fopen(path, "re");
	json_t *o = json_null();

	if (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		o = text_json(line);
	}
	if (f)
		fclose(f);
	return o;
}

json_t *command_output(const char *const argv[])
{
	struct launch l = { .argv = (char *const *)argv, .timeout_ms = 5000 };

	launch_run(&l);
	if (l.status != LAUNCH_EXITED || l.code || !l.out_len)
		return json_null();
	l.out[l.out_len < sizeof(l.out) ? l.out_len : sizeof(l.out) - 1] = 0;
	l.out[strcspn((char *)l.out, "\n")] = 0;
	return text_json((char *)l.out);
}

/* "key : value" of the first processor in /proc/cpuinfo. */
static json_t *cpuinfo_json(const char *key)
{
	char line[8192], *value;
	json_t *o = NULL;
	FILE *f = fopen("/proc/cpuinfo", "re");
	size_t len = strlen(key);

	while (f && !o && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, len) || (line[len] != '\t' && line[len] != ' ' && line[len] != ':'))
			continue;
		value = strchr(line, ':');
		if (!value)
			continue;
		value += 1 + strspn(value + 1, " ");
		value[strcspn(value, "\n")] = 0;
		o = text_json(value);
	}
	if (f)
		fclose(f);
	return o ? o : json_null();
}

static json_t *cpu_json(double tsc_hz)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:f}",
			 "model", cpuinfo_json("model name"), "vendor", cpuinfo_json("vendor_id"),
			 "family", cpuinfo_json("cpu family"), "model_number", cpuinfo_json("model"),
			 "stepping", cpuinfo_json("stepping"), "microcode", cpuinfo_json("microcode"),
			 "flags", cpuinfo_json("flags"), "bugs", cpuinfo_json("bugs"),
			 "online", (int)sysconf(_SC_NPROCESSORS_ONLN),
			 "smt", file_json("/sys/devices/system/cpu/smt/control"),
			 "smt_active", file_json("/sys/devices/system/cpu/smt/active"),
			 "l3_cache", file_json("/sys/devices/system/cpu/cpu0/cache/index3/size"), "tsc_hz", tsc_hz);
}

/* The kernel's parameters: what is meant for init, and which init, explains no number. */
static json_t *command_line_json(void)
{
	char line[4096], kept[4096] = "", *save = NULL, *word;
	FILE *f = fopen("/proc/cmdline", "re");
	bool any = f && fgets(line, sizeof(line), f);

	if (f)
		fclose(f);
	if (!any)
		return json_null();
	for (word = strtok_r(line, " \n", &save); word && strcmp(word, "--"); word = strtok_r(NULL, " \n", &save)) {
		if (!strncmp(word, "init=", 5) || !strncmp(word, "rdinit=", 7))
			continue;
		if (kept[0])
			strcat(kept, " ");
		strcat(kept, word);
	}
	return text_json(kept);
}

static json_t *kernel_json(void)
{
	struct utsname u;

	if (uname(&u))
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "release", u.release, "version", u.version,
			 "machine", u.machine,
			 "command_line", command_line_json(),
			 "aslr", file_json("/proc/sys/kernel/randomize_va_space"),
			 "yama_ptrace_scope", file_json("/proc/sys/kernel/yama/ptrace_scope"),
			 "perf_event_paranoid", file_json("/proc/sys/kernel/perf_event_paranoid"));
}

static json_t *mitigations_json(void)
{
	static const char *const names[] = {
		"gather_data_sampling", "ghostwrite", "indirect_target_selection", "itlb_multihit", "l1tf", "mds",
		"meltdown",
		"mmio_stale_data", "old_microcode", "reg_file_data_sampling", "retbleed", "spec_rstack_overflow",
		"spec_store_bypass", "spectre_v1", "spectre_v2", "srbds", "tsa", "tsx_async_abort", "vmscape",
	};
	json_t *o = json_object();
	char path[128];
	size_t i;

	for (i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/vulnerabilities/%s", names[i]);
		if (!access(path, R_OK))
			json_object_set_new(o, names[i], file_json(path));
	}
	return o;
}

bool hypervisor_present(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && c >> 31;
}

/* CPUID leaf 0x40000000 names the hypervisor; bit 31 of leaf 1 ECX says that there is one. */
static json_t *hypervisor_json(void)
{
	unsigned int a, b, c, d;
	char name[13] = "";

	if (!hypervisor_present())
		return json_null();
	__cpuid(0x40000000, a, b, c, d);
	memcpy(name, &b, 4);
	memcpy(name + 4, &c, 4);
	memcpy(name + 8, &d, 4);
	return text_json(name[0] ? name : "unnamed");
}

static json_t *kvm_json(void)
{
	static const char *const modules[] = { "kvm_intel", "kvm_amd", "kvm_pvm" };
	json_t *module = json_null(), *nested = json_null();
	char path[96];
	size_t i;

	for (i = 0; i < COUNT(modules); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", modules[i]);
		if (access(path, F_OK))
			continue;
		json_decref(module);
		json_decref(nested);
		module = json_string(modules[i]);
		snprintf(path, sizeof(path), "/sys/module/%s/parameters/nested", modules[i]);
		nested = file_json(path);
	}
	return json_pack("{s:b, s:b, s:o, s:o}", "device", !access("/dev/kvm", F_OK), 
			 "usable", !access("/dev/kvm", R_OK | W_OK),
			 "module", module, "nested", nested);
}

/* Whether cycles can be counted, and if not, why: opened, not just named. */
static json_t *pmu_json(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE, .size = sizeof(attr), .config = PERF_COUNT_HW_CPU_CYCLES,
		.disabled = 1, .exclude_kernel = 1, .exclude_hv = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), err = errno;

	if (fd < 0)
		return json_pack("{s:b, s:s}", "available", 0, "reason", strerror(err));
	close(fd);
	return json_pack("{s:b, s:n}", "available", 1, "reason");
}

static json_t *memory_json(void)
{
	json_t *o = json_object();
	char line[256], name[64];
	FILE *f = fopen("/proc/meminfo", "re");
	long kib;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63[^:]: %ld", name, &kib) == 2 &&
		    (!strcmp(name, "MemTotal") || !strcmp(name, "MemAvailable") || !strcmp(name, "SwapTotal")))
			json_object_set_new(o, name, json_integer(kib));
	if (f)
		fclose(f);
	return o;
}

json_t *machine_describe(double tsc_hz)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "cpu", cpu_json(tsc_hz), "kernel", kernel_json(), "mitigations", mitigations_json(),
			 "hypervisor", hypervisor_json(), "kvm", kvm_json(), "pmu", pmu_json(),
			 "memory_kib", memory_json(),
			 "governor", file_json("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
			 "idle_driver", file_json("/sys/devices/system/cpu/cpuidle/current_driver"),
			 "clocksource", file_json("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
			 "thp", json_pack("{s:o, s:o}",
				"enabled", file_json("/sys/kernel/mm/transparent_hugepage/enabled"),
				"shmem", file_json("/sys/kernel/mm/transparent_hugepage/shmem_enabled")));
}

static json_t *ticks_json(void)
{
	static const char *const names[] = { "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal" };
	long long ticks[COUNT(names)] = { 0 };
	FILE *f = fopen("/proc/stat", "re");
	json_t *o = json_object();
	size_t i;

	if (f && fscanf(f, "cpu") == 0)
		for (i = 0; i < COUNT(names) && fscanf(f, "%lld", &ticks[i]) == 1; i++)
			json_object_set_new(o, names[i], json_integer(ticks[i]));
	if (f)
		fclose(f);
	return o;
}

/* The hottest zone, in thousandths of a degree. Virtual machines show none. */
static json_t *temperature_json(void)
{
	char path[80];
	json_t *hottest = json_null();
	long most = LONG_MIN, now;
	int i;

	for (i = 0; i < 16; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "/sys/class/thermal/thermal_zone%d/temp", i);
		f = fopen(path, "re");
		if (f && fscanf(f, "%ld", &now) == 1 && now > most)
			most = now;
		if (f)
			fclose(f);
	}
	if (most > LONG_MIN) {
		json_decref(hottest);
		hottest = json_integer(most);
	}
	return hottest;
}

/* Load, CPU ticks (steal among them) and temperature, read at both ends of a run. */
json_t *machine_load(void)
{
	double load[3] = { 0 };
	json_t *o = json_pack("{s:o, s:o}", "ticks", ticks_json(), "temperature_mc", temperature_json());

	if (getloadavg(load, 3) == 3)
		json_object_set_new(o, "load", json_pack("[f, f, f]", load[0], load[1], load[2]));
	else
		json_object_set_new(o, "load", json_null());
	return o;
}

json_t *machine_packages(void)
{
	static const char *const names[] = {
		"gcc", "libc6", "binutils", "libseccomp2", "libjansson4", "libzydis4.0", "python3", "gnuplot-nox",
		"runsc", "qemu-system-x86", "linux-image-amd64",
	};
	json_t *o = json_object();
	size_t i;

	for (i = 0; i < COUNT(names); i++) {
		const char *const argv[] = { "/usr/bin/dpkg-query", "-W", "-f", "${Version}\n", names[i], NULL };

		json_object_set_new(o, names[i], command_output(argv));
	}
	return o;
}
