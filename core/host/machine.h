/* What the guest may know of the host's machine: its processors. */
#ifndef TG_HOST_MACHINE_H
#define TG_HOST_MACHINE_H

#include "lib/types.h"

#define MACHINE_CPUS	1024

bool machine_has_cpu(u32 cpu);		/* one that the sandbox may run on, as of the first call */
u32 machine_cpus(void);			/* how many */
u32 machine_cpu_end(void);		/* above the highest */
char *machine_cpuinfo(size_t *len);	/* host's /proc/cpuinfo as it is now; free it. NULL */

#endif
