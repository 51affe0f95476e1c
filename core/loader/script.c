/*
 * #! scripts: the line's first word runs, with the rest of the line as one argument, then the script's path, then the
 * script's own arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "loader/image.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char *skip_blanks(char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

static char *find_terminator(char *p, const char *end)
{
	while (p < end && !is_blank(*p) && *p)
		p++;
	return p;
}

/*
 * Splits a head of SCRIPT_LINE bytes (zero padded) in place. A line that does not end within it is cut, unless the cut would
 * go through the interpreter's name: running a prefix of it would be running something else.
 */
static int split_line(char *head, char **interp, char **arg)
{
	char *end = memchr(head, '\n', SCRIPT_LINE), *word, *sep;

	if (!end) {
		end = head + SCRIPT_LINE - 1;
		word = skip_blanks(head + 2, end);
		if (find_terminator(word, end) == end)
			return -ENOEXEC;
	}
	while (end > head + 2 && is_blank(end[-1]))
		end--;
	*end = 0;

	word = skip_blanks(head + 2, end);
	if (word == end)
		return -ENOEXEC;
	sep = find_terminator(word, end);
	*interp = word;
	*arg = NULL;
	if (is_blank(*sep)) {
		*arg = skip_blanks(sep, end);
		*sep = 0;
	}
	return 0;
}

/* argv becomes interp [arg] script argv[1..]. */
static int push_arguments(struct loading *l, const char *interp, const char *arg, const char *script)
{
	u64 n = 0, rest = l->argc ? l->argc - 1 : 0;
	const char **argv = calloc(rest + 4, sizeof(*argv));

	if (!argv)
		return -ENOMEM;
	argv[n++] = interp;
	if (arg)
		argv[n++] = arg;
	argv[n++] = script;
	for (u64 i = 0; i < rest; i++)
		argv[n++] = l->argv[i + 1];

	free(l->argv);
	l->argv = argv;
	l->argc = n;
	return 0;
}

int script_follow(struct loading *l)
{
	/* Nested: what runs is the line before's interpreter, and that is the name its own interpreter gets. */
	const char *script = l->depth ? l->argv[0] : l->path;
	char *line, *interp, *arg;
	struct file *file;
	int err;

	if (l->head[0] != '#' || l->head[1] != '!')
		return 0;
	if (l->depth == SCRIPT_DEPTH)
		return -ELOOP;

	line = l->lines[l->depth++];
	memcpy(line, l->head, SCRIPT_LINE);
	err = split_line(line, &interp, &arg);
	if (err)
		return err;

	/* "#!" and nothing: Linux then finds the current directory, which is no program. */
	if (!*interp)
		return -EACCES;
	err = push_arguments(l, interp, arg, script);
	if (err)
		return err;
	err = vfs_open_exec(l->t, AT_FDCWD, interp, 0, &file);
	if (err)
		return err;

	if (l->file_ref)
		file_put(l->file);
	l->file = file;
	l->file_ref = true;
	return 1;
}
