/*
 * Says that it is up and sleeps until standard input ends: what the driver looks at for `footprint`. Driver's own tool,
 * not a case: its class is 0.
 */
#include "workload.h"

static u64 batch(u64 n)
{
	return n;
}

static void setup(void)
{
	char byte = '.';

	sys3(__NR_write, 2, &byte, 1);
	sys3(__NR_read, 0, &byte, 1);
}

const struct workload workload = {
	.name = "idle", .help = "sleeps until standard input ends",
	.fixed_inner = 1, .setup = setup, .batch = batch,
};
