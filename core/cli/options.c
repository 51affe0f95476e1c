/* Command line of `trapgate run`: getopt_long, one sentence for each thing that is wrong. */
#include "cli/options.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "platform.h"
#include "syscall/syscall.h"

extern char **environ;

enum { OPT_PLATFORM = 256, OPT_KNOB, OPT_ROOTFS, OPT_ROOTFS_RW, OPT_BIND, OPT_CWD, OPT_ENV, OPT_CLEAR_ENV, OPT_NETWORK, OPT_STRACE,
       OPT_STATS, OPT_PHASES, OPT_PROFILE, OPT_LOG, OPT_LOG_FILE, OPT_HELP };

static const struct option long_options[] = {
	{ "platform", required_argument, NULL, OPT_PLATFORM },
	{ "knob", required_argument, NULL, OPT_KNOB },
	{ "rootfs", required_argument, NULL, OPT_ROOTFS },
	{ "rootfs-rw", no_argument, NULL, OPT_ROOTFS_RW },
	{ "bind", required_argument, NULL, OPT_BIND },
	{ "cwd", required_argument, NULL, OPT_CWD },
	{ "env", required_argument, NULL, OPT_ENV },
	{ "clear-env", no_argument, NULL, OPT_CLEAR_ENV },
	{ "network", required_argument, NULL, OPT_NETWORK },
	{ "strace", no_argument, NULL, OPT_STRACE },
	{ "stats", required_argument, NULL, OPT_STATS },
	{ "phases", required_argument, NULL, OPT_PHASES },
	{ "profile", required_argument, NULL, OPT_PROFILE },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "log-file", required_argument, NULL, OPT_LOG_FILE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

void usage_print(void)
{
	fputs("usage: trapgate run [OPTION...] [--] COMMAND [ARG...]\n"
	      "       trapgate platforms [--json]\n"
	      "       trapgate top [-d SECONDS] [-n ROUNDS] PID      a live view of a running sandbox\n"
	      "       trapgate host-calls      the host calls that a running sentry may make\n"
	      "       trapgate version | help\n"
	      "\n"
	      "Options of run:\n"
	      "  --platform=auto|NAME     how the guest is trapped (trapgate platforms lists them)\n"
	      "  --knob NAME=VALUE        set a platform's or the sentry's knob; may be repeated\n"
	      "  --rootfs DIR             host directory that the guest sees as / (default: /)\n"
	      "  --rootfs-rw              let writes under / through to the host (default: kept in memory)\n"
	      "  --bind SRC:DST[:ro|rw]   show the host directory or file SRC at DST (default: ro); may be repeated\n"
	      "  --cwd DIR                working directory in the guest (default: the current one; / with --rootfs)\n"
	      "  --env NAME=VALUE         set a variable (NAME alone: unset it); may be repeated\n"
	      "  --clear-env              start from an empty environment\n"
	      "  --network=none|loopback|host   (default: loopback)\n"
	      "  --strace                 print the guest's system calls on stderr\n"
	      "  --stats FILE             write counters as JSON when the guest has ended\n"
	      "  --phases FILE            write the last switches of each task, stamp by stamp, as CSV\n"
	      "  --profile FILE           write where the time around switches went, folded for flame graphs\n"
	      "  --log=error|warn|info|debug, --log-file FILE\n"
	      "\n"
	      "Exit status: the guest's; 128+n if signal n ended it; 127 command not found; 126 not executable;\n"
	      "125 Trapgate itself failed, with one sentence on stderr.\n",
	      stdout);
}

static int bad(const char *fmt, const char *what)
{
	log_line(LOG_ERROR, fmt, what);
	return EXIT_TRAPGATE;
}

/* "SRC:DST[:ro|rw]", cut in place. */
static int parse_bind(struct fs_options *fs, char *arg)
{
	struct bind *binds = realloc((void *)fs->binds, (fs->nbinds + 1) * sizeof(*binds));
	char *dst, *mode;

	if (!binds)
		return bad("%s", "out of memory");
	fs->binds = binds;
	dst = strchr(arg, ':');
	if (!dst || dst == arg || dst[1] != '/')
		return bad("--bind %s: want SRC:DST[:ro|rw] with DST an absolute path", arg);
	*dst++ = 0;
	mode = strchr(dst, ':');
	if (mode) {
		*mode++ = 0;
		if (strcmp(mode, "ro") && strcmp(mode, "rw"))
			return bad("--bind: mode '%s' is neither ro nor rw", mode);
	}
	binds[fs->nbinds++] = (struct bind){ .src = arg, .dst = dst, .rw = mode && !strcmp(mode, "rw") };
	return 0;
}

static int parse_choice(const char *arg, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(arg, names[i]))
			return i;
	return -1;
}

static size_t env_count(char **env)
{
	size_t n = 0;

	while (env && env[n])
		n++;
	return n;
}

/* Set or unset one variable in an owned vector. */
static int env_set(char ***env, char *assignment)
{
	size_t n = env_count(*env), name_len = strcspn(assignment, "=");
	char **v;

	for (size_t i = 0; i < n; i++) {
		if (strncmp((*env)[i], assignment, name_len) || (*env)[i][name_len] != '=')
			continue;
		memmove(&(*env)[i], &(*env)[i + 1], (n - i) * sizeof(**env));
		n--;
		break;
	}
	if (!assignment[name_len])
		return 0;
	v = realloc(*env, (n + 2) * sizeof(*v));
	if (!v)
		return -1;
	v[n] = assignment;
	v[n + 1] = NULL;
	*env = v;
	return 0;
}

static int parse_log_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0) {
		log_error("--log-file %s: %m", path);
		return EXIT_TRAPGATE;
	}
	log_to(fd);
	return 0;
}

static int parse_one(struct run_options *o, int opt)
{
	static const char *const networks[] = { "none", "loopback", "host", NULL };
	static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
	char why[256];
	int i;

	switch (opt) {
	case OPT_PLATFORM:
		o->platform = optarg;
		return 0;
	case OPT_KNOB:
		return knob_set(optarg, why, sizeof(why)) ? bad("--knob: %s", why) : 0;
	case OPT_ROOTFS:
		o->fs.rootfs = optarg;
		return 0;
	case OPT_ROOTFS_RW:
		o->fs.rootfs_rw = true;
		return 0;
	case OPT_BIND:
		return parse_bind(&o->fs, optarg);
	case OPT_CWD:
		o->fs.cwd = optarg;
		return 0;
	case OPT_ENV:
		return env_set(&o->envp, optarg) ? bad("%s", "out of memory") : 0;
	case OPT_CLEAR_ENV:
		o->envp[0] = NULL;
		return 0;
	case OPT_NETWORK:
		i = parse_choice(optarg, networks);
		o->network = i;
		return i < 0 ? bad("--network=%s: want none, loopback or host", optarg) : 0;
	case OPT_STRACE:
		o->strace = true;
		return 0;
	case OPT_STATS:
		o->stats_path = optarg;
		return 0;
	case OPT_PHASES:
		o->phases_path = optarg;
		return 0;
	case OPT_PROFILE:
		o->profile_path = optarg;
		return 0;
	case OPT_LOG:
		i = parse_choice(optarg, levels);
		log_level = i;
		return i < 0 ? bad("--log=%s: want error, warn, info or debug", optarg) : 0;
	case OPT_LOG_FILE:
		return parse_log_file(optarg);
	case OPT_HELP:
		usage_print();
		return -1;
	default:
		return bad("%s", "unknown option or missing value; see trapgate help");
	}
}

int run_options_parse(struct run_options *o, int argc, char **argv)
{
	size_t n = env_count(environ);
	int opt, err;

	*o = (struct run_options){ .platform = "auto", .fs.rootfs = "/", .network = NETWORK_LOOPBACK };
	o->envp = calloc(n + 1, sizeof(*o->envp));
	if (!o->envp)
		return bad("%s", "out of memory");
	memcpy(o->envp, environ, n * sizeof(*o->envp));

	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
		if (opt == '?') {
			log_error("unknown option or missing value: %s (see trapgate help)", argv[optind - 1]);
			return EXIT_TRAPGATE;
		}
		err = parse_one(o, opt);
		if (err)
			return err;
	}
	/* With the host's tree the guest starts where the user is; another tree may not have that place. */
	if (!o->fs.cwd && !strcmp(o->fs.rootfs, "/"))
		o->fs.cwd = getcwd(NULL, 0);
	o->argv = argv + optind;
	if (!o->argv[0])
		return bad("%s", "no command given; see trapgate help");
	return 0;
}
