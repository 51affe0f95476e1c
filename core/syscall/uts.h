/* The names that uname, sethostname and /proc/sys/kernel share. */
#ifndef TG_UTS_H
#define TG_UTS_H

#include <sys/utsname.h>

#include "lib/types.h"

#define UTS_LEN		64		/* without the NUL */

struct task;
enum uts_name { UTS_NODE, UTS_DOMAIN };

void uts_begin(void);			/* before confinement: takes the host's names */
void uts_get(struct utsname *out);		/* any thread */
/* `len` bytes, at most UTS_LEN. 0, -EPERM. */
int uts_set(struct task *t, enum uts_name which, const char *name, size_t len);

#endif
