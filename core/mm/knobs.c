/*
 * The knobs of the memory subsystem. Read without locks: they are set before the first guest runs.
 */
#include "mm/internal.h"

long knob_memory_mb, knob_recycle_mb = 256, knob_cache_mb = 1024, knob_huge = 1;
long knob_fault_around_kb = 64, knob_fault_max_kb = 2048, knob_cow_around_kb = 16, knob_takeover_kb = 2048;
long knob_cow_file_kb = 64, knob_map_ahead_kb = 8192;
long knob_fork_eager = 1, knob_fork_populate, knob_fork_copy_kb = 64, knob_patch_after = 16;

const struct knob mm_knobs[] = {
	{ "mm.memory_mb", KNOB_INT, &knob_memory_mb, 0, 0, 1 << 24, NULL,
	  "memory of all guests together, MiB; 0: three quarters of what the host has available", NULL },
	{ "mm.recycle_mb", KNOB_INT, &knob_recycle_mb, 256, 0, 1 << 20, NULL,
	  "freed memory kept to be cleared and handed out again, MiB; the rest goes back to the host", "0" },
	{ "mm.cache_mb", KNOB_INT, &knob_cache_mb, 1024, 1, 1 << 24, NULL,
	  "pages of host files kept in memory, MiB; mapped ones are always kept", NULL },
	{ "mm.huge", KNOB_BOOL, &knob_huge, 1, 0, 0, NULL,
	  "guest memory in huge pages of the host, and 2 MiB a fault where memory is touched densely", "off" },
	{ "mm.fault_around_kb", KNOB_INT, &knob_fault_around_kb, 64, 4, 2048, NULL,
	  "memory mapped by one fault, KiB, a power of two; 4: one page", "4" },
	{ "mm.fault_max_kb", KNOB_INT, &knob_fault_max_kb, 2048, 4, 2048, NULL,
	  "what that grows to while a mapping is touched in sequence, KiB, a power of two", "64" },
	{ "mm.cow_around_kb", KNOB_INT, &knob_cow_around_kb, 16, 4, 2048, NULL,
	  "memory copied by the first of a sequence of copy-on-write faults, KiB; doubles up to mm.fault_around_kb", "4" },
	{ "mm.cow_file_kb", KNOB_INT, &knob_cow_file_kb, 64, 4, 2048, NULL,
	  "memory copied by a first write to a private file mapping, KiB; smaller writable ones are copied at once", "4" },
	{ "mm.map_ahead_kb", KNOB_INT, &knob_map_ahead_kb, 8192, 0, 1 << 20, NULL,
	  "cached pages of a file that are mapped with it instead of by faults, KiB", "0" },
	{ "mm.takeover_kb", KNOB_INT, &knob_takeover_kb, 2048, 4, 2048, NULL,
	  "memory made writable again by one fault when nobody else shares it any more, KiB", "4" },
	{ "mm.fork_eager", KNOB_BOOL, &knob_fork_eager, 1, 0, 0, NULL,
	  "map into a forked child at once what its parent had mapped", "off" },
	{ "mm.fork_populate", KNOB_BOOL, &knob_fork_populate, 0, 0, 0, NULL,
	  "and enter those pages into the child's page tables too", NULL },
	{ "mm.fork_copy_kb", KNOB_INT, &knob_fork_copy_kb, 64, 0, 1 << 20, NULL,
	  "pages that were written to after earlier forks are copied at the next one instead of by faults, KiB", "0" },
	{ "mm.patch_after", KNOB_INT, &knob_patch_after, 16, 1, 60000, NULL,
	  "times that a call site traps before it is patched, where the platform patches", NULL },
	{ .name = NULL },
};
