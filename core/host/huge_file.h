/* A file in memory whose pages the host gives in pieces of 2 MiB, whatever it does for memfds. */
#ifndef TG_HOST_HUGE_FILE_H
#define TG_HOST_HUGE_FILE_H

/*
 * An empty file without a name, read-write, close-on-exec; the caller's. Or -errno: this host has no huge pages for
 * files, or lets this user make no tmpfs. To be called before there are threads.
 */
int host_huge_file(void);

#endif
