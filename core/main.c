/* trapgate: options -> knobs -> platform -> memory file -> guest's tree -> confinement -> first task -> exit status. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calls_cmd.h"
#include "cli/auto.h"
#include "cli/options.h"
#include "cli/top.h"
#include "fs/tty.h"
#include "host/confine.h"
#include "host/hostsig.h"
#include "host/limits.h"
#include "host/machine.h"
#include "host/out_file.h"
#include "lib/log.h"
#include "lib/version.h"
#include "mm/mm.h"
#include "net/socket.h"
#include "platform.h"
#include "platforms_cmd.h"
#include "stamp.h"
#include "stats.h"
#include "syscall/syscall.h"
#include "syscall/uts.h"
#include "task/clock.h"
#include "task/task.h"

static int set_up_platform(const struct run_options *o)
{
	struct platform_config config;
	char why[320] = "";
	int err;

	err = memory_file_init(0);
	if (err) {
		log_error("can't create the memory file: %s", strerror(-err));
		return -1;
	}
	config = (struct platform_config){ .memory = memory_file(), .ncpus = platform_cpus(), .inside = task_inside };
	platform = platform_choose(o->platform, &config, why, sizeof(why));
	if (!platform) {
		log_error("%s", why);
		return -1;
	}
	err = platform->init(&config);
	if (err) {
		log_error("platform %s can't start: %s", platform->name, strerror(-err));
		return -1;
	}
	return 0;
}

/* The order is confine.h's. */
static int confine(const struct run_options *o)
{
	struct confinement c = { .writable = o->fs.rootfs_rw, .network = o->network == NETWORK_HOST,
				 .writes_files = o->stats_path || o->phases_path || o->profile_path, .platform = platform };
	int err;

	for (int i = 0; i < o->fs.nbinds; i++)
		c.writable |= o->fs.binds[i].rw;
	clock_begin();
	uts_begin();
	machine_cpus();
	confine_leave(&c);
	err = platform->start ? platform->start() : 0;
	if (err) {
		log_error("platform %s can't start: %s", platform->name, strerror(-err));
		return err;
	}
	err = confine_filter(&c);
	if (err)
		log_error("can't confine the sentry: %s; --knob host.filter=off runs without", strerror(-err));
	return err;
}

/* The first program could not be started: the shell's exit statuses for it. */
static int start_failed(int err, const char *why)
{
	log_error("%s", why);
	switch (-err) {
	case ENOENT:
		return 127;
	case EACCES: case ENOEXEC: case EISDIR: case ENOTDIR: case ELOOP: case ETXTBSY: case E2BIG: case EINVAL:
		return 126;
	default:
		return EXIT_TRAPGATE;
	}
}

#ifdef __SANITIZE_ADDRESS__
/* What lives until the end is not freed at the end; sockets sent through each other keep each other (net/skb.c). */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:run_options_parse\nleak:getcwd\nleak:fs_init\nleak:sys_socketpair\nleak:send_msg\n"; }
#endif

/* What is asked for about the run, to be written when it is over. */
static struct {
	const char *option;
	int (*write)(FILE *to);
	struct out_file file;
} outputs[] = { { .option = "stats", .write = stats_write }, { .option = "phases", .write = stamps_write_phases },
		{ .option = "profile", .write = stamps_write_profile } };

/* Only the first error of opening counts, for nothing has begun; at the end all is written that can be. */
static int open_outputs(const struct run_options *o)
{
	const char *const path[] = { o->stats_path, o->phases_path, o->profile_path };

	for (size_t i = 0; i < ARRAY_SIZE(outputs); i++) {
		int err = path[i] ? out_file_open(&outputs[i].file, path[i]) : 0;

		if (!err)
			continue;
		log_error("--%s %s: %s", outputs[i].option, path[i], strerror(-err));
		return err;
	}
	return 0;
}

static int write_outputs(void)
{
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(outputs); i++) {
		struct out_file *f = &outputs[i].file;
		int err = f->path ? out_file_write(f, outputs[i].write) : 0;

		if (!err)
			continue;
		log_error("--%s %s: %s", outputs[i].option, f->path, strerror(-err));
		failed = err;
	}
	return failed;
}

static int run(int argc, char **argv)
{
	struct run_options o;
	struct fs_place *place;
	char why[512] = "";
	int err, status;

	hostsig_block();
	host_limits_raise();
	knobs_reset();
	err = run_options_parse(&o, argc, argv);
	if (err)
		return err < 0 ? 0 : err;
	strace_on = o.strace;
	if (open_outputs(&o))
		return EXIT_TRAPGATE;
	if (o.stats_path)
		stats_enable();
	if (o.phases_path || o.profile_path)
		stamps_enable();
	net_reach = (enum net_reach)o.network;
	if (set_up_platform(&o))
		return EXIT_TRAPGATE;
	if (knob_live)
		stats_live_open();
	err = fs_init(&o.fs, &place, why, sizeof(why));
	if (err) {
		log_error("%s", why);
		return EXIT_TRAPGATE;
	}
	if (confine(&o))
		return EXIT_TRAPGATE;
	err = task_start_init(o.argv[0], o.argv, o.envp, place, platform, why, sizeof(why));
	status = err ? start_failed(err, why) : task_wait_init();
	tty_restore_host();
	if (!err && write_outputs())
		status = EXIT_TRAPGATE;
	platform->exit();
	return status;
}

static int platforms_command(int argc, char **argv)
{
	if (argc > 2 || (argc == 2 && strcmp(argv[1], "--json"))) {
		log_error("usage: trapgate platforms [--json]");
		return EXIT_TRAPGATE;
	}
	knobs_reset();
	return platforms_print(argc == 2);
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	if (!strcmp(command, "run"))
		return run(argc - 1, argv + 1);
	if (!strcmp(command, "top"))
		return top_command(argc - 1, argv + 1);
	if (!strcmp(command, "platforms"))
		return platforms_command(argc - 1, argv + 1);
	if (!strcmp(command, "calls") && argc == 2)
		return calls_print();
	if (!strcmp(command, "host-calls")) {
		host_calls_print();
		return 0;
	}
	if (!strcmp(command, "version") || !strcmp(command, "--version")) {
		puts("trapgate " TRAPGATE_VERSION);
		return 0;
	}
	if (!strcmp(command, "help") || !strcmp(command, "--help") || !strcmp(command, "-h")) {
		usage_print();
		return 0;
	}
	log_error("%s%s; see trapgate help", *command ? "unknown command " : "no command given", command);
	return EXIT_TRAPGATE;
}
