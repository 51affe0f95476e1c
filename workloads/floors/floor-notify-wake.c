/* seccomp user notification as it was before synchronous wake-up: the scheduler chooses where the listener wakes. */
#include "notify.h"

static void setup(void)
{
	notify_setup(0);
}

const struct workload workload = {
	.name = "floor-notify-wake", .help = "seccomp user notification, ordinary wake-up: receive and answer",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = notify_batch, .finish = notify_finish,
};
