/* How a program is run under each variant. The same binary, the same arguments; only what stands before them differs. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

void command_add(struct command *c, const char *fmt, ...)
{
	size_t room = sizeof(c->text) - c->used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c->text + c->used, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room || c->argc + 1 >= ARGV_MAX) {
		c->overflow = true;
		return;
	}
	c->argv[c->argc++] = c->text + c->used;
	c->argv[c->argc] = NULL;
	c->used += n + 1;
}

static void add_knobs(struct command *c, const char *knobs)
{
	char copy[TEXT_LEN], *save = NULL, *one;

	snprintf(copy, sizeof(copy), "%s", knobs);
	for (one = strtok_r(copy, ";", &save); one; one = strtok_r(NULL, ";", &save)) {
		command_add(c, "--knob");
		command_add(c, "%s", one);
	}
}

void runner_prefix(struct command *c, const struct variant *v, const char *build_dir, const char *stats_path,
		   const char *phases_path)
{
	if (!v->sandboxed)
		return;
	command_add(c, "%s/trapgate", build_dir);
	command_add(c, "run");
	command_add(c, "--platform=%s", v->platform);
	add_knobs(c, v->knobs);
	command_add(c, "--stats");
	command_add(c, "%s", stats_path);
	if (phases_path) {
		command_add(c, "--phases");
		command_add(c, "%s", phases_path);
	}
	command_add(c, "--");
}
