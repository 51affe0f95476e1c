/*
 * The host's signals to the sentry.
 *
 * A signal that the terminal sent to the sentry's whole process group (si_code SI_KERNEL) goes to the guest's foreground
 * group, as if the terminal were the guest's. One that someone sent with kill(2) goes to the first process. SIGKILL
 * and SIGSTOP act on the sentry itself.
 */
#include "host/hostsig.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "fs/tty.h"
#include "task/signal.h"

#define STACK_SIZE	((size_t)64 << 10)

static const int forwarded[] = {
	SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGPIPE,
	SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR,
};
static sigset_t original;
static u64 ignored;			/* SIGBIT()s, at the start */
static int first_tgid;			/* set before the thread starts */

static void forwarded_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(set, forwarded[i]);
}

void hostsig_block(void)
{
	sigset_t set;

	forwarded_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, &original);
	for (int signo = 1; signo <= NSIG_GUEST; signo++) {
		struct sigaction sa;

		if (!sigaction(signo, NULL, &sa) && sa.sa_handler == SIG_IGN)
			ignored |= SIGBIT(signo);
	}
	signal(SIGPIPE, SIG_IGN);
}

/* As exec would: what was ignored or blocked outside stays so inside (nohup, a background job of a plain shell). */
void hostsig_inherit(struct task *first)
{
	for (int signo = 1; signo <= NSIG_GUEST; signo++) {
		if (sigismember(&original, signo) > 0)
			first->blocked |= SIGBIT(signo) & ~SIGSET_KERNEL;
		if (ignored & SIGBIT(signo))
			first->sighand->action[signo - 1].handler = HANDLER_IGN;
	}
}

int hostsig_first(void)
{
	return first_tgid;
}

static void to_first_group(const union guest_siginfo *info)
{
	struct thread_group *tg = thread_group_get(first_tgid);

	if (!tg)
		return;
	signal_send_pgrp(tg->pgid, info);
	thread_group_put(tg);
}

static void to_first(const union guest_siginfo *info)
{
	struct thread_group *tg = thread_group_get(first_tgid);

	if (!tg)
		return;
	signal_send_group(tg, info);
	thread_group_put(tg);
}

static void forward(const siginfo_t *si)
{
	bool from_tty = si->si_code == SI_KERNEL;
	struct tty *tty = tty_of_host();
	union guest_siginfo info;

	signal_info(&info, si->si_signo, from_tty ? SI_KERNEL : SI_USER, NULL);
	switch (si->si_signo) {
	case SIGPIPE:			/* a write of the sentry's own; the guest's are reported by its calls */
		break;
	case SIGINT: case SIGQUIT: case SIGTSTP: case SIGWINCH:
		if (tty && (from_tty || si->si_signo == SIGWINCH))
			tty_signal_foreground(tty, si->si_signo);
		else if (from_tty)
			to_first_group(&info);
		else
			to_first(&info);
		break;
	case SIGHUP:			/* the terminal is gone, for its foreground too */
		if (from_tty && tty)
			tty_signal_foreground(tty, SIGHUP);
		to_first(&info);
		break;
	case SIGCONT:			/* the sentry was stopped as one job, and so was the guest */
		to_first_group(&info);
		break;
	default:
		to_first(&info);
		break;
	}
}

static void *forward_main(void *arg)
{
	siginfo_t si;
	sigset_t set;

	(void)arg;
	forwarded_set(&set);
	for (;;)
		if (sigwaitinfo(&set, &si) > 0)
			forward(&si);
	return NULL;
}

int hostsig_start(int tgid)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	first_tgid = tgid;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE > (size_t)PTHREAD_STACK_MIN ? STACK_SIZE : (size_t)PTHREAD_STACK_MIN);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, forward_main, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

void hostsig_stop_self(void)
{
	kill(getpid(), SIGSTOP);
}

bool hostsig_orphaned(void)
{
	pid_t parent = getppid();

	/* A parent in our own group is a script: the shell above it decides. One of another pid namespace has no session here. */
	return getsid(parent) != getsid(0);
}
