/* Waking from inside: nobody is there, mostly; whoever is, the host wakes. */
#include "lib/inside.h"
#include "task/waitq.h"

/*
 * Without the lock: a waiter queues itself before it tests its condition, and that changed under a lock which our
 * caller has released, by an instruction that orders it before this look. So one whom we miss finds it changed.
 */
void inside_waitq_wake(struct waitq *q, u32 events)
{
	struct waitq_wake wake = { q, events };

	if (!__atomic_load_n(&q->waiters.tqh_first, __ATOMIC_SEQ_CST))
		return;
	if (inside())
		inside_host(gate_waitq_wake, &wake);
	else
		gate_waitq_wake(&wake);
}
