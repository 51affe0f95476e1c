/*
 * execve(2), execveat(2): the program's name, arguments and environment, copied in under the kernel's limits.
 *
 * The program is opened before the arguments are read, as in the kernel, so that the same mistake gives the same errno.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "syscall/syscall.h"

#define ARG_STRING_MAX	(32 * PAGE_SIZE)		/* MAX_ARG_STRLEN: one string with its NUL */
#define ARG_SPACE_MIN	((u64)128 << 10)		/* ARG_MAX: always allowed */
#define ARG_SPACE_MAX	((u64)6 << 20)			/* three quarters of the default stack limit */
#define ARG_COUNT_MAX	(ARG_SPACE_MAX / sizeof(gva_t))

struct arg_list {
	char **v;			/* NULL-terminated */
	size_t n, cap;
};

static void arg_list_free(struct arg_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

static int arg_list_add(struct arg_list *l, const char *s, size_t len)
{
	char **v;

	if (l->n + 2 > l->cap) {
		v = realloc(l->v, (l->cap * 2 + 16) * sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = l->cap * 2 + 16;
	}
	l->v[l->n] = malloc(len + 1);
	if (!l->v[l->n])
		return -ENOMEM;
	memcpy(l->v[l->n], s, len);
	l->v[l->n][len] = 0;
	l->v[++l->n] = NULL;
	return 0;
}

/* One string, through `buf` of ARG_STRING_MAX bytes; takes its bytes from *space. */
static int copy_arg(struct task *t, gva_t addr, char *buf, u64 *space, struct arg_list *out)
{
	s64 len;

	len = copy_in_str(t->mm, buf, addr, ARG_STRING_MAX);
	if (len == -ENAMETOOLONG)
		return -E2BIG;
	if (len < 0)
		return len;
	if ((u64)len + 1 + sizeof(gva_t) > *space)
		return -E2BIG;
	*space -= len + 1 + sizeof(gva_t);
	return arg_list_add(out, buf, len);
}

static int copy_args(struct task *t, gva_t array, char *buf, u64 *space, struct arg_list *out)
{
	gva_t str;
	int err;

	for (u64 i = 0; array; i++) {
		if (i >= ARG_COUNT_MAX)
			return -E2BIG;
		if (get_user(t->mm, &str, array + i * sizeof(gva_t)))
			return -EFAULT;
		if (!str)
			break;
		err = copy_arg(t, str, buf, space, out);
		if (err)
			return err;
	}
	if (!out->v)
		out->v = calloc(1, sizeof(*out->v));
	return out->v ? 0 : -ENOMEM;
}

/* argv and envp together; an empty argv becomes one empty string, so that no program sees argc 0. */
static int copy_argv_envp(struct task *t, gva_t argv, gva_t envp, struct arg_list *args, struct arg_list *env)
{
	u64 space = MAX(MIN(task_rlimit(t, RLIMIT_STACK) / 4, ARG_SPACE_MAX), ARG_SPACE_MIN);
	char *buf = malloc(ARG_STRING_MAX);
	int err;

	if (!buf)
		return -ENOMEM;
	err = copy_args(t, argv, buf, &space, args);
	if (!err)
		err = copy_args(t, envp, buf, &space, env);
	if (!err && !args->n)
		err = arg_list_add(args, "", 0);
	free(buf);
	return err;
}

/* The name that a script's interpreter is given. */
static void script_name(int dirfd, const char *name, char *out, size_t len)
{
	if (dirfd == AT_FDCWD || name[0] == '/')
		snprintf(out, len, "%s", name);
	else if (!name[0])
		snprintf(out, len, "/dev/fd/%d", dirfd);
	else
		snprintf(out, len, "/dev/fd/%d/%s", dirfd, name);
}

static long do_execveat(struct task *t, int dirfd, gva_t name_ptr, gva_t argv, gva_t envp, int flags)
{
	char name[PATH_MAX], path[PATH_MAX + 32];
	struct arg_list args = { 0 }, env = { 0 };
	struct file *file;
	s64 err;

	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	err = copy_in_str(t->mm, name, name_ptr, sizeof(name));
	if (err < 0)
		return err;
	if (!err && !(flags & AT_EMPTY_PATH))
		return -ENOENT;
	err = vfs_open_exec(t, dirfd, name, flags, &file);
	if (err)
		return err;
	script_name(dirfd, name, path, sizeof(path));
	err = copy_argv_envp(t, argv, envp, &args, &env);
	if (!err)
		err = task_exec(t, file, path, args.v, env.v);
	arg_list_free(&args);
	arg_list_free(&env);
	file_put(file);
	return err;
}

long sys_execve(struct task *t, const u64 *arg)
{
	return do_execveat(t, AT_FDCWD, arg[0], arg[1], arg[2], 0);
}

long sys_execveat(struct task *t, const u64 *arg)
{
	return do_execveat(t, (int)arg[0], arg[1], arg[2], arg[3], (int)arg[4]);
}
