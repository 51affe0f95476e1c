/* Log lines go to stderr (or --log-file), one write(2) a line, so that lines of several threads never mix. */
#ifndef TG_LIB_LOG_H
#define TG_LIB_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

extern enum log_level log_level;

#define EXIT_TRAPGATE	125		/* exit status when Trapgate itself fails (docker's convention) */

void log_to(int fd);			/* --log-file; the descriptor stays open for good */

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *fmt, ...);

#define log_error(...)	log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)	do { if (log_level >= LOG_WARN) log_line(LOG_WARN, __VA_ARGS__); } while (0)
#define log_info(...)	do { if (log_level >= LOG_INFO) log_line(LOG_INFO, __VA_ARGS__); } while (0)
#define log_debug(...)	do { if (log_level >= LOG_DEBUG) log_line(LOG_DEBUG, __VA_ARGS__); } while (0)

/* A broken invariant or a start-up that cannot go on: one sentence, then exit status 125. */
__attribute__((format(printf, 1, 2))) _Noreturn void die(const char *fmt, ...);

#endif
