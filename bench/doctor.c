/*
 * doctor: what is missing here, or will disturb, each in one line with what to do about it. Nothing it says is fatal: a run
 * without root, /dev/kvm, hardware counters, gnuplot or scipy measures what is left.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <jansson.h>

#include "bench.h"

#define DISK_WANTED	(64ull << 20)

__attribute__((format(printf, 3, 4)))
static void say(struct findings *f, char mark, const char *fmt, ...)
{
	struct finding *item;
	va_list ap;

	if (f->count == COUNT(f->items))
		return;
	item = &f->items[f->count++];
	item->mark = mark;
	va_start(ap, fmt);
	vsnprintf(item->text, sizeof(item->text), fmt, ap);
	va_end(ap);
	f->problems += mark == '!';
	f->notes += mark == '-';
}

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path ? path : ""), *save = NULL, *dir, file[PATH_LEN];
	bool found = false;

	for (dir = copy ? strtok_r(copy, ":", &save) : NULL; dir && !found; dir = strtok_r(NULL, ":", &save)) {
		snprintf(file, sizeof(file), "%.900s/%s", dir, program);
		found = !access(file, X_OK);
	}
	free(copy);
	return found;
}

static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(line, size, f);

	if (f)
		fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = 0;
	return ok;
}

static void look_at_python(struct findings *f)
{
	static const char *const modules[][2] = {
		{ "numpy", "statistics fall back to plain Python" }, { "scipy", "no bootstrap cross-check" },
		{ "jinja2", "no report.html" },
	};
	static const char *const argv[] = {
		"/usr/bin/python3", "-c",
		"import importlib.util as u; print(*[m for m in ('numpy', 'scipy', 'jinja2') if not u.find_spec(m)], '.')", NULL,
	};
	const char *missing;
	json_t *answer;
	size_t i;

	if (access(argv[0], X_OK)) {
		say(f, '!', "no python3: raw results only, no table, no gate (package python3)");
		return;
	}
	answer = command_output(argv);
	missing = json_string_value(answer);
	for (i = 0; missing && i < COUNT(modules); i++)
		if (strstr(missing, modules[i][0]))
			say(f, '-', "no %s: %s (package python3-%s)", modules[i][0], modules[i][1], modules[i][0]);
	json_decref(answer);
}

static void look_at_programs(struct findings *f, const struct options *opt)
{
	char script[PATH_LEN + 32];

	look_at_python(f);
	snprintf(script, sizeof(script), "%s/analysis/summarize.py", opt->root_dir);
	if (access(script, R_OK))
		say(f, '!', "%.180s is missing: raw results only", script);
	if (!in_path("gnuplot"))
		say(f, '-', "no gnuplot: no plots (package gnuplot-nox)");
}

static void look_at_counters(struct findings *f)
{
	char reason[TEXT_LEN];

	if (counter_reason("cycles", reason, sizeof(reason)))
		say(f, '-', "no hardware counters (%s); software counters are used", reason);
	if (counter_reason("context_switches", reason, sizeof(reason)))
		say(f, '-', "no software counters (%s)", reason);
}

static void look_at_platforms(struct findings *f, const struct variants *v)
{
	char line[64];
	bool said = false;
	size_t i;

	for (i = 0; i < v->nknown; i++) {
		if (v->known[i].reason[0])
			say(f, '-', "platform %s is left out: %s", v->known[i].name, v->known[i].reason);
		said |= strstr(v->known[i].reason, "/dev/kvm") != NULL;
	}
	if (v->note[0])
		say(f, '!', "%s", v->note);
	if (said)
		;				/* by kvm itself */
	else if (access("/dev/kvm", F_OK))
		say(f, '-', "no /dev/kvm: nothing about kvm can be measured here");
	else if (access("/dev/kvm", R_OK | W_OK))
		say(f, '-', "/dev/kvm is not yours to use (group kvm)");
	else if (!access("/sys/module/kvm_pvm", F_OK))
		say(f, '!', "/dev/kvm is kvm_pvm (software): numbers of kvm hold for this flavour only");
	if (read_line("/proc/sys/kernel/yama/ptrace_scope", line, sizeof(line)) && atoi(line) >= 2 && geteuid())
		say(f, '!', "kernel.yama.ptrace_scope is %s: ptrace needs root", line);
	if (geteuid())
		say(f, '-', "not root: fine; kernel events are counted if kernel.perf_event_paranoid is 1 or less");
}

static void look_at_cpu(struct findings *f)
{
	char line[128];
	cpu_set_t cpus;

	sched_getaffinity(0, sizeof(cpus), &cpus);
	if (CPU_COUNT(&cpus) < 2)
		say(f, '!', "one CPU only: no placement but same-cpu, and the driver shares it");
	if (hypervisor_present())
		say(f, '!', "the host is itself a virtual machine: its numbers are its own");
	if (!tsc_is_constant())
		say(f, '!', "no constant TSC: time is clock_gettime's");
	if (read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof(line))) {
		if (strcmp(line, "performance"))
			say(f, '!', "governor %s: the clock changes while it measures (cpupower frequency-set -g performance)", line);
	} else {
		say(f, '-', "governor: not visible");
	}
	if (read_line("/sys/devices/system/cpu/smt/active", line, sizeof(line)) && atoi(line))
		say(f, '-', "SMT is on: a sibling thread can disturb");
}

static void look_at_target(struct findings *f, const struct options *opt)
{
	char dir[PATH_LEN + 16];
	struct statvfs st;

	snprintf(dir, sizeof(dir), "%s%s", opt->out ? opt->out : opt->root_dir, opt->out ? "" : "/results");
	if (!access(dir, F_OK) && access(dir, W_OK))
		say(f, '!', "%.200s cannot be written to (--out)", dir);
	if (!statvfs(dir, &st) && (unsigned long long)st.f_bavail * st.f_frsize < DISK_WANTED)
		say(f, '!', "little room on the disk of %.200s", dir);
}

void doctor_look(struct findings *f, const struct options *opt, const struct variants *v)
{
	memset(f, 0, sizeof(*f));
	look_at_cpu(f);
	look_at_platforms(f, v);
	look_at_counters(f);
	look_at_programs(f, opt);
	look_at_target(f, opt);
}

/* `all`: notes too, not only what distorts. `file`: a FILE. */
void doctor_print(const struct findings *f, bool all, void *file)
{
	size_t i;

	for (i = 0; i < f->count; i++)
		if (all || f->items[i].mark == '!')
			fprintf(file, "  %c %s\n", f->items[i].mark, f->items[i].text);
}
