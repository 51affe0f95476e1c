/* A signal to oneself, its handler, and the return from it. */
#include "signal_raw.h"
#include "workload.h"

#define SIGUSR1	10

static volatile u64 handled;
static long pid, tid;

static void on_signal(int signo)
{
	handled += signo == SIGUSR1;
}

static void setup(void)
{
	pid = sys0(__NR_getpid);
	tid = sys0(__NR_gettid);
	CHECK(raw_signal(SIGUSR1, on_signal, 0));
}

static u64 batch(u64 n)
{
	u64 before = handled, i;

	for (i = 0; i < n; i++)
		trap3(__NR_tgkill, pid, tid, SIGUSR1);
	return IS_TWIN ? n : handled - before;
}

const struct workload workload = {
	.name = "signal-self", .help = "tgkill of oneself, handler, rt_sigreturn",
	.class = CLASS_TASK, .placements = PLACE_SAME, .traps = 2,
	.setup = setup, .batch = batch,
};
