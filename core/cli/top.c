/* trapgate top: a live view of a running sandbox, from the page that its sentry keeps (live.h). Reads only. */
#include "cli/top.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"
#include "live.h"
#include "syscall/syscall.h"

enum { CALLS_SHOWN = 20 };

struct top {
	long pid, rounds;
	double seconds;
	const struct live_page *page;
	struct live_page *last, *now;
	u64 tick;				/* when `now` was taken */
};

static int usage(void)
{
	log_error("usage: trapgate top [-d SECONDS] [-n ROUNDS] PID");
	return EXIT_TRAPGATE;
}

static int options(struct top *t, int argc, char **argv)
{
	char *end;
	int opt;

	*t = (struct top){ .seconds = 1, .rounds = -1 };
	opterr = 0;
	optind = 1;
	while ((opt = getopt(argc, argv, "d:n:")) != -1) {
		if (opt == 'd')
			t->seconds = strtod(optarg, &end);
		else if (opt == 'n')
			t->rounds = strtol(optarg, &end, 10);
		if (opt == '?' || *end || t->seconds < 0.01 || t->seconds > 3600 || !t->rounds)
			return usage();
	}
	if (optind != argc - 1)
		return usage();
	t->pid = strtol(argv[optind], &end, 10);
	return *end || t->pid <= 0 ? usage() : 0;
}

/* The memory file among the descriptors of `pid`: an open descriptor, or -errno. */
static int find_page(long pid)
{
	char dir[64], path[400], target[64];
	struct dirent *de;
	int fd = -ENOENT;
	ssize_t n;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%ld/fd", pid);
	d = opendir(dir);
	if (!d)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fd == -ENOENT && (de = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		if (strncmp(target, "/memfd:" LIVE_NAME, strlen("/memfd:" LIVE_NAME)))
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	closedir(d);
	return fd;
}

static int attach(struct top *t)
{
	int fd = find_page(t->pid);
	struct stat st;
	void *page;

	if (fd < 0) {
		log_error("%ld: %s", t->pid, fd == -ENOENT ? "no sandbox, or one without task.live" : strerror(-fd));
		return EXIT_TRAPGATE;
	}
	page = fstat(fd, &st) || st.st_size < (off_t)sizeof(*t->page) ? MAP_FAILED :
		mmap(NULL, sizeof(*t->page), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	t->page = page;
	if (page == MAP_FAILED || t->page->magic != LIVE_MAGIC || t->page->version != LIVE_VERSION) {
		log_error("%ld: a sandbox of another version of trapgate", t->pid);
		return EXIT_TRAPGATE;
	}
	t->last = calloc(1, sizeof(*t->last));
	t->now = calloc(1, sizeof(*t->now));
	if (t->last && t->now)
		return 0;
	log_error("out of memory");
	return EXIT_TRAPGATE;
}

/* Counters only grow, but a task's move when it ends, and those of its place begin anew. */
static u64 grown(u64 now, u64 before)
{
	return now > before ? now - before : 0;
}

static u64 total(const struct live_page *p, size_t field)
{
	u64 sum = *(const u64 *)((const char *)&p->ended + field);

	for (int i = 0; i < LIVE_TASKS; i++)
		if (p->task[i].tid)
			sum += *(const u64 *)((const char *)&p->task[i] + field);
	return sum;
}

#define RATE(t, field) (grown(total((t)->now, offsetof(struct live_task, field)),	\
			      total((t)->last, offsetof(struct live_task, field))) / (t)->seconds)

static void show_task(const struct live_task *now, const struct live_task *before, double ticks, double seconds, u64 tick)
{
	static const struct live_task none;
	double guest, sentry;

	if (!now->tid)
		return;
	if (before->tid != now->tid)
		before = &none;
	guest = grown(now->guest_ticks, before->guest_ticks);
	/* One that computes and never calls has only its entry to show for it. */
	if (now->entered && before->entered == now->entered)
		guest = ticks;
	else if (now->entered && tick > now->entered)
		guest += tick - now->entered;
	sentry = grown(now->sentry_ticks, before->sentry_ticks);
	guest = guest > ticks ? ticks : guest;
	sentry = sentry > ticks - guest ? ticks - guest : sentry;
	printf("%7u %7u  %-15.15s %6.1f %6.1f %6.1f %11.0f %9.0f\n", now->tid, now->tgid, now->comm, 100 * guest / ticks,
	       100 * sentry / ticks, 100 * (ticks - guest - sentry) / ticks, grown(now->switches, before->switches) / seconds,
	       grown(now->faults, before->faults) / seconds);
}

static void show_calls(const struct top *t)
{
	double rate[LIVE_CALLS], all = 0;
	int i, shown, most;

	for (i = 0; i < LIVE_CALLS; i++) {
		rate[i] = RATE(t, calls[i]);
		all += rate[i];
	}
	printf("\n%-20s %11s %7s\n", "CALL", "A SECOND", "%");
	for (shown = 0; shown < CALLS_SHOWN; shown++) {
		for (most = 0, i = 1; i < LIVE_CALLS; i++)
			if (rate[i] > rate[most])
				most = i;
		if (rate[most] <= 0)
			return;
		printf("%-20s %11.0f %7.1f\n", syscall_table[most].name ? syscall_table[most].name : "?", rate[most],
		       100 * rate[most] / all);
		rate[most] = 0;
	}
}

static void show(const struct top *t, double ticks)
{
	int tasks = 0;

	for (int i = 0; i < LIVE_TASKS; i++)
		tasks += t->now->task[i].tid != 0;
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	printf("sandbox %ld  platform %.31s  %d tasks  %.0f switches/s  %.0f faults/s\n", t->pid, t->now->platform, tasks,
	       RATE(t, switches), RATE(t, faults));
	if (t->now->untracked)
		printf("%" PRIu64 " tasks found no place here and are not shown\n", t->now->untracked);
	printf("%7s %7s  %-15s %6s %6s %6s %11s %9s\n", "TASK", "GROUP", "COMMAND", "GUEST%", "SENTRY", "ASLEEP", "SWITCHES/s",
	       "FAULTS/s");
	for (int i = 0; i < LIVE_TASKS; i++)
		show_task(&t->now->task[i], &t->last->task[i], ticks, t->seconds, t->tick);
	show_calls(t);
	putchar('\n');
	fflush(stdout);
}

static void look(struct top *t)
{
	struct live_page *swap = t->last;

	t->last = t->now;
	t->now = swap;
	memcpy(t->now, t->page, sizeof(*t->now));
	t->tick = __builtin_ia32_rdtsc();
}

/* A round's time. False: the sandbox has ended, reaped or not. */
static bool wait_round(int pidfd, double seconds)
{
	struct pollfd fd = { .fd = pidfd, .events = POLLIN };

	return poll(&fd, 1, (int)(seconds * 1000)) == 0;
}

int top_command(int argc, char **argv)
{
	struct top t;
	u64 before;
	int err, pidfd;

	err = options(&t, argc, argv);
	if (!err)
		err = attach(&t);
	if (err)
		return err;
	pidfd = syscall(SYS_pidfd_open, t.pid, 0);
	if (pidfd < 0) {
		log_error("%ld: %s", t.pid, strerror(errno));
		return EXIT_TRAPGATE;
	}
	look(&t);
	for (; t.rounds; t.rounds -= t.rounds > 0) {
		before = t.tick;
		if (!wait_round(pidfd, t.seconds))
			break;
		look(&t);
		show(&t, t.tick - before);
	}
	return 0;
}
