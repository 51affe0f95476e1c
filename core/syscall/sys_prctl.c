/* prctl(2), arch_prctl(2), personality(2), and calls that are refused on purpose. */
#include <asm/prctl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <string.h>

#include "stats.h"
#include "syscall/syscall.h"
#include "task/internal.h"
#include "task/ptrace.h"
#include "task/seccomp.h"

#define FS_GS_END	0x7ffffffff000ull	/* TASK_SIZE_MAX */

#ifndef PR_SET_VMA
#define PR_SET_VMA	0x53564d41
#endif

static long set_name(struct task *t, gva_t ptr)
{
	char name[sizeof(t->comm)] = "";
	s64 len;

	len = copy_in_str(t->mm, name, ptr, sizeof(name));
	if (len < 0 && len != -ENAMETOOLONG)
		return len;
	if (len == -ENAMETOOLONG && copy_in(t->mm, name, ptr, sizeof(name) - 1))
		return -EFAULT;
	name[sizeof(name) - 1] = 0;
	pthread_mutex_lock(&t->tg->lock);
	memcpy(t->comm, name, sizeof(name));
	stats_task_renamed(t);
	pthread_mutex_unlock(&t->tg->lock);
	return 0;
}

static long set_pdeath(struct task *t, u64 signo)
{
	if (signo > NSIG_GUEST)
		return -EINVAL;
	pthread_mutex_lock(&t->tg->lock);
	t->pdeath_signal = signo;
	pthread_mutex_unlock(&t->tg->lock);
	return 0;
}

static long set_subreaper(struct task *t, u64 on)
{
	pthread_rwlock_wrlock(&tasklist);
	t->tg->subreaper = on;
	pthread_rwlock_unlock(&tasklist);
	return 0;
}

static long put_int(struct task *t, gva_t ptr, int value)
{
	return put_user(t->mm, ptr, &value);
}

static long cap_drop(struct task *t, u64 cap)
{
	struct cred *c;

	if (!cred_capable(t->cred, CAP_SETPCAP))
		return -EPERM;
	if (cap > CAP_LAST_CAP)
		return -EINVAL;
	c = cred_copy(t->cred);
	if (!c)
		return -ENOMEM;
	c->cap_bounding &= ~((u64)1 << cap);
	task_set_cred(t, c);
	return 0;
}

static long cap_ambient(struct task *t, const u64 *arg)
{
	const struct cred *old = t->cred;
	u64 bit = (u64)1 << (arg[2] & 63);
	struct cred *c;

	if (arg[1] == PR_CAP_AMBIENT_CLEAR_ALL ? arg[2] || arg[3] || arg[4] : arg[2] > CAP_LAST_CAP || arg[3] || arg[4])
		return -EINVAL;
	if (arg[1] == PR_CAP_AMBIENT_IS_SET)
		return !!(old->cap_ambient & bit);
	if (arg[1] != PR_CAP_AMBIENT_RAISE && arg[1] != PR_CAP_AMBIENT_LOWER && arg[1] != PR_CAP_AMBIENT_CLEAR_ALL)
		return -EINVAL;
	if (arg[1] == PR_CAP_AMBIENT_RAISE && (!(old->cap_permitted & old->cap_inheritable & bit) ||
					      (t->securebits & SECBIT_NO_CAP_AMBIENT_RAISE)))
		return -EPERM;
	c = cred_copy(old);
	if (!c)
		return -ENOMEM;
	if (arg[1] == PR_CAP_AMBIENT_RAISE)
		c->cap_ambient |= bit;
	else
		c->cap_ambient &= arg[1] == PR_CAP_AMBIENT_LOWER ? ~bit : 0;
	task_set_cred(t, c);
	return 0;
}

/* A lock bit never goes away, and a locked bit never changes. */
static long set_securebits(struct task *t, u64 bits)
{
	u32 old = t->securebits, locked = (old & SECURE_ALL_LOCKS) >> 1;

	if (bits & ~(u64)(SECURE_ALL_LOCKS | SECURE_ALL_BITS))
		return -EPERM;
	if ((locked & (old ^ bits)) || (old & SECURE_ALL_LOCKS & ~bits) || !cred_capable(t->cred, CAP_SETPCAP))
		return -EPERM;
	t->securebits = bits;
	return 0;
}

static long set_keepcaps(struct task *t, u64 on)
{
	if (on > 1)
		return -EINVAL;
	if (t->securebits & SECBIT_KEEP_CAPS_LOCKED)
		return -EPERM;
	t->securebits = on ? t->securebits | SECBIT_KEEP_CAPS : t->securebits & ~SECBIT_KEEP_CAPS;
	return 0;
}

static long prctl_caps(struct task *t, const u64 *arg)
{
	switch ((s32)arg[0]) {
	case PR_CAPBSET_READ:
		return arg[1] > CAP_LAST_CAP ? -EINVAL : (long)(t->cred->cap_bounding >> arg[1] & 1);
	case PR_CAPBSET_DROP:
		return cap_drop(t, arg[1]);
	case PR_CAP_AMBIENT:
		return cap_ambient(t, arg);
	case PR_GET_SECUREBITS:
		return t->securebits;
	case PR_SET_SECUREBITS:
		return set_securebits(t, arg[1]);
	case PR_GET_KEEPCAPS:
		return !!(t->securebits & SECBIT_KEEP_CAPS);
	case PR_SET_KEEPCAPS:
		return set_keepcaps(t, arg[1]);
	case PR_SET_NO_NEW_PRIVS:
		if (arg[1] != 1 || arg[2] || arg[3] || arg[4])
			return -EINVAL;
		t->no_new_privs = true;
		return 0;
	case PR_GET_NO_NEW_PRIVS:
		return arg[1] || arg[2] || arg[3] || arg[4] ? -EINVAL : t->no_new_privs;
	default:
		return -EINVAL;
	}
}

/* Hints about memory and machine checks: accepted where the kernel accepts them, without effect. */
static long prctl_hints(struct task *t, const u64 *arg)
{
	switch ((s32)arg[0]) {
	case PR_SET_VMA:
	case PR_MCE_KILL:
		return 0;
	case PR_SET_THP_DISABLE:
		return arg[2] || arg[3] || arg[4] ? -EINVAL : 0;
	case PR_GET_THP_DISABLE:
		return arg[1] || arg[2] || arg[3] || arg[4] ? -EINVAL : 0;
	case PR_SET_TIMING:
		return arg[1] == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
	case PR_GET_TIMING:
		return PR_TIMING_STATISTICAL;
	case PR_MCE_KILL_GET:
		return PR_MCE_KILL_DEFAULT;
	case PR_SET_TSC:
		return arg[1] == PR_TSC_ENABLE ? 0 : -EINVAL;
	case PR_GET_TSC:
		return put_int(t, arg[1], PR_TSC_ENABLE);
	default:
		return -EINVAL;
	}
}

long sys_prctl(struct task *t, const u64 *arg)
{
	switch ((s32)arg[0]) {
	case PR_SET_NAME:
		return set_name(t, arg[1]);
	case PR_GET_NAME:
		return copy_out(t->mm, arg[1], t->comm, sizeof(t->comm));
	case PR_SET_PDEATHSIG:
		return set_pdeath(t, arg[1]);
	case PR_GET_PDEATHSIG:
		return put_int(t, arg[1], t->pdeath_signal);
	case PR_GET_DUMPABLE:
		return t->mm->dumpable;
	case PR_SET_DUMPABLE:
		if (arg[1] > 1)
			return -EINVAL;
		t->mm->dumpable = arg[1];
		return 0;
	case PR_SET_CHILD_SUBREAPER:
		return set_subreaper(t, arg[1]);
	case PR_GET_CHILD_SUBREAPER:
		return put_int(t, arg[1], t->tg->subreaper);
	case PR_GET_TID_ADDRESS:
		return put_user(t->mm, arg[1], &t->clear_child_tid);
	case PR_GET_TIMERSLACK:
		return t->timer_slack_ns;
	case PR_SET_TIMERSLACK:
		t->timer_slack_ns = (s64)arg[1] <= 0 ? t->timer_slack_default : arg[1];
		return 0;
	case PR_GET_SECCOMP:
		return t->seccomp_mode;
	case PR_SET_SECCOMP:
		return seccomp_prctl(t, arg[1], arg[2]);
	case PR_SET_PTRACER:
		return 0;
	case PR_SET_VMA: case PR_SET_THP_DISABLE: case PR_GET_THP_DISABLE: case PR_MCE_KILL: case PR_MCE_KILL_GET:
	case PR_SET_TSC: case PR_GET_TSC: case PR_SET_TIMING: case PR_GET_TIMING:
		return prctl_hints(t, arg);
	default:
		return prctl_caps(t, arg);
	}
}

long sys_arch_prctl(struct task *t, const u64 *arg)
{
	u64 value = arg[1];

	switch ((s32)arg[0]) {
	case ARCH_SET_FS:
		if (value >= FS_GS_END)
			return -EPERM;
		t->regs.fs_base = value;
		return 0;
	case ARCH_SET_GS:
		if (value >= FS_GS_END)
			return -EPERM;
		t->regs.gs_base = value;
		return 0;
	case ARCH_GET_FS:
		return put_user(t->mm, value, &t->regs.fs_base);
	case ARCH_GET_GS:
		return put_user(t->mm, value, &t->regs.gs_base);
	case ARCH_GET_CPUID:
		return 1;
	case ARCH_SET_CPUID:
		return -ENODEV;
	default:
		return -EINVAL;
	}
}

#define PERSONALITY_QUERY	0xffffffff

long sys_personality(struct task *t, const u64 *arg)
{
	u32 old = t->personality;

	if ((u32)arg[0] != PERSONALITY_QUERY)
		t->personality = (u32)arg[0];
	return old;
}

/* ---- refused: glibc and others go without ---- */

long sys_rseq(struct task *t, const u64 *arg) { return -ENOSYS; }
long sys_seccomp(struct task *t, const u64 *arg) { return seccomp_call(t, arg[0], arg[1], arg[2]); }
long sys_ptrace(struct task *t, const u64 *arg) { return ptrace_call(t, (s64)arg[0], (int)arg[1], arg[2], arg[3]); }
