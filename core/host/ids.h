/* Who started the sentry. Kept from the start: the calls that ask are not on its list (confine.h). */
#ifndef TG_HOST_IDS_H
#define TG_HOST_IDS_H

#include "lib/types.h"

struct host_ids {
	u32 uid, gid;			/* effective */
	int ngroups;
	u32 groups[64];			/* the first so many of the supplementary ones */
};

/* Any thread; the first call is made before confinement. */
const struct host_ids *host_ids(void);

#endif
