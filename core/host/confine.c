/* The sentry's own confinement: see confine.h. */
#include "host/confine.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/ids.h"
#include "host/machine.h"
#include "lib/host_proc.h"
#include "lib/log.h"

#ifndef SYS_fchmodat2			/* since Linux 6.6 */
#define SYS_fchmodat2	452
#endif

/* ---- knobs ---- */

/* Sanitizers make calls of their own, which nobody has listed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { FILTER_DEFAULT = 0 };
#else
enum { FILTER_DEFAULT = 1 };
#endif

static long use_filter = FILTER_DEFAULT, use_namespaces = 1;

const struct knob host_knobs[] = {
	{ .name = "host.filter", .kind = KNOB_BOOL, .value = &use_filter, .def = FILTER_DEFAULT, .off = "off",
	  .help = "the sentry runs under a seccomp filter that knows only the host calls it makes" },
	{ .name = "host.namespaces", .kind = KNOB_BOOL, .value = &use_namespaces, .def = 1, .off = "off",
	  .help = "the sentry leaves the host's user, mount, ipc and network namespaces where it may" },
	{ .name = NULL },
};

/* ---- namespaces, path names, capabilities ---- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err = -errno;
	close(fd);
	return err;
}

/*
 * In a child that stays behind, for only there is the right to map all ids. Every id that exists there keeps its number. Ends
 * with 0 when it has.
 */
static void map_ids(pid_t sentry, int left)
{
	static const char *const kinds[] = { "uid_map", "gid_map" };
	char path[40], map[4096], byte;
	unsigned int inside, count;
	size_t n;
	FILE *ours;

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", kinds[i]);
		ours = fopen(path, "re");
		for (n = 0; ours && n < sizeof(map) - 40 && fscanf(ours, "%u %*u %u", &inside, &count) == 2;)
			n += snprintf(map + n, sizeof(map) - n, "%u %u %u\n", inside, inside, count);
		if (!n || (!i && read(left, &byte, 1) != 1))
			_exit(1);
		snprintf(path, sizeof(path), "/proc/%d/%s", sentry, kinds[i]);
		if (write_file(path, map))
			_exit(1);
	}
	_exit(0);
}

static u64 capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (syscall(SYS_capget, &header, data))
		return 0;
	return (u64)data[1].effective << 32 | data[0].effective;
}

/*
 * An ordinary user could map nobody but himself: then all files that are not his would look like nobody's, and the guest
 * would see that. He has no privilege to lose.
 */
static int leave_user_namespace(void)
{
	const u64 needed = 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_SYS_ADMIN;
	pid_t sentry = getpid(), child;
	int left[2], err, status = 1;

	if ((capabilities() & needed) != needed)
		return -EPERM;
	if (pipe2(left, O_CLOEXEC))
		return -errno;
	child = fork();
	if (!child) {
		close(left[1]);
		map_ids(sentry, left[0]);
	}
	err = child < 0 || unshare(CLONE_NEWUSER) ? -errno : 0;
	if (!err && (write(left[1], "", 1) != 1 || waitpid(child, &status, 0) != child || status))
		die("can't map user ids in the sentry's user namespace; --knob host.namespaces=off does without");
	close(left[0]);
	close(left[1]);
	if (child > 0 && err)
		waitpid(child, NULL, 0);
	return err;
}

/* An empty file system that nothing can be added to. What is open stays open: it belongs to the namespace we left. */
static int empty_root(void)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/proc", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=2,mode=555") ||
	    chdir("/proc") || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return -errno;
	return 0;
}

static void leave(const char *what, int flag)
{
	int err = unshare(flag) ? -errno : 0;

	if (!err && flag == CLONE_NEWNS)
		err = empty_root();
	if (err)
		log_info("the sentry keeps the host's %s namespace: %s", what, strerror(-err));
}

/* Reading, and with writable trees changing, what belongs to other users: as root finds it without a sandbox. */
static void drop_capabilities(bool writable)
{
	const u64 reads = 1ull << CAP_DAC_READ_SEARCH, writes = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER |
								1ull << CAP_FSETID;
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	u64 keep = reads | (writable ? writes : 0);

	for (int cap = 0; cap < 64; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);		/* fails where there is none, or no right to; then there is nothing to lose */
	if (syscall(SYS_capget, &header, data))
		die("can't read capabilities: %m");
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (u32)(keep >> (32 * i));
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data))
		die("can't drop capabilities: %m");
}

void confine_leave(const struct confinement *c)
{
	host_proc_keep();
	host_ids();
	if (use_namespaces) {
		int err = leave_user_namespace();

		if (err)
			log_info("the sentry keeps the host's user namespace: %s", strerror(-err));
		leave("mount", CLONE_NEWNS);
		leave("ipc", CLONE_NEWIPC);
		if (!c->network)
			leave("network", CLONE_NEWNET);
	}
	drop_capabilities(c->writable);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("can't set no_new_privs: %m");
}

/* ---- the allow-list ---- */

static const u64 terminal_requests[] = { TCGETS2, TCSETS2, TCSETSW2, TCSETSF2, TCGETS, TIOCGWINSZ, TIOCSWINSZ, TCSBRK, TCXONC, TCFLSH,
					 FIONREAD, TIOCOUTQ, TIOCGPGRP, TCSBRKP, 0 };
static const u64 interface_requests[] = { SIOCGIFFLAGS, SIOCGIFINDEX, SIOCGIFADDR, SIOCGIFNETMASK, SIOCGIFBRDADDR, SIOCGIFDSTADDR, SIOCGIFMTU,
					  SIOCGIFMETRIC, SIOCGIFTXQLEN, SIOCGIFHWADDR, SIOCGIFCONF, SIOCGIFNAME, 0 };
static const u64 thread_flags[] = { CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
				    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, 0 };
static const u64 thread_prctls[] = { PR_SET_NAME, PR_SET_TIMERSLACK, 0 };

#define ALWAYS			CALLS_ALWAYS
#define WRITABLE		CALLS_WRITABLE
#define NETWORK			CALLS_NETWORK
#define FILES			CALLS_FILES
#define CALL(name_, group_, check, why_) { #name_, group_, { .nr = SYS_##name_, check, .why = why_ } },
#define ANY			.arg = 0
#define ONE_OF(n, list)		.arg = n, .values = list
#define WITHOUT(n, bits)	.arg = n, .forbidden = bits

static const struct core_call {
	const char *name;
	enum host_call_group group;
	struct host_call call;
} core_calls[] = {
#include "host/host_calls.def"
};

void host_calls_each(const struct platform_ops *p, host_call_fn *fn, void *arg)
{
	char *name;

	for (size_t i = 0; i < ARRAY_SIZE(core_calls); i++)
		fn(core_calls[i].name, &core_calls[i].call, core_calls[i].group, arg);
	for (const struct host_call *c = p ? p->host_calls : NULL; c && c->why; c++) {
		name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, c->nr);
		fn(name ? name : "?", c, CALLS_PLATFORM, arg);
		free(name);
	}
}

struct loading {
	const struct confinement *confinement;
	scmp_filter_ctx ctx;
	int err;
};

static int allow(scmp_filter_ctx ctx, const struct host_call *c)
{
	int err = 0;

	if (c->forbidden)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 1, SCMP_CMP64(c->arg, SCMP_CMP_MASKED_EQ, c->forbidden, 0));
	if (!c->values)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 0);
	for (const u64 *v = c->values; *v && !err; v++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 1, SCMP_CMP64(c->arg, SCMP_CMP_EQ, *v, 0));
	return err;
}

static void load_row(const char *name, const struct host_call *call, enum host_call_group group, void *arg)
{
	struct loading *l = arg;
	const bool wanted[] = { [CALLS_ALWAYS] = true, [CALLS_WRITABLE] = l->confinement->writable,
				[CALLS_NETWORK] = l->confinement->network, [CALLS_FILES] = l->confinement->writes_files,
				[CALLS_PLATFORM] = true };

	if (!l->err && wanted[group])
		l->err = allow(l->ctx, call);
}

/* Async-signal-safe. The call was not made; that it was tried means that the sentry is not its own master any more, or has a bug. */
static void report(int signo, siginfo_t *si, void *uc)
{
	char line[96] = "trapgate: the sentry made host call ", *p = line + strlen(line), digits[12];
	const char *rest = ", which is not on its list; ending the sandbox\n";
	int n = 0;

	for (unsigned int nr = si->si_syscall; !n || nr; nr /= 10)
		digits[n++] = '0' + nr % 10;
	while (n)
		*p++ = digits[--n];
	memcpy(p, rest, strlen(rest));
	if (write(STDERR_FILENO, line, p - line + strlen(rest)) < 0)
		_exit(125);
	_exit(125);
}

/* glibc tries clone3, whose flags a filter can't see, and takes clone when there is none. */
static int add_rules(struct loading *l)
{
	int err = seccomp_attr_set(l->ctx, SCMP_FLTATR_CTL_TSYNC, 1);

	if (!err)
		err = seccomp_rule_add(l->ctx, SCMP_ACT_ERRNO(ENOSYS), SYS_clone3, 0);
	host_calls_each(l->confinement->platform, load_row, l);
	return err ? err : l->err;
}

/*
 * What glibc does once and late, and could not do any more: with the first thread it installs the handler by which setuid()
 * reaches all of them; with many arenas it counts the processors in /sys; when it first gives back a part of an arena that is
 * not the main one it reads /proc/sys/vm/overcommit_memory.
 */
static void *use_arena(void *unused)
{
	enum { CHUNKS = 16, CHUNK = 100 << 10 };	/* under the size that is mapped by itself; together over the trim threshold */
	void *chunk[CHUNKS];

	for (int i = 0; i < CHUNKS; i++)
		chunk[i] = malloc(CHUNK);
	for (int i = 0; i < CHUNKS; i++)
		free(chunk[i]);
	return NULL;
}

static void settle_libc(void)
{
	pthread_t thread;

	mallopt(M_ARENA_MAX, 8 * (int)machine_cpus());	/* glibc's own limit */
	if (!pthread_create(&thread, NULL, use_arena, NULL))
		pthread_join(thread, NULL);
}

int confine_filter(const struct confinement *c)
{
	struct sigaction sa = { .sa_sigaction = report, .sa_flags = SA_SIGINFO };
	struct loading l = { .confinement = c };
	int err;

	if (!use_filter)
		return 0;
	settle_libc();
	if (sigaction(SIGSYS, &sa, NULL))
		return -errno;
	l.ctx = seccomp_init(SCMP_ACT_TRAP);
	if (!l.ctx)
		return -ENOMEM;
	err = add_rules(&l);
	if (!err)
		err = seccomp_load(l.ctx);
	seccomp_release(l.ctx);
	return err;
}

/* ---- the list, for people ---- */

static void print_check(const struct host_call *c)
{
	int n = 0;

	while (c->values && c->values[n])
		n++;
	if (c->forbidden == ~0ull)
		printf("argument %d is 0", c->arg + 1);
	else if (c->forbidden)
		printf("argument %d without %#llx", c->arg + 1, (unsigned long long)c->forbidden);
	else if (n == 1)
		printf("argument %d is %#llx", c->arg + 1, (unsigned long long)c->values[0]);
	else if (n)
		printf("argument %d is one of %d", c->arg + 1, n);
}

static void print_row(const char *name, const struct host_call *call, enum host_call_group group, void *arg)
{
	static const char *const when[] = { [CALLS_ALWAYS] = "always", [CALLS_WRITABLE] = "writable trees",
					    [CALLS_NETWORK] = "`--network=host`", [CALLS_FILES] = "`--stats` and the like" };
	const struct platform_ops *platform_rows = arg;		/* NULL: core's rows */

	if ((group == CALLS_PLATFORM) != (platform_rows != NULL))
		return;
	printf("| %s | %s | ", name, platform_rows ? platform_rows->name : when[group]);
	print_check(call);
	printf(" | %s |\n", call->why);
}

void host_calls_print(void)
{
	puts("| host call | when | checked | for |\n| --- | --- | --- | --- |");
	host_calls_each(NULL, print_row, NULL);
	for (int i = 0; platforms[i]; i++)
		host_calls_each(platforms[i], print_row, (void *)platforms[i]);
}
