/*
 * One set of pending signals: standard signals are bits, real-time signals queue in order.
 *
 * A bit without an entry is a signal whose siginfo was lost for want of room; the guest then sees SI_USER from nobody,
 * as on Linux. The number of entries in the whole sandbox is what RLIMIT_SIGPENDING bounds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "task/signal.h"

static _Atomic u64 queued_total;

u64 sigqueue_count(void)
{
	return queued_total;
}

void sigpending_init(struct sigpending *p)
{
	p->set = 0;
	TAILQ_INIT(&p->queue);
}

static void entry_free(struct sigpending *p, struct queued_signal *q)
{
	TAILQ_REMOVE(&p->queue, q, link);
	free(q);
	queued_total--;
}

static struct queued_signal *entry_new(u64 limit)
{
	struct queued_signal *q;

	if (atomic_fetch_add(&queued_total, 1) >= limit)
		goto full;
	q = malloc(sizeof(*q));
	if (q)
		return q;
full:
	queued_total--;
	return NULL;
}

int sigqueue_add(struct sigpending *p, const union guest_siginfo *info, u64 limit)
{
	int signo = info->si.si_signo;
	bool standard = signo < GUEST_SIGRTMIN;
	struct queued_signal *q;

	if (standard && (p->set & SIGBIT(signo)))
		return 0;

	/* What the kernel itself sends of the standard signals is at most one a set: it needs no limit. */
	q = entry_new(standard && info->si.si_code >= 0 ? UINT64_MAX : limit);
	if (!q && !standard && info->si.si_code != SI_USER)
		return -EAGAIN;
	if (q) {
		q->info = *info;
		TAILQ_INSERT_TAIL(&p->queue, q, link);
	}
	p->set |= SIGBIT(signo);
	return 0;
}

/* Remove the first entry of `signo`; the bit stays while another one waits. */
static void take_entry(struct sigpending *p, int signo, union guest_siginfo *info)
{
	struct queued_signal *q, *first = NULL;
	bool more = false;

	TAILQ_FOREACH(q, &p->queue, link) {
		if (q->info.si.si_signo != signo)
			continue;
		if (first) {
			more = true;
			break;
		}
		first = q;
	}
	if (!more)
		p->set &= ~SIGBIT(signo);
	if (first) {
		*info = first->info;
		entry_free(p, first);
	} else {
		memset(info, 0, sizeof(*info));
		info->si.si_signo = signo;
		info->si.si_code = SI_USER;
	}
}

int sigqueue_take(struct sigpending *p, sigset64 wanted, union guest_siginfo *info)
{
	sigset64 ready = p->set & wanted;
	int signo;

	if (!ready)
		return 0;
	if (ready & SIGSET_SYNC)
		ready &= SIGSET_SYNC;
	signo = __builtin_ctzll(ready) + 1;
	take_entry(p, signo, info);
	return signo;
}

int sigqueue_take_fault(struct sigpending *p, sigset64 wanted, union guest_siginfo *info)
{
	struct queued_signal *q;
	int signo;

	if (!(p->set & wanted & SIGSET_SYNC))
		return 0;
	TAILQ_FOREACH(q, &p->queue, link) {
		signo = q->info.si.si_signo;
		if (!(SIGBIT(signo) & wanted & SIGSET_SYNC) || q->info.si.si_code <= SI_USER)
			continue;
		take_entry(p, signo, info);
		return signo;
	}
	return 0;
}

void sigqueue_drop(struct sigpending *p, sigset64 which)
{
	struct queued_signal *q, *next;

	if (!(p->set & which))
		return;
	p->set &= ~which;
	for (q = TAILQ_FIRST(&p->queue); q; q = next) {
		next = TAILQ_NEXT(q, link);
		if (which & SIGBIT(q->info.si.si_signo))
			entry_free(p, q);
	}
}

void sigpending_clear(struct sigpending *p)
{
	sigqueue_drop(p, ~(sigset64)0);
}
