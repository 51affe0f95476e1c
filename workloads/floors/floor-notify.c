/* seccomp user notification with synchronous wake-up: the listener runs where the caller stopped. */
#include "notify.h"

static void setup(void)
{
	notify_setup(SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

const struct workload workload = {
	.name = "floor-notify", .help = "seccomp user notification, synchronous wake-up: receive and answer",
	.class = CLASS_FLOOR, .placements = PLACE_SAME | PLACE_FREE,
	.setup = setup, .batch = notify_batch, .finish = notify_finish,
};
