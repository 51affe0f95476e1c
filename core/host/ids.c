/* Who started the sentry: see ids.h. */
#include "host/ids.h"

#include <pthread.h>
#include <unistd.h>

static struct host_ids ids;

static void ask(void)
{
	gid_t groups[1024];
	int n = getgroups(ARRAY_SIZE(groups), groups);

	ids.uid = geteuid();
	ids.gid = getegid();
	for (int i = 0; i < n && i < (int)ARRAY_SIZE(ids.groups); i++)
		ids.groups[ids.ngroups++] = groups[i];
}

const struct host_ids *host_ids(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, ask);
	return &ids;
}
