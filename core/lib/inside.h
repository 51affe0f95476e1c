/*
 * Code that runs in two places: in the host, and inside the guest, in ring 0 of a virtual machine (kvm.sentry=guest).
 *
 * It is compiled once, with flags of its own (INSIDE_SRC in the Makefile): no vector registers, no red zone, no libc,
 * no thread's storage. tests/inside.sh, which the build runs, proves that nothing of it calls what is not of it, but for
 * functions named gate_*: the host's, called behind a look at inside(), or through inside_host(). (Their code can't be
 * run in ring 0, so one that is forgotten ends the guest.) Inside there is no way to wait and no host to call: who needs
 * either returns -EHOST before it has changed anything, and the host does it all again. The few things that must be
 * done in the middle, such as waking a sleeper, go through inside_host().
 */
#ifndef TG_LIB_INSIDE_H
#define TG_LIB_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/types.h"

enum { EHOST = 600 };			/* as an errno: only the host can do this */

/* Are we in ring 0? In the host the answer costs one instruction too. */
static inline bool inside(void)
{
	u64 cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	return !(cs & 3);
}

/* Ring 0 only: the host runs fn(arg), on this task's thread, and we go on. */
void inside_host(void (*fn)(void *arg), void *arg);

extern bool inside_emulated;		/* ring 0 knows common instructions only */

/* ---- locks: the same words on both sides ---- */

/* The first word of a plain pthread_mutex_t: 0 free, 1 taken, 2 taken and somebody may sleep. */
static inline atomic_int *lock_word(pthread_mutex_t *m) { return (atomic_int *)&m->__data.__lock; }

void gate_lock(pthread_mutex_t *m);	/* host: pthread_mutex_lock */
void gate_unlock(pthread_mutex_t *m);
void gate_wake_lock(void *m);		/* host: whoever sleeps on it */

/* False only inside, if somebody has it. */
static inline bool inside_lock(pthread_mutex_t *m)
{
	int free = 0;

	if (!inside()) {
		gate_lock(m);
		return true;
	}
	return atomic_compare_exchange_strong_explicit(lock_word(m), &free, 1, memory_order_acquire,
						       memory_order_relaxed);
}

static inline void inside_unlock(pthread_mutex_t *m)
{
	if (!inside())
		gate_unlock(m);
	else if (atomic_exchange_explicit(lock_word(m), 0, memory_order_release) == 2)
		inside_host(gate_wake_lock, m);
}

#endif
