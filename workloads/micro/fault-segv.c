/* A write to a protected page, the SIGSEGV handler that opens it, and the mprotect that closes it again. */
#include "memory.h"
#include "signal_raw.h"

#define SIGSEGV	11

static volatile char *base;
static volatile u64 handled;

struct raw_siginfo {
	int signo, err, code, pad;
	void *addr;
};

static void on_segv(int signo, struct raw_siginfo *info, void *context)
{
	(void)signo;
	(void)context;
	if (info->addr != (void *)base)
		workload_fail(14, __LINE__);
	handled++;
	sys3(__NR_mprotect, base, PAGE, PROT_RW);
}

static void setup(void)
{
	base = map_pages(1, PROT_RW, MAP_ANON_PRIVATE, -1);
	base[0] = 1;
	CHECK(raw_signal(SIGSEGV, on_segv, RAW_SA_SIGINFO));
}

static u64 batch(u64 n)
{
	u64 before = handled, i;

	for (i = 0; i < n; i++) {
		trap3(__NR_mprotect, base, PAGE, 1);
		base[0] = (char)i;
	}
	return IS_TWIN ? n : handled - before;
}

const struct workload workload = {
	.name = "fault-segv", .help = "write to a protected page, SIGSEGV handler, mprotect there and back",
	.class = CLASS_FAULT, .placements = PLACE_SAME, .traps = 4,
	.setup = setup, .batch = batch,
};
