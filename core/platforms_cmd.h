/* `trapgate platforms [--json]`. */
#ifndef TG_PLATFORMS_CMD_H
#define TG_PLATFORMS_CMD_H

#include <stdbool.h>

int platforms_print(bool json);	/* exit status: 0 */

#endif
