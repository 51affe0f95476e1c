/* For guest test programs: each check has its own exit code, and says on stderr what failed. */
#ifndef GUEST_CHECK_H
#define GUEST_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The exit code is the check's number in its file, counted by __COUNTER__ from 1 (at most 120 checks a file). */
#define CHECK(cond)									\
	do {										\
		enum { check_nr_ = __COUNTER__ + 1 };					\
		if (!(cond)) {								\
			fprintf(stderr, "%s:%d: check %d failed: %s (errno %d %s)\n", __FILE__, __LINE__, check_nr_, #cond, \
				errno, strerror(errno));				\
			_exit(check_nr_);						\
		}									\
	} while (0)

/* The call fails with exactly this errno. */
#define CHECK_ERRNO(call, want)	CHECK((errno = 0, (call)) == -1 && errno == (want))

#endif
