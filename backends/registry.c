/* Every platform in this binary, in order of preference for --platform=auto. */
#include "platform.h"

#include <string.h>

extern const struct platform_ops ptrace_platform, systrap_platform, kvm_platform;

const struct platform_ops *const platforms[] = { &ptrace_platform, &systrap_platform, &kvm_platform, NULL };

const struct platform_ops *platform_find(const char *name)
{
	for (int i = 0; platforms[i]; i++)
		if (!strcmp(platforms[i]->name, name))
			return platforms[i];
	return NULL;
}
