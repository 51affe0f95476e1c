/* The names that uname, sethostname and /proc/sys/kernel share. */
#ifndef TG_UTS_H
#define TG_UTS_H

#include <sys/utsname.h>

void uts_get(struct utsname *out);		/* any thread */

#endif
