/* Choosing the platform for `trapgate run`. */
#ifndef TG_CLI_AUTO_H
#define TG_CLI_AUTO_H

#include "platform.h"

/* The platform called `name`, or for "auto" the best that this machine can run; NULL with a sentence in `why`. */
const struct platform_ops *platform_choose(const char *name, char *why, size_t len);
int platform_cpus(void);		/* CPUs this process may use */

#endif
