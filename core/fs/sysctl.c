/* Reading and writing the numbers of /proc/sys. */
#include "fs/sysctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

static struct sysctl *sysctl_of(const struct pseudo *p)
{
	return (struct sysctl *)p->e->arg;
}

int sysctl_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_printf(s, "%lld\n", (long long)sysctl_of(p)->value);
	return 0;
}

/* One decimal number, blanks around it. The mode of the file has been asked for permission at open. */
s64 sysctl_store(const struct pseudo *p, struct task *t, const char *data, size_t len)
{
	struct sysctl *c = sysctl_of(p);
	char *end;
	s64 value;

	errno = 0;
	value = strtoll(data, &end, 10);
	if (errno || end == data)
		return -EINVAL;
	while (isspace((u8)*end))
		end++;
	if (*end || value < c->min || value > c->max)
		return -EINVAL;
	c->value = value;
	return len;
}
