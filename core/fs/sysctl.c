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
	const struct sysctl *c = sysctl_of(p);

	seq_printf(s, c->min < 0 ? "%lld\n" : "%llu\n", (long long)c->value);
	return 0;
}

static bool in_range(const struct sysctl *c, s64 value)
{
	if (c->min < 0)
		return value >= c->min && value <= c->max;
	return (u64)value >= (u64)c->min && (u64)value <= (u64)c->max;
}

/* One decimal number, blanks around it. The mode of the file has been asked for permission at open. */
s64 sysctl_store(const struct pseudo *p, struct task *t, const char *data, size_t len)
{
	struct sysctl *c = sysctl_of(p);
	char *end;
	s64 value;

	errno = 0;
	value = c->min < 0 ? strtoll(data, &end, 10) : (s64)strtoull(data, &end, 10);
	if (errno || end == data)
		return -EINVAL;
	while (isspace((u8)*end))
		end++;
	if (*end || !in_range(c, value))
		return -EINVAL;
	c->value = value;
	return len;
}
