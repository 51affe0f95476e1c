/*
 * Which floor belongs to which cell: the cheapest bare way to do what the cell did.
 *
 * The first rule that fits decides. Only workloads whose operation is a known number of traps have a floor; pages come
 * one an operation. plan.json carries the choice, so that nobody else needs this table.
 */
#include <string.h>

#include "bench.h"

struct rule {
	const char *platform;			/* NULL: any */
	const char *knob;			/* must be among the cell's knobs; NULL: any */
	const char *workload;			/* NULL: any whose operation is a few system calls */
	const char *same_floor, *same_place;	/* for placement same-cpu */
	const char *free_floor, *free_place;	/* for placement free */
};

static const struct rule rules[] = {
	{ NULL, NULL, "fault-anon", "floor-populate", "same-cpu", "floor-populate", "free" },
	{ "native", NULL, NULL, "floor-getpid", "same-cpu", "floor-getpid", "free" },
	{ "native-aa", NULL, NULL, "floor-getpid", "same-cpu", "floor-getpid", "free" },
	{ "native-seccomp", NULL, NULL, "floor-getpid", "same-cpu", "floor-getpid", "free" },
	/* A wake-up across CPUs costs five times one on the same CPU, so the cheapest way stays on one. */
	{ "ptrace", NULL, NULL, "floor-sysemu", "same-cpu", "floor-sysemu", "same-cpu" },
	{ "systrap", "systrap.patch=off", NULL, "floor-sigsys-futex", "same-cpu", "floor-sigsys-spin", "free" },
	{ "systrap", NULL, "getpid", "floor-futex", "same-cpu", "floor-spin", "free" },
	{ "systrap", NULL, NULL, "floor-sigsys-futex", "same-cpu", "floor-sigsys-spin", "free" },
	{ "notify", NULL, NULL, "floor-notify", "same-cpu", "floor-notify", "same-cpu" },
	{ "kvm", "kvm.sentry=guest", NULL, "floor-kvm-ring0", "same-cpu", "floor-kvm-ring0", "free" },
	{ "kvm", NULL, NULL, "floor-kvm-syscall", "same-cpu", "floor-kvm-syscall", "free" },
};

static bool rule_fits(const struct rule *r, const struct cell *cell)
{
	const struct workload_info *w = cell->workload;

	if (r->platform && strcmp(r->platform, cell->variant->platform))
		return false;
	if (r->knob && !strstr(cell->variant->knobs, r->knob))
		return false;
	if (r->workload)
		return !strcmp(r->workload, w->name);
	return w->class == CLASS_SYSCALL && w->traps;
}

bool floor_choose(const struct cell *cell, struct floor_choice *out)
{
	bool same = cell->placement->bit == PLACE_SAME;
	const char *elsewhere = cell->placement->bit & (PLACE_SMT | PLACE_LLC) ? cell->placement->name : NULL;
	size_t i;

	if (cell->twin || cell->workload->class == CLASS_FLOOR)
		return false;
	for (i = 0; i < COUNT(rules); i++) {
		if (!rule_fits(&rules[i], cell))
			continue;
		out->workload = same ? rules[i].same_floor : rules[i].free_floor;
		out->placement = same ? rules[i].same_place : rules[i].free_place;
		/* Two CPUs are not always the same two: a floor across CPUs runs where its cell ran. */
		if (elsewhere && !strcmp(out->placement, "free"))
			out->placement = elsewhere;
		out->times = cell->workload->traps ? cell->workload->traps : 1;
		return true;
	}
	return false;
}
