/* Command line of `trapgate run`. */
#ifndef TG_CLI_OPTIONS_H
#define TG_CLI_OPTIONS_H

#include "fs/fs.h"

enum network { NETWORK_NONE, NETWORK_LOOPBACK, NETWORK_HOST };

struct run_options {
	const char *platform;		/* a name, or "auto" */
	struct fs_options fs;
	enum network network;
	const char *stats_path, *phases_path, *profile_path;	/* NULL: none */
	char *const *argv;		/* the guest's, NULL-terminated */
	char **envp;			/* the guest's, NULL-terminated; owned */
	bool strace;
};

/*
 * Parses argv[1..]. Returns 0, or 125 after one sentence on stderr; -1: --help was printed, exit 0. Pointers go into argv
 * and the environment, which live as long as the process.
 */
int run_options_parse(struct run_options *o, int argc, char **argv);
void usage_print(void);

#endif
