/* SIGCHLD in its variants, stop and continue, default actions. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static volatile int count, code, status_seen, pid_seen;

static void handler(int signo, siginfo_t *si, void *uc)
{
	count++;
	code = si->si_code;
	status_seen = si->si_status;
	pid_seen = si->si_pid;
}

static void set(int flags)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | flags };

	CHECK(sigaction(SIGCHLD, &sa, NULL) == 0);
	count = 0;
}

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts))
		;
}

static pid_t spawn(int signo, int exit_code)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		signal(SIGCHLD, SIG_DFL);
		if (signo)
			raise(signo);
		_exit(exit_code);
	}
	return pid;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	return pid;
}

static void exits(void)
{
	int status;
	pid_t pid;

	set(0);
	pid = spawn(0, 5);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
	CHECK(count == 1 && code == CLD_EXITED && status_seen == 5 && pid_seen == pid);
	pid = spawn(SIGTERM, 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == SIGTERM);
	CHECK(count == 2 && code == CLD_KILLED && status_seen == SIGTERM);
}

static void default_actions(void)
{
	static const int fatal[] = { SIGHUP, SIGINT, SIGKILL, SIGUSR1, SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR,
				     SIGSTKFLT };
	static const int harmless[] = { SIGCHLD, SIGURG, SIGWINCH, SIGCONT };
	int status;
	pid_t pid;

	for (unsigned i = 0; i < sizeof(fatal) / sizeof(*fatal); i++) {
		pid = spawn(fatal[i], 0);
		CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == fatal[i]);
	}
	pid = spawn(SIGRTMIN, 0);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGRTMIN);
	for (unsigned i = 0; i < sizeof(harmless) / sizeof(*harmless); i++) {
		pid = spawn(harmless[i], 9);
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 9);
	}
	pid = spawn(SIGABRT, 0);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void stops(void)
{
	siginfo_t si;
	int status;
	pid_t pid;

	set(0);
	pid = sleeper();
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	CHECK(count == 1 && code == CLD_STOPPED && status_seen == SIGSTOP && pid_seen == pid);
	CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
	/* Signals wait while it is stopped. */
	kill(pid, SIGUSR1);
	nap(20);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	kill(pid, SIGCONT);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);

	pid = sleeper();
	kill(pid, SIGSTOP);
	memset(&si, 0, sizeof(si));
	CHECK(waitid(P_PID, pid, &si, WSTOPPED | WNOWAIT) == 0 && si.si_code == CLD_STOPPED && si.si_status == SIGSTOP);
	CHECK(waitid(P_PID, pid, &si, WSTOPPED) == 0 && si.si_code == CLD_STOPPED);
	kill(pid, SIGCONT);
	CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	/* The parent may be told a little later. */
	for (int i = 0; i < 1000 && code != CLD_CONTINUED; i++)
		nap(1);
	CHECK(code == CLD_CONTINUED && status_seen == SIGCONT);
	CHECK(waitpid(pid, &status, WCONTINUED | WNOHANG) == 0);
	/* SIGKILL ends even a stopped process. */
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL);

	set(SA_NOCLDSTOP);
	pid = sleeper();
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	kill(pid, SIGCONT);
	CHECK(waitpid(pid, &status, WCONTINUED) == pid);
	CHECK(count == 0);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid && count == 1);
}

/* A stop and a SIGCONT cancel each other while they are pending. */
static void cancel(void)
{
	sigset_t s, p;

	signal(SIGTSTP, SIG_DFL);
	signal(SIGCONT, SIG_DFL);
	sigemptyset(&s);
	sigaddset(&s, SIGTSTP);
	sigaddset(&s, SIGCONT);
	sigprocmask(SIG_BLOCK, &s, NULL);
	kill(getpid(), SIGTSTP);
	CHECK(sigpending(&p) == 0 && sigismember(&p, SIGTSTP));
	kill(getpid(), SIGCONT);
	CHECK(sigpending(&p) == 0 && !sigismember(&p, SIGTSTP) && sigismember(&p, SIGCONT));
	kill(getpid(), SIGTSTP);
	CHECK(sigpending(&p) == 0 && sigismember(&p, SIGTSTP) && !sigismember(&p, SIGCONT));
	kill(getpid(), SIGCONT);
	sigprocmask(SIG_UNBLOCK, &s, NULL);
}

static void no_zombies(void)
{
	int status;
	pid_t pid;

	signal(SIGCHLD, SIG_IGN);
	pid = spawn(0, 3);
	CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
	set(SA_NOCLDWAIT);
	pid = spawn(0, 3);
	CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
	nap(20);
	CHECK(count == 1);
	signal(SIGCHLD, SIG_DFL);
}

/* Dispositions and masks over fork and exec. */
static void inherit(const char *self)
{
	sigset_t s, old;
	int status;
	pid_t pid;

	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, (void (*)(int))no_zombies);
	sigemptyset(&s);
	sigaddset(&s, SIGHUP);
	sigprocmask(SIG_BLOCK, &s, &old);
	raise(SIGHUP);
	pid = fork();
	if (!pid) {
		sigset_t p;

		CHECK(sigpending(&p) == 0 && !sigismember(&p, SIGHUP));
		raise(SIGHUP);
		execl("/proc/self/exe", self, "after-exec", NULL);
		_exit(99);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGHUP, SIG_DFL);
}

static int after_exec(void)
{
	struct sigaction sa;
	sigset_t p;

	CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN);
	CHECK(sigaction(SIGUSR2, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &p) == 0 && sigismember(&p, SIGHUP));
	CHECK(sigpending(&p) == 0 && sigismember(&p, SIGHUP));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return after_exec();
	exits();
	default_actions();
	stops();
	cancel();
	no_zombies();
	inherit(argv[0]);
	puts("ok");
	return 0;
}
