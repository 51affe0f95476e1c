/* Entry of floors, which use libc for ptrace, seccomp and the like. */
#include "workload.h"

int main(int argc, char **argv);

int main(int argc, char **argv)
{
	return workload_main(argc, argv);
}
