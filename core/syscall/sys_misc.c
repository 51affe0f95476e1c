/* The system as a whole: its names, its memory, randomness - and what no sandbox may do to it. */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysinfo.h>

#include "lib/version.h"
#include "syscall/syscall.h"
#include "syscall/uts.h"
#include "task/clock.h"

#define CAP_SYS_ADMIN	21
#define UTS_LEN		64		/* without the NUL */

/* ---- names ---- */

static pthread_mutex_t uts_lock = PTHREAD_MUTEX_INITIALIZER;
static char uts_node[UTS_LEN + 1], uts_domain[UTS_LEN + 1];	/* by uts_lock */
static bool uts_started;					/* likewise */

/* uts_lock held. A guest begins with the host's names, as it sees the host's files. */
static void uts_start(void)
{
	struct utsname host;

	if (uts_started)
		return;
	uts_started = true;
	uname(&host);
	memcpy(uts_node, host.nodename, UTS_LEN);
	memcpy(uts_domain, host.domainname, UTS_LEN);
}

void uts_get(struct utsname *out)
{
	memset(out, 0, sizeof(*out));
	strcpy(out->sysname, "Linux");
	strcpy(out->release, UTS_RELEASE);
	strcpy(out->version, UTS_VERSION);
	strcpy(out->machine, "x86_64");
	pthread_mutex_lock(&uts_lock);
	uts_start();
	memcpy(out->nodename, uts_node, sizeof(uts_node));
	memcpy(out->domainname, uts_domain, sizeof(uts_domain));
	pthread_mutex_unlock(&uts_lock);
}

long sys_uname(struct task *t, const u64 *arg)
{
	struct utsname uts;

	uts_get(&uts);
	return put_user(t->mm, arg[0], &uts) ? -EFAULT : 0;
}

static long set_name(struct task *t, char *name, gva_t src, s32 len)
{
	char new[UTS_LEN + 1] = "";

	if (!cred_capable(t->cred, CAP_SYS_ADMIN))
		return -EPERM;
	if (len < 0 || len > UTS_LEN)
		return -EINVAL;
	if (copy_in(t->mm, new, src, len))
		return -EFAULT;
	pthread_mutex_lock(&uts_lock);
	uts_start();
	memcpy(name, new, sizeof(new));
	pthread_mutex_unlock(&uts_lock);
	return 0;
}

long sys_sethostname(struct task *t, const u64 *arg)
{
	return set_name(t, uts_node, arg[0], arg[1]);
}

long sys_setdomainname(struct task *t, const u64 *arg)
{
	return set_name(t, uts_domain, arg[0], arg[1]);
}

/* ---- state ---- */

static u32 count_groups(void)
{
	u32 n = 0;

	for (int id = task_next_tgid(0); id >= 0; id = task_next_tgid(id + 1))
		n++;
	return n;
}

long sys_sysinfo(struct task *t, const u64 *arg)
{
	struct sysinfo host, info;
	u64 up = clock_now(CLOCK_BOOTTIME);

	memset(&info, 0, sizeof(info));
	/* Load is the machine's; memory is what the sandbox may use. */
	if (!sysinfo(&host))
		memcpy(info.loads, host.loads, sizeof(info.loads));
	info.uptime = (up + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
	info.totalram = memory_limit() * PAGE_SIZE;
	info.freeram = (memory_limit() - MIN(memory_used(), memory_limit())) * PAGE_SIZE;
	info.procs = MIN(count_groups(), (u32)USHRT_MAX);
	info.mem_unit = 1;
	return put_user(t->mm, arg[0], &info) ? -EFAULT : 0;
}

/* The host CPU that this task's thread is on: where guest code runs, or ran last. */
long sys_getcpu(struct task *t, const u64 *arg)
{
	u32 cpu = 0, node = 0;

	getcpu(&cpu, &node);
	if (arg[0] && put_user(t->mm, arg[0], &cpu))
		return -EFAULT;
	if (arg[1] && put_user(t->mm, arg[1], &node))
		return -EFAULT;
	return 0;
}

/* ---- randomness ---- */

#ifndef GRND_INSECURE
#define GRND_INSECURE	4
#endif

long sys_getrandom(struct task *t, const u64 *arg)
{
	u64 len = MIN(arg[1], (u64)INT_MAX), done = 0, n;
	u32 flags = arg[2];
	u8 buf[4096];

	if (flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) ||
	    (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	while (done < len) {
		n = MIN(len - done, sizeof(buf));
		if (getrandom(buf, n, 0) != (ssize_t)n)
			return done ? (long)done : -EAGAIN;
		if (copy_out(t->mm, arg[0] + done, buf, n))
			return done ? (long)done : -EFAULT;
		done += n;
		if (done < len && task_interrupted(t))
			break;
	}
	explicit_bzero(buf, sizeof(buf));
	return done;
}

/* ---- refused ---- */

/* What reaches the machine itself: to a guest of any user, what a container without the right to it gets. */
long sys_refused(struct task *t, const u64 *arg)
{
	return -EPERM;
}

/* Interfaces that programs probe for, and do without when the kernel has none. */
long sys_absent(struct task *t, const u64 *arg)
{
	return -ENOSYS;
}

long sys_syslog(struct task *t, const u64 *arg)
{
	s32 type = arg[0], len = arg[2];

	if (type < 0 || type > 10 || ((type == 2 || type == 3 || type == 4) && (!arg[1] || len < 0)))
		return -EINVAL;
	return -EPERM;
}
