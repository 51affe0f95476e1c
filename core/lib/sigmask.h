/* The mask of the sentry's threads: signals are taken by one of them (host/hostsig.c) and by nobody else. */
#ifndef TG_LIB_SIGMASK_H
#define TG_LIB_SIGMASK_H

#include <signal.h>

/* All but SIGSYS, by which a host call that is not on the list is heard of (host/confine.h): blocked, it would kill without a word. */
static inline void sigmask_most(sigset_t *set)
{
	sigfillset(set);
	sigdelset(set, SIGSYS);
}

#endif
