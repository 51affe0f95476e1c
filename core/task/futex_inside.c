/* Futexes inside (lib/inside.h): private words, and nobody to sleep or to be woken. The rest is futex.c's. */
#include <errno.h>

#include "lib/inside.h"
#include "task/futex.h"
#include "task/futex_bucket.h"
#include "task/task.h"

int futex_wait_inside(struct task *t, gva_t addr, u32 val)
{
	u32 now;

	if (addr & 3 || inside_copy_in(t->mm, &now, addr, sizeof(now)))
		return -EHOST;
	return now == val ? -EHOST : -EAGAIN;
}

int futex_wake_inside(struct task *t, gva_t addr, u32 bitset)
{
	struct futex_key key = { t->mm, addr };
	struct futex_bucket *b = futex_hash(&key);
	struct futex_waiter *w;
	bool any = false;
	u32 now;

	/* The word must be there, as for futex.c; and nobody has waited yet if the lists have no ends. */
	if (addr & 3 || !bitset || inside_copy_in(t->mm, &now, addr, sizeof(now)) || !b->waiters.tqh_last ||
	    !inside_lock(&b->lock))
		return -EHOST;
	TAILQ_FOREACH(w, &b->waiters, link)
		any |= same_key(&w->key, &key) && w->bitset & bitset;
	inside_unlock(&b->lock);
	return any ? -EHOST : 0;
}
