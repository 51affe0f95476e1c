/* Choosing the platform for `trapgate run`. */
#ifndef TG_CLI_AUTO_H
#define TG_CLI_AUTO_H

#include "platform.h"

/*
 * The platform called `name`, or for "auto" the one with the cheapest switches, measured now; NULL with a sentence in
 * `why`. It is not set up yet. The memory file must be.
 */
const struct platform_ops *platform_choose(const char *name, const struct platform_config *config, char *why, size_t len);
extern char platform_reason[256];	/* what auto measured, "" otherwise */
int platform_cpus(void);		/* CPUs this process may use */

#endif
