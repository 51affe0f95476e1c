/* Log lines: one write(2) a line, so that lines of several threads never mix. */
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum log_level log_level = LOG_WARN;
static int log_fd = 2;

void log_to(int fd) { log_fd = fd; }

static void emit(const char *prefix, const char *fmt, va_list ap)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "trapgate: %s", prefix);
	int m = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);

	n = m < 0 ? n : n + m;
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	/* A log that can't be written must not stop the guest. */
	if (write(log_fd, line, n) < 0)
		return;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const prefix[] = { "", "warning: ", "", "debug: " };
	va_list ap;

	va_start(ap, fmt);
	emit(prefix[level], fmt, ap);
	va_end(ap);
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit("", fmt, ap);
	va_end(ap);
	_exit(EXIT_TRAPGATE);
}
