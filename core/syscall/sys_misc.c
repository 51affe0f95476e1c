/* The system as a whole: its names, its memory, randomness - and what no sandbox may do to it. */
#include <limits.h>
#include <linux/capability.h>
#include <linux/reboot.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysinfo.h>

#include "lib/version.h"
#include "syscall/syscall.h"
#include "syscall/uts.h"
#include "task/clock.h"


/* ---- names ---- */

static pthread_mutex_t uts_lock = PTHREAD_MUTEX_INITIALIZER;
static char uts_names[2][UTS_LEN + 1];				/* by enum uts_name; by uts_lock */
static bool uts_started;					/* likewise */

/* uts_lock held. A guest begins with the host's names, as it sees the host's files. */
static void uts_start(void)
{
	struct utsname host;

	if (uts_started)
		return;
	uts_started = true;
	uname(&host);
	memcpy(uts_names[UTS_NODE], host.nodename, UTS_LEN);
	memcpy(uts_names[UTS_DOMAIN], host.domainname, UTS_LEN);
}

void uts_begin(void)
{
	pthread_mutex_lock(&uts_lock);
	uts_start();
	pthread_mutex_unlock(&uts_lock);
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
	memcpy(out->nodename, uts_names[UTS_NODE], UTS_LEN + 1);
	memcpy(out->domainname, uts_names[UTS_DOMAIN], UTS_LEN + 1);
	pthread_mutex_unlock(&uts_lock);
}

long sys_uname(struct task *t, const u64 *arg)
{
	struct utsname uts;

	uts_get(&uts);
	return put_user(t->mm, arg[0], &uts) ? -EFAULT : 0;
}

int uts_set(struct task *t, enum uts_name which, const char *name, size_t len)
{
	if (!cred_capable(t->cred, CAP_SYS_ADMIN))
		return -EPERM;
	pthread_mutex_lock(&uts_lock);
	uts_start();
	memset(uts_names[which], 0, sizeof(uts_names[which]));
	memcpy(uts_names[which], name, len);
	pthread_mutex_unlock(&uts_lock);
	return 0;
}

static long set_name(struct task *t, enum uts_name which, gva_t src, s32 len)
{
	char new[UTS_LEN];

	if (!cred_capable(t->cred, CAP_SYS_ADMIN))
		return -EPERM;
	if (len < 0 || len > UTS_LEN)
		return -EINVAL;
	if (copy_in(t->mm, new, src, len))
		return -EFAULT;
	return uts_set(t, which, new, len);
}

long sys_sethostname(struct task *t, const u64 *arg)
{
	return set_name(t, UTS_NODE, arg[0], arg[1]);
}

long sys_setdomainname(struct task *t, const u64 *arg)
{
	return set_name(t, UTS_DOMAIN, arg[0], arg[1]);
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
	const u64 *mask = t->sched.affinity;
	u32 cpu = 0, node = 0;

	getcpu(&cpu, &node);
	/* The host does not know what the guest was pinned to. */
	if (!(mask[cpu / 64 % ARRAY_SIZE(t->sched.affinity)] >> cpu % 64 & 1))
		for (cpu = 0; cpu < 64 * ARRAY_SIZE(t->sched.affinity) - 1 && !(mask[cpu / 64] >> cpu % 64 & 1);)
			cpu++;
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

/* ---- privileged, and with nothing behind it: answers are those of a kernel that has none of it ---- */

#define LOG_BUFFER	(1 << 18)

/* The kernel's log: ours is empty. */
long sys_syslog(struct task *t, const u64 *arg)
{
	s32 type = arg[0], len = arg[2];

	if (!cred_capable(t->cred, CAP_SYSLOG) && !cred_capable(t->cred, CAP_SYS_ADMIN))
		return -EPERM;
	switch (type) {
	case 2:					/* SYSLOG_ACTION_READ: waits for a line */
		if (!arg[1] || len < 0)
			return -EINVAL;
		return len ? (task_block(t, TIME_FOREVER), -ERESTARTSYS) : 0;
	case 3: case 4:				/* READ_ALL, READ_CLEAR */
		return !arg[1] || len < 0 ? -EINVAL : 0;
	case 8:					/* CONSOLE_LEVEL */
		return len < 1 || len > 8 ? -EINVAL : 0;
	case 10:				/* SIZE_BUFFER */
		return LOG_BUFFER;
	case 0: case 1: case 5: case 6: case 7: case 9:
		return 0;
	default:
		return -EINVAL;
	}
}

/* No module is ever loaded. */
long sys_delete_module(struct task *t, const u64 *arg)
{
	char name[56];				/* MODULE_NAME_LEN */

	if (!cred_capable(t->cred, CAP_SYS_MODULE))
		return -EPERM;
	return copy_in_str(t->mm, name, arg[0], sizeof(name)) == -EFAULT ? -EFAULT : -ENOENT;
}

/* Ctrl-Alt-Del may be switched on and off, since there is no such key; whatever stops the machine is refused. */
long sys_reboot(struct task *t, const u64 *arg)
{
	static const u32 magic2[] = { LINUX_REBOOT_MAGIC2, LINUX_REBOOT_MAGIC2A, LINUX_REBOOT_MAGIC2B, LINUX_REBOOT_MAGIC2C };
	bool known = false;

	if (!cred_capable(t->cred, CAP_SYS_BOOT))
		return -EPERM;
	for (size_t i = 0; i < ARRAY_SIZE(magic2); i++)
		known |= (u32)arg[1] == magic2[i];
	if ((u32)arg[0] != LINUX_REBOOT_MAGIC1 || !known)
		return -EINVAL;
	switch ((u32)arg[2]) {
	case LINUX_REBOOT_CMD_CAD_ON:
	case LINUX_REBOOT_CMD_CAD_OFF:
		return 0;
	case LINUX_REBOOT_CMD_RESTART: case LINUX_REBOOT_CMD_HALT: case LINUX_REBOOT_CMD_POWER_OFF:
	case LINUX_REBOOT_CMD_RESTART2: case LINUX_REBOOT_CMD_KEXEC: case LINUX_REBOOT_CMD_SW_SUSPEND:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

/* A task without a terminal has nothing to hang up; one with it keeps it. */
long sys_vhangup(struct task *t, const u64 *arg)
{
	bool tty;

	if (!cred_capable(t->cred, CAP_SYS_TTY_CONFIG))
		return -EPERM;
	pthread_rwlock_rdlock(&tasklist);
	tty = t->tg->session && t->tg->session->tty;
	pthread_rwlock_unlock(&tasklist);
	return tty ? -EPERM : 0;
}
