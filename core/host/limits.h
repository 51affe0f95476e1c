/* The host's resource limits: the sentry needs descriptors for all of its guests, which still see what it was started with. */
#ifndef TG_HOST_LIMITS_H
#define TG_HOST_LIMITS_H

#include <sys/resource.h>

/* First thing in main(): raise what may be raised. */
void host_limits_raise(void);

/* As getrlimit() would have said before. 0 or -1. */
int host_limit(int resource, struct rlimit *out);

#endif
