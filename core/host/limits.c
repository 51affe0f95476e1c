/* Raises the sentry's limit of open files to its hard limit: a stub takes two, a guest's open host file one. */
#include "host/limits.h"

static struct rlimit nofile;
static int raised;

void host_limits_raise(void)
{
	struct rlimit all;

	if (getrlimit(RLIMIT_NOFILE, &nofile))
		return;
	all = (struct rlimit){ nofile.rlim_max, nofile.rlim_max };
	raised = !setrlimit(RLIMIT_NOFILE, &all);
}

int host_limit(int resource, struct rlimit *out)
{
	if (resource != RLIMIT_NOFILE || !raised)
		return getrlimit(resource, out);
	*out = nofile;
	return 0;
}
