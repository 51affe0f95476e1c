/* `trapgate top PID`. */
#ifndef TG_CLI_TOP_H
#define TG_CLI_TOP_H

/* argv[0] is "top". Returns the exit status: 0 when the sandbox or the rounds have ended, 125 after one sentence on stderr. */
int top_command(int argc, char **argv);

#endif
