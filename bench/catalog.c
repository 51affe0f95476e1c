/*
 * What can be measured: every program in build/workloads, which describes itself, and the driver's own workloads.
 *
 * There is no list to keep: a program that answers --describe with a good page and has a class is a workload.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static const struct workload_info own[] = {
	{ .name = "startup", .help = "wall time of a whole run of a trivial program, taken by the driver",
	  .kind = KIND_STARTUP, .class = CLASS_TASK, .placements = PLACE_SAME | PLACE_FREE },
	{ .name = "footprint", .help = "resident memory of whoever runs a sleeping guest: the sentry, natively itself",
	  .kind = KIND_FOOTPRINT, .class = CLASS_TASK, .placements = PLACE_FREE },
};

static const char *const classes[] = {
	[CLASS_SYSCALL] = "syscall", [CLASS_FAULT] = "fault", [CLASS_TASK] = "task",
	[CLASS_CPU] = "cpu", [CLASS_FLOOR] = "floor",
};

const char *class_name(unsigned int class)
{
	return class < COUNT(classes) && classes[class] ? classes[class] : "?";
}

static bool is_twin_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && !strcmp(dot, ".twin");
}

static int describe(const char *path, struct sample_page *page)
{
	char *argv[] = { (char *)path, "--describe", NULL };
	struct launch l = { .argv = argv, .timeout_ms = 5000 };

	launch_run(&l);
	if (l.status != LAUNCH_EXITED || l.code || l.out_len != sizeof(*page))
		return -ENOEXEC;
	memcpy(page, l.out, sizeof(*page));
	if (page->magic != SAMPLE_MAGIC || page->version != SAMPLE_VERSION || page->state != SAMPLE_DESCRIBED)
		return -ENOEXEC;
	page->name[sizeof(page->name) - 1] = 0;
	page->help[sizeof(page->help) - 1] = 0;
	return 0;
}

static void fill(struct workload_info *info, const struct sample_page *page)
{
	snprintf(info->name, sizeof(info->name), "%s", page->name);
	snprintf(info->help, sizeof(info->help), "%s", page->help);
	info->kind = KIND_PROGRAM;
	info->class = page->class;
	info->placements = page->placements;
	info->traps = page->traps;
	info->fixed_inner = page->fixed_inner;
	info->exact = page->exact;
	snprintf(info->param_name, sizeof(info->param_name), "%.15s", page->param_name);
	info->param = page->param;
	memcpy(info->levels, page->levels, sizeof(info->levels));
	info->levels[SAMPLE_LEVELS - 1] = 0;
}

static int add(struct catalog *cat, const struct workload_info *info)
{
	struct workload_info *items = reallocarray(cat->items, cat->count + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	cat->items = items;
	items[cat->count++] = *info;
	return 0;
}

static int add_program(struct catalog *cat, const char *dir, const char *name)
{
	struct workload_info info = { 0 };
	struct sample_page page;
	char twin[PATH_LEN];

	if (snprintf(info.path, sizeof(info.path), "%s/%s", dir, name) >= (int)sizeof(info.path) ||
	    snprintf(twin, sizeof(twin), "%s/%s.twin", dir, name) >= (int)sizeof(twin))
		return -ENAMETOOLONG;
	if (access(info.path, X_OK))
		return 0;
	if (describe(info.path, &page)) {
		complain("%s does not describe itself: left out", info.path);
		return 0;
	}
	if (!page.class)
		return 0;
	fill(&info, &page);
	info.has_twin = !access(twin, X_OK);
	return add(cat, &info);
}

static int by_class_and_name(const void *a, const void *b)
{
	const struct workload_info *x = a, *y = b;

	return x->class != y->class ? (int)x->class - (int)y->class : strcmp(x->name, y->name);
}

static int add_own(struct catalog *cat, const char *dir)
{
	size_t i;
	int err = 0;

	for (i = 0; i < COUNT(own) && !err; i++) {
		struct workload_info info = own[i];
		const char *program = "/bin/true";

		if (info.kind == KIND_FOOTPRINT || access(program, X_OK))
			snprintf(info.path, sizeof(info.path), "%.1000s/idle", dir);
		else
			snprintf(info.path, sizeof(info.path), "%s", program);
		snprintf(info.params, sizeof(info.params), "program=%s", strrchr(info.path, '/') + 1);
		err = add(cat, &info);
	}
	return err;
}

int catalog_load(struct catalog *cat, const char *build_dir)
{
	char dir[PATH_LEN];
	struct dirent *de;
	DIR *d;
	int err = 0;

	snprintf(dir, sizeof(dir), "%.900s/workloads", build_dir);
	d = opendir(dir);
	if (!d)
		return -errno;
	while (!err && (de = readdir(d)))
		if (de->d_name[0] != '.' && !is_twin_name(de->d_name) && !strchr(de->d_name, '.'))
			err = add_program(cat, dir, de->d_name);
	closedir(d);
	if (!err)
		err = add_own(cat, dir);
	if (!err)
		qsort(cat->items, cat->count, sizeof(*cat->items), by_class_and_name);
	return err;
}

const struct workload_info *catalog_find(const struct catalog *cat, const char *name)
{
	size_t i;

	for (i = 0; i < cat->count; i++)
		if (!strcmp(cat->items[i].name, name))
			return &cat->items[i];
	return NULL;
}
